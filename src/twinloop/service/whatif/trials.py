"""What-ifs: a proposal and the standing decision lived through in a fork of the twins, on a thread of their own.
Neither the loop nor the network notices (paper 003, II-C; paper 001, III).
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import jax
import numpy as np

from twinloop.errors import TwinloopError
from twinloop.service.live import Present
from twinloop.service.whatif.outlooks import Difference, Names, Outlook, difference, outlook
from twinloop.service.whatif.programs import BATCH, BLOCK, Known, Lives, Programs, Told
from twinloop.service.whatif.proposals import Shares, check_floors, reservation_of, shares_of
from twinloop.twins import fork

MOST_SAMPLES = 32
LONGEST_S = 600.0
MOST_WAITING = 4
"""What-ifs that wait for the one under way; *ours*."""


class BusyTrialsError(TwinloopError):
    """Too many what-ifs wait already; ask again after `retry_after_s`."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__(f"{MOST_WAITING} what-ifs wait already")
        self.retry_after_s = retry_after_s


class LateTrialError(TwinloopError):
    """A what-if was given up at its deadline."""


class EndedTrialError(TwinloopError):
    """A what-if was given up because the server ends."""


@dataclass(frozen=True)
class Wish:
    """A what-if: `shares` in place of the standing ones, `horizon_s` seconds, `samples` worlds, an answer within
    `patience_s`. The same `seed` meets the same worlds.
    """

    shares: Shares
    horizon_s: float = 60.0
    samples: int = 8
    patience_s: float = 30.0
    seed: int = 0


@dataclass(frozen=True)
class Trial:
    """What came of a what-if that began after `slot` (`made_s`, epoch seconds). Shares by cell or server and slice."""

    slot: int
    made_s: float
    slot_s: float
    horizon_s: float
    samples: int
    shares_standing: dict[str, dict[str, float]]
    shares_proposed: dict[str, dict[str, float]]
    standing: Outlook
    proposal: Outlook
    difference: Difference
    took_s: float


class WhatIfs:
    """Lives what-ifs one after the other. `present` gives the loop as it stands, None before the first slot; `clock`
    seconds that do not jump. The first what-if compiles, which may take longer than its asker waits.
    """

    def __init__(self, present: Callable[[], Present | None], clock: Callable[[], float]) -> None:
        self._present = present
        self._clock = clock
        self._programs = Programs()
        self._worker = ThreadPoolExecutor(1, "whatif")
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._open = 0
        self._last_s = 5.0
        self._warm = False

    def ask(self, wish: Wish) -> "Future[Trial]":
        """The outcome, later: ProposalError, LateTrialError, EndedTrialError, LookupError before the first slot.

        Raises BusyTrialsError where too many wait, EndedTrialError once closed, and ProposalError at once for what
        cannot be proposed at all.
        """
        present = self._present()
        if present is None:
            raise LookupError("no slot was lived yet")
        reservation_of(wish.shares, present.picture, present.state.reservation)
        asked_s = self._clock()
        with self._lock:
            self._check_open()
            if self._open > MOST_WAITING:
                raise BusyTrialsError(self._open * self._last_s)
            self._open += 1
            future = self._worker.submit(self._live, wish, asked_s)
        future.add_done_callback(self._answered)
        return future

    @property
    def ended(self) -> bool:
        """Whether it was closed."""
        return self._ended.is_set()

    def close(self) -> None:
        """Ends; what waits or is under way is given up, as soon as what compiles is compiled."""
        with self._lock:
            self._ended.set()
            self._worker.shutdown(wait=False)

    def _check_open(self) -> None:
        if self.ended:
            raise EndedTrialError("the server is ending")

    def _answered(self, _: "Future[Trial]") -> None:
        with self._lock:
            self._open -= 1

    def _live(self, wish: Wish, asked_s: float) -> Trial:
        self._check_open()
        begun_s = self._clock()
        present = self._present()
        if present is None:
            raise LookupError("no slot was lived yet")
        if not self._warm:
            self._compile(present)
            begun_s, present = self._clock(), self._present() or present
        self._check_time(wish, asked_s)
        picture, loop, state = present.picture, present.loop, present.state
        standing = state.reservation
        proposed = reservation_of(wish.shares, picture, standing)
        known = _known(present)
        blocks = int(np.ceil(wish.horizon_s / loop.slot_s / BLOCK - 1e-9))
        slots = max(round(wish.horizon_s / loop.slot_s), 1)
        told: list[Told] = []
        for batch in range(-(-wish.samples // BATCH)):
            key = jax.random.fold_in(jax.random.key(wish.seed), batch)
            begun = self._programs.begin(key, loop, known, standing, proposed)
            if batch == 0:
                demand = np.asarray(begun.demand_hz), np.asarray(begun.demand_cycles_per_s)
                check_floors(standing, proposed, *demand, picture)
            told.append(self._lived(key, present, known, begun.lives, blocks, wish, asked_s))
        lived: Told = jax.tree.map(lambda *parts: np.concatenate(parts, axis=2)[:slots, :, : wish.samples], *told)
        trial = self._trial(wish, present, proposed_shares=shares_of(proposed, picture), lived=lived, begun_s=begun_s)
        self._last_s = trial.took_s
        return trial

    def _check_time(self, wish: Wish, asked_s: float) -> None:
        self._check_open()
        if self._clock() - asked_s > wish.patience_s:
            raise LateTrialError(f"the what-if was not ready within {wish.patience_s:g} s")

    def _compile(self, present: Present) -> None:
        key, standing = jax.random.key(0), present.state.reservation
        known = _known(present)
        begun = self._programs.begin(key, present.loop, known, standing, standing)
        self._programs.advance(key, present.loop, known, begun.lives)
        self._warm = True

    def _lived(
        self, key: jax.Array, present: Present, known: Known, lives: Lives, blocks: int, wish: Wish, asked_s: float
    ) -> Told:
        parts: list[Told] = []
        for block in range(blocks):
            lives, told = self._programs.advance(jax.random.fold_in(key, block + 1), present.loop, known, lives)
            parts.append(jax.device_get(told))
            self._check_time(wish, asked_s)
        return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)

    def _trial(
        self,
        wish: Wish,
        present: Present,
        *,
        proposed_shares: dict[str, dict[str, float]],
        lived: Told,
        begun_s: float,
    ) -> Trial:
        picture, judge, slot_s = present.picture, present.loop.window_judge, present.loop.slot_s
        names = Names(picture.slices.ids, picture.cells.ids, picture.servers.ids)
        standing, proposal = (outlook(lived, which, names, judge, slot_s) for which in (0, 1))
        return Trial(
            slot=picture.slot,
            made_s=begun_s,
            slot_s=slot_s,
            horizon_s=wish.horizon_s,
            samples=wish.samples,
            shares_standing=shares_of(present.state.reservation, picture),
            shares_proposed=proposed_shares,
            standing=standing,
            proposal=proposal,
            difference=difference(lived, standing, proposal, names, slot_s),
            took_s=self._clock() - begun_s,
        )


def _known(present: Present) -> Known:
    """What what-ifs start from: a fork, which shares what the twins know and has no history."""
    state = present.state
    return Known(fork(state.twin), state.forecast, state.allocations[0])
