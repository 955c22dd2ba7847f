import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from decision.problems import draw_features, draw_slices

from twinloop.decision import CurveGain, GreedyGain, Groups, curve_steps, reserve_by_gain

AT = jnp.linspace(0.0, 1.0, 6)


@jax.jit
def by_curve(groups, curve):
    steps, surrogate = curve_steps(AT, curve, groups.low, groups.high)
    gain = CurveGain(jnp.broadcast_to(AT[None], curve.shape), curve)
    return reserve_by_gain(groups, steps, gain, surrogate)


def one_cell(demand, weight):
    count = len(demand)
    return Groups(
        weight=jnp.asarray(weight, jnp.float32),
        per_z=jnp.zeros((3, count)).at[0].set(jnp.asarray(demand, jnp.float32)),
        least=jnp.zeros((3, count)),
        pool=jnp.zeros((3, count), jnp.int32),
        capacity=(jnp.ones(1), jnp.ones(1), jnp.ones(1)),
        price=jnp.zeros(3),
        low=jnp.zeros(count),
        high=jnp.ones(count),
    )


def test_demand_that_fits_is_sliced_directly():
    curve = jnp.broadcast_to(AT[None], (4, 6)) ** 0.5
    found = by_curve(one_cell([0.2, 0.3, 0.1, 0.35], [1, 2, 3, 1]), curve)
    assert np.asarray(found.z) == pytest.approx(1.0)
    assert float(found.value) == pytest.approx(float(found.bound), rel=1e-4)


def test_scarce_resources_go_where_they_gain_most():
    curve = jnp.stack([AT, AT, AT, AT])
    found = by_curve(one_cell([0.5, 0.5, 0.5, 0.5], [1.0, 4.0, 2.0, 3.0]), curve)
    assert np.asarray(found.z) == pytest.approx([0.0, 1.0, 0.0, 1.0], abs=1e-4)


def test_the_greedy_is_near_the_best_of_all_levels_and_below_its_bound():
    rng = np.random.default_rng(3)
    for _ in range(5):
        curve = np.sort(rng.random((4, 6)), axis=1)
        curve -= curve[:, :1]
        demand, weight = rng.uniform(0.2, 0.8, 4), rng.uniform(0.5, 2.0, 4)
        found = by_curve(one_cell(demand, weight), jnp.asarray(curve, jnp.float32))
        grid = np.array(list(itertools.product(np.linspace(0, 1, 11), repeat=4)))
        fits = grid[grid @ demand <= 1.0]
        worth = sum(weight[g] * np.interp(fits[:, g], np.linspace(0, 1, 6), curve[g]) for g in range(4))
        assert float(np.asarray(found.z) @ demand) <= 1.0 + 1e-5
        assert worth.max() <= float(found.bound) * (1 + 1e-4)
        assert float(found.value) <= float(found.bound) * (1 + 1e-4)
        assert float(found.value) >= 0.85 * worth.max()


def test_experience_curves_decide_who_is_served():
    features, slices = draw_features(1, load=2.0, compute=0.2), draw_slices(floor=0.0)
    curve = jnp.stack([1.0 + 4.0 * AT**0.3, 1.0 + 0.1 * AT, 1.0 + 4.0 * AT**0.3])
    reservation, appraisal = jax.jit(lambda f, s: GreedyGain().by_curve(f, s, AT, curve))(features, slices)
    share = np.asarray(reservation.bandwidth_hz / jnp.maximum(features.slice_demand_hz, 1.0)).mean(axis=0)
    assert share[1] < 0.5 * min(share[0], share[2])
    assert 0.0 < float(appraisal.value) <= float(appraisal.bound) * (1 + 1e-4)
