"""User allocation by prices in JAX against SciPy SLSQP and cvxpy with Clarabel, on the same problems.

    python benchmarks/allocation.py [--json FILE] [--quick]

One problem: maximise sum weight x log quality of users in 2 cells with 3 slices and one edge server, bandwidth and
cycles both scarce, rates capped. `single call` is one problem, from call to result; `batched` many problems in one
call (lax.map), time per problem. All times are medians of repeated calls after a first one, except where a peer's
first call takes more than 10 s.
`error` is how far our objective lies below the best of the three solvers, relative to it. SLSQP runs in a process of
its own and is stopped after 120 s; its ratio is then a lower limit, marked "not finished".
"""

import multiprocessing
import queue
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from table import Row, arguments, present

from twinloop.decision.allocation.interface import FlowPools
from twinloop.decision.allocation.utility import maximise
from twinloop.decision.reference import Problem, allocation_problem, objective, solve_cvxpy, solve_slsqp
from twinloop.qoe import LogQuality

SLICES = 3
SLSQP_LIMIT_S = 120.0


class Case(NamedTuple):
    """Arrays of one problem, or of many with a leading axis."""

    pools: FlowPools
    weight: jax.Array


def draw(seed: int, users: int, cells: int, servers: int) -> Case:
    """Users spread over cells and slices; bandwidth for 70 % and cycles for 80 % of what all want."""
    rng = np.random.default_rng(seed)
    cell, row = rng.integers(0, cells, users), rng.integers(0, SLICES, users)
    server = cell % servers
    efficiency = np.exp(rng.normal(0.8, 0.6, users)).clip(0.2, 7.0)
    need = rng.choice([0.5, 1.0, 1.7, 3.0], users)
    work = np.where(rng.random(users) < 0.5, 400.0, 0.0)
    bandwidth_pool, cycle_pool = cell * SLICES + row, server * SLICES + row
    bandwidth = 0.7 * np.bincount(bandwidth_pool, need / efficiency, cells * SLICES)
    cycles = 0.8 * np.bincount(cycle_pool, need * work, servers * SLICES)

    def real(value: np.ndarray) -> jax.Array:
        return jnp.asarray(value, jnp.float32)

    pools = FlowPools(
        served=jnp.asarray((work == 0) | (cycles[cycle_pool] > 0)),
        want=real(need),
        need=real(need),
        mhz_per_rate=real(1.0 / efficiency),
        cycles_per_rate=real(work),
        bandwidth_pool=jnp.asarray(bandwidth_pool, jnp.int32),
        cycle_pool=jnp.asarray(cycle_pool, jnp.int32),
        bandwidth=real(bandwidth),
        cycles=real(cycles),
    )
    return Case(pools, real(rng.choice([0.5, 1.0, 2.0], users)))


def allocate(case: Case) -> jax.Array:
    """Rates [Mbit/s] of the users of one problem."""
    pools = case.pools
    return maximise(LogQuality(pools.need), pools, case.weight, jnp.zeros_like(pools.want), pools.want).rate


def median_s(call: Callable[[], object], repeats: int) -> float:
    """Median time of `call` in seconds, the first run left out."""
    jax.block_until_ready(call())
    times: list[float] = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(call())
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def reference(case: Case) -> Problem:
    """The same problem for SciPy and cvxpy."""
    pools = case.pools
    return allocation_problem(LogQuality(pools.need), pools, case.weight, np.zeros(case.weight.shape), pools.want)


def timed(solver: Callable[[Problem], np.ndarray], problem: Problem) -> tuple[np.ndarray, float]:
    """A solver's rates and its median time over up to 7 runs after the first, fewer where a run takes long."""
    start = time.perf_counter()
    rate = solver(problem)
    times = [time.perf_counter() - start]
    for _ in range(7):
        if sum(times) > 10.0:
            break
        start = time.perf_counter()
        solver(problem)
        times.append(time.perf_counter() - start)
    return rate, float(np.median(times[1:] or times))


def time_slsqp(problem: Problem, results: Any) -> None:
    results.put(timed(solve_slsqp, problem))


def limited_slsqp(problem: Problem, limit_s: float) -> tuple[np.ndarray | None, float]:
    """SLSQP's rates and its time, measured in a process of its own; None when it has not ended after `limit_s`."""
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    worker = context.Process(target=time_slsqp, args=(problem, results))
    worker.start()
    try:
        return results.get(timeout=limit_s)
    except queue.Empty:
        return None, limit_s
    finally:
        worker.terminate()
        worker.join()


def size_rows(users: int, batch: int, repeats: int) -> list[Row]:
    """Rows of one problem size: a single call and a batch, each against both peers."""
    case = draw(0, users, 2, 1)
    problem = reference(case)
    single = jax.jit(allocate)
    single_s = median_s(lambda: single(case), repeats)
    cases = [draw(seed, users, 2, 1) for seed in range(batch)]
    many = jax.tree.map(lambda *rows: jnp.asarray(np.stack(rows)), *cases)
    batched = jax.jit(lambda problems: jax.lax.map(allocate, problems))
    batched_s = median_s(lambda: batched(many), max(repeats // 4, 3)) / batch
    by_cvxpy, cvxpy_s = timed(solve_cvxpy, problem)
    by_slsqp, slsqp_s = limited_slsqp(problem, SLSQP_LIMIT_S)
    values = {"ours": objective(problem, single(case)), "cvxpy": objective(problem, by_cvxpy)}
    if by_slsqp is not None:
        values["slsqp"] = objective(problem, by_slsqp)
    best = max(values.values())
    error = (best - values["ours"]) / abs(best)
    peers = [("SciPy SLSQP", slsqp_s, by_slsqp is not None), ("cvxpy + Clarabel", cvxpy_s, True)]
    return [
        Row(
            f"{users} users, {mode}, ms, {peer}{'' if ended else ' (not finished)'}, error {max(error, 0.0):.0e}",
            ours_s * 1e3,
            peer_s * 1e3,
            peer_s / ours_s,
        )
        for mode, ours_s in (("single call", single_s), (f"batched x {batch}", batched_s))
        for peer, peer_s, ended in peers
    ]


def scale_row(users: int, cells: int, repeats: int) -> Row:
    """One call over a whole country, a size that neither peer takes."""
    case = draw(1, users, cells, max(cells // 10, 1))
    call = jax.jit(allocate)
    seconds = median_s(lambda: call(case), repeats)
    rate = np.asarray(call(case), np.float64)
    use = np.bincount(np.asarray(case.pools.bandwidth_pool), rate * np.asarray(case.pools.mhz_per_rate), cells * SLICES)
    held = np.asarray(case.pools.bandwidth, np.float64)
    over = float(np.max((use - held) / np.maximum(held, 1e-9)))
    return Row(
        f"{users:,} users over {cells:,} cells, one call, ms (largest relative excess of a pool {over:.0e})",
        seconds * 1e3,
    )


def rows_of(quick: bool) -> Iterator[Row]:
    """All rows."""
    for users, batch in [(24, 256)] if quick else [(24, 2048), (200, 512), (2000, 32)]:
        yield from size_rows(users, batch, 8 if quick else 20)
    yield scale_row(20_000, 200, 3) if quick else scale_row(1_000_000, 10_000, 3)


def main() -> None:
    options = arguments("User allocation against SciPy SLSQP and cvxpy.").parse_args()
    present("User allocation", list(rows_of(options.quick)), options.json)


if __name__ == "__main__":
    main()
