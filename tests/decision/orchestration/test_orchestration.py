import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

from twinloop.decision.allocation.interface import FlowPools
from twinloop.decision.orchestration import Ladder, Reach, Track, allocate_users, allocate_versions, claims, required
from twinloop.qoe import UserModels

USERS = 12
LADDER = Ladder(jnp.array([0.5e6, 1.0e6, 1.7e6, 3.0e6]), jnp.float32(1.3))
PRICES, VERSIONS = jax.jit(allocate_users), jax.jit(allocate_versions)


def models(rule: list[int]) -> UserModels:
    kind = jnp.asarray(rule, jnp.int32)
    return UserModels(
        rule=kind,
        impact=jnp.zeros_like(kind),
        level=jnp.where(kind == 0, 1.0, 0.0),
        stall_weight=jnp.where(kind == 1, 0.0, 0.1),
        quality_weight=jnp.where(kind == 0, 0.0, 1.0),
        kappa_b=jnp.zeros(kind.shape),
        kappa_c=jnp.zeros(kind.shape),
    )


def track(ela: jax.Array, **so_far: float) -> Track:
    zero = jnp.zeros_like(ela)
    given = {name: zero + value for name, value in so_far.items()}
    names = ("done", "experience_sum", "elapsed_s", "stall_s", "quality")
    return Track(ela, jnp.float32(3.0), *(given.get(name, zero) for name in names), zero + 1.0)


def pools(efficiency: np.ndarray, mhz: list[float], work: float = 0.0, cycles: float = 1e6) -> FlowPools:
    users = len(efficiency)
    return FlowPools(
        served=jnp.ones(users, bool),
        want=jnp.full(users, 9.0),
        need=jnp.ones(users),
        mhz_per_rate=jnp.asarray(1.0 / efficiency, jnp.float32),
        cycles_per_rate=jnp.full(users, work),
        bandwidth_pool=jnp.arange(users, dtype=jnp.int32) % len(mhz),
        cycle_pool=jnp.zeros(users, jnp.int32),
        bandwidth=jnp.asarray(mhz, jnp.float32),
        cycles=jnp.full(1, cycles),
    )


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(1)
    people = models([0, 1, 2] * (USERS // 3))
    given = track(jnp.asarray(rng.uniform(3.0, 4.8, USERS), jnp.float32), elapsed_s=20.0, quality=0.4)
    flows = pools(rng.uniform(0.6, 5.0, USERS), [2.5, 3.5])
    return people, given, LADDER, flows, jnp.asarray(rng.uniform(0.0, 6.0, USERS), jnp.float32)


def test_what_is_still_required_closes_the_mean_over_the_three_minutes():
    ela = jnp.array([3.5])
    found = required(models([1]), track(ela, done=1.0, experience_sum=3.0, elapsed_s=30.0, quality=0.2), 0.0)
    q = float(found.quality[0])
    minute = 1.0 + 4.0 * (0.5 * 0.2 + 0.5 * q)
    assert (3.0 + minute + 1.0 + 4.0 * q) / 3.0 == pytest.approx(3.5, abs=1e-4)


def test_who_is_ahead_requires_nothing_and_who_stalled_too_long_is_out_of_reach():
    ahead = required(models([1]), track(jnp.array([3.0]), done=2.0, experience_sum=10.0))
    assert float(ahead.quality[0]) == 0.0
    late = required(models([0]), track(jnp.array([4.8]), elapsed_s=50.0, stall_s=40.0))
    fine = required(models([0]), track(jnp.array([4.8]), elapsed_s=50.0))
    assert float(late.reachable[0]) == 0.0 < float(fine.reachable[0])


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
    people, given, ladder, flows, buffer = problem
    claim = claims(people, given, ladder, buffer)
    rate = np.asarray(PRICES(*problem), np.float64)
    need, weight, least, most = (np.asarray(part, np.float64) for part in claim)
    per_rate, pool = np.asarray(flows.mhz_per_rate, np.float64), np.asarray(flows.bandwidth_pool)
    held = np.asarray(flows.bandwidth, np.float64)

    def worth(r: np.ndarray) -> float:
        x = r / need
        inside = 1.1 * x - 0.1 * x * x
        return float(np.sum(weight * np.where(x <= 1, inside, 1.0 + 0.1 * np.log(np.maximum(x, 1.0)))))

    inside = (pool[None] == np.arange(2)[:, None]) * per_rate[None]
    rule = {"type": "ineq", "fun": lambda r: held - inside @ r, "jac": lambda r: -inside}
    found = minimize(
        lambda r: -worth(r),
        np.maximum(least, 0.3 * need),
        bounds=list(zip(least, np.maximum(most, least), strict=True)),
        constraints=[rule],
        method="SLSQP",
        options={"maxiter": 500, "ftol": 1e-10},
    )
    assert np.all(inside @ rate <= held * (1 + 1e-4))
    assert worth(rate) >= worth(found.x) - 1e-3 * abs(worth(found.x))


def test_cycles_bind_as_bandwidth_does(problem):
    people, given, ladder, flows, buffer = problem
    scarce = pools(1.0 / np.asarray(flows.mhz_per_rate), [2.5, 3.5], work=400.0, cycles=1500.0)
    rate = PRICES(people, given, ladder, scarce, buffer)
    assert float(jnp.sum(rate * scarce.cycles_per_rate)) <= 1500.0 * (1 + 1e-4)


def test_versions_keep_to_every_budget_and_are_whole(problem):
    people, _, _, flows, _ = problem
    rate = np.asarray(VERSIONS(*problem))
    used = np.bincount(np.asarray(flows.bandwidth_pool), rate * np.asarray(flows.mhz_per_rate), 2)
    assert np.all(used <= np.asarray(flows.bandwidth) * (1 + 1e-5))
    minds = np.asarray(people.rule) > 0
    rungs = 1.3 * np.array([0.0, 0.5, 1.0, 1.7, 3.0])
    assert np.all(np.min(np.abs(rate[minds, None] - rungs[None]), axis=1) < 1e-4)


def test_one_budget_goes_to_who_can_still_reach_the_agreement_for_less():
    people, ela, full = models([1] * USERS), jnp.full(USERS, 3.4), jnp.full(USERS, 4.0)
    flows = pools(np.tile([4.0, 4.0, 0.5, 0.5], USERS // 4), [2.4, 2.4])
    rate = np.asarray(PRICES(people, track(ela), LADDER, flows, full))
    need = np.asarray(claims(people, track(ela), LADDER, full).need)
    cheap = np.arange(USERS) % 4 < 2
    assert np.all(rate[cheap] >= 0.99 * need[cheap])
    assert np.all(rate[~cheap] < 0.5 * need[~cheap])


def test_who_minds_stalling_alone_is_kept_steady_and_no_more():
    claim = claims(models([0]), track(jnp.array([4.0])), LADDER, jnp.array([1.0]))
    assert float(claim.most[0]) == float(claim.need[0]) <= 1.0
    assert float(claim.least[0]) == pytest.approx(0.65)
