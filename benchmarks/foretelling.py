"""How often the truth lies in the 90 % interval of a forecast, and how long what-ifs take; a network is lived for it.

    python benchmarks/foretelling.py [--json FILE] [--quick]

The campus with 60 users and adaptive collection, seed 303, without windows: reservations stay as they began. Five
minutes to learn how wide intervals must be, then ten minutes in which every tenth slot is foretold 10, 20 and 30 s
ahead, with the widths that were learnt (ours) and with the emulator's own deviation (peer). Truth is what users of the
simulator really had, not what they reported; a share of .9 is right. After that what-ifs of the last slot, the first
one left out; their times are what one call took.
"""

import time
from collections.abc import Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import numpy as np
from table import Row, arguments, present

from twinloop import scenario
from twinloop.emulation import Z90
from twinloop.entities import USER_ATTRIBUTES, column
from twinloop.loop import slot as live
from twinloop.network import user_truth
from twinloop.runs import compiler_options
from twinloop.service.live import Members, Present
from twinloop.service.live.painting import paint
from twinloop.service.whatif import Foreteller, WhatIfs, Wish

SEED = 303
AHEAD_S = (10, 20, 30)
ATTRIBUTES = ("position_x_m", "position_y_m", "rate_bps", "buffer_s", "quality", "jitter_s", "watch_s", "sinr_db")
EVERY = 10


class Interval(NamedTuple):
    """What was foretold of one attribute of all users for a slot; `by` 0 has learnt widths, 1 not."""

    name: str
    slot: int
    ahead: int
    by: int
    mean: np.ndarray
    half: np.ndarray


class Lived:
    """The campus, slot by slot; `truth` [users, attributes] is NaN of who is not there."""

    def __init__(self) -> None:
        self.described = scenario.load("campus").model_copy(update={"seed": SEED})
        self._loop, self._state = scenario.build_loop(self.described)
        self._key = jax.random.key(SEED)
        jit = eqx.filter_jit
        self._step = jit(live, compiler_options=compiler_options())
        self._members = Members(self.described)
        for number in range(self.described.user_count):
            self._members.users.claim(f"ue-{number}")
        self._members.user_slice[:] = np.asarray(self._loop.abstractor.params.user_slice)
        self.slot = -1

    def go_on(self) -> tuple[Present, np.ndarray]:
        """One more slot: the loop after it, and the truth in it."""
        key = jax.random.fold_in(self._key, self.slot + 1)
        self._state, plant, _ = self._step(key, self._loop, self._state)
        truth = np.asarray(user_truth(plant.outcome), np.float64)
        truth[~np.asarray(plant.outcome.active)] = np.nan
        self.slot = int(plant.state.time_slot) - 1
        picture = paint(self.described, self._members, self._loop, self._state, self.slot, 0.0)
        return Present(self._loop, self._state, picture), truth


def foretold_by(foreteller: Foreteller, slot: int, by: int) -> list[Interval]:
    """Intervals of every attribute."""
    found: list[Interval] = []
    for name in ATTRIBUTES:
        made = foreteller.foretell("user", name, float(max(AHEAD_S)))
        for ahead in AHEAD_S:
            mean, std = (np.float64(of[ahead - 1]) for of in (made.mean, made.std))
            found.append(Interval(name, slot + ahead, ahead, by, mean, Z90 * std))
    return found


def coverage(learning: int, slots: int) -> tuple[list[Row], Present]:
    """The share of truths that intervals held, and where the loop came to."""
    world, shown = Lived(), list[Present]()
    learnt = Foreteller(lambda: shown[-1], lambda: float(world.slot))
    bare = Foreteller(lambda: shown[-1], lambda: float(world.slot))
    open_intervals: list[Interval] = []
    held: dict[tuple[str, int, int], list[int]] = {}
    for number in range(learning + slots):
        now, truth = world.go_on()
        shown[:] = [now]
        learnt.lived(now.picture, ready=True)
        learnt._learning.result()
        open_intervals, due = _parted(open_intervals, world.slot)
        for one in due:
            came = truth[:, column(USER_ATTRIBUTES, one.name)]
            known = np.isfinite(came) & np.isfinite(one.mean) & np.isfinite(one.half)
            counted = held.setdefault((one.name, one.ahead, one.by), [0, 0])
            counted[0] += int((np.abs(came - one.mean) <= one.half)[known].sum())
            counted[1] += int(known.sum())
        if number >= learning and number % EVERY == 0:
            open_intervals += foretold_by(learnt, world.slot, 0) + foretold_by(bare, world.slot, 1)
    learnt.close()
    bare.close()
    rows = [
        Row(f"{name}, {ahead} s", *(round(np.divide(*held[name, ahead, by]), 3) for by in (0, 1)))
        for name in ATTRIBUTES
        for ahead in AHEAD_S
    ]
    return rows, shown[-1]


def _parted(intervals: Sequence[Interval], slot: int) -> tuple[list[Interval], list[Interval]]:
    return [one for one in intervals if one.slot > slot], [one for one in intervals if one.slot == slot]


def what_ifs(now: Present, asked: Sequence[tuple[float, int]]) -> list[Row]:
    """How long what-ifs take, in s."""
    engine = WhatIfs(lambda: now, time.time)
    cell = now.picture.cells.ids[0]
    shares = {cell: dict(zip(now.picture.slices.ids, (0.5, 0.3, 0.2), strict=True))}
    begun = time.perf_counter()
    engine.ask(Wish(shares, 10.0, 8, patience_s=600.0)).result()
    rows = [Row("first what-if, compiled, s", time.perf_counter() - begun)]
    for horizon_s, samples in asked:
        begun = time.perf_counter()
        engine.ask(Wish(shares, horizon_s, samples, patience_s=600.0)).result()
        rows.append(Row(f"what-if of {horizon_s:g} s, {samples} samples, s", time.perf_counter() - begun))
    engine.close()
    return rows


def main() -> None:
    """Measures, prints, and writes."""
    options = arguments(__doc__.split("\n", maxsplit=1)[0]).parse_args()
    learning, slots = (20, 60) if options.quick else (300, 600)
    rows, now = coverage(learning, slots)
    rows += what_ifs(now, [(10.0, 2)] if options.quick else [(60.0, 8), (300.0, 16)])
    present("Share of truths in 90 % intervals: learnt, own deviation only", rows, options.json)


if __name__ == "__main__":
    main()
