"""The measuring agent: what is due is sent, quantised and counted, and travels late, twice or never."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twinloop.network import HEADER_BITS, Channel, KindRequest, measure
from twinloop.network.measurement import idle_agent

ENTITIES, LANES = 6, 4
BITS = (4, 9)
LOW, HIGH = (0.0, -10.0), (15.0, 501.0)
present = jnp.ones(ENTITIES, bool)


def request(
    period_s=(1.0, 1.0), delta=(-1.0, -1.0), enabled=(True, True), alarm=(np.inf, np.inf), max_age_s=(np.inf, np.inf)
) -> KindRequest:
    def of_each(values, dtype=jnp.float32):
        return jnp.broadcast_to(jnp.asarray(values, dtype), (ENTITIES, 2))

    return KindRequest(
        of_each(period_s),
        of_each(BITS, jnp.int32),
        of_each(delta),
        of_each(alarm),
        jnp.asarray(max_age_s),
        jnp.array(enabled),
    )


def channel(loss_p=0.0, late_p=0.0, duplicate_p=0.0, noise=(0.0, 0.0)) -> Channel:
    chances = (jnp.float32(p) for p in (loss_p, late_p, duplicate_p))
    return Channel(*chances, jnp.array(noise), jnp.array(LOW), jnp.array(HIGH), LANES)


@eqx.filter_jit
def lived(key, way, asked, truth, there):
    """All slots of `truth` [slots, entities, attributes]: the reports and the bits of every slot."""

    def one(agent, slot):
        k = jax.random.fold_in(key, slot)
        agent, reports, bits = measure(k, way, asked, agent, truth[slot], there, slot, 1.0)
        return agent, (reports, bits)

    _, out = jax.lax.scan(one, idle_agent(ENTITIES, way), jnp.arange(truth.shape[0], dtype=jnp.int32))
    return out


def live(way=None, asked=None, truth=None, there=present, seed=0):
    truth = walk() if truth is None else truth
    reports, bits = lived(jax.random.key(seed), way or channel(), asked or request(), truth, there)
    return jax.tree.map(np.asarray, reports), np.asarray(bits)


def walk(slots=40):
    steps = np.random.default_rng(3).normal(0, 3, (slots, ENTITIES, 2)).cumsum(axis=0)
    return jnp.asarray(steps + np.array([7.0, 200.0]), jnp.float32)


def arrivals(reports):
    """(slot of arrival, entity, sequence, slot of measurement) of every report that arrived."""
    when, lane, who = np.nonzero(reports.sent.any(axis=3))
    return np.stack([when, who, reports.sequence[when, lane, who], reports.slot[when, lane, who]], axis=1)


def test_the_first_report_of_every_entity_is_complete_whatever_its_periods():
    reports, _ = live(asked=request((7.0, 30.0), (0.0, -1.0)))
    assert reports.sent[0, 0].all()


def test_only_what_is_due_is_sent_and_rows_are_staggered():
    reports, _ = live(asked=request((4.0, 3.0)))
    slot, row = np.arange(1, 40)[:, None], np.arange(ENTITIES)[None, :]
    for attribute, period in enumerate((4, 3)):
        np.testing.assert_array_equal(reports.sent[1:, 0, :, attribute], (slot + row) % period == 0)
    shares = reports.sent[4:40, 0, :4, 0].sum(axis=1)
    assert shares.min() == shares.max() == 1, "rows of one period must not all report in the same slot"


def test_a_period_counts_slots_of_their_length():
    way, asked, truth = channel(), request((2.0, 2.0)), walk(2)[0]
    agent = idle_agent(ENTITIES, way)
    agent = eqx.tree_at(lambda a: a.last, agent, jnp.zeros_like(agent.last))
    sent = []
    for slot in range(4):
        agent, reports, _ = measure(jax.random.key(slot), way, asked, agent, truth, present, jnp.int32(slot), 0.5)
        sent.append(np.asarray(reports.sent[0, 0, 0]))
    assert sent == [True, False, False, False]


def test_an_unchanged_value_is_sent_once_and_a_change_at_its_next_period():
    truth = np.full((20, ENTITIES, 2), 5.0, np.float32)
    truth[10:, 2, 0] = 9.0
    truth[11:, 3, 1] += 0.4  # less than half a step of the second attribute: no change on its grid
    reports, _ = live(asked=request((2.0, 1.0), (0.0, 0.0)), truth=jnp.asarray(truth))
    slots, rows, columns = np.nonzero(reports.sent[1:, 0])
    assert list(zip(slots + 1, rows, columns, strict=True)) == [(10, 2, 0)]
    assert reports.value[10, 0, 2, 0] == pytest.approx(9.0)


def test_a_change_is_sent_where_it_exceeds_delta_at_a_look_and_small_drift_adds_up():
    truth = np.full((20, ENTITIES, 2), 5.0, np.float32)
    truth[:, 1, 1] += 1.5 * np.arange(20)
    reports, _ = live(asked=request((2.0, 2.0), (0.0, 7.0)), truth=jnp.asarray(truth))
    slots, rows, columns = np.nonzero(reports.sent[1:, 0])
    assert set(zip(rows, columns, strict=True)) == {(1, 1)}
    assert all((slot + 1 + 1) % 2 == 0 for slot in slots), "between two looks nothing is seen"
    held = reports.value[slots + 1, 0, 1, 1]
    gaps = np.diff(np.concatenate([[reports.value[0, 0, 1, 1]], held]))
    assert (gaps > 7.0).all() and (gaps < 7.0 + 2 * 1.5 + 2).all()


def test_an_alarm_does_not_wait_for_the_next_look():
    truth = np.full((12, ENTITIES, 2), 5.0, np.float32)
    truth[4:, 0, 0] = 14.0
    truth[4:, 1, 0] = 7.0
    reports, _ = live(asked=request((8.0, 8.0), (0.0, 0.0), alarm=(5.0, np.inf)), truth=jnp.asarray(truth))
    sent = {who: np.flatnonzero(reports.sent[1:, 0, who, 0]) + 1 for who in (0, 1)}
    assert sent[0].tolist() == [4], "a change of 9 is above the alarm"
    assert sent[1].tolist() == [7], "a change of 2 waits for row 1's look"


def test_what_moved_rides_on_a_report_that_is_sent_anyway():
    truth = np.full((6, ENTITIES, 2), 5.0, np.float32)
    truth[3:, 0, 0], truth[3:, 0, 1] = 14.0, 25.0
    truth[3:, 1, 1] = 25.0
    asked = request((50.0, 50.0), (0.0, 10.0), alarm=(5.0, np.inf))
    reports, bits = live(asked=asked, truth=jnp.asarray(truth))
    assert reports.sent[3, 0, 0].tolist() == [True, True]
    assert bits[3, 0] == sum(BITS) + HEADER_BITS, "one header for both"
    assert not reports.sent[1:, 0, 1].any(), "alone it is not worth a report"
    periodic, _ = live(asked=request((50.0, 50.0), (0.0, -1.0), alarm=(5.0, np.inf)), truth=jnp.asarray(truth))
    assert periodic.sent[3, 0, 0].tolist() == [True, False], "what is only due periodically does not ride"


def test_nothing_is_silent_for_longer_than_its_greatest_age():
    truth = jnp.full((40, ENTITIES, 2), 5.0)
    reports, _ = live(asked=request((1.0, 1.0), (3.0, 3.0), max_age_s=(7.0, np.inf)), truth=truth)
    for who in range(ENTITIES):
        assert np.diff(np.flatnonzero(reports.sent[:, 0, who, 0])).tolist() == [7] * 5
        assert reports.sent[1:, 0, who, 1].sum() == 0


def test_a_report_arrives_with_the_size_it_was_sent_with():
    reports, bits = live(channel(late_p=1.0), request((4.0, 3.0)))
    arrived = reports.size_bits.sum(axis=1)
    expected = np.zeros_like(arrived)
    for when, who, _, measured in arrivals(reports):
        expected[when, who] += bits[measured, who]
    np.testing.assert_allclose(arrived, expected)


def test_a_silenced_attribute_and_an_absent_entity_send_nothing():
    there = present.at[1].set(False)
    reports, bits = live(asked=request(enabled=(True, False)), there=there)
    assert not reports.sent[..., 1].any()
    assert not reports.sent[:, :, 1].any()
    assert reports.sent[:, 0, 0, 0].all()
    assert bits[:, 1].sum() == 0


def test_values_lie_on_the_grid_of_their_precision_next_to_the_truth():
    truth = walk()
    reports, _ = live(truth=truth)
    value, truth = reports.value[:, 0], np.asarray(truth)
    for attribute in range(2):
        step = (HIGH[attribute] - LOW[attribute]) / (2 ** BITS[attribute] - 1)
        cells = (value[..., attribute] - LOW[attribute]) / step
        np.testing.assert_allclose(cells, np.round(cells), atol=1e-3)
        clipped = np.clip(truth[..., attribute], LOW[attribute], HIGH[attribute])
        assert np.abs(value[..., attribute] - clipped).max() <= step * 0.501
    assert value[..., 0].min() >= LOW[0] and value[..., 0].max() <= HIGH[0]
    assert (truth[..., 0] > HIGH[0]).any(), "the walk must leave the range, or clipping is not tried"


def test_noise_is_added_before_quantisation_with_its_spread():
    truth = jnp.full((40, ENTITIES, 2), 240.0)
    quiet, _ = live(truth=truth)
    noisy, _ = live(channel(noise=(0.0, 20.0)), truth=truth)
    assert quiet.value[:, 0, :, 1].std() < 1e-4
    assert noisy.value[:, 0, :, 1].std() == pytest.approx(20.0, rel=0.15)


def test_bits_are_those_of_the_attributes_sent_and_one_header_a_report():
    reports, bits = live(channel(loss_p=0.7), request((4.0, 3.0)))
    row, slot = np.arange(ENTITIES)[None, :], np.arange(40)[:, None]
    first, second = ((slot + row) % period == 0 for period in (4, 3))
    first[0] = second[0] = True
    expected = BITS[0] * first + BITS[1] * second + HEADER_BITS * (first | second)
    np.testing.assert_array_equal(bits, expected)
    assert reports.sent.any()


def test_lost_reports_never_arrive_and_the_others_arrive_once_in_their_slot():
    assert not live(channel(loss_p=1.0))[0].sent.any()
    some = arrivals(live(channel(loss_p=0.3))[0])
    assert len(some) == pytest.approx(0.7 * 40 * ENTITIES, rel=0.15)
    assert (some[:, 0] == some[:, 3]).all()


def test_late_reports_arrive_once_within_the_lanes_and_keep_their_slot_and_number():
    reports, _ = live(channel(late_p=1.0), truth=walk(60))
    came = arrivals(reports)
    delay = came[:, 0] - came[:, 3]
    assert set(delay) == set(range(1, LANES)), "every lateness from one slot to the last lane"
    assert len(np.unique(came[:, 1:3], axis=0)) == len(came), "no report twice"
    np.testing.assert_array_equal(came[:, 2], came[:, 3])  # one report a slot: its number is its slot
    measured_early = came[came[:, 3] < 60 - LANES]
    assert len(measured_early) == (60 - LANES) * ENTITIES, "none lost on the way"
    lane = (came[:, 0] - came[:, 3]).astype(int)
    there = reports.value[came[:, 0], lane, came[:, 1]]
    punctual = live(truth=walk(60))[0].value[came[:, 3], 0, came[:, 1]]
    np.testing.assert_array_equal(there, punctual)


def test_a_duplicated_report_arrives_again_one_slot_later():
    came = arrivals(live(channel(duplicate_p=1.0))[0])
    for who in range(ENTITIES):
        for number in range(39):
            mine = came[(came[:, 1] == who) & (came[:, 2] == number)]
            assert sorted(mine[:, 0]) == [number, number + 1]
            assert set(mine[:, 3]) == {number}


def test_numbers_count_reports_and_not_slots():
    reports, _ = live(asked=request((4.0, 4.0)))
    came = arrivals(reports)
    for who in range(ENTITIES):
        numbers = came[came[:, 1] == who][:, 2]
        np.testing.assert_array_equal(numbers, np.arange(len(numbers)))


def test_the_same_key_gives_the_same_way_and_another_key_another():
    way = channel(0.3, 0.3, 0.3, (1.0, 1.0))
    once, again, other = (live(way, seed=seed)[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(once.sent, again.sent)
    np.testing.assert_array_equal(once.value, again.value)
    assert (once.sent != other.sent).any()
