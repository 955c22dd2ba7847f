import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

from twinloop.decision.allocation.interface import FlowPools
from twinloop.decision.allocation.utility import maximise
from twinloop.decision.orchestration import Reach

USERS = 12


@jax.jit
def rates(flows, need, weight, most):
    return maximise(Reach(need), flows, weight, jnp.zeros_like(need), most).rate


def pools(efficiency, mhz, work=0.0, cycles=1e6):
    users = len(efficiency)
    return FlowPools(
        served=jnp.ones(users, bool),
        want=jnp.full(users, 9.0),
        need=jnp.ones(users),
        mhz_per_rate=jnp.asarray(1.0 / efficiency, jnp.float32),
        cycles_per_rate=jnp.full(users, work),
        bandwidth_pool=jnp.arange(users, dtype=jnp.int32) % len(mhz),
        cycle_pool=jnp.arange(users, dtype=jnp.int32) % len(mhz),
        bandwidth=jnp.asarray(mhz, jnp.float32),
        cycles=jnp.full(len(mhz), cycles),
    )


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(1)
    need, weight = rng.uniform(0.5, 3.0, USERS), rng.uniform(0.05, 1.0, USERS)
    return rng.uniform(0.6, 5.0, USERS), need, weight, np.maximum(need, 1.5)


def on_device(*columns):
    return [jnp.asarray(column, jnp.float32) for column in columns]


def test_utility_is_concave_and_its_inverse_slope_exact():
    utility = Reach(jnp.array([0.8, 2.0, 3.0]))
    for share in (0.2, 0.7, 1.4, 3.0):
        rate = share * utility.need
        np.testing.assert_allclose(utility.rate(utility.slope(rate)), rate, rtol=1e-4)
        step = 1e-3 * utility.need
        measured = (utility.value(rate + step) - utility.value(rate - step)) / (2 * step)
        np.testing.assert_allclose(utility.slope(rate), measured, rtol=2e-2)
    slopes = np.stack([np.asarray(utility.slope(x * utility.need)) for x in np.linspace(0.01, 4.0, 200)])
    assert np.all(np.diff(slopes, axis=0) <= 1e-6)


def test_prices_reach_the_objective_of_slsqp(problem):
    efficiency, need, weight, most = problem
    flows = pools(efficiency, [2.5, 3.5])
    rate = np.asarray(rates(flows, *on_device(need, weight, most)), np.float64)

    def worth(r):
        x = r / need
        inside = 1.1 * x - 0.1 * x * x
        return float(np.sum(weight * np.where(x <= 1, inside, 1.0 + 0.1 * np.log(np.maximum(x, 1.0)))))

    held, pool = np.array([2.5, 3.5]), np.arange(USERS) % 2
    inside = (pool[None] == np.arange(2)[:, None]) / efficiency[None]
    found = minimize(
        lambda r: -worth(r),
        0.3 * need,
        bounds=list(zip(np.zeros(USERS), most, strict=True)),
        constraints=[{"type": "ineq", "fun": lambda r: held - inside @ r, "jac": lambda r: -inside}],
        method="SLSQP",
        options={"maxiter": 500, "ftol": 1e-10},
    )
    assert np.all(inside @ rate <= held * (1 + 1e-4))
    assert worth(rate) >= worth(found.x) - 1e-3 * abs(worth(found.x))


def test_cycles_bind_as_bandwidth_does(problem):
    efficiency, *wishes = problem
    scarce = pools(efficiency, [2.5, 3.5], work=400.0, cycles=700.0)
    used = rates(scarce, *on_device(*wishes)) * scarce.cycles_per_rate
    assert np.all(np.bincount(np.arange(USERS) % 2, used, 2) <= 700.0 * (1 + 1e-4))
