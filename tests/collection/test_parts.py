"""The parts of adaptive collection, each on its own: ladder, dual error, importance, shift, discriminator, budget."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twinloop.collection import Ladder
from twinloop.collection.budget import given_up, no_spending, spend
from twinloop.collection.discriminator import learn, logit, untrained
from twinloop.collection.dual_error import CLASSES, count_classes, label_entropy, no_classes, squared_error
from twinloop.collection.importance import count_moments, importance, no_moments
from twinloop.collection.shift import count_values, no_windows, shifted, turn

LADDER = Ladder((1, 2, 4, 8), jnp.float32(0.2), jnp.float32(0.6))


def climb(rung, calm, error, *, looked=True, alarmed=False, highest=3):
    state = [jnp.asarray([[value]]) for value in (rung, calm)]
    flags = [jnp.asarray([[flag]]) for flag in (looked, alarmed)]
    rung, calm = LADDER.climb(*state, jnp.asarray([[error]]), *flags, jnp.int32(highest))
    return int(rung[0, 0]), int(calm[0, 0])


def test_a_rung_is_climbed_after_three_calm_looks_in_a_row():
    rung, calm = 0, 0
    seen = []
    for error in (0.1, 0.1, 0.3, 0.1, 0.1, 0.1, 0.1):
        rung, calm = climb(rung, calm, error)
        seen.append(rung)
    assert seen == [0, 0, 0, 0, 0, 1, 1], "an error between the thresholds breaks the row"


@pytest.mark.parametrize(
    ("error", "more", "expected"),
    [
        (0.7, {}, 1),
        (0.5, {}, 3),
        (0.7, {"looked": False}, 3),
        (0.0, {"alarmed": True}, 0),
    ],
)
def test_it_falls_at_once_above_the_threshold_and_stays_between(error, more, expected):
    assert climb(3, 0, error, **more)[0] == expected


def test_no_rung_is_longer_than_the_greatest_age():
    assert climb(1, 2, 0.0, highest=1)[0] == 1
    assert LADDER.period_slots(jnp.arange(4)).tolist() == [1, 2, 4, 8]


def entropy(labels: np.ndarray, looks: int) -> float:
    """Entropy of one label of one group; `labels` [slots, people] reported where they change, looked at every slot."""
    classes = no_classes(1, 1)
    people = labels.shape[1]
    groups = jnp.zeros(people, jnp.int32)
    before = np.full(people, -1)
    for row in labels[:looks]:
        fresh = (row != before)[:, None]
        changed = fresh & (before >= 0)[:, None]
        looked = jnp.ones((people, 1), bool)
        value = jnp.asarray(row[:, None], jnp.float32)
        classes = count_classes(classes, value, jnp.asarray(fresh), jnp.asarray(changed), looked, groups)
        before = row
    return float(label_entropy(classes)[0, 0])


def test_entropy_is_that_of_what_the_label_will_be():
    draw = np.random.default_rng(0)
    never = np.zeros((60, 40), int)
    always = draw.integers(0, 8, (60, 40))
    now_and_then = np.repeat(draw.integers(0, 8, (6, 40)), 10, axis=0)
    calm, wild, middle = (entropy(labels, 60) for labels in (never, always, now_and_then))
    assert calm < 0.01 < middle < wild
    change = 7 / 8
    mix = np.log(8)
    expected = -change * np.log(change) - (1 - change) * np.log(1 - change) + change * mix
    assert wild == pytest.approx(expected / np.log(CLASSES), rel=0.05)
    assert wild <= 1.0


def test_the_squared_error_is_the_share_of_what_is_allowed():
    got = squared_error(jnp.array([[0.0, 0.0, 0.0]]), jnp.array([[1.0, 4.0, 0.0]]), jnp.array([[2.0, 2.0, 0.0]]))
    np.testing.assert_allclose(got, [[0.25, 1.0, 0.0]])


def test_what_goes_with_the_indicator_is_important_and_noise_is_not():
    draw = np.random.default_rng(1)
    cause = draw.normal(size=4000)
    columns = [cause, cause + 0.3 * draw.normal(size=4000), draw.normal(size=4000), draw.normal(size=4000)]
    status = jnp.asarray(np.stack([*columns, np.zeros(4000)], axis=1), jnp.float32)
    moments = count_moments(no_moments(5), status, jnp.ones(4000))
    worth = np.asarray(importance(moments, jnp.array([1.0, 0.0, 0.0, 0.0, 0.0])))
    assert worth[1] > 3 * worth[2:].max()
    assert worth.min() >= 0.25 and worth.max() <= 4.0
    np.testing.assert_allclose(importance(no_moments(5), jnp.ones(5)), 1.0)
    np.testing.assert_allclose(importance(moments, jnp.zeros(5)), 1.0)


def test_a_shift_is_found_and_its_absence_is_not():
    draw = np.random.default_rng(2)
    groups, people = jnp.zeros(200, jnp.int32), jnp.full(1, 200.0)
    windows = no_windows(1, 2)
    before = draw.normal(size=(200, 2))
    after = np.stack([draw.normal(size=200), draw.normal(size=200) + 1.5], axis=1)
    windows = count_values(windows, jnp.asarray(before, jnp.float32), jnp.ones(200), groups)
    assert not np.asarray(shifted(windows, people)).any(), "there is no window before the first"
    windows = turn(windows, jnp.asarray(True))
    windows = count_values(windows, jnp.asarray(after, jnp.float32), jnp.ones(200), groups)
    assert np.asarray(shifted(windows, people)).tolist() == [[False, True]]
    assert not np.asarray(shifted(windows, jnp.full(1, 2.0))).any(), "two people are too few to tell"


def test_the_discriminator_learns_to_tell_what_differs_and_not_what_does_not():
    draw = np.random.default_rng(3)
    groups = jnp.zeros(64, jnp.int32)
    scores = {}
    for name, gap in (("alike", 0.0), ("apart", 2.0)):
        network = untrained(jax.random.key(0), 3, 1)
        step = jax.jit(learn)
        for _ in range(200):
            emulated = jnp.asarray(draw.normal(size=(64, 3)), jnp.float32)
            reported = jnp.asarray(draw.normal(size=(64, 3)) + np.array([gap, 0, 0]), jnp.float32)
            network = step(network, emulated, reported, jnp.ones(64), groups)
        scores[name] = float(network.told_apart[0])
    assert scores["apart"] > 0.6
    assert abs(scores["alike"]) < 0.1
    assert float(jnp.mean(logit(network, jnp.array([[3.0, 0.0, 0.0]])))) > 0


def test_a_budget_sheds_step_by_step_and_takes_back_when_there_is_room():
    budget, shed = no_spending(2), []
    for slot in range(60):
        bits = jnp.array([100.0, 10.0]) if slot < 30 else jnp.array([10.0, 10.0])
        budget = spend(budget, bits, jnp.array([0, 1]), jnp.float32(50.0), 4, jnp.int32(slot))
        shed.append(np.asarray(budget.shed).tolist())
    assert max(row[0] for row in shed) == 4
    assert shed[-1] == [0, 0]
    assert all(row[1] == 0 for row in shed)
    given = given_up(no_spending(2), jnp.array([3.0, 1.0, 2.0]))
    assert not np.asarray(given).any()
    two = given_up(type(budget)(budget.spent_bits, jnp.array([2, 0])), jnp.array([3.0, 1.0, 2.0]))
    assert np.asarray(two).tolist() == [[False, True, True], [False, False, False]]
