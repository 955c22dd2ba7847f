"""User-level allocation by experience: prices in JAX against SciPy SLSQP, versions against HiGHS, on the same problems.

    python benchmarks/orchestration.py [--json FILE] [--quick]

One problem: users with their own models, agreements, minutes so far, buffers and links share the bandwidth of 2
slices, of which there is half of what keeps all on track. `prices` maximises a concave sum (`Reach`); `versions` gives
each user a version or nothing, a knapsack by dynamic programming in 512 parts. Times are medians of repeated calls
after a first one, from the arrays of one problem to its rates. `error` is how far ours lies below the better objective,
relative to it.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp, minimize
from table import Row, arguments, present

from twinloop.decision import Ladder, Track, allocate_users
from twinloop.decision.allocation.interface import FlowPools
from twinloop.decision.orchestration import Claim, claims, pack
from twinloop.qoe import draw_models

SLICES = 2
CELLS = 512
LADDER = Ladder(jnp.array([0.5e6, 1.0e6, 1.7e6, 3.0e6]), jnp.float32(1.3))


class Case(NamedTuple):
    """Arguments of `allocate_users`."""

    models: object
    track: Track
    ladder: Ladder
    pools: FlowPools
    buffer_s: jax.Array


class Host(NamedTuple):
    """The same problem in float64: most weighted utility under matrix r <= held, least <= r <= most."""

    claim: Claim
    matrix: np.ndarray
    held: np.ndarray


def draw(seed: int, users: int) -> Case:
    rng = np.random.default_rng(seed)

    def row(low: float, high: float) -> jax.Array:
        return jnp.asarray(rng.uniform(low, high, users), jnp.float32)

    models = draw_models(jax.random.key(seed), users)
    zero = jnp.zeros(users)
    track = Track(row(3, 4.8), jnp.float32(3), zero, zero, row(0, 50), row(0, 2), row(0, 1), row(0.8, 1))
    efficiency, buffer_s = np.exp(rng.normal(0.8, 0.6, users)).clip(0.2, 7.0), row(0, 6)
    pool = np.arange(users) % SLICES
    need = np.asarray(claims(models, track, LADDER, buffer_s).need)
    pools = FlowPools(
        served=jnp.ones(users, bool),
        want=jnp.full(users, 9.0),
        need=jnp.ones(users),
        mhz_per_rate=jnp.asarray(1.0 / efficiency, jnp.float32),
        cycles_per_rate=zero,
        bandwidth_pool=jnp.asarray(pool, jnp.int32),
        cycle_pool=jnp.zeros(users, jnp.int32),
        bandwidth=jnp.asarray(0.5 * np.bincount(pool, need / efficiency, SLICES), jnp.float32),
        cycles=jnp.full(1, 1e6),
    )
    return Case(models, track, LADDER, pools, buffer_s)


def on_host(case: Case) -> Host:
    claim = Claim(*(np.asarray(part, np.float64) for part in claims(case.models, case.track, LADDER, case.buffer_s)))
    inside = np.asarray(case.pools.bandwidth_pool)[None] == np.arange(SLICES)[:, None]
    return Host(claim, inside * np.asarray(case.pools.mhz_per_rate, np.float64)[None], np.asarray(case.pools.bandwidth))


def value(host: Host, rate: np.ndarray) -> float:
    x = rate / host.claim.need
    inside = 1.1 * x - 0.1 * x * x
    return float(np.sum(host.claim.weight * np.where(x <= 1, inside, 1 + 0.1 * np.log(np.maximum(x, 1)))))


def slope(host: Host, rate: np.ndarray) -> np.ndarray:
    x = rate / host.claim.need
    return host.claim.weight * np.where(x <= 1, 1.1 - 0.2 * x, 0.1 / np.maximum(x, 1)) / host.claim.need


def slsqp(host: Host) -> np.ndarray:
    bounds = list(zip(host.claim.least, np.maximum(host.claim.most, host.claim.least), strict=True))
    rule = {"type": "ineq", "fun": lambda r: host.held - host.matrix @ r, "jac": lambda r: -host.matrix}
    start = np.maximum(host.claim.least, 0.4 * host.claim.need)
    found = minimize(
        lambda r: -value(host, r),
        start,
        jac=lambda r: -slope(host, r),
        bounds=bounds,
        constraints=[rule],
        method="SLSQP",
        options={"maxiter": 500, "ftol": 1e-9},
    )
    return found.x


def knapsack(seed: int, users: int) -> tuple[np.ndarray, np.ndarray]:
    """Values and whole costs of five options; the budget is 512."""
    rng = np.random.default_rng(seed)
    worth = np.sort(rng.uniform(0, 1, (users, 5)), axis=1)
    cost = np.sort(rng.integers(1, max(2, 4 * CELLS // users), (users, 5)), axis=1).astype(float)
    worth[:, 0] = cost[:, 0] = 0.0
    return worth, cost


def highs(worth: np.ndarray, cost: np.ndarray) -> float:
    users, options = worth.shape
    rules = [
        LinearConstraint(np.kron(np.eye(users), np.ones(options)), 1, 1),
        LinearConstraint(cost.reshape(1, -1), -np.inf, CELLS),
    ]
    found = milp(-worth.reshape(-1), constraints=rules, integrality=np.ones(worth.size), bounds=Bounds(0, 1))
    return -float(found.fun)


def median_s(call: Callable[[], object], repeats: int) -> float:
    jax.block_until_ready(call())
    times: list[float] = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(call())
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def rows_of(users: int, repeats: int) -> list[Row]:
    case = draw(0, users)
    host = on_host(case)
    ours = jax.jit(allocate_users)
    rate, theirs = np.asarray(ours(*case), np.float64), slsqp(host)
    best = max(value(host, rate), value(host, theirs))
    lost = max(best - value(host, rate), 0.0) / best
    ours_s = median_s(partial(ours, *case), repeats)
    peer_s = median_s(partial(slsqp, host), max(repeats // 3, 1))
    worth, cost = knapsack(1, users)
    given = (jnp.asarray(worth, jnp.float32), jnp.asarray(cost, jnp.float32), jnp.float32(CELLS))
    packer = jax.jit(partial(pack, cells=CELLS))
    exact = highs(worth, cost)
    gap = max(exact - float(packer(*given).value), 0.0) / exact
    pack_s = median_s(partial(packer, *given), repeats)
    milp_s = median_s(partial(highs, worth, cost), max(repeats // 3, 1))
    return [
        Row(f"{users} users, prices, ms, SciPy SLSQP, error {lost:.0e}", ours_s * 1e3, peer_s * 1e3, peer_s / ours_s),
        Row(f"{users} users, versions, ms, HiGHS, error {gap:.0e}", pack_s * 1e3, milp_s * 1e3, milp_s / pack_s),
    ]


def main() -> None:
    options = arguments("User allocation by experience against SLSQP and HiGHS.").parse_args()
    sizes, repeats = ((10, 24), 6) if options.quick else ((10, 24, 200), 30)
    present("Orchestration", [row for users in sizes for row in rows_of(users, repeats)], options.json)


if __name__ == "__main__":
    main()
