"""What a server keeps of its twins: snapshots to start from again, and frames of history, finer for the recent past."""

import hashlib
import json
import logging
import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from operator import attrgetter
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from twinloop.entities import column
from twinloop.errors import FormatError, StorageError, TwinloopError
from twinloop.network.formats import unpack
from twinloop.scenario import Scenario
from twinloop.service.live import (
    KIND_OF,
    Captured,
    Frame,
    Moment,
    Picture,
    Runner,
    Series,
    capture,
    group_names,
    pack,
    read_frame,
    restore,
    write_frame,
)
from twinloop.storage import Frame as StoredFrame
from twinloop.storage import Retention, Storage
from twinloop.twins import ATTRIBUTES, Kind

_log = logging.getLogger("twinloop.keeping")
_REPLAY_EVENTS = 500
_READ_FRAMES = 128
_SWEEP_EVERY_S = 60.0
_SAVING_SHARE = 0.1
"""Of the time at most so much is spent on snapshots, however large they are."""
_MOST_FRAMES_WAITING = 12
"""Slots whose history may wait to be kept; further ones are left out, and counted, until it is."""


class Tier(BaseModel):
    """Frames every `step_s`, kept for `keep_s`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    step_s: Annotated[float, Field(ge=1)]
    keep_s: Annotated[float, Field(ge=60)]


TIERS = (Tier(step_s=1.0, keep_s=900.0), Tier(step_s=10.0, keep_s=6 * 3600.0), Tier(step_s=60.0, keep_s=14 * 86_400.0))


class KeepingSettings(BaseModel):
    """How much is kept: a snapshot every `snapshot_every_s`; history in `tiers`, finer ones first; events that two
    snapshots cover for `events_s` and up to `events_bytes`; refused rows; the audit log for `log_s`; the newest
    `decisions`, and as many orders of slices.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    snapshot_every_s: Annotated[float, Field(ge=1)] = 30.0
    tiers: Annotated[tuple[Tier, ...], Field(min_length=1, max_length=8)] = TIERS
    events_s: Annotated[float, Field(ge=0)] = 86_400.0
    events_bytes: Annotated[int, Field(ge=0)] = 4 * 1024**3
    refusals: Annotated[int, Field(ge=0)] = 100_000
    log_s: Annotated[float, Field(ge=86_400)] = 365 * 86_400.0
    decisions: Annotated[int, Field(ge=1000)] = 100_000

    @model_validator(mode="after")
    def _ordered(self) -> "KeepingSettings":
        steps, reaches = ([getattr(tier, name) for tier in self.tiers] for name in ("step_s", "keep_s"))
        if sorted(set(steps)) != steps or sorted(set(reaches)) != reaches:
            raise ValueError("tiers must go from fine to coarse: each with a longer step_s and a longer keep_s")
        return self


@dataclass(frozen=True)
class Recovered:
    """What a start found: the slot of the snapshot (-1 for none), and events replayed after it."""

    slot: int
    events: int


class Keeper:
    """Saves and recovers a runner. `lived` and `recover` run on the runner's thread or before it; what takes long is
    done on threads of its own. Of the `endless` collections of records the newest stay.
    """

    def __init__(
        self,
        runner: Runner,
        storage: Storage,
        clock: Callable[[], float],
        settings: KeepingSettings,
        endless: Sequence[str] = (),
    ) -> None:
        self.failures = 0
        self.saved_event = 0
        self.saved_s: float | None = None
        self._runner = runner
        self._storage = storage
        self._clock = clock
        self._settings = settings
        self._endless = endless
        self._tiers = settings.tiers
        self._name = fingerprint(runner.scenario)
        self._saved_from_s = clock()
        self._soon = False
        self._sweep_s = clock() + _SWEEP_EVERY_S
        self._pause_s = settings.snapshot_every_s
        self._framed: dict[int, int] = {}
        self._framing: deque[Future[None]] = deque()
        self._worker = ThreadPoolExecutor(1, "keeper")
        self._framer = ThreadPoolExecutor(1, "frames")
        self._saving: Future[None] | None = None

    def check(self) -> None:
        """Begins a new storage, or finds that it belongs to this scenario; TwinloopError where it does not."""
        settings = self._storage.settings
        kept = settings.keep("scenario", self._name).result()
        if kept != self._name:
            raise TwinloopError(
                "the database was begun with another scenario (other cells, slices, groups or room for users), "
                "whose twins do not fit; give that scenario, or another --database"
            )
        self._runner.epoch_s = float(settings.keep("epoch_s", repr(self._runner.epoch_s)).result())

    def read_ahead(self) -> None:
        """Begins to read what `recover` needs, while other things are prepared."""
        self._newest = self._worker.submit(self._storage.snapshots.latest)

    def recover(self) -> Recovered:
        """Brings a prepared runner to where the storage stands: the newest snapshot, then every event after it;
        `read_ahead` comes first. Raises SnapshotError or StorageError where it cannot be.
        """
        runner = self._runner
        snapshot = self._newest.result()
        del self._newest
        if snapshot is not None:
            restore(runner, snapshot.blob, self._name)
        saved_slot, replayed = runner.slot, self._replay()
        self._count_on()
        now, slot_s = self._clock(), runner.loop.slot_s
        if now < runner.epoch_s + (runner.slot + 1) * slot_s:
            _log.warning("the clock stands before the last slot; slots go on counting from it")
            behind_s = runner.epoch_s - (now - (runner.slot + 1) * slot_s)
            runner.epoch_s -= behind_s
            runner.last_heard_s -= behind_s
            self._save(capture(runner), now)
        slot = int((now - runner.epoch_s) / slot_s)
        runner.renumber(max(int(runner.state.pending.revision), slot))
        return Recovered(saved_slot, replayed)

    def lived(self, picture: Picture) -> None:
        """After a slot: frames where a tier's step is over, a snapshot where it is time, and what is old goes."""
        self._frames(picture)
        now = self._clock()
        due = self._soon or now >= self._saved_from_s + self._pause_s
        if due and (self._saving is None or self._saving.done()):
            self._saved_from_s, self._soon = now, False
            self._saving = self._worker.submit(self._save, capture(self._runner), now)
        if now >= self._sweep_s:
            self._sweep_s = now + _SWEEP_EVERY_S
            self._worker.submit(self._sweep, now)

    def save_soon(self) -> None:
        """Has the next slot kept as a snapshot: what stands has changed."""
        self._soon = True

    def close(self) -> None:
        """Saves once more, and waits until all is kept."""
        if self._runner.slot >= 0:
            self._worker.submit(self._save, capture(self._runner), self._clock())
        self.wait()
        for worker in (self._framer, self._worker):
            worker.shutdown(wait=True)

    def wait(self) -> None:
        """Returns once the history of every slot so far is kept."""
        for framing in tuple(self._framing):
            framing.result()

    def series(self, kind: str, name: str, attribute: str, from_s: float, to_s: float, step_s: float) -> Series:
        """See `HistoryPort`."""
        table = table_of(kind)
        at = column(ATTRIBUTES[table], attribute)
        steps = max(int(np.ceil((to_s - from_s) / step_s)), 0)
        total, count = np.zeros(steps), np.zeros(steps)
        for time_s, frame in self._between(table, from_s, to_s):
            place = int((time_s - from_s) // step_s)
            if name in frame.ids and 0 <= place < steps:
                value = frame.value[frame.ids.index(name), at]
                known = np.isfinite(value)
                total[place] += value if known else 0.0
                count[place] += known
        mean = np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)
        return Series(np.asarray(from_s + step_s * np.arange(steps), np.float64), mean)

    def at(self, kind: str, time_s: float) -> tuple[float, Frame] | None:
        """The newest frame of a kind at or before a time, with its own time; None where history does not reach."""
        table = table_of(kind)
        slot = int((time_s - self._runner.epoch_s) // self._runner.scenario_slot_s)
        found = self._storage.frames.at(table, slot)
        if found is None:
            return None
        return self._time_s(found.slot), read_frame(found.blob, len(ATTRIBUTES[table]))

    def moment(self, kind: str, name: str, time_s: float) -> Moment | None:
        """What a twin knew in the newest frame at or before a time; None where there is no frame, or no such twin in
        it. Raises KeyError for an unknown kind.
        """
        found = self.at(kind, time_s)
        if found is None or name not in found[1].ids:
            return None
        framed_s, frame = found
        row = frame.ids.index(name)
        return Moment(framed_s, int(frame.revision[row]), frame.slot[row], frame.value[row])

    def revised(
        self, kind: str, name: str, revision: int, revision_of: Callable[[Moment], int] = attrgetter("revision")
    ) -> tuple[Moment | None, Moment | None]:
        """What a twin knew in the newest frame with at most this revision, and in the next frame; None where there is
        none. Frames are far apart, so most revisions of a busy twin are in none. `revision_of` counts as who asks does.
        """
        slot_s = self._runner.scenario_slot_s

        def at(slot: int) -> Moment | None:
            return self.moment(kind, name, self._time_s(slot) + slot_s / 2)

        first, beyond = -1, self._runner.slot + 1
        while beyond - first > 1:
            middle = (first + beyond) // 2
            found = at(middle)
            if found is None or revision_of(found) <= revision:
                first = middle
            else:
                beyond = middle
        later = at(beyond) if beyond <= self._runner.slot else None
        return at(first) if first >= 0 else None, later

    @property
    def reaches_s(self) -> float:
        """The time that history reaches back to at most, epoch seconds."""
        return max(self._runner.epoch_s, self._clock() - max(tier.keep_s for tier in self._tiers))

    def step_s(self, time_s: float) -> float:
        """Seconds between the frames that are kept of a time: means over shorter steps are unknown in between."""
        return self._tiers[self._tier_of(time_s, self._clock())].step_s

    def _tier_of(self, time_s: float, now_s: float) -> int:
        """The finest tier that reaches back to a time; one step longer than it is kept, for the clock goes on while
        somebody asks. The coarsest for what is older than all.
        """
        age_s = now_s - time_s
        reaching = (number for number, tier in enumerate(self._tiers) if age_s <= tier.keep_s + tier.step_s)
        return next(reaching, len(self._tiers) - 1)

    def _between(self, table: Kind, from_s: float, to_s: float) -> Iterator[tuple[float, Frame]]:
        """Frames with their times, read a few at a time: each stretch from the finest tier that still has it."""
        now_s, slot_s, epoch_s = self._clock(), self._runner.scenario_slot_s, self._runner.epoch_s
        begin, last = (int((time_s - epoch_s) // slot_s) for time_s in (from_s, to_s))
        begin, end = max(begin, 0), min(last, self._runner.slot) + 1
        for tier in range(self._tier_of(from_s, now_s), -1, -1):
            finer_s = now_s - self._tiers[tier - 1].keep_s - self._tiers[tier - 1].step_s
            until = min(max(math.ceil((finer_s - epoch_s) / slot_s), begin), end) if tier else end
            for one in self._frames_of(table, tier, begin, until):
                yield self._time_s(one.slot), read_frame(one.blob, len(ATTRIBUTES[table]))
            begin = until

    def _frames_of(self, table: Kind, tier: int, begin: int, end: int) -> Iterator[StoredFrame]:
        """Frames of a tier of the slots in [begin, end)."""
        stride = max(round(self._tiers[tier].step_s / self._runner.scenario_slot_s), 1) * _READ_FRAMES
        for first in range(begin, end, stride):
            yield from self._storage.frames.between(table, tier, first, min(first + stride, end))

    def _time_s(self, slot: int) -> float:
        return self._runner.epoch_s + slot * self._runner.scenario_slot_s

    def _replay(self) -> int:
        runner, count, last = self._runner, 0, self._runner.event
        while events := self._storage.events.after(last, _REPLAY_EVENTS):
            for event in events:
                try:
                    rows = unpack(event.payload)
                except FormatError as error:
                    raise StorageError(f"event {event.id} of the database: {error}; restore a backup") from None
                runner.members.join(rows)
                runner.accept(event.id, event.received_s, rows)
            runner.drain()
            last = events[-1].id
            count += len(events)
        return count

    def _count_on(self) -> None:
        """Slots and revisions that were told after the snapshot are not told again: frames know of them."""
        newest = self._storage.frames.newest_slot()
        if newest is None or newest <= self._runner.slot:
            return
        self._runner.slot = newest
        for kind, attributes in ATTRIBUTES.items():
            stored = self._storage.frames.at(kind, newest)
            if stored is not None:
                frame = read_frame(stored.blob, len(attributes))
                self._runner.count_on(kind, frame.ids, frame.revision)

    def _frames(self, picture: Picture) -> None:
        due: list[tuple[int, int]] = []
        for number, tier in enumerate(self._tiers):
            step = int(picture.slot * picture.slot_s / tier.step_s)
            if self._framed.get(number) != step:
                due.append((number, step))
        while self._framing and self._framing[0].done():
            self._framing.popleft()
        if due and len(self._framing) < _MOST_FRAMES_WAITING:
            self._framed |= dict(due)
            self._framing.append(self._framer.submit(self._frame, picture, [number for number, _ in due]))
        elif due:
            self.failures += 1

    def _frame(self, picture: Picture, tiers: Sequence[int]) -> None:
        def keep() -> None:
            frames: list[StoredFrame] = []
            for kind in KIND_OF.values():
                blob = write_frame(picture.of(kind))
                frames += [StoredFrame(kind, tier, picture.slot, blob) for tier in tiers]
            self._storage.frames.save(frames).result()

        self._keep("history could not be kept", keep)

    def _save(self, captured: Captured, now_s: float) -> None:
        def keep() -> None:
            blob = pack(captured, self._name)
            self._storage.snapshots.save(captured.slot, captured.event, now_s, blob)
            self.saved_event, self.saved_s = captured.event, now_s
            self._pause_s = max(self._settings.snapshot_every_s, (time.monotonic() - began) / _SAVING_SHARE)

        began = time.monotonic()
        self._keep("a snapshot could not be kept", keep)

    def _keep(self, failed: str, keep: Callable[[], object]) -> None:
        try:
            keep()
        except Exception as error:
            self.failures += 1
            _log.error("%s: %s", failed, error, exc_info=not isinstance(error, TwinloopError))

    def _sweep(self, now_s: float) -> None:
        slot_s = self._runner.scenario_slot_s
        reach = {number: int(tier.keep_s / slot_s) for number, tier in enumerate(self._tiers)}
        kept = self._settings
        records = dict.fromkeys(self._endless, kept.decisions)
        limits = Retention(reach, kept.events_s, kept.events_bytes, kept.refusals, kept.log_s, records)
        self._keep("what is old could not be removed", lambda: self._storage.sweep(limits, now_s))


def table_of(kind: str) -> Kind:
    """The table of a kind by either noun. Raises KeyError."""
    table = KIND_OF.get(kind, kind)
    for known in ATTRIBUTES:
        if table == known:
            return known
    raise KeyError(kind)


def fingerprint(scenario: Scenario) -> str:
    """What must be the same for twins to fit, hashed: cells, servers, slices, groups, room for users and history."""
    shape = {
        "cells": [(cell.name, cell.server) for cell in scenario.network.cells],
        "servers": [server.name for server in scenario.network.servers],
        "slices": [entry.name for entry in scenario.slices],
        "groups": group_names(scenario),
        "users": scenario.user_count,
        "twin": (scenario.twin.history, scenario.twin.ratings, scenario.twin.emulator),
        "methods": (scenario.collection.method, scenario.policy.allocation, scenario.policy.reservation),
    }
    return hashlib.sha256(json.dumps(shape, sort_keys=True).encode()).hexdigest()
