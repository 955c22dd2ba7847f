"""The surrogate against cvxpy with Clarabel, within 1e-4 of its value; polishing against exhaustive search."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from decision.problems import draw_features, draw_slices

from twinloop.decision.reference import sigmoid, solve_surrogate_cvxpy
from twinloop.decision.reservation.convex import solve_surrogate
from twinloop.decision.reservation.groups import group_demands
from twinloop.decision.reservation.interface import resource_demands
from twinloop.decision.reservation.polish import polish
from twinloop.qoe import SigmoidSatisfaction, concave_majorant

SHAPE = SigmoidSatisfaction()


def make_groups(features, slices, prices=(0.0, 0.0, 0.0)):
    return group_demands(features, slices, resource_demands(features, slices), prices)


@jax.jit
def surrogate(groups):
    majorant = concave_majorant(SHAPE, groups.low, groups.high)
    z, bound = solve_surrogate(groups, majorant)
    return majorant, z, bound, groups.worth(majorant.value(z), z)


@pytest.mark.parametrize("prices", [(0.0, 0.0, 0.0), (0.3, 0.5, 1.0)], ids=["free", "priced"])
@pytest.mark.parametrize(("load", "compute"), [(0.7, 0.5), (1.3, 0.5), (1.5, 1.6)])
def test_surrogate_equals_clarabel(load, compute, prices):
    for seed in range(2):
        features = draw_features(seed, users=60, cells=4, servers=2, load=load, compute=compute)
        groups = make_groups(features, draw_slices(), prices)
        majorant, z, bound, value = surrogate(groups)
        _, best = solve_surrogate_cvxpy(groups, majorant)
        assert float(value) == pytest.approx(best, rel=1e-4)
        assert float(bound) == pytest.approx(best, rel=1e-4)
        for m, capacity in enumerate(groups.capacity):
            use = np.bincount(np.asarray(groups.pool[m]), np.asarray(groups.use(z)[m]), capacity.shape[0])
            assert np.all(use <= np.asarray(capacity) * (1 + 1e-5))


def test_polishing_finds_the_best_of_all_levels_on_a_grid():
    polished = jax.jit(lambda groups, z: polish(groups, SHAPE, z, 3, 4))
    for seed in range(4):
        features = draw_features(seed, users=30, cells=1, load=1.6, compute=0.2)
        groups = make_groups(features, draw_slices(floor=0.05))
        _, z, bound, _ = surrogate(groups)
        found = polished(groups, z)
        value = float(groups.worth(SHAPE.value(found), found))
        grid = np.linspace(0.0, 1.0, 101)
        low, high = np.asarray(groups.low), np.asarray(groups.high)
        axes = [low[g] + grid * (high[g] - low[g]) for g in range(3)]
        levels = np.array(list(itertools.product(*axes)))
        fits = np.ones(len(levels), bool)
        for m, capacity in enumerate(groups.capacity):
            use = np.asarray(groups.per_z[m]) * np.maximum(levels, np.asarray(groups.least[m]))
            fits &= use.sum(axis=1) <= float(capacity[0]) * (1 + 1e-6)
        exhaustive = np.max((sigmoid(SHAPE, levels)[0] @ np.asarray(groups.weight))[fits])
        assert value >= exhaustive * 0.995
        assert exhaustive <= float(bound) * (1 + 1e-5)
        assert jnp.all(found >= groups.low - 1e-6)
