import jax.numpy as jnp
import numpy as np
import pytest

from twinloop.decision import (
    DynamicsScale,
    Surroundings,
    adaptive_window,
    demand_distribution,
    dynamics_score,
    fit_scale,
    fixed_window,
    threshold_candidates,
    tune_thresholds,
    variation,
)

THRESHOLDS = jnp.array([0.2, 0.4, 0.6, 0.8])


def around(swipes=5.0, demand=1.0, present=(True, True, False)):
    people = jnp.array([1.0, 2.0, 3.0])
    return Surroundings(
        people * 0 + swipes,
        people,
        people,
        people[:, None] * jnp.ones((1, 2)),
        jnp.full((2, 2), demand),
        jnp.array(present),
    )


def decisions(window, scores, experience=4.0):
    memory, found = window.init(), []
    values = np.broadcast_to(experience, len(scores))
    for score, value in zip(scores, values, strict=True):
        due, memory = window.decide(memory, jnp.float32(score), jnp.float32(value))
        found.append(bool(due))
    return found, memory


def test_variation_counts_those_present_in_both_blocks():
    changed = variation(around(), around(swipes=8.0, demand=2.0, present=(True, False, True)))
    assert np.asarray(changed) == pytest.approx([3.0, 0.0, 0.0, 0.0, 0.5])
    nobody = variation(around(present=(False,) * 3), around(swipes=9.0))
    assert np.asarray(nobody) == pytest.approx([0.0] * 5)


def test_the_score_saturates_and_stays_in_its_range():
    scale = DynamicsScale(jnp.array([1.0, 2.0]), jnp.array([0.25, 0.75]))
    score = dynamics_score(scale, jnp.array([[0.0, 0.0], [0.5, 1.0], [9.0, 9.0]]))
    assert np.asarray(score) == pytest.approx([0.0, 0.5, 1.0])


def test_scales_weigh_the_signal_that_tells_losses():
    rng = np.random.default_rng(0)
    lost = rng.random(400)
    changed = np.stack([lost + 0.1 * rng.random(400), rng.random(400), 1.0 - lost], axis=1)
    scale = fit_scale(jnp.asarray(changed, jnp.float32), jnp.asarray(lost, jnp.float32))
    assert float(scale.weight[0]) > 0.8
    assert float(scale.weight[2]) == 0.0
    assert float(jnp.sum(scale.weight)) == pytest.approx(1.0)
    equal = fit_scale(jnp.asarray(changed, jnp.float32), jnp.zeros(400))
    assert np.asarray(equal.weight) == pytest.approx(1 / 3)


@pytest.mark.parametrize("blocks", [5, 4, 3, 2, 1])
def test_a_fixed_window_comes_due_every_so_many_blocks_whatever_happens(blocks):
    scores = np.random.default_rng(1).random(31)
    due, _ = decisions(fixed_window(blocks), scores, 5.0 * scores)
    assert due == [at % blocks == 0 for at in range(31)]


def test_calm_networks_keep_their_slices_and_restless_ones_do_not():
    window = adaptive_window(THRESHOLDS)
    assert np.flatnonzero(decisions(window, [0.0] * 16)[0]).tolist() == [0, 5, 10, 15]
    assert all(decisions(window, [0.9] * 8)[0])
    due, _ = decisions(window, [0.0, 0.0, 0.9, 0.0, 0.0])
    assert due == [True, False, True, False, False]


def test_feedback_shortens_windows_that_lost_experience_and_is_bounded():
    window = adaptive_window(THRESHOLDS, rate=0.05, tolerance=0.1, most_shift=0.12)
    falling = np.tile([2.0, 4.0, 3.5, 3.0, 2.5], 20)
    _, worse = decisions(window, [0.0] * 100, falling)
    assert float(worse.shift) == pytest.approx(0.12)
    _, even = decisions(window, [0.0] * 100)
    assert -0.12 <= float(even.shift) < 0.0


def test_tuning_keeps_to_the_number_of_reconfigurations():
    candidates = threshold_candidates(jnp.linspace(0.0, 1.0, 50), places=2)
    assert np.all(np.diff(np.asarray(candidates), axis=1) > 0)
    value = jnp.arange(6, dtype=jnp.float32)
    assert np.asarray(tune_thresholds(candidates, value, value, 3.0)) == pytest.approx(np.asarray(candidates[3]))
    assert np.asarray(tune_thresholds(candidates, value, value + 9.0, 3.0)) == pytest.approx(np.asarray(candidates[0]))


def test_demand_is_summed_by_service_and_cell():
    demand = jnp.asarray(np.random.default_rng(2).random((3, 5, 2)), jnp.float32)
    cell, service = jnp.array([0, 0, 1, 1, 7]), jnp.array([0, 0, 1, 0, 0])
    present = jnp.array([True, True, True, False, True])
    table = demand_distribution(demand, jnp.stack([cell, cell, 1 - cell]), service, present, 2, 2)
    assert np.asarray(table.users[:2]) == pytest.approx(np.array([[[2, 0], [0, 1]]] * 2))
    assert np.asarray(table.users[2]) == pytest.approx(np.array([[0, 1], [2, 0]]))
    assert np.asarray(table.total[:2, 0, 0]) == pytest.approx(np.asarray(demand[:2, 0] + demand[:2, 1]))
    assert np.asarray(table.mean()[1, 1]) == pytest.approx(np.asarray(jnp.sum(demand[:2, 2], axis=0) / 3), rel=1e-5)
    assert np.all(np.asarray(table.quantile(0.9)) >= np.asarray(table.quantile(0.1)))
    assert float(jnp.sum(table.total[:2, 1, 0])) == 0.0
