from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import Bounds, LinearConstraint, milp

from twinloop.decision.orchestration import pack

PACK = jax.jit(pack, static_argnames="cells")


def draw(seed: int, users: int) -> tuple[np.ndarray, np.ndarray]:
    """Values of four versions and nothing, and whole costs, of which 64 are the budget."""
    rng = np.random.default_rng(seed)
    value = np.sort(rng.uniform(0.0, 1.0, (users, 5)), axis=1)
    cost = np.sort(rng.integers(1, 30, (users, 5)), axis=1).astype(float)
    value[:, 0] = cost[:, 0] = 0.0
    return value, cost


@pytest.mark.parametrize("seed", range(4))
def test_choice_is_as_good_as_the_best_of_all_choices(seed):
    value, cost = draw(seed, 6)
    best = max(
        sum(value[u, j] for u, j in enumerate(choice))
        for choice in product(range(5), repeat=6)
        if sum(cost[u, j] for u, j in enumerate(choice)) <= 64
    )
    packed = PACK(jnp.asarray(value, jnp.float32), jnp.asarray(cost, jnp.float32), jnp.float32(64), cells=64)
    option, users = np.asarray(packed.option), np.arange(6)
    assert value[users, option].sum() == pytest.approx(best, abs=1e-5)
    assert float(packed.value) == pytest.approx(best, abs=1e-5)
    assert cost[users, option].sum() <= 64


def test_choice_for_many_is_as_good_as_the_mixed_integer_programme():
    value, cost = draw(9, 24)
    one_each = LinearConstraint(np.kron(np.eye(24), np.ones(5)), 1, 1)
    budget = LinearConstraint(cost.reshape(1, -1), -np.inf, 64)
    exact = milp(-value.reshape(-1), constraints=[one_each, budget], integrality=np.ones(120), bounds=Bounds(0, 1))
    packed = PACK(jnp.asarray(value, jnp.float32), jnp.asarray(cost, jnp.float32), jnp.float32(64), cells=64)
    assert float(packed.value) == pytest.approx(-exact.fun, abs=1e-4)


def test_costs_between_parts_are_rounded_up_so_that_no_budget_is_exceeded():
    value, cost = draw(2, 6)
    cost = cost * 1.037
    packed = PACK(jnp.asarray(value, jnp.float32), jnp.asarray(cost, jnp.float32), jnp.float32(50), cells=64)
    assert cost[np.arange(6), np.asarray(packed.option)].sum() <= 50 * (1 + 1e-5)


def test_no_budget_is_nothing_for_anybody():
    value, cost = draw(3, 6)
    packed = PACK(jnp.asarray(value, jnp.float32), jnp.asarray(cost, jnp.float32), jnp.float32(0), cells=64)
    assert np.all(np.asarray(packed.option) == 0)
