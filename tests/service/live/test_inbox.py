"""What arrives waits as the newest measurement of each attribute, and is reported lane by lane, newest first."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from twinloop.service.live.inbox import Inbox

CELLS, ATTRIBUTES, LANES = 2, 5, 2


def row(**given) -> np.ndarray:
    value = np.full((1, ATTRIBUTES), np.nan, np.float32)
    for at, number in given.items():
        value[0, int(at[1:])] = number
    return value


def put(inbox: Inbox, entity: int, slot: int, later_s: float = 0.0, **given) -> None:
    inbox.put(np.array([entity]), row(**given), np.array([slot], np.int32), np.array([slot + later_s]))


def test_within_a_slot_the_newest_measurement_stays_though_an_older_one_comes_after_it():
    inbox = Inbox("cells", CELLS)
    put(inbox, 0, 7, later_s=0.8, a0=8.0)
    put(inbox, 0, 7, later_s=0.2, a0=2.0, a1=2.0)
    taken = inbox.take(LANES)
    assert (float(taken.value[0, 0, 0]), float(taken.value[0, 0, 1])) == (8.0, 2.0)
    put(inbox, 0, 7, later_s=0.5, a0=5.0)
    assert not inbox.waiting, "it was taken already"
    put(inbox, 0, 7, later_s=0.9, a0=9.0)
    taken = inbox.take(LANES)
    assert (float(taken.value[0, 0, 0]), int(taken.slot[0, 0])) == (9.0, 8), "a twin takes one value a slot"
    inbox.forget(0)
    put(inbox, 0, 7, later_s=0.1, a0=1.0)
    assert inbox.waiting, "somebody else is in the row"


def test_the_newest_measurement_of_an_attribute_wins_whatever_the_order():
    inbox = Inbox("cells", CELLS)
    put(inbox, 0, 7, a0=7.0)
    put(inbox, 0, 5, a0=5.0, a1=55.0)
    taken = inbox.take(LANES)
    assert np.asarray(taken.slot)[:, 0].tolist() == [7, 5]
    assert np.asarray(taken.sent)[0, 0].tolist() == [True, False, False, False, False]
    assert np.asarray(taken.sent)[1, 0].tolist() == [False, True, False, False, False]
    assert float(taken.value[0, 0, 0]) == 7.0
    assert float(taken.value[1, 0, 1]) == 55.0
    assert not inbox.waiting


def test_what_has_no_lane_waits_for_the_next_slot():
    inbox = Inbox("cells", CELLS)
    for slot in range(3):
        put(inbox, 1, slot, **{f"a{slot}": float(slot)})
    assert np.asarray(inbox.take(LANES).slot)[:, 1].tolist() == [2, 1]
    assert inbox.waiting
    assert np.asarray(inbox.take(LANES).slot)[:, 1].tolist() == [0, -1]
    assert not inbox.waiting


def test_every_row_is_paid_for_once():
    inbox = Inbox("cells", CELLS)
    put(inbox, 0, 1, a0=1.0)
    put(inbox, 0, 1, a0=1.0)
    assert np.asarray(inbox.take(LANES).size_bits)[:, 0].tolist() == [2 * (64 + 8), 0]
    assert np.asarray(inbox.take(LANES).size_bits).sum() == 0


@given(
    st.lists(
        st.tuples(st.integers(0, CELLS - 1), st.integers(0, ATTRIBUTES - 1), st.integers(0, 9)), min_size=1, max_size=30
    )
)
def test_taken_in_whole_or_one_by_one_the_same_waits(rows):
    at_once, one_by_one = Inbox("cells", CELLS), Inbox("cells", CELLS)
    value = np.full((len(rows), ATTRIBUTES), np.nan, np.float32)
    for index, (_, attribute, slot) in enumerate(rows):
        value[index, attribute] = slot
        put(one_by_one, rows[index][0], slot, **{f"a{attribute}": float(slot)})
    entities, slots = np.array([r[0] for r in rows]), np.array([r[2] for r in rows], np.int32)
    at_once.put(entities, value, slots, slots.astype(np.float64))
    np.testing.assert_array_equal(at_once.slot, one_by_one.slot)
    np.testing.assert_array_equal(at_once.value, one_by_one.value)
    newest = np.full((CELLS, ATTRIBUTES), -1)
    for entity, attribute, slot in rows:
        newest[entity, attribute] = max(newest[entity, attribute], slot)
    np.testing.assert_array_equal(at_once.slot, newest)
