"""The closed loop from end to end: speed, compile time, where a slot's time goes, and what a slot of thousands costs.

    python benchmarks/loop.py [--json FILE] [--quick]

`slots/s` is a run through `twinloop.runs`, kept in memory: blocks of slots, records moved to the host, no files.
Compile times are those of new processes that share a cache folder which is empty at first.

Shares: the inputs of every stage are recorded over one block in the middle of a run; then each stage alone is one
compiled program that maps over its recorded inputs, and the whole slot one that lives the same block; least of many
rounds in which all programs run in turn. Inside the slot the compiler fuses neighbours, and a stage alone has to write
its results out, so the shares sum to 1 only roughly; the sum is a row.
`assimilate` includes retiring and aggregating twins, `validate` the rollouts of every candidate in the judge's
simulator, `emulate` what silence under alarms says, `adapt` what governs collection.

Crowds: the loop of `city` with its populations scaled, emulation and adaptive collection as they are by default, least
of the blocks of five slots after the first two, as a run lives them; again with a trained emulator of the default size
for the users' rate beside the others (random weights: the cost does not depend on them). The goal is ours: 100 ms a
slot for 10,000 users on 2 cores. `cost` rows: time a user at 1,000 users over that at the size of the row; 1 is flat.

Peers, both this loop: the same compiled slot called from Python once a slot, and the same slot run operation by
operation without compilation (one slot, after one that fills JAX's caches).
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from emulation import default_emulator
from table import Row, arguments, present

from twinloop import runs, scenario
from twinloop.collection import collect
from twinloop.decision import Proposal, assemble_action
from twinloop.emulation import within_alarms
from twinloop.enforcement import enforce
from twinloop.learning import save_emulator
from twinloop.loop import SILENT_SLOTS, Loop, LoopState, slot
from twinloop.runs.blocks import Compiled, World, compile_loop, run_key
from twinloop.scenario import Scenario, build_loop
from twinloop.twins import aggregate_slices, assimilate, evidence, retire_silent
from twinloop.validation import validate

BLOCK = 60
STAGES = ("report", "collect", "assimilate", "emulate", "abstract", "propose", "validate", "enforce", "adapt")
CROWDS, GOAL_USERS, GOAL_MS = (1_000, 10_000, 30_000), 10_000, 100.0
CROWD_BLOCK = 5
COMPILED_EVENT = "/jax/core/compile/backend_compile_duration"
COME_AND_GO_P = 0.05
COLD_START = """
import time, sys
begun = time.perf_counter()
from twinloop import runs, scenario
summary = runs.run(scenario.load("campus"), duration_s=60.0).summary
print(summary["compile_s"], time.perf_counter() - begun)
"""


class Taken(NamedTuple):
    """What every stage was given in one slot, by stage, and the state after it."""

    inputs: dict[str, Any]
    after: LoopState


def tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def staged(key: jax.Array, loop: Loop[Any], state: LoopState) -> Taken:
    """`loop.slot` with every stage's inputs kept; ends in the same plant and standing decision."""
    k_report, k_validate, k_enforce = jax.random.split(key, 3)
    stage = stages(loop)
    given: dict[str, Any] = {"report": (k_report, state.plant, state.collection.request)}
    plant, report = stage["report"](*given["report"])
    given["collect"] = (report,)
    seen = stage["collect"](*given["collect"])
    given["assimilate"] = (state.twin, seen, state.forecast, state.standing.action)
    twin = stage["assimilate"](*given["assimilate"])
    given["emulate"] = (state.emulation, twin, report.slot, state.collection.request)
    emulation, forecast = stage["emulate"](*given["emulate"])
    given["abstract"] = (twin, forecast)
    features = stage["abstract"](*given["abstract"])
    given["propose"] = (features, state.reservation, state.allocations)
    proposals, memories = stage["propose"](*given["propose"])
    given["validate"] = (k_validate, twin, forecast, features, proposals, state.standing.action)
    verdict = stage["validate"](*given["validate"])
    given["enforce"] = (k_enforce, plant, verdict.approved, state.pending, report.receipts)
    plant, pending = stage["enforce"](*given["enforce"])
    given["adapt"] = (state.collection, twin, seen, state.forecast)
    collection, _ = stage["adapt"](*given["adapt"])
    approved, reservation = verdict.approved, state.reservation
    after = LoopState(
        plant, collection, twin, emulation, forecast, memories, reservation, state.sensing, approved, pending
    )
    return Taken(given, after)


def stages(loop: Loop[Any]) -> dict[str, Callable[..., Any]]:
    """Every stage of `loop` as a function of what evolves."""

    def propose(features: Any, reservation: Any, memories: Any) -> Any:
        made = [p.allocate(features, reservation, m) for p, m in zip(loop.allocations, memories, strict=True)]
        actions = [assemble_action(reservation, allocation, loop.slices) for allocation, _ in made]
        proposals = tuple(Proposal(action, jnp.int32(index)) for index, action in enumerate(actions))
        return proposals, tuple(memory for _, memory in made)

    def mirror(twins: Any, seen: Any, forecast: Any, standing: Any) -> Any:
        twin = assimilate(twins, seen, forecast, seen.slot)
        twin = eqx.tree_at(lambda t: t.users, twin, retire_silent(twin.users, seen.slot, SILENT_SLOTS))
        believed = loop.abstractor.params
        return aggregate_slices(
            twin,
            believed.user_slice,
            loop.slices,
            standing,
            seen.slot,
            radio=believed.radio,
            cycles_per_bit=believed.edge.cycles_per_bit,
        )

    def emulate(memory: Any, twins: Any, number: Any, asked: Any) -> Any:
        memory, forecast = loop.emulator.emulate(memory, twins, number)
        return memory, within_alarms(forecast, twins, asked.users.alarm, asked.cells.alarm, asked.servers.alarm)

    def adapt(before: Any, twins: Any, seen: Any, forecast: Any) -> Any:
        taught = evidence(twins, seen, forecast)
        return loop.collector.adapt(before, taught, seen.slot), loop.collector.standing(before, taught)

    return {
        "report": loop.network.report,
        "collect": lambda report: loop.control.spoil(collect(report), report.slot),
        "assimilate": mirror,
        "emulate": emulate,
        "abstract": lambda twins, forecast: loop.abstractor.abstract(twins, forecast, loop.slices),
        "propose": propose,
        "validate": lambda key, twins, forecast, features, proposals, standing: validate(
            key, loop.slot_judge, twins, forecast, features, proposals, standing, loop.slices
        ),
        "enforce": lambda key, plant, approved, pending, receipts: enforce(
            key, loop.network, plant, approved, pending, receipts, loop.retries
        ),
        "adapt": adapt,
    }


def median_s(call: Callable[[], object], repeats: int) -> float:
    """Median time of `call`, after it ran once."""
    jax.block_until_ready(call())
    times: list[float] = []
    for _ in range(repeats):
        begun = time.perf_counter()
        jax.block_until_ready(call())
        times.append(time.perf_counter() - begun)
    return statistics.median(times)


def mapped(function: Callable[..., Any], loop: Loop[Any], inputs: Any) -> Callable[[], Any]:
    """`function(loop, input)` over recorded inputs, as one compiled program that waits to be called."""

    @eqx.filter_jit
    def over_all(loop: Loop[Any], inputs: Any) -> Any:
        return jax.lax.map(lambda entry: function(loop, entry), inputs)

    return lambda: over_all(loop, inputs)


def least_s(programs: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Least time of each program over some rounds in which all are called in turn, after each ran once."""
    for name, call in programs.items():
        tell(f"compiling {name}")
        jax.block_until_ready(call())
    least = dict.fromkeys(programs, float("inf"))
    for _ in range(rounds):
        for name, call in programs.items():
            begun = time.perf_counter()
            jax.block_until_ready(call())
            least[name] = min(least[name], time.perf_counter() - begun)
    return least


class MidRun(NamedTuple):
    """A loop two blocks of `slots` into its run, and its programs."""

    key: jax.Array
    loop: Loop[Any]
    state: LoopState
    compiled: Compiled
    slots: int


def mid_run(described: Scenario, slots: int = BLOCK) -> MidRun:
    loop, state = build_loop(described)
    key = run_key(described.seed)
    compiled = compile_loop(loop, World(state, None), key, slots)
    world, _ = compiled.block(key, loop, World(state, None), jnp.int32(0))
    state, _ = compiled.window(key, loop, world.state, jnp.int32(slots))
    world, _ = compiled.block(key, loop, World(state, None), jnp.int32(slots))
    return MidRun(key, loop, world.state, compiled, slots)


def stage_rows(world: MidRun, repeats: int) -> Iterator[Row]:
    """Shares of the stages, of the whole slot measured alike; checks first that the stages make up the slot."""
    key, loop, state, _, slots = world

    @eqx.filter_jit
    def record(key: jax.Array, loop: Loop[Any], state: LoopState) -> Any:
        def live(before: LoopState, number: jax.Array) -> Any:
            taken = staged(jax.random.fold_in(key, number), loop, before)
            return taken.after, taken.inputs

        return jax.lax.scan(live, state, 2 * slots + jnp.arange(slots, dtype=jnp.int32))

    tell("recording what every stage is given")
    last, given = record(key, loop, state)
    now, _ = world.compiled.block(key, loop, World(state, None), jnp.int32(2 * slots))
    if not np.allclose(now.state.standing.action.flow_bandwidth_hz, last.standing.action.flow_bandwidth_hz, rtol=1e-3):
        raise RuntimeError("the stages measured here are no longer those of twinloop.loop.slot; adapt `staged`")

    @eqx.filter_jit
    def whole(key: jax.Array, loop: Loop[Any], state: LoopState) -> Any:
        def live(before: LoopState, number: jax.Array) -> Any:
            after, _, trace = slot(jax.random.fold_in(key, number), loop, before)
            return after, trace

        return jax.lax.scan(live, state, 2 * slots + jnp.arange(slots, dtype=jnp.int32))

    programs = {
        name: mapped(lambda lp, entry, name=name: stages(lp)[name](*entry), loop, given[name]) for name in STAGES
    }
    took = least_s(programs | {"slot": lambda: whole(key, loop, state)}, 4 * repeats)
    yield Row("one slot of the loop: ms", took["slot"] / slots * 1e3)
    total = sum(took[name] for name in STAGES) / took["slot"]
    for name in STAGES:
        yield Row(f"  share of the slot: {name}", took[name] / took["slot"])
    yield Row("  sum of the shares", total)


def speed_rows(described: Scenario, duration_s: float) -> Iterator[Row]:
    """A run through twinloop.runs."""
    tell(f"running {described.name} for {duration_s:g} s of its time")
    summary = runs.run(described, duration_s=duration_s).summary
    rate = summary["slots"] / summary["wall_s"]
    yield Row(f"{described.name}, {described.user_count} users: slots/s", rate)
    yield Row(f"{described.name}: user-slots/s", summary["user_slots_per_s"])


def compile_rows() -> Iterator[Row]:
    """Compile time in new processes that share one cache folder."""
    with tempfile.TemporaryDirectory() as folder:
        took: list[tuple[float, float]] = []
        for what in ("an empty", "a filled"):
            tell(f"starting a process with {what} cache")
            environment = os.environ | {"TWINLOOP_CACHE": folder}
            environment.pop("JAX_COMPILATION_CACHE_DIR", None)
            done = subprocess.run(
                [sys.executable, "-c", COLD_START], env=environment, capture_output=True, text=True, check=True
            )
            compile_s, process_s = map(float, done.stdout.split())
            took.append((compile_s, process_s))
    (cold, cold_all), (warm, warm_all) = took
    yield Row("trace and compile, against the first time: s", warm, cold, cold / warm)
    yield Row(
        "process with import, build and 60 slots, against the first time: s", warm_all, cold_all, cold_all / warm_all
    )


def compilation_rows(described: Scenario, duration_s: float) -> Iterator[Row]:
    """Programs compiled in a run in which nobody comes or goes, and in one in which many do."""
    compiled: list[float] = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, duration, **_: compiled.append(duration) if event == COMPILED_EVENT else None
    )
    counts: list[int] = []
    changes: list[int] = []
    for chance in (COME_AND_GO_P, 0.0, COME_AND_GO_P):
        tell(f"counting compilations, chance {chance:g} to come or go in a slot")
        viewing = described.viewing.model_copy(update={"session_on_p": chance, "session_off_p": chance})
        compiled.clear()
        result = runs.run(described.model_copy(update={"viewing": viewing}), duration_s=duration_s)
        counts.append(len(compiled))
        changes.append(int(np.sum(result.arrays["active"][1:] != result.arrays["active"][:-1])))
    if counts[1] != counts[2]:
        tell("the number of compilations depends on people who come and go")
    what = f"compilations of a run with {changes[2]:,} joins and leaves, against one with {changes[1]:,}"
    yield Row(what, counts[2], counts[1], counts[1] / counts[2])


def peer_rows(world: MidRun, repeats: int) -> Iterator[Row]:
    """The compiled block against the same slot without scan, and without compilation."""
    key, loop, state, compiled, _ = world
    tell("timing a block, and its slots one by one")
    ours = BLOCK / median_s(lambda: compiled.block(key, loop, World(state, None), jnp.int32(2 * BLOCK)), repeats)
    single = eqx.filter_jit(slot)

    def one_by_one() -> LoopState:
        now = state
        for number in range(BLOCK):
            now, _, _ = single(jax.random.fold_in(key, 2 * BLOCK + number), loop, now)
        return now

    peer = BLOCK / median_s(one_by_one, repeats)
    yield Row(
        "block of 60 slots with its records and bound, against slots called one by one: slots/s",
        ours,
        peer,
        ours / peer,
    )
    tell("running two slots operation by operation")
    with jax.disable_jit():
        for number in range(2):
            begun = time.perf_counter()
            jax.block_until_ready(slot(jax.random.fold_in(key, number), loop, state)[0])
            took = time.perf_counter() - begun
    yield Row("block of 60 slots, against operation by operation: slots/s", ours, 1.0 / took, ours * took)


def crowd(users: int, trained: str | None = None) -> Scenario:
    """`city` with its populations scaled to `users` people."""
    described = scenario.load("city")
    share = users / described.user_count
    people = [part.model_copy(update={"count": round(part.count * share)}) for part in described.users]
    twin = described.twin.model_copy(update={"trained_emulator": trained})
    return described.model_copy(update={"users": people, "twin": twin})


def crowd_ms(world: MidRun, blocks: int) -> float:
    """Least time of a slot over some blocks that follow each other."""
    now, took = World(world.state, None), float("inf")
    for number in range(2, blocks + 2):
        begun = time.perf_counter()
        now, records = world.compiled.block(world.key, world.loop, now, jnp.int32(number * world.slots))
        jax.block_until_ready((now, records))
        took = min(took, time.perf_counter() - begun)
    return took / world.slots * 1e3


def crowd_rows(sizes: tuple[int, ...], blocks: int) -> Iterator[Row]:
    """A slot of thousands of people: by size, by stage at the size of the goal, and with a trained emulator."""
    cost: dict[int, float] = {}
    for users in sizes:
        tell(f"city with {users:,} users")
        world = mid_run(crowd(users), CROWD_BLOCK)
        cost[users] = crowd_ms(world, blocks)
        yield Row(f"city, {users:,} users: ms a slot", cost[users])
        yield Row("  trace and compile: s", world.compiled.compile_s)
        if users == GOAL_USERS or users == sizes[-1] < GOAL_USERS:
            yield from against_goal(users, cost[users])
            yield from stage_rows(world, max(blocks // 4, 1))
        if users != sizes[0]:
            ratio = cost[sizes[0]] / sizes[0] * users / cost[users]
            micro = cost[users] / users * 1e3
            yield Row(f"  cost: µs a user at {users:,} users against {sizes[0]:,}", micro, micro * ratio, ratio)
        jax.clear_caches()
    users = GOAL_USERS if GOAL_USERS in sizes else sizes[-1]
    with tempfile.TemporaryDirectory() as folder:
        tell(f"city with {users:,} users and a trained emulator")
        took = crowd_ms(mid_run(crowd(users, random_emulator(Path(folder))), CROWD_BLOCK), blocks)
    yield Row(f"city, {users:,} users with a trained emulator: ms a slot", took)
    yield from against_goal(users, took)


def against_goal(users: int, took_ms: float) -> Iterator[Row]:
    if users == GOAL_USERS:
        yield Row("  against the goal", took_ms, f"goal {GOAL_MS:g}", GOAL_MS / took_ms)


def random_emulator(folder: Path) -> str:
    """A saved emulator of the users' rate, as `twinloop train emulator` leaves it, but for what it has learned."""
    path = folder / "rate.safetensors"
    covariates = ["rsrp_dbm", "sinr_db", "speed_mps", "buffer_s", "watch_s", "quality", "cell_change"]
    about = {"attribute": "rate_bps", "unit": "bit/s", "covariates": covariates, "step_s": 1.0}
    save_emulator(path, default_emulator(jax.random.key(0), len(covariates)), about)
    return str(path)


def rows_of(quick: bool) -> Iterator[Row]:
    """All rows."""
    described = scenario.load("campus")
    # before any run, which would have compiled programs kept on disk
    crowds = list(crowd_rows((200, 400) if quick else CROWDS, 2 if quick else 8))
    yield from speed_rows(described, 120.0 if quick else 1800.0)
    world, repeats = mid_run(described), 3 if quick else 9
    yield from stage_rows(world, repeats)
    yield from peer_rows(world, repeats)
    yield from compilation_rows(described, 60.0 if quick else 180.0)
    yield from compile_rows()
    yield from crowds


def main() -> None:
    options = arguments("The closed loop: speed, stages, compilation, crowds.").parse_args()
    present("Closed loop", list(rows_of(options.quick)), options.json)


if __name__ == "__main__":
    main()
