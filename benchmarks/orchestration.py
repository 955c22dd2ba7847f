"""User level of groups: prices in JAX against SciPy SLSQP, versions by knapsack against HiGHS, on the same problems.

    python benchmarks/orchestration.py [--json FILE] [--quick]

One problem: the users of 2 pools share bandwidth of which there is half of what all want. `prices` maximises a concave
sum (`Reach`), as for those who mind stalling alone; `versions` gives each user a version or nothing under budgets of
bandwidth and cycles, a knapsack by dynamic programming in 64 x 16 parts, as for those who mind quality. Times are
medians of repeated calls after a first one, from the arrays of one problem to its rates. `error` is how far ours lies
below the better objective, relative to it.
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

from twinloop.decision.allocation.interface import FlowPools
from twinloop.decision.allocation.utility import maximise
from twinloop.decision.orchestration import Reach, pack

POOLS = 2
PARTS = (64, 16)


class Case(NamedTuple):
    """Most weighted utility under matrix r <= held, 0 <= r <= need, in float64 for the host."""

    need: np.ndarray
    weight: np.ndarray
    matrix: np.ndarray
    held: np.ndarray


def draw(seed: int, users: int) -> Case:
    rng = np.random.default_rng(seed)
    efficiency = np.exp(rng.normal(0.8, 0.6, users)).clip(0.2, 7.0)
    need, pool = rng.uniform(0.4, 1.0, users), np.arange(users) % POOLS
    matrix = (pool[None] == np.arange(POOLS)[:, None]) / efficiency[None]
    return Case(need, rng.uniform(0.05, 1.0, users), matrix, 0.5 * matrix @ need)


def on_device(case: Case) -> tuple[FlowPools, jax.Array, jax.Array]:
    users = len(case.need)
    pools = FlowPools(
        served=jnp.ones(users, bool),
        want=jnp.full(users, 9.0),
        need=jnp.ones(users),
        mhz_per_rate=jnp.asarray(case.matrix.sum(axis=0), jnp.float32),
        cycles_per_rate=jnp.zeros(users),
        bandwidth_pool=jnp.arange(users, dtype=jnp.int32) % POOLS,
        cycle_pool=jnp.arange(users, dtype=jnp.int32) % POOLS,
        bandwidth=jnp.asarray(case.held, jnp.float32),
        cycles=jnp.full(POOLS, 1e6),
    )
    return pools, jnp.asarray(case.need, jnp.float32), jnp.asarray(case.weight, jnp.float32)


@jax.jit
def prices(pools: FlowPools, need: jax.Array, weight: jax.Array) -> jax.Array:
    return maximise(Reach(need), pools, weight, jnp.zeros_like(need), need).rate


def value(case: Case, rate: np.ndarray) -> float:
    x = rate / case.need
    return float(np.sum(case.weight * (1.1 * x - 0.1 * x * x)))


def slsqp(case: Case) -> np.ndarray:
    rule = {"type": "ineq", "fun": lambda r: case.held - case.matrix @ r, "jac": lambda r: -case.matrix}
    found = minimize(
        lambda r: -value(case, r),
        0.4 * case.need,
        jac=lambda r: -case.weight * (1.1 - 0.2 * r / case.need) / case.need,
        bounds=list(zip(np.zeros_like(case.need), case.need, strict=True)),
        constraints=[rule],
        method="SLSQP",
        options={"maxiter": 500, "ftol": 1e-9},
    )
    return found.x


def knapsack(seed: int, users: int) -> tuple[np.ndarray, np.ndarray]:
    """Values and whole costs of five options; the budgets are `PARTS`."""
    rng = np.random.default_rng(seed)
    worth = np.sort(rng.uniform(0, 1, (users, 5)), axis=1)
    mhz = np.sort(rng.integers(1, max(2, 4 * PARTS[0] // users), (users, 5)), axis=1)
    cost = np.stack([mhz, rng.integers(0, 3, (users, 5))], axis=2).astype(float)
    worth[:, 0], cost[:, 0] = 0.0, 0.0
    return worth, cost


def highs(worth: np.ndarray, cost: np.ndarray) -> float:
    users, options = worth.shape
    rules = [
        LinearConstraint(np.kron(np.eye(users), np.ones(options)), 1, 1),
        LinearConstraint(cost.reshape(-1, 2).T, -np.inf, PARTS),
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
    given = on_device(case)
    rate, theirs = np.asarray(prices(*given), np.float64), slsqp(case)
    best = max(value(case, rate), value(case, theirs))
    lost = max(best - value(case, rate), 0.0) / best
    ours_s = median_s(partial(prices, *given), repeats)
    peer_s = median_s(partial(slsqp, case), max(repeats // 3, 1))
    worth, cost = knapsack(1, users)
    items = (jnp.asarray(worth, jnp.float32), jnp.asarray(cost, jnp.float32), jnp.zeros(users, jnp.int32))
    packer = partial(jax.jit(partial(pack, parts=PARTS)), *items, jnp.asarray([PARTS], jnp.float32))
    exact = highs(worth, cost)
    gap = max(exact - float(packer().value[0]), 0.0) / exact
    pack_s = median_s(packer, repeats)
    milp_s = median_s(partial(highs, worth, cost), max(repeats // 3, 1))
    return [
        Row(f"{users} users, prices, ms, SciPy SLSQP, error {lost:.0e}", ours_s * 1e3, peer_s * 1e3, peer_s / ours_s),
        Row(f"{users} users, versions, ms, HiGHS, error {gap:.0e}", pack_s * 1e3, milp_s * 1e3, milp_s / pack_s),
    ]


def main() -> None:
    options = arguments("The user level of groups against SLSQP and HiGHS.").parse_args()
    sizes, repeats = ((10, 24), 6) if options.quick else ((10, 24, 200), 30)
    present("Orchestration", [row for users in sizes for row in rows_of(users, repeats)], options.json)


if __name__ == "__main__":
    main()
