"""One window decision for 10,000 users and 1,000 groups: demand by service and cell, reservation, game of groups.

    python benchmarks/window.py [--json FILE] [--quick]

40 cells with 25 services and 10 edge servers; demand is 1.5 (bandwidth), 1.2 (cycles) and 2 (cache) times capacity.
`demand` sums what users ask for by service and cell; `reservation` is the greedy by marginal gain with its relaxed
bound; `game` finds an equilibrium of the groups under the sigmoid and certifies it. Times are medians of repeated calls
after a first one, except where a peer's first call takes over 10 s. Peers: SciPy's HiGHS on the relaxed reservation
as a linear program over the same straight steps; on 100 groups, cvxpy with Clarabel on the relaxed reservation with 400
tangents (it takes minutes for 1,000), and SciPy's SLSQP with analytic derivatives on a concave game's equilibrium, the
maximum of its potential.
`error` is how far the greedy's value lies below the relaxed bound.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import linprog, minimize
from scipy.sparse import csr_matrix
from table import Row, arguments, present

from twinloop.decision import (
    GreedyGain,
    Groups,
    LogGain,
    ResourceGame,
    SigmoidGain,
    demand_distribution,
    game_of,
    majorant_gain,
    reserve_by_gain,
    shared_equilibrium,
    sigmoid_steps,
    variational_equilibrium,
)
from twinloop.decision.reference import solve_surrogate_cvxpy
from twinloop.qoe import SigmoidSatisfaction

SHAPE = SigmoidSatisfaction()
SERVICES = 25
SHORT = (1.5, 1.2, 2.0)


def draw(seed: int, users: int, cells: int) -> tuple[Any, ...]:
    """Demands [MHz, Gcycle/s, GB] of users of 25 services in the cells."""
    rng = np.random.default_rng(seed)
    demand = rng.lognormal(0.0, 0.6, (1, users, 3)) * np.array([1.0, 0.4, 0.02])
    cell, service = rng.integers(0, cells, users), rng.integers(0, SERVICES, users)
    here = jnp.ones(users, bool)
    return jnp.asarray(demand, jnp.float32), jnp.asarray(cell[None], jnp.int32), jnp.asarray(service, jnp.int32), here


def groups_of(total: jax.Array, users: jax.Array, cells: int) -> Groups:
    """The (cell, service) groups as claims on 40 cells and 10 servers that are short of every resource."""
    servers = max(cells // 4, 1)
    cell = jnp.repeat(jnp.arange(cells, dtype=jnp.int32), SERVICES)
    per_z = total.reshape(-1, 3).T
    pool = jnp.stack([cell, cell % servers, cell % servers])
    counts = (cells, servers, servers)
    capacity = [jax.ops.segment_sum(per_z[m], pool[m], counts[m]) / SHORT[m] for m in range(3)]
    none = jnp.zeros_like(per_z)
    level = jnp.zeros(per_z.shape[1])
    return Groups(
        users.reshape(-1), per_z, none, pool, (capacity[0], capacity[1], capacity[2]), jnp.zeros(3), level, level + 1.0
    )


def aggregate(people: tuple[Any, ...], cells: int) -> Groups:
    table = demand_distribution(*people, cells, SERVICES)
    return groups_of(table.mean(), table.users[0], cells)


def reserve(groups: Groups) -> Any:
    surrogate = majorant_gain(SHAPE, groups.low, groups.high)
    return reserve_by_gain(groups, sigmoid_steps(surrogate, GreedyGain().points), SigmoidGain(SHAPE), surrogate)


def compete(groups: Groups) -> Any:
    surrogate = majorant_gain(SHAPE, groups.low, groups.high)
    return shared_equilibrium(game_of(groups, 0.1), SigmoidGain(SHAPE), surrogate)


def decide(people: tuple[Any, ...], cells: int) -> Any:
    groups = aggregate(people, cells)
    return reserve(groups), compete(groups)


def median_s(call: Callable[[], object], repeats: int, *, long: bool = False) -> float:
    """Median time of `call` in seconds, the first run left out; of a `long` peer that one counts if above 10 s."""
    start = time.perf_counter()
    jax.block_until_ready(call())
    first = time.perf_counter() - start
    times: list[float] = []
    while len(times) < repeats and sum(times) < 10.0 and not (long and first > 10.0):
        start = time.perf_counter()
        jax.block_until_ready(call())
        times.append(time.perf_counter() - start)
    return float(np.median(times or [first]))


def highs(groups: Groups) -> float:
    """The relaxed reservation over the straight steps of the greedy, each a variable of a linear program."""
    steps = sigmoid_steps(majorant_gain(SHAPE, groups.low, groups.high), GreedyGain().points)
    level, value = np.asarray(steps.level, np.float64), np.asarray(steps.value, np.float64)
    width, gained = np.diff(level, axis=1), np.diff(value, axis=1)
    each = width.shape[1]
    worth = np.asarray(groups.weight)[:, None] * gained / np.maximum(width, 1e-12)
    row, amount = [], []
    offset = 0
    for m, size in enumerate(groups.capacity):
        row.append(np.repeat(np.asarray(groups.pool[m]) + offset, each))
        amount.append(np.repeat(np.asarray(groups.per_z[m], np.float64), each))
        offset += size.shape[0]
    column = np.tile(np.arange(width.size), 3)
    held = csr_matrix((np.concatenate(amount), (np.concatenate(row), column)), shape=(offset, width.size))
    most = np.concatenate([np.asarray(size) for size in groups.capacity])
    bounds = np.stack([np.zeros(width.size), width.reshape(-1)], axis=1)
    found: Any = linprog(-worth.reshape(-1), A_ub=held, b_ub=most, bounds=bounds, method="highs")
    return -float(found.fun)


def slsqp(game: ResourceGame) -> np.ndarray:
    """The maximum of the potential with log gains under capacity."""
    count, pools = game.worth.shape[0], game.base.shape[0]
    held = np.zeros((pools, count))
    for m in range(game.claim.shape[0]):
        held[np.asarray(game.pool[m]), np.arange(count)] += np.asarray(game.claim[m], np.float64)
    worth, slope, own = (np.asarray(part, np.float64) for part in (game.worth, game.slope, game.own))

    def loss(z: np.ndarray) -> float:
        gained = worth @ np.log1p(5 * z) / np.log(6)
        return -(gained - 0.5 * slope @ (held @ z) ** 2 - 0.5 * own @ z**2)

    def steep(z: np.ndarray) -> np.ndarray:
        return -(worth * 5 / (np.log(6) * (1 + 5 * z)) - held.T @ (slope * (held @ z)) - own * z)

    limit: Any = {"type": "ineq", "fun": lambda z: 1 - held @ z, "jac": lambda z: -held}
    bounds = [(0.0, float(high)) for high in game.high]
    options = {"maxiter": 300, "ftol": 1e-8}
    start = np.full(count, 0.3)
    return minimize(loss, start, jac=steep, bounds=bounds, constraints=[limit], method="SLSQP", options=options).x


def rows_of(quick: bool) -> Iterator[Row]:
    """All rows."""
    users, cells = (2_000, 8) if quick else (10_000, 40)
    repeats = 3 if quick else 15
    people = draw(0, users, cells)
    size = f"{users:,} users, {cells * SERVICES:,} groups"
    whole = jax.jit(decide, static_argnums=1)
    yield Row(f"{size}: whole window decision, ms", median_s(lambda: whole(people, cells), repeats) * 1e3)
    sums, plan, play = jax.jit(aggregate, static_argnums=1), jax.jit(reserve), jax.jit(compete)
    groups = sums(people, cells)
    yield Row(f"{size}: demand by service and cell, ms", median_s(lambda: sums(people, cells), repeats) * 1e3)
    found, ended = plan(groups), play(groups)
    error = 1.0 - float(found.value) / float(found.bound)
    ours = median_s(lambda: plan(groups), repeats)
    name = f"{size}: reservation and its bound, ms, error {error:.1e}"
    peer = median_s(lambda: np.asarray(highs(groups)), 3, long=True)
    yield Row(f"{name}, SciPy HiGHS", ours * 1e3, peer * 1e3, peer / ours)
    label = f"{size}: game, ms, equilibrium gap {float(ended.gap):.0e}"
    yield Row(label, median_s(lambda: play(groups), repeats) * 1e3)
    yield from small_rows(repeats)


def small_rows(repeats: int) -> Iterator[Row]:
    """100 groups: the reservation against Clarabel, the concave game against SLSQP."""
    groups = aggregate(draw(1, 1_000, 4), 4)
    plan = jax.jit(reserve)
    ours = median_s(lambda: plan(groups), repeats)
    majorant = majorant_gain(SHAPE, groups.low, groups.high).majorant
    peer = median_s(lambda: solve_surrogate_cvxpy(groups, majorant)[0], 1, long=True)
    yield Row("100 groups: reservation and its bound, ms, cvxpy + Clarabel", ours * 1e3, peer * 1e3, peer / ours)
    game = game_of(groups, 0.1)
    call = jax.jit(lambda g: variational_equilibrium(g, LogGain()))
    ours = median_s(lambda: call(game), repeats)
    peer = median_s(lambda: slsqp(game), 3, long=True)
    apart = float(np.max(np.abs(np.asarray(call(game).level) - slsqp(game))))
    label = f"100 groups: equilibrium with log gains, ms, SciPy SLSQP (levels {apart:.0e} apart)"
    yield Row(label, ours * 1e3, peer * 1e3, peer / ours)


def main() -> None:
    options = arguments("One window decision for 10,000 users and 1,000 groups.").parse_args()
    present("Window decision", list(rows_of(options.quick)), options.json)


if __name__ == "__main__":
    main()
