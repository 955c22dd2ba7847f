from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import Bounds, LinearConstraint, milp

from twinloop.decision.orchestration import pack

BUDGET, PARTS = np.array([64.0, 12.0]), (64, 12)
PACK = jax.jit(pack, static_argnames="parts")


def draw(seed: int, users: int) -> tuple[np.ndarray, np.ndarray]:
    """Values of four versions and nothing, and whole costs in both resources."""
    rng = np.random.default_rng(seed)
    value = np.sort(rng.uniform(0.0, 1.0, (users, 5)), axis=1)
    cost = np.stack([np.sort(rng.integers(1, 30, (users, 5)), axis=1), rng.integers(0, 6, (users, 5))], axis=2)
    value[:, 0], cost[:, 0] = 0.0, 0
    return value, cost.astype(float)


def packed(value, cost, pool, budget):
    given = (jnp.asarray(value, jnp.float32), jnp.asarray(cost, jnp.float32), jnp.asarray(pool, jnp.int32))
    found = PACK(*given, jnp.asarray(budget, jnp.float32), parts=PARTS)
    return np.asarray(found.option), np.asarray(found.value)


@pytest.mark.parametrize("seed", range(4))
def test_choice_is_as_good_as_the_best_of_all_choices_in_every_pool(seed):
    value, cost = draw(seed, 10)
    pool = np.arange(10) % 2
    option, worth = packed(value, cost, pool, np.stack([BUDGET, BUDGET]))
    for number in range(2):
        mine = np.flatnonzero(pool == number)
        best = max(
            value[mine, choice].sum()
            for choice in product(range(5), repeat=len(mine))
            if np.all(cost[mine, choice].sum(axis=0) <= BUDGET)
        )
        assert value[mine, option[mine]].sum() == pytest.approx(best, abs=1e-5)
        assert worth[number] == pytest.approx(best, abs=1e-5)
        assert np.all(cost[mine, option[mine]].sum(axis=0) <= BUDGET)


def test_choice_for_many_is_as_good_as_the_mixed_integer_programme():
    value, cost = draw(9, 24)
    one_each = LinearConstraint(np.kron(np.eye(24), np.ones(5)), 1, 1)
    budgets = LinearConstraint(cost.reshape(-1, 2).T, -np.inf, BUDGET)
    exact = milp(-value.reshape(-1), constraints=[one_each, budgets], integrality=np.ones(120), bounds=Bounds(0, 1))
    _, worth = packed(value, cost, np.zeros(24), BUDGET[None])
    assert worth[0] == pytest.approx(-exact.fun, abs=1e-4)


def test_costs_between_parts_are_rounded_up_so_that_no_budget_is_exceeded():
    value, cost = draw(2, 6)
    cost = cost * 1.037
    option, _ = packed(value, cost, np.zeros(6), np.array([[50.0, 9.0]]))
    assert np.all(cost[np.arange(6), option].sum(axis=0) <= np.array([50.0, 9.0]) * (1 + 1e-5))


def test_no_budget_is_nothing_for_anybody_who_needs_some():
    value, cost = draw(3, 6)
    option, _ = packed(value, cost, np.zeros(6), np.zeros((1, 2)))
    assert np.all(option == 0)
