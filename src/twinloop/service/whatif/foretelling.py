"""The future of twins, if nothing more is reported: the emulator goes on by itself from where it stands, and intervals
are as wide as forecasts of late were off. Slices, which no emulator follows, are expected to stay as they are.
"""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from twinloop.entities import column
from twinloop.service.live import Foretold, KindPicture, Picture, Present
from twinloop.service.whatif.programs import AHEAD, Programs
from twinloop.service.whatif.widths import STEPS, Claim, Widths
from twinloop.twins import ATTRIBUTES, Current, Kind

LONGEST_S = 300.0
"""Seconds that are foretold at most; *ours*."""
CLAIM_EVERY_S = 10.0
"""How often forecasts are noted to be compared with what comes; oftener of kinds with few twins."""
MOST_CLAIMED = 512
"""Twins of a kind whose forecasts are compared with what came."""
_FEW = 100
_LOAD = 0.02
_CACHED = 64
_WALK_MEMORY = 0.98
_log = logging.getLogger("twinloop.foretelling")
_EMULATED: tuple[Kind, ...] = ("users", "cells", "servers")


@dataclass(frozen=True)
class _Held:
    """A forecast that was made after `slot`, for who asks again."""

    slot: int
    foretold: Foretold


class _Walk:
    """How far slices' values wander in a slot: the running mean of the size of changes, [slices, attributes]."""

    def __init__(self) -> None:
        self._value: NDArray[np.float32] | None = None
        self._slot: NDArray[np.int32] | None = None
        self.change: NDArray[np.float64] = np.zeros((0, 0))

    def follow(self, twins: KindPicture) -> None:
        """Another slot is over."""
        if self._value is None or self._slot is None or self._value.shape != twins.value.shape:
            self.change = np.zeros(twins.value.shape)
        else:
            known = (self._slot >= 0) & (twins.slot >= 0)
            change = np.where(known, np.abs(twins.value - self._value).astype(np.float64), self.change)
            running = _WALK_MEMORY * self.change + (1 - _WALK_MEMORY) * change
            self.change = np.where(self.change == 0.0, change, running)
        self._value, self._slot = twins.value, twins.slot

    def std(self, steps: int) -> NDArray[np.float64]:
        """Standard deviation of a random walk with normal steps of that mean size, [steps, slices, attributes]."""
        return np.sqrt(np.pi / 2 * np.arange(1, steps + 1))[:, None, None] * self.change[None]


class Foreteller:
    """`ForetellPort` over the loop as it stands (`present`, None before the first slot). `clock` in s."""

    def __init__(self, present: Callable[[], Present | None], clock: Callable[[], float]) -> None:
        self._present = present
        self._clock = clock
        self._programs = Programs()
        self._widths = {kind: Widths(len(table)) for kind, table in ATTRIBUTES.items()}
        self._walk = _Walk()
        self._held: OrderedDict[tuple[Kind, str], _Held] = OrderedDict()
        self._lock = threading.Lock()
        self._worker = ThreadPoolExecutor(1, "foretelling")
        self._learning: Future[None] | None = None
        self._due_s = dict.fromkeys(ATTRIBUTES, float("-inf"))
        self._rng = np.random.default_rng(0)

    def foretell(self, kind: str, attribute: str, horizon_s: float) -> Foretold:
        """The next `horizon_s` seconds, at most `LONGEST_S`, of every twin of a kind; NaN of who is not there, or of
        whom the attribute was never reported. Labels and counts are foretold to stay, with a deviation of 0.

        Raises KeyError for an unknown kind or attribute, and before the first slot.
        """
        present = self._present()
        if present is None:
            raise KeyError(kind)
        table = present.picture.of(kind)
        at = column(table.attributes, attribute)
        slot_s = present.picture.slot_s
        steps = max(int(np.ceil(min(horizon_s, LONGEST_S) / slot_s - 1e-9)), 1)
        with self._lock:
            held = self._held.get((table.kind, attribute))
            if held is None or held.slot != present.picture.slot or len(held.foretold.time_s) < steps:
                held = _Held(present.picture.slot, self._made(present, table, at, steps))
                self._held[table.kind, attribute] = held
                self._held.move_to_end((table.kind, attribute))
                if len(self._held) > _CACHED:
                    self._held.popitem(last=False)
        made = held.foretold
        return Foretold(made.time_s[:steps], made.mean[:steps], made.std[:steps])

    def lived(self, picture: Picture, *, ready: bool) -> None:
        """After every slot: forecasts are held against what came, and from time to time new ones are made for that.
        `ready`: compiling may begin. What takes long is done on another thread.
        """
        self._walk.follow(picture.slices)
        if self._learning is None or self._learning.done():
            self._learning = self._worker.submit(self._learn, picture, ready)

    def close(self) -> None:
        """Ends."""
        self._worker.shutdown(wait=False, cancel_futures=True)

    def _made(self, present: Present, table: KindPicture, at: int, steps: int) -> Foretold:
        picture = present.picture
        if table.kind == "slices":
            spread = self._walk.std(steps)
            std = (
                spread[:, :, at] if spread.shape[1:] == table.value.shape else np.full((steps, len(table.ids)), np.nan)
            )
            mean = np.broadcast_to(table.value[:, at], std.shape)
        else:
            mean, std = self._emulated(present, table.kind, at, steps)
        wide = std * self._widths[table.kind].factors(steps)[:, None, at]
        known = (table.active & (table.slot[:, at] >= 0))[None, :]
        time_s = picture.time_s(picture.slot) + picture.slot_s * np.arange(1, steps + 1)
        return Foretold(
            np.asarray(time_s, np.float64),
            np.where(known, mean, np.nan).astype(np.float32),
            np.where(known, wide, np.nan).astype(np.float32),
        )

    def _emulated(
        self, present: Present, kind: Kind, at: int, steps: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        memory, current = _of(present, kind)
        means: list[NDArray[np.float32]] = []
        stds: list[NDArray[np.float32]] = []
        for done in range(0, steps, AHEAD):
            slot = jnp.int32(present.picture.slot + done)
            emulator = present.loop.emulator
            memory, mean, std = self._programs.foresee(emulator, kind, memory, current, slot, jnp.int32(at))
            means.append(np.asarray(mean))
            stds.append(np.asarray(std))
        return np.concatenate(means)[:steps], np.concatenate(stds)[:steps]

    def _learn(self, picture: Picture, ready: bool) -> None:
        try:
            for kind, widths in self._widths.items():
                table = picture.of(kind)
                widths.compare(picture.slot, table.ids, table.active, table.value, table.slot)
            present = self._present()
            if not ready or present is None:
                return
            for kind in ATTRIBUTES:
                now_s = self._clock()
                if now_s >= self._due_s[kind]:
                    few = int(present.picture.of(kind).active.sum()) / _FEW
                    self._claim(present, kind)
                    took_s = self._clock() - now_s
                    self._due_s[kind] = now_s + max(min(few, 1.0) * CLAIM_EVERY_S, 1.0, took_s / _LOAD)
        except Exception:
            _log.exception("forecasts could not be compared with what came")
            self._due_s = dict.fromkeys(ATTRIBUTES, self._clock() + CLAIM_EVERY_S)

    def _claim(self, present: Present, kind: Kind) -> None:
        """Foretells some twins of a kind, all their levels, to see later how far off that was."""
        table = present.picture.of(kind)
        there = np.flatnonzero(table.active)
        if not len(there):
            return
        rows = np.sort(self._rng.choice(there, min(len(there), MOST_CLAIMED), replace=False))
        if kind == "slices":
            spread = self._walk.std(max(STEPS))[np.asarray(STEPS) - 1][:, rows]
            std = np.asarray(spread, np.float32)
            mean = np.broadcast_to(table.value[rows], std.shape)
            speaks = np.zeros(mean.shape[1:], np.bool_)
        else:
            mean, std, speaks = self._claimed(present, kind, rows)
        known = (table.slot[rows] >= 0)[None]
        names = tuple(table.ids[row] for row in rows)
        mean = np.where(known, mean, np.nan).astype(np.float32)
        self._widths[kind].claim(Claim(present.picture.slot, rows, names, mean, std, speaks))

    def _claimed(
        self, present: Present, kind: Kind, rows: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
        memory, current = _of(present, kind)
        capacity = min(len(current.active), MOST_CLAIMED)
        padded = np.resize(rows, capacity)
        mean, std = self._programs.foresee_some(
            present.loop.emulator, kind, memory, current, jnp.int32(present.picture.slot), jnp.asarray(padded), STEPS
        )
        alarm = np.asarray(getattr(present.state.collection.request, kind).alarm)[rows]
        count = len(rows)
        return np.asarray(mean)[:, :count], np.asarray(std)[:, :count], np.isfinite(alarm) & (alarm > 0)


def _of(present: Present, kind: Kind) -> tuple[object, Current]:
    memory = getattr(present.state.emulation, kind)
    return memory, getattr(present.state.twin, kind).current
