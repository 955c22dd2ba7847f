"""What later reports show of a decision: whether slices take what they now hold, and how satisfied people are.

A site that says that it does as commanded is taken at its word only for a while: what its users report of rate and
signal tells how much bandwidth each slice takes in each cell, and that must have changed where what it holds has.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from twinloop.entities import SLICE_ATTRIBUTES, USER_ATTRIBUTES, column
from twinloop.service.live import Picture
from twinloop.simulator import Radio, spectral_efficiency

EFFECT_SLOTS = 30
"""Slots after a decision is confirmed in which its effect must show; *ours*, as all that follows."""
SETTLING_SLOTS = 4
LEAST_SLOTS = 10
VISIBLE = 0.1
OVER = 0.25
LEAST_SHARE = 0.02
_FRESH_SLOTS = 30
_COVERED = 0.8
_MOST_FACTOR = 1.5
_MEMORY_SLOTS = 1024
_NOISE = 4.0
_SINR, _RATE, _SERVING = (column(USER_ATTRIBUTES, name) for name in ("sinr_db", "rate_bps", "serving_cell"))
_USERS, _SATISFACTION = (column(SLICE_ATTRIBUTES, name) for name in ("users", "satisfaction"))
_GRID_DB = np.arange(-40.0, 60.25, 0.25)
Says = Literal["seen", "not seen", "cannot be told"]
Table = NDArray[np.float64]


class Efficiency:
    """Spectral efficiency, bit/s/Hz, of an SINR in dB in the radio that the twins believe in."""

    def __init__(self, radio: Radio) -> None:
        self._table = np.asarray(spectral_efficiency(radio, jnp.asarray(_GRID_DB, jnp.float32)), np.float64)

    def __call__(self, sinr_db: NDArray[Any]) -> Table:
        """By interpolation between steps of a quarter of a dB."""
        return np.maximum(np.interp(sinr_db, _GRID_DB, self._table), 1e-2)


def capacity_bps(picture: Picture, efficiency: Efficiency) -> float:
    """What all cells together carry at the mean efficiency that users have now; at 1 bit/s/Hz where nobody is."""
    users = picture.users
    known = users.active & (users.slot[:, _SINR] >= 0)
    mean = float(np.mean(efficiency(users.value[known, _SINR]))) if np.any(known) else 1.0
    return mean * float(np.sum(picture.cell_bandwidth_hz))


class Usage(NamedTuple):
    """One slot, [cells, slices]: bandwidth in Hz that flows took and would take at their promised rates, and whether
    enough of the users there told of themselves; NaN satisfaction where nobody is.
    """

    slot: int
    used_hz: Table
    wanted_hz: Table
    known: NDArray[np.bool_]
    satisfaction: float


def usage_of(picture: Picture, user_group: NDArray[np.int32], efficiency: Efficiency) -> Usage:
    """What a slot's reports tell of bandwidth: of a unicast user rate / efficiency(SINR); of a multicast bearer, which
    all of a group in a cell hear, its rate over the efficiency of the worst of them, counted once.

    Only values of the last 30 slots count; `known` where those cover four fifths of the users of a slice in a cell.
    """
    users, shape = picture.users, picture.reserved_bandwidth_hz.shape
    cell = np.where(users.slot[:, _SERVING] >= 0, users.value[:, _SERVING], -1).astype(np.int64)
    row = picture.user_slice.astype(np.int64)
    there = users.active & (cell >= 0) & (cell < shape[0]) & (row >= 0) & (row < shape[1])
    oldest = np.minimum(users.slot[:, _RATE], users.slot[:, _SINR])
    told = there & (oldest >= max(picture.slot - _FRESH_SLOTS, 0))
    place = cell * shape[1] + row
    present, knowing = (np.bincount(place[who], minlength=shape[0] * shape[1]) for who in (there, told))
    who = np.flatnonzero(told)
    bearer, first = _bearers(user_group[who], cell[who], who)
    rate, least = np.zeros(len(first)), np.full(len(first), np.inf)
    np.maximum.at(rate, bearer, users.value[who, _RATE].astype(np.float64))
    np.minimum.at(least, bearer, efficiency(users.value[who, _SINR]))
    at = place[who][first]
    target = picture.target_bps[row[who][first]].astype(np.float64)

    def by_place(rates: Table) -> Table:
        return np.bincount(at, rates / least, shape[0] * shape[1]).astype(np.float64).reshape(shape)

    known = (knowing >= _COVERED * present).reshape(shape)
    return Usage(picture.slot, by_place(rate), by_place(target), known, satisfaction(picture))


def satisfaction(picture: Picture) -> float:
    """Mean satisfaction of the slices' users, NaN where there are none."""
    slices = picture.slices
    users, satisfied = slices.value[:, _USERS], slices.value[:, _SATISFACTION]
    known = (slices.slot[:, _SATISFACTION] >= 0) & (users > 0)
    return float(np.average(satisfied[known], weights=users[known])) if np.any(known) else float("nan")


class Means(NamedTuple):
    """Means over the slots that are `known`, [cells, slices], and the standard error of `used_hz`."""

    used_hz: Table
    error_hz: Table
    wanted_hz: Table
    slots: NDArray[np.int64]


def means(slots: Sequence[Usage], shape: tuple[int, int]) -> Means:
    """Over slots. The error is that of the mean of so many values, doubled twice: values of neighbouring slots hang
    together.
    """
    if not slots:
        nothing = np.zeros(shape)
        return Means(nothing, nothing, nothing, np.zeros(shape, np.int64))
    used, wanted, known = (
        np.stack([getattr(one, name) for one in slots]) for name in ("used_hz", "wanted_hz", "known")
    )
    count = known.sum(axis=0)
    least = np.maximum(count, 1)
    mean = np.where(known, used, 0.0).sum(axis=0) / least
    variance = np.where(known, (used - mean) ** 2, 0.0).sum(axis=0) / np.maximum(count - 1, 1)
    return Means(mean, _NOISE * np.sqrt(variance / least), np.where(known, wanted, 0.0).sum(axis=0) / least, count)


class Held(NamedTuple):
    """Bandwidth in Hz of every slice in every cell before and after a decision, and of the cells as a whole."""

    before: Table
    after: Table
    whole: Table


@dataclass(frozen=True)
class Finding:
    """What reports say of one slice in one cell; bandwidth in Hz. `weight` is by how much it should have changed."""

    cell: int
    slice: int
    says: Says
    why: str
    weight: float


def find(before: Means, after: Means, held: Held, cell: int, slice_row: int) -> Finding:
    """Whether a slice in a cell took what it came to hold.

    What it took is compared with the middle between what it took before (nothing was done) and what it should take now:
    no more than it holds, or, where it gained and had used what it had, as much as it gained or its users are promised.
    Where the two lie too close together, or reports are too few or too noisy, it cannot be told.
    """
    at = (cell, slice_row)
    had, has, whole = held.before[at], held.after[at], held.whole[cell]
    took, takes, noise = before.used_hz[at], after.used_hz[at], after.error_hz[at]
    least = LEAST_SHARE * whole
    factor = float(np.clip(took / had, 1.0, _MOST_FACTOR)) if had > least else 1.0

    def says(word: Says, why: str, weight: float) -> Finding:
        return Finding(cell, slice_row, word, why, weight)

    if min(before.slots[at], after.slots[at]) < LEAST_SLOTS:
        return says("cannot be told", "too few reports", 0.0)
    if takes - noise > factor * (1.0 + OVER) * has + least:
        return says("not seen", f"takes {_hz(takes)}, holds {_hz(has)}", takes - has)
    if abs(has - had) <= max(VISIBLE * had, least):
        return says("cannot be told", "holds as much as before", 0.0)
    if has < had:
        should = min(took, factor * has)
        unseen = "took no more than it holds now"
    elif took < (1.0 - 2.0 * VISIBLE) * had:
        return says("cannot be told", "did not take what it had", 0.0)
    else:
        should = min(factor * has, max(after.wanted_hz[at], took))
        unseen = "needed no more than it had"
    if abs(should - took) <= max(VISIBLE * took, least):
        return says("cannot be told", unseen, 0.0)
    middle = 0.5 * (should + took)
    if abs(takes - middle) < noise:
        return says("cannot be told", "what it takes varies too much", 0.0)
    moved = f"took {_hz(took)} of {_hz(had)}, takes {_hz(takes)} of {_hz(has)}"
    done = (takes < middle) == (should < took)
    return says("seen" if done else "not seen", moved, abs(should - took))


def told_of(findings: Sequence[Finding], cells: Sequence[str], slices: Sequence[str]) -> dict[str, Any]:
    """The verdict on one site: not seen where in any cell more speaks against it than for it."""
    against, seen = False, False
    for cell in {one.cell for one in findings}:
        weight = {"seen": 0.0, "not seen": 0.0, "cannot be told": 0.0}
        for one in findings:
            weight[one.says] += one.weight if one.cell == cell else 0.0
        against |= weight["not seen"] > weight["seen"]
        seen |= weight["seen"] > weight["not seen"]
    says: Says = "not seen" if against else "seen" if seen else "cannot be told"
    shown = [one for one in findings if one.says == says] or list(findings)
    why = sorted({f"{slices[one.slice]} in {cells[one.cell]}: {one.why}" for one in shown})
    return {"says": says, "why": why[:20]}


@dataclass
class _Watched:
    """A decision under watch; `began` is the first slot that counts, None until it is confirmed."""

    name: str
    before: Means
    held: Held
    satisfaction_before: tuple[float | None, int]
    began: int | None = None
    effect_told: bool = False


@dataclass(frozen=True)
class Aftermath:
    """What became of a decision: its effect by site, or satisfaction before and after with their numbers of slots; each
    comes when it is known, None until then.
    """

    name: str
    effect: dict[str, dict[str, Any]] | None = None
    before: tuple[float | None, int] | None = None
    after: tuple[float | None, int] | None = None


class Effects:
    """Watches decisions, one at a time; all calls come from the runner's thread.

    `cells_of` has the rows of each site's cells; `window_slots` is how long satisfaction is averaged before and after.
    """

    def __init__(self, cells_of: Mapping[str, Sequence[int]], window_slots: int) -> None:
        self.efficiency: Efficiency | None = None
        self._cells_of = cells_of
        self._window = min(window_slots, _MEMORY_SLOTS)
        self._slots: deque[Usage] = deque(maxlen=_MEMORY_SLOTS)
        self._names: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
        self._watched: _Watched | None = None
        self._disproved: dict[int, Table] = {}

    def note(self, picture: Picture, user_group: NDArray[np.int32]) -> None:
        """A slot is over."""
        if self.efficiency is not None:
            self._slots.append(usage_of(picture, user_group, self.efficiency))
            self._names = (picture.cells.ids, picture.slices.ids)

    def asked(self, name: str, held: Held) -> list[Aftermath]:
        """A decision was asked of the network; what there is to say of the one before it is said now."""
        ended = self._ended(whole=False)
        recent = list(self._slots)[-EFFECT_SLOTS:]
        shape = (held.before.shape[0], held.before.shape[1])
        before = held.before.copy()
        for cell, row in self._disproved.items():
            before[cell] = row
        held = held._replace(before=before)
        self._watched = _Watched(name, means(recent, shape), held, self._satisfied(list(self._slots)[-self._window :]))
        return ended

    def confirmed(self, name: str) -> None:
        """The network says that it follows: what comes from now on counts, a few slots left out."""
        if self._watched is not None and self._watched.name == name and self._slots:
            self._watched.began = self._slots[-1].slot + SETTLING_SLOTS

    def dropped(self, name: str) -> None:
        """A decision will not take effect."""
        if self._watched is not None and self._watched.name == name:
            self._watched = None

    def news(self) -> list[Aftermath]:
        """What has become known since this was last asked."""
        return self._ended(whole=True)

    def _ended(self, *, whole: bool) -> list[Aftermath]:
        watched = self._watched
        if watched is None or watched.began is None or not self._slots:
            return []
        after = [one for one in self._slots if one.slot >= (watched.began or 0)]
        passed = self._slots[-1].slot - watched.began + 1
        news: list[Aftermath] = []
        if not watched.effect_told and (passed >= EFFECT_SLOTS or not whole):
            watched.effect_told = True
            news.append(Aftermath(watched.name, effect=self._effect(watched, after[:EFFECT_SLOTS])))
        if passed >= self._window or not whole:
            after = [one for one in after if one.slot < (watched.began or 0) + self._window]
            before = watched.satisfaction_before
            news.append(Aftermath(watched.name, before=before, after=self._satisfied(after)))
            self._watched = None
        return news

    def _effect(self, watched: _Watched, slots: Sequence[Usage]) -> dict[str, dict[str, Any]]:
        shape = (watched.held.before.shape[0], watched.held.before.shape[1])
        after = means(slots, shape)
        told: dict[str, dict[str, Any]] = {}
        for site, cells in self._cells_of.items():
            findings = [
                find(watched.before, after, watched.held, cell, row) for cell in cells for row in range(shape[1])
            ]
            told[site] = told_of(findings, *self._names) | {"slots": len(slots)}
            self._learn(told[site]["says"], cells, watched.held)
        return told

    def _learn(self, says: Says, cells: Sequence[int], held: Held) -> None:
        """What cells hold before the next decision: what they held before this one, where its effect is not seen."""
        for cell in cells:
            if says == "seen":
                self._disproved.pop(cell, None)
            elif says == "not seen":
                self._disproved[cell] = held.before[cell]

    def _satisfied(self, slots: Sequence[Usage]) -> tuple[float | None, int]:
        known = [one.satisfaction for one in slots if np.isfinite(one.satisfaction)]
        return (float(np.mean(known)), len(known)) if known else (None, 0)


def _bearers(
    group: NDArray[np.int32], cell: NDArray[np.int64], user: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which radio bearer each user hears, numbered from 0, and the first user of each."""
    cells = int(cell.max(initial=0)) + 1
    shared = np.where(group >= 0, group.astype(np.int64) * cells + cell, -1 - user)
    _, first, bearer = np.unique(shared, return_index=True, return_inverse=True)
    return bearer.reshape(-1), first


def _hz(bandwidth_hz: float) -> str:
    return f"{bandwidth_hz:,.0f} Hz"
