"""The one owner of the loop: a thread that runs a slot a second over whatever has arrived, and publishes what came of
it. Nobody else touches device or state; others read the picture or hand in jobs.
"""

import gc
import logging
import math
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Annotated, Any, Protocol, TypeVar, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from twinloop.decision import Appraisal
from twinloop.entities import Action
from twinloop.loop import Guard, Loop, LoopState, guarded_slot
from twinloop.network import LiveNetwork, Receipts
from twinloop.network.formats import Rows
from twinloop.runs import use_persistent_cache
from twinloop.scenario import LANES, SLOT_S, Scenario, build_live, with_members, with_slices
from twinloop.service.correlation import correlation
from twinloop.service.live.inbox import Inbox
from twinloop.service.live.members import Members
from twinloop.service.live.painting import paint
from twinloop.service.live.picture import Picture
from twinloop.service.live.programs import Deciding, compile_deciding, compile_hold
from twinloop.slicing import SliceTable
from twinloop.traces import Trace
from twinloop.twins import Kind, TwinTable
from twinloop.validation import Approved, Verdict

Result = TypeVar("Result")
_Event = tuple[int, float, tuple[Rows, ...]]
Clock = Callable[[], float]

WARM_UP_SLOTS = 20
"""Slots of reports before slices are first decided; *ours*."""

_WINDOW_SALT = 1 << 30
_FORGET_EVERY_SLOTS = 30
_TAKEN_TOGETHER = 20_000
"""Rows that go into an inbox at once: many small events cost little, and few large ones do not fill memory."""
_log = logging.getLogger("twinloop.live")


class Pace(BaseModel):
    """How patient the loop is: a slot's decision must be ready within `deadline_s`; reports older than `stale_s` are
    not decided on; a user who was silent for `forget_s` leaves its row.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    deadline_s: Annotated[float, Field(gt=0, le=1)] = 0.8
    stale_s: Annotated[float, Field(ge=1)] = 10.0
    forget_s: Annotated[float, Field(ge=10)] = 900.0


@dataclass(frozen=True)
class Slot:
    """What one slot was: the picture after it, the trace where it decided, else the reason why it held."""

    picture: Picture
    trace: Trace | None
    held: str
    order: Action
    revision: int


@dataclass(frozen=True)
class Present:
    """The loop as it stood after a slot. Nothing in it ever changes, so what-ifs begin from it without a copy."""

    loop: Loop[LiveNetwork]
    state: LoopState
    picture: Picture


@runtime_checkable
class Watcher(Protocol):
    """Who is told of every slot and of every window's verdict, on the runner's own thread."""

    def receipt(self) -> tuple[int, bool]:
        """Number of the last order that the network is known to follow, and whether what is missing may still come."""
        ...

    def lived(self, slot: Slot) -> None:
        """A slot is over."""
        ...

    def decided(self, picture: Picture, verdict: Verdict, appraisals: tuple[Appraisal, ...]) -> None:
        """A window's verdict is there; nothing stands by it until it is adopted."""
        ...


@dataclass
class Timing:
    """Seconds that parts of the last slot took, by name."""

    last_s: dict[str, float] = field(default_factory=dict[str, float])
    observers: list[Callable[[str, float], None]] = field(default_factory=list[Callable[[str, float], None]])

    def measure(self, part: str, function: Callable[[], Result]) -> Result:
        """The function's result, its duration noted under `part`."""
        begun = time.perf_counter()
        try:
            return function()
        finally:
            self.last_s[part] = time.perf_counter() - begun
            for observe in self.observers:
                observe(part, self.last_s[part])


class Runner:
    """A live loop of `scenario`, paced by `clock` (epoch seconds, which must not jump)."""

    def __init__(self, scenario: Scenario, clock: Clock, pace: Pace | None = None) -> None:
        self.scenario = scenario
        self.clock = clock
        self.pace = pace or Pace()
        self.members = Members(scenario)
        self.timing = Timing()
        self.window_timing = Timing()
        self.watcher: Watcher | None = None
        self.epoch_s = float(math.floor(clock()))
        self.slot = -1
        self.event = 0
        self.loop: Loop[LiveNetwork]
        self.state: LoopState
        self.inboxes: dict[str, Inbox] = {
            kind: Inbox(kind, len(self.members.directory(kind).names)) for kind in ("users", "cells", "servers")
        }
        self.last_heard_s = -math.inf
        self.picture: Picture | None = None
        self.present: Present | None = None
        self.deciding: Deciding | None = None
        self.broken = ""
        self.window_fault = ""
        self._arrived: queue.SimpleQueue[_Event] = queue.SimpleQueue()
        self._jobs: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = queue.SimpleQueue()
        self._planner = ThreadPoolExecutor(1, "window")
        self._planning: Future[Any] | None = None
        self._next_window = 0
        self._known_members = -1
        self._hold: Callable[..., LoopState]
        self._guard: Guard | None = None
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._key = jax.random.key(scenario.seed)

    def prepare(self) -> None:
        """Builds the loop and compiles the safe slot; what decides is compiled beside operation."""
        use_persistent_cache()
        self.loop, self.state = build_live(self.scenario)
        self._hold = compile_hold(self._key, self.loop, self.state)

    def compile_deciding(self) -> None:
        """Compiles what decides, from which slot on slots are whole ones.

        What is there then stays until `stop` and is taken out of Python's collector, which under load would stop
        everything for half a second every few seconds to go through it.
        """
        try:
            deciding = compile_deciding(self._key, self.loop, self.state)
            gc.collect()
            gc.freeze()
            self.deciding, self._guard = deciding, Guard(deciding.slot, self._hold)
        except Exception as error:
            self.broken = f"the loop could not be compiled: {error}"
            _log.exception("the loop could not be compiled; slots mirror and hold")

    def start(self) -> None:
        """Runs until `stop`, in a thread of its own; `prepare` comes first."""
        compiling = threading.Thread(target=self.compile_deciding, name="compile", daemon=True)
        self._threads = [threading.Thread(target=self._run, name="runner", daemon=True), compiling]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ends after the slot under way, and after compiling, which a process cannot outlive without being aborted."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._planner.shutdown(wait=False, cancel_futures=True)
        gc.unfreeze()

    def accept(self, event: int, received_s: float, rows: tuple[Rows, ...]) -> None:
        """Takes in an event that is durable; events come in the order of their numbers."""
        self._arrived.put((event, received_s, rows))

    @property
    def backlog(self) -> int:
        """Events that wait for the next slot."""
        return self._arrived.qsize()

    def ask(self, job: Callable[[], Result]) -> "Future[Result]":
        """Has `job` done on the runner's thread between two slots."""
        future: Future[Result] = Future()
        self._jobs.put((job, future))
        return future

    def slot_of(self, time_s: NDArray[np.float64]) -> NDArray[np.int32]:
        """Slots that times fall into; times before slot 0 count as slot 0."""
        number = np.floor((time_s - self.epoch_s) / self.loop.slot_s)
        return np.clip(number, 0, 2**31 - 2).astype(np.int32)

    @property
    def scenario_slot_s(self) -> float:
        """Length of a slot in s."""
        return SLOT_S

    def renumber(self, number: int) -> None:
        """Goes on numbering orders from `number`; what is in effect stays so."""
        revision = jnp.int32(number)
        pending = self.state.pending
        same = pending.confirmed_revision == pending.revision
        confirmed = jnp.where(same, revision, pending.confirmed_revision)
        self.state = eqx.tree_at(
            lambda s: (s.pending.revision, s.pending.confirmed_revision), self.state, (revision, confirmed)
        )

    def count_on(self, kind: Kind, names: Sequence[str], revisions: NDArray[np.int32]) -> None:
        """Has revisions of twins go on from what was told of them before."""
        there = self.members.slice_names if kind == "slices" else self.members.directory(kind).names
        told = dict(zip(names, revisions.tolist(), strict=True))
        table: TwinTable = getattr(self.state.twin, kind)
        known = np.array([told.get(name, 0) for name in there], np.int32)
        revision = jnp.maximum(table.current.revision, known)
        self.state = eqx.tree_at(lambda s: getattr(s.twin, kind).current.revision, self.state, revision)

    @property
    def stands_on(self) -> Approved:
        """What the loop stands on now."""
        return self.state.standing

    def stand_on(self, deciding: Deciding, approved: Approved) -> int:
        """Stands on what was approved, filled with the flows of now, from the next slot on, if it is still safe; the
        code of `RESULTS`. On the runner's thread.
        """
        self.state, code = deciding.adopt(self.loop, self.state, approved)
        return int(code)

    def change_slices(self, table: SliceTable) -> None:
        """Has other promises hold from the next slot on, and the next window decided at once; the one under way was for
        the old ones. On the runner's thread, or before it runs.
        """
        self.loop = with_slices(self.loop, table)
        self._planning, self._next_window = None, self.slot + 1

    def tick(self, slot: int) -> Slot:
        """Lives one slot."""
        self._do_jobs()
        self.timing.measure("take", self.drain)
        self._join_members()
        self._fill(slot)
        key = jax.random.fold_in(self._key, slot)
        self.slot = slot
        state, trace, held = self.timing.measure("slot", lambda: self._live(key))
        self.state = state
        picture = self.timing.measure("paint", lambda: self._paint(slot))
        self.picture = picture
        self.present = Present(self.loop, state, picture)
        box = state.plant
        lived = Slot(picture, trace, held, jax.device_get(box.order), int(box.revision))
        if self.watcher is not None:
            self.timing.measure("act", lambda: self._tell(lived))
        self._plan(slot)
        if slot % _FORGET_EVERY_SLOTS == 0:
            self._forget(slot)
        return lived

    def drain(self) -> None:
        """Takes what has arrived into the inboxes."""
        waiting = self._arrived.qsize()
        while waiting > 0:
            events: list[_Event] = []
            rows = 0
            while len(events) < waiting and rows < _TAKEN_TOGETHER:
                events.append(self._arrived.get_nowait())
                rows += sum(len(part.ids) for part in events[-1][2])
            waiting -= len(events)
            try:
                self._put_all(events)
            except Exception:
                for event in events:
                    self._put_alone(event)
            self.event = max(self.event, *(event for event, _, _ in events))

    def _put_all(self, events: Sequence[_Event]) -> None:
        for kind in self.inboxes:
            parts = [(part, received_s) for _, received_s, of in events for part in of if part.kind == kind]
            if parts:
                self._put(kind, parts)

    def _put_alone(self, event: _Event) -> None:
        """One that cannot be taken in is left out, and no other with it."""
        try:
            self._put_all([event])
        except Exception:
            _log.exception("event %d could not be taken into the twins", event[0])

    def _run(self) -> None:
        while not self._stop.wait(max(self.epoch_s + (self.slot + 1) * self.loop.slot_s - self.clock(), 0.0)):
            now = math.floor((self.clock() - self.epoch_s) / self.loop.slot_s)
            slot = max(now, self.slot + 1)
            correlation.set(f"slot-{slot}")
            try:
                self.tick(slot)
            except Exception:
                self.slot = slot
                _log.exception("slot %d failed; the network keeps its standing decision", self.slot)

    def _live(self, key: jax.Array) -> tuple[LoopState, Trace | None, str]:
        if self._guard is None:
            held = self.broken or "what decides is still being compiled"
            return self._hold(key, self.loop, self.state), None, held
        return guarded_slot(self._guard, key, self.loop, self.state, self.pace.deadline_s, self.distrust)

    @property
    def distrust(self) -> str:
        """Why nothing may be decided on what the twins know, "" where it may: nothing newer was measured."""
        silent_s = self.clock() - self.last_heard_s
        if silent_s <= self.pace.stale_s:
            return ""
        return "nothing was ever reported" if math.isinf(silent_s) else f"no report in {self.pace.stale_s:g} s"

    def _put(self, kind: str, parts: Sequence[tuple[Rows, float]]) -> None:
        """Puts rows and when they came into an inbox; nothing was measured later than it came, however it is dated."""
        there = self.members.directory(kind)
        known = [there.row(name) for part, _ in parts for name in part.ids]
        row = np.array([-1 if at is None else at for at in known], np.int64)
        time_s = np.concatenate([np.minimum(part.time_s, received_s) for part, received_s in parts])
        value = np.concatenate([part.value for part, _ in parts])
        here = row >= 0
        self.inboxes[kind].put(row[here], value[here], self.slot_of(time_s[here]), time_s[here] - self.epoch_s)
        self.last_heard_s = max(self.last_heard_s, float(time_s.max(initial=-math.inf)))

    def _join_members(self) -> None:
        if self.members.revision == self._known_members:
            return
        with self.members.lock:
            self._known_members = self.members.revision
            user_slice, user_group = jnp.asarray(self.members.user_slice), jnp.asarray(self.members.user_group)
        self.loop = with_members(self.loop, user_slice, user_group)

    def _fill(self, slot: int) -> None:
        newcomers = self.members.newcomers()
        reports = [self.inboxes[kind].take(LANES) for kind in ("users", "cells", "servers")]
        pending = self.state.pending
        taken, patient = self.watcher.receipt() if self.watcher is not None else (int(pending.revision), True)
        newcomers, number, none, taken = jax.device_put((newcomers, np.int32(slot), np.int32(0), np.int32(taken)))
        self.state = eqx.tree_at(
            lambda s: (
                s.plant.slot,
                s.plant.users,
                s.plant.cells,
                s.plant.servers,
                s.plant.newcomers,
                s.plant.receipts,
                s.pending.missed,
            ),
            self.state,
            (
                number,
                *reports,
                newcomers,
                Receipts(taken, none),
                jax.device_put(np.int32(-1)) if patient else pending.missed,
            ),
        )

    def _paint(self, slot: int) -> Picture:
        return paint(self.scenario, self.members, self.loop, self.state, slot, self.epoch_s)

    def _tell(self, lived: Slot) -> None:
        if self.watcher is not None:
            self.watcher.lived(lived)

    def _plan(self, slot: int) -> None:
        """Begins a window's decision where one is due, and passes on the one that is ready."""
        ready = self._planning
        if ready is not None and ready.done():
            self._planning = None
            error = ready.exception()
            self.window_fault = "" if error is None else f"the last window's decision failed: {error}"
            if error is not None:
                _log.error("%s", self.window_fault)
            elif self.distrust:
                _log.warning("a window's decision is dropped: %s", self.distrust)
            elif self.watcher is not None and self.picture is not None:
                _, verdict, appraisals = ready.result()
                self.watcher.decided(self.picture, verdict, appraisals)
        if self._planning is not None and slot >= self._next_window and not self.window_fault:
            self.window_fault = "a window's decision is not ready though the next one is due"
            _log.error("%s; what stands goes on", self.window_fault)
        if self.deciding is None or self.distrust:
            self._next_window = max(self._next_window, slot + (WARM_UP_SLOTS if self.deciding is None else 1))
        elif self._planning is None and slot >= self._next_window:
            self._next_window = slot + round(self.scenario.window / self.loop.slot_s)
            key = jax.random.fold_in(self._key, slot + _WINDOW_SALT)
            window, loop, state = self.deciding.window, self.loop, self.state
            self._planning = self._planner.submit(
                self.window_timing.measure, "window", lambda: window(key, loop, state)
            )

    def _do_jobs(self) -> None:
        for _ in range(self._jobs.qsize()):
            job, future = self._jobs.get_nowait()
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(job())
                except Exception as error:
                    future.set_exception(error)

    def _forget(self, slot: int) -> None:
        """Rows of users who have long been silent are free again."""
        current = self.state.twin.users.current
        last = np.asarray(current.slot).max(axis=1)
        silent = (slot - last) * self.loop.slot_s > self.pace.forget_s
        taken = np.array([bool(name) for name in self.members.users.names])
        for row in self.members.release(np.flatnonzero(silent & taken & ~np.asarray(current.active)).tolist()):
            self.inboxes["users"].forget(row)
