import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twinloop.decision import Groups, SigmoidGain, majorant_gain, reserve_by_gain, sigmoid_steps
from twinloop.qoe import SigmoidSatisfaction

SHAPE = SigmoidSatisfaction(10.0, 0.7)


@jax.jit
def greedy(groups):
    surrogate = majorant_gain(SHAPE, groups.low, groups.high)
    return reserve_by_gain(groups, sigmoid_steps(surrogate, 12), SigmoidGain(SHAPE), surrogate)


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
    found = greedy(one_cell([0.2, 0.3, 0.1, 0.35], [1, 2, 3, 1]))
    assert np.asarray(found.z) == pytest.approx(1.0)
    assert float(found.value) == pytest.approx(float(found.bound), rel=1e-3)


def test_scarce_resources_go_where_they_gain_most():
    found = greedy(one_cell([0.5, 0.5, 0.5, 0.5], [1.0, 4.0, 2.0, 3.0]))
    z = np.asarray(found.z)
    assert min(z[1], z[3]) > 0.9 and max(z[0], z[2]) < 0.2


def test_the_greedy_is_near_the_best_of_all_levels_and_below_its_bound():
    rng = np.random.default_rng(3)
    for _ in range(5):
        demand, weight = rng.uniform(0.2, 0.8, 4), rng.uniform(0.5, 2.0, 4)
        found = greedy(one_cell(demand, weight))
        grid = np.array(list(itertools.product(np.linspace(0, 1, 21), repeat=4)))
        fits = grid[grid @ demand <= 1.0]
        worth = np.asarray(SHAPE.value(jnp.asarray(fits))) @ weight
        assert float(np.asarray(found.z) @ demand) <= 1.0 + 1e-5
        assert worth.max() <= float(found.bound) * (1 + 1e-4)
        assert float(found.value) <= float(found.bound) * (1 + 1e-4)
        assert float(found.value) >= 0.85 * worth.max()
