"""One run of a scenario: built, lived block by block, saved as it goes, interrupted cleanly, resumed exactly."""

import json
import signal
import time
import warnings
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from twinloop import __version__
from twinloop.datasets import LeftOutWarning
from twinloop.errors import OutputError
from twinloop.loop import Loop, LoopState
from twinloop.network import SimulatedNetwork
from twinloop.qoe import Watch
from twinloop.runs.blocks import (
    Compiled,
    World,
    block_length,
    compile_loop,
    emulation_multiply_adds,
    run_key,
    use_persistent_cache,
)
from twinloop.runs.orders import Orders
from twinloop.runs.pacing import Pacing
from twinloop.runs.resources import check
from twinloop.runs.results import directory as files
from twinloop.runs.results.agreements import ela_figures, qoe_figures
from twinloop.runs.results.demands import demand_tables
from twinloop.runs.results.experience import begin_minutes, structures
from twinloop.runs.results.recording import Block, Pace, Totals, tables, window_row
from twinloop.runs.results.retention import retention_table
from twinloop.runs.results.summary import summarise
from twinloop.runs.revising import Revising
from twinloop.runs.upkeep import ViewingUpkeep, ended_views
from twinloop.runs.worth import ByWindow, Worth, begin_unaided, value_summary, value_table
from twinloop.scenario import Scenario, apply_events, build_loop, check_events, dump, event_slots, hazard_class_names
from twinloop.twins import Twins

Progress = Callable[[int, int], None]
_CHECKPOINT_EVERY_S = 10.0
_UPKEEP_SALT = 11


@dataclass(frozen=True)
class RunResult:
    """What a run left. `arrays` maps a truth or trace name to values led by [slots], for users [slots, users].

    `twins` are as they were at the end (`twinloop.twins.export_twin` writes them out), `left_out` says which data
    could not be read. `directory` is None for a run that was not saved; a resumed run holds arrays from where it
    went on, and one without `keep_arrays` holds none.
    """

    scenario: Scenario
    summary: dict[str, Any]
    arrays: Mapping[str, np.ndarray]
    twins: Twins
    directory: Path | None
    interrupted: bool
    left_out: tuple[str, ...] = ()


def run(
    scenario: Scenario,
    *,
    seed: int | None = None,
    duration_s: float | None = None,
    out: Path | str | None = None,
    data: Path | str | None = None,
    resume: bool = False,
    keep_arrays: bool = True,
    progress: Progress | None = None,
    command: str = "",
) -> RunResult:
    """Runs `scenario` and returns its figures and arrays; with `out` everything is saved there as well.

    Arrays take about 200 bytes a user and slot; without `keep_arrays` none are held, however long the run.

    Raises ScenarioError, DataError, ResourceError or OutputError before anything is written.
    """
    if resume and out is None:
        raise OutputError("--resume needs the directory of the interrupted run: give --out")
    changes: dict[str, Any] = {"seed": scenario.seed if seed is None else seed}
    changes["duration"] = scenario.duration if duration_s is None else duration_s
    scenario = scenario.model_copy(update=changes)
    live = _Live.build(scenario, None if data is None else Path(data))
    live.keeps = keep_arrays
    if out is None:
        return live.go_on(None, progress)
    target = Path(out)
    files.prepare(target, resume=resume)
    with files.locked(target):
        if resume:
            live.restore(target)
        else:
            (target / "scenario.yaml").write_text(dump(scenario), encoding="utf-8")
            files.write_json(
                target / "command.json",
                {
                    "command": command,
                    "version": __version__,
                    "jax": jax.__version__,
                    "seed": scenario.seed,
                    "left_out": list(live.left_out),
                },
            )
        return live.go_on(target, progress)


class _Live:
    """A run under way."""

    def __init__(
        self,
        scenario: Scenario,
        data: Path | None,
        loop: Loop[SimulatedNetwork],
        state: LoopState,
        slots: int,
        left_out: tuple[str, ...],
    ) -> None:
        self.scenario = scenario
        self.data = data
        self.loop = loop
        self.world = World(state, begin_unaided(state))
        self.total_slots = slots
        self.left_out = left_out
        self.window_slots = round(scenario.window / loop.slot_s)
        self.pacing = Pacing([scenario], event_slots(scenario))
        self.block_slots = block_length(slots, self.pacing.step_slots)
        self.next_slot = 0
        self.totals = Totals()
        self.windows = ByWindow()
        self.key = run_key(scenario.seed)
        self.wall_s = 0.0
        self.pace = Pace()
        part = scenario.twin.upkeep
        after = jax.random.fold_in(self.key, _UPKEEP_SALT)
        self.upkeep = ViewingUpkeep(part, state.twin.swipes, after, loop.slot_s) if part.enabled else None
        self.looks: list[pa.Table] = []
        felt = state.twin.experience
        self.minutes = None if felt is None else begin_minutes(loop, np.asarray(felt.agreed))
        self.orders = Orders(scenario)
        felt = state.twin.experience
        self.revising = None if felt is None else Revising(self.key, felt)
        self.keeps = True
        self.kept: list[dict[str, np.ndarray]] = []

    @staticmethod
    def build(scenario: Scenario, data: Path | None) -> "_Live":
        """The loop of the scenario in its first slot. Durations are rounded up to whole tens of slots."""
        use_persistent_cache()
        slots = max(10, -(-round(scenario.duration) // 10) * 10)
        check(scenario, block_length(slots, Pacing([scenario], ()).step_slots))
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always", LeftOutWarning)
            loop, state = build_loop(scenario, data)
        check_events(scenario, loop, slots)
        left_out = tuple(str(entry.message) for entry in told if issubclass(entry.category, LeftOutWarning))
        return _Live(scenario, data, loop, state, slots, left_out)

    def restore(self, target: Path) -> None:
        """Goes back to the last checkpoint. Raises OutputError when it belongs to another scenario."""
        if (target / "scenario.yaml").read_text(encoding="utf-8") != dump(self.scenario):
            raise OutputError(
                f"{target} was started with another scenario, seed or duration; give the same to --resume"
            )
        try:
            with (target / files.CHECKPOINT).open("rb") as file:
                saved = json.loads(file.readline())
                kept = (self.world, self._watch(), self.pacing.first_memory(*self._looked_at()))
                self.world, watch, self.pacing.memory = eqx.tree_deserialise_leaves(file, kept)
            self.next_slot, self.wall_s = int(saved["next_slot"]), float(saved["wall_s"])
            self.totals = Totals(saved["sums"], saved["user_satisfaction"], saved["user_slots"])
            self.windows = ByWindow(saved["windows"])
            self.pace = Pace(**saved["pace"])
            self.orders.remember(saved["orders"])
        except KeyError as error:
            raise OutputError(
                f"the checkpoint in {target} lacks {error}: another version of twinloop wrote it; start anew in "
                "another --out"
            ) from error
        except (OSError, RuntimeError, ValueError, EOFError) as error:
            raise OutputError(
                f"the checkpoint in {target} cannot be read ({error}); start anew in another --out"
            ) from error
        self.loop = apply_events(self.scenario, self.loop, before_slot=self.next_slot, left_out=self.orders.left_out)
        files.drop_parts_from(target, self.next_slot // self.block_slots)
        if self.upkeep is not None:
            self.looks = [self.upkeep.observe(part) for part in files.read_parts(target, "views")]
            self.upkeep.served(self.world.state.twin.swipes)
        if self.minutes is not None:
            self.minutes.restore(saved["minute"], files.read_parts(target, "experience"))
        if self.revising is not None:
            self.revising.resume(watch, files.read_parts(target, "revisions"))

    def go_on(self, target: Path | None, progress: Progress | None) -> RunResult:
        """Lives the remaining blocks, or as many as Ctrl-C leaves."""
        compiled = compile_loop(self.loop, self.world, self.key, self.block_slots)
        self.orders.prepare(self.key, self.loop, self.world.state, self.total_slots)
        if self.upkeep is not None:
            self.upkeep.prepare()
        begun, saved = time.perf_counter(), time.perf_counter()
        before_s = self.wall_s
        with _interruption() as interrupted:
            while self.next_slot < self.total_slots and not interrupted():
                self._one_block(compiled, target)
                self.wall_s = before_s + time.perf_counter() - begun
                if progress is not None:
                    progress(self.next_slot, self.total_slots)
                if target is not None and time.perf_counter() - saved > _CHECKPOINT_EVERY_S:
                    self._checkpoint(target)
                    saved = time.perf_counter()
        if self.upkeep is not None:
            self.upkeep.close()
        return self._finish(target, compiled.compile_s)

    def _one_block(self, compiled: Compiled, target: Path | None) -> None:
        begun, first = time.perf_counter(), jnp.int32(self.next_slot)
        self.orders.judge(self.key, self.loop, self.world.state, self.next_slot, self.block_slots)
        self.loop = apply_events(
            self.scenario, self.loop, self.next_slot, self.block_slots, left_out=self.orders.left_out
        )
        verdict: dict[str, np.ndarray] | None = None
        if self.pacing.due(self.next_slot)[0][0]:
            state, values = compiled.decide(self.key, self.loop, self.world.state, first)
            self.world = World(state, self.world.unaided)
            self._revise(target)
            verdict = {name: np.asarray(value) for name, value in values.items()}
            self._tell_demand(target, verdict)
            self.totals.count("window_proposed")
            self.totals.count("window_approved", float(verdict["winner"] >= 0))
        self.world, (truth, trace) = compiled.block(self.key, self.loop, self.world, first)
        self.pacing.observe(*self._looked_at(trace["slice_demand_hz"]))
        block = self._block(jax.device_get(truth), jax.device_get(trace))
        if self.upkeep is not None:
            self._keep_up(self.upkeep, block, target)
        self.totals.add(block)
        if self.revising is not None:
            self.revising.observe(self.next_slot + self.block_slots, self.world.state.twin)
        minutes = self.minutes and self.minutes.add(block, structures(self.world.state))
        if minutes is not None and target is not None:
            files.write_part(target, "experience", self.next_slot // self.block_slots, minutes)
        lasted_s = time.perf_counter() - begun
        self.pace.add(lasted_s, self.block_slots, self.loop.slot_s)
        self.windows.add(
            block,
            self.next_slot // self.window_slots,
            inference_cycles_per_user=self.scenario.twin.inference_cycles_per_user,
            wall_s=lasted_s,
        )
        if self.keeps:
            self.kept.append({**block.truth, **block.trace})
        if target is not None:
            self._save(target, block, verdict)
        self.next_slot += self.block_slots

    def _block(self, truth: Mapping[str, np.ndarray], trace: Mapping[str, np.ndarray]) -> Block:
        topology = self.loop.network.params.topology
        return Block(
            first_slot=self.next_slot,
            slot_s=self.loop.slot_s,
            truth=truth,
            trace=trace,
            user_slice=np.asarray(self.loop.network.params.user_slice),
            cell_bandwidth_hz=np.asarray(topology.cell_bandwidth_hz),
            server_cycles_per_s=np.asarray(topology.server_cycles_per_s),
            policy=self.scenario.policy.allocation,
        )

    def _keep_up(self, upkeep: ViewingUpkeep, block: Block, target: Path | None) -> None:
        plant, part = self.world.state.plant, self.scenario.twin.upkeep
        seconds = self.world.state.twin.swipes.prior.shape[1]
        truth = self.loop.network.params.viewers.hazard[:, :seconds]
        views = ended_views(block, part.look_views, truth, plant.environment.leave_factor)
        looks = upkeep.observe(views)
        counts = upkeep.served(self.world.state.twin.swipes)
        self.world = eqx.tree_at(lambda world: world.state.twin.swipes, self.world, counts)
        self.looks.append(looks)
        if target is not None:
            files.write_part(target, "views", self.next_slot // self.block_slots, views)
            files.write_part(target, "looks", self.next_slot // self.block_slots, looks)

    def _revise(self, target: Path | None) -> None:
        felt = self.world.state.twin.experience
        if self.revising is None or felt is None:
            return
        found = self.revising.examine(self.next_slot, felt)
        if found is not None and target is not None:
            files.write_part(target, "revisions", self.next_slot // self.block_slots, found)

    def _tell_demand(self, target: Path | None, verdict: Mapping[str, np.ndarray]) -> None:
        if target is None:
            return
        active = np.asarray(self.world.state.twin.users.current.active)
        members = np.asarray(self.loop.network.params.user_slice)
        for table, rows in demand_tables(self.next_slot, verdict, active, members).items():
            files.write_part(target, table, self.next_slot // self.block_slots, rows)

    def _looked_at(self, demand_hz: jax.Array | None = None) -> Any:
        """Twins and demand of slices, as one world of several."""
        shape = self.world.state.reservation.bandwidth_hz.shape
        demand = jnp.zeros((self.block_slots, *shape)) if demand_hz is None else demand_hz
        return jax.tree.map(lambda of: of[None], (self.world.state.twin, demand))

    def _watch(self) -> Watch | None:
        return None if self.revising is None else self.revising.watch

    def _save(self, target: Path, block: Block, verdict: dict[str, np.ndarray] | None) -> None:
        number = self.next_slot // self.block_slots
        for table, rows in tables(block).items():
            if table == "decisions" and verdict is not None:
                told = int(block.trace["effect"][min(1, self.block_slots - 1)])
                decision = window_row(self.next_slot, verdict, (self.scenario.policy.reservation,), told)
                rows = pa.concat_tables([decision.cast(rows.schema), rows])
            files.write_part(target, table, number, rows)

    def _checkpoint(self, target: Path) -> None:
        sums: dict[str, Any] = {
            "next_slot": self.next_slot,
            "wall_s": self.wall_s,
            "sums": self.totals.sums,
            "user_satisfaction": self.totals.user_satisfaction,
            "user_slots": self.totals.user_slots,
            "windows": self.windows.sums,
            "pace": vars(self.pace),
            "orders": self.orders.told(),
        }
        if self.minutes is not None:
            sums["minute"] = self.minutes.under_way
        scratch = target / (files.CHECKPOINT + ".new")
        with scratch.open("wb") as file:
            file.write(json.dumps(sums).encode() + b"\n")
            eqx.tree_serialise_leaves(file, (self.world, self._watch(), self.pacing.memory))
        scratch.replace(target / files.CHECKPOINT)
        files.write_json(target / files.PROGRESS, {"next_slot": self.next_slot, "slots": self.total_slots})

    def _finish(self, target: Path | None, compile_s: float) -> RunResult:
        interrupted = self.next_slot < self.total_slots
        policy = f"{self.scenario.policy.reservation}+{self.scenario.policy.allocation}"
        summary = summarise(
            self.totals,
            scenario=self.scenario.name,
            seed=self.scenario.seed,
            policy=policy,
            users=self.scenario.user_count,
            slot_s=self.loop.slot_s,
        )
        summary |= {
            "planned_slots": self.total_slots,
            "interrupted": interrupted,
            "wall_s": self.wall_s,
            "compile_s": compile_s,
            "user_slots_per_s": self.totals.sums.get("user_slots", 0.0) / max(self.wall_s, 1e-9),
            "pace": vars(self.pace),
            "orders": self.orders.told(),
        }
        if self.minutes is not None:
            lived = self.minutes.lived()
            names = [entry.name for entry in self.scenario.slices]
            figures = {"qoe": qoe_figures(lived), "ela": ela_figures(lived, names)}
            summary |= {name: part for name, part in figures.items() if part}
        if self.revising is not None:
            summary["revisions"] = self.revising.told()
        if self.upkeep is not None and self.looks:
            looks = pa.concat_tables(self.looks)
            summary["upkeep"] = self.upkeep.told(self.scenario.drifts, looks, self.next_slot)
        rows = self.windows.rows(self._worth(), emulation_multiply_adds(self.loop, self.world.state))
        summary["twin_value"] = value_summary(rows)
        if target is not None:
            self._leave(target, summary, interrupted, value_table(rows))
        arrays = {name: np.concatenate([b[name] for b in self.kept]) for name in self.kept[0]} if self.kept else {}
        return RunResult(self.scenario, summary, arrays, self.world.state.twin, target, interrupted, self.left_out)

    def _worth(self) -> Worth:
        return Worth(**self.scenario.twin.value.model_dump())

    def _leave(self, target: Path, summary: dict[str, Any], interrupted: bool, value: pa.Table) -> None:
        if interrupted:
            self._checkpoint(target)
        files.merge_parts(target)
        pq.write_table(value, target / "value.parquet")
        if self.upkeep is not None:
            self.upkeep.save(target / "models", {"scenario": self.scenario.name, "seed": self.scenario.seed})
        if (target / "users.parquet").exists():
            names = hazard_class_names(self.scenario, self.data)
            rows = retention_table(self.loop.network.params, names, target / "users.parquet")
            if rows is not None:
                pq.write_table(rows, target / "retention.parquet")
        files.write_json(target / files.SUMMARY, summary)
        if not interrupted:
            files.forget_progress(target)


@contextmanager
def _interruption() -> Generator[Callable[[], bool]]:
    """Within, the first Ctrl-C only raises a flag; a second one interrupts at once."""
    asked = False

    def note(signum: int, frame: Any) -> None:
        nonlocal asked
        asked = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    try:
        previous = signal.signal(signal.SIGINT, note)
    except ValueError:
        yield lambda: False
        return
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, previous)
