"""What a what-if brought, in numbers for people: by slice, cell and server, with how far samples are apart."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from twinloop.service.whatif.programs import Told
from twinloop.validation import STALL_WEIGHT, Judge

Floats = NDArray[np.float64]
LOW, HIGH = 0.05, 0.95


@dataclass(frozen=True)
class Interval:
    """A mean, and the 90 % interval that the docstring of its owner defines."""

    mean: float
    low90: float
    high90: float


@dataclass(frozen=True)
class Course:
    """Slot by slot: means over samples, and the interval that nine of ten samples lie in."""

    mean: list[float]
    low90: list[float]
    high90: list[float]


@dataclass(frozen=True)
class SliceOutlook:
    """A slice over the horizon, intervals over samples: `users` present, of their time `satisfaction` in [0, 1] and
    `stalled_share`, `rate_bps` and `buffer_s` of one user.
    """

    users: float
    satisfaction: Interval
    stalled_share: Interval
    rate_bps: Interval
    buffer_s: Interval


@dataclass(frozen=True)
class Outlook:
    """One decision over the horizon. `score` is what the judge of windows makes of it: satisfaction less stalling,
    bad samples weighing more. `series` by slot: satisfaction of all, of each slice, load of each cell.
    """

    score: float
    satisfaction: Interval
    stalled_share: Interval
    slices: dict[str, SliceOutlook]
    load: dict[str, Interval]
    utilisation: dict[str, Interval]
    series: dict[str, dict[str, Course]]


@dataclass(frozen=True)
class Difference:
    """The proposal less the standing decision, sample by sample, so that what both share by chance cancels: means with
    90 % intervals of the mean (Student), and the share of samples in which the proposal is better.
    """

    satisfaction: Interval
    stalled_share: Interval
    score: float
    slices: dict[str, Interval]
    better_share: float


@dataclass(frozen=True)
class Names:
    """Names of slices, cells and servers, by row."""

    slices: tuple[str, ...]
    cells: tuple[str, ...]
    servers: tuple[str, ...]


def outlook(told: Told, which: int, names: Names, judge: Judge, slot_s: float) -> Outlook:
    """Candidate `which` of slots [slots, 2, samples] that were lived."""
    part = {name: np.asarray(leaf, np.float64)[:, which] for name, leaf in vars(told).items()}
    present = part["users"].sum(axis=(0, 2))
    satisfied, stalled = _shares(part, slot_s)
    slices = {
        name: _slice(part, row, slot_s) for row, name in enumerate(names.slices) if part["users"][:, :, row].any()
    }
    series = {
        "satisfaction": {"all": _course(_ratio(part["satisfied"].sum(axis=2), part["users"].sum(axis=2)))}
        | {
            name: _course(_ratio(part["satisfied"][:, :, row], part["users"][:, :, row]))
            for row, name in enumerate(names.slices)
            if name in slices
        },
        "load": {name: _course(part["load"][:, :, row]) for row, name in enumerate(names.cells)},
    }
    value = np.where(present > 0, satisfied - STALL_WEIGHT * stalled, 0.0)
    return Outlook(
        score=_score(value, float(judge.cvar_share), float(judge.cvar_weight)),
        satisfaction=_spread(satisfied),
        stalled_share=_spread(stalled),
        slices=slices,
        load={name: _spread(part["load"][:, :, row].mean(axis=0)) for row, name in enumerate(names.cells)},
        utilisation={
            name: _spread(part["utilisation"][:, :, row].mean(axis=0)) for row, name in enumerate(names.servers)
        },
        series=series,
    )


def difference(told: Told, standing: Outlook, proposal: Outlook, names: Names, slot_s: float) -> Difference:
    """Candidate 1 less candidate 0."""
    parts = [{name: np.asarray(leaf, np.float64)[:, which] for name, leaf in vars(told).items()} for which in (0, 1)]
    (before, waited), (after, waits) = (_shares(part, slot_s) for part in parts)

    def of_slice(row: int) -> Floats:
        was, will = (_ratio(p["satisfied"][:, :, row].sum(axis=0), p["users"][:, :, row].sum(axis=0)) for p in parts)
        return will - was

    worth = (after - STALL_WEIGHT * waits) - (before - STALL_WEIGHT * waited)
    return Difference(
        satisfaction=_of_mean(after - before),
        stalled_share=_of_mean(waits - waited),
        score=proposal.score - standing.score,
        slices={name: _of_mean(of_slice(row)) for row, name in enumerate(names.slices) if name in standing.slices},
        better_share=float(np.mean(worth > 0)),
    )


def _shares(part: Mapping[str, Floats], slot_s: float) -> tuple[Floats, Floats]:
    """Satisfaction and share of stalled time of everybody, by sample."""
    present = part["users"].sum(axis=(0, 2))
    return (
        _ratio(part["satisfied"].sum(axis=(0, 2)), present),
        _ratio(part["stalled_s"].sum(axis=(0, 2)), present * slot_s),
    )


def _slice(part: Mapping[str, Floats], row: int, slot_s: float) -> SliceOutlook:
    own = {name: part[name][:, :, row].sum(axis=0) for name in ("users", "satisfied", "stalled_s", "rate_bps")}
    buffer_s = part["buffer_s"][:, :, row].sum(axis=0)
    return SliceOutlook(
        users=float(part["users"][:, :, row].mean()),
        satisfaction=_spread(_ratio(own["satisfied"], own["users"])),
        stalled_share=_spread(_ratio(own["stalled_s"], own["users"] * slot_s)),
        rate_bps=_spread(_ratio(own["rate_bps"], own["users"])),
        buffer_s=_spread(_ratio(buffer_s, own["users"])),
    )


def _ratio(total: Floats, count: Floats) -> Floats:
    return total / np.maximum(count, 1e-9)


def _score(value: Floats, share: float, weight: float) -> float:
    """As `validation.Judge` scores: mean, and mean of the worst `share` of the samples."""
    worst = np.sort(value)[: max(int(np.ceil(share * len(value))), 1)]
    return float((1 - weight) * value.mean() + weight * worst.mean())


def _spread(by_sample: Floats) -> Interval:
    low, high = np.quantile(by_sample, (LOW, HIGH))
    return Interval(float(by_sample.mean()), float(low), float(high))


def _of_mean(by_sample: Floats) -> Interval:
    mean, count = float(by_sample.mean()), len(by_sample)
    half = float(stdtrit(count - 1, HIGH) * by_sample.std(ddof=1) / np.sqrt(count)) if count > 1 else float("inf")
    return Interval(mean, mean - half, mean + half)


def _course(by_slot: Floats) -> Course:
    low, high = np.quantile(by_slot, (LOW, HIGH), axis=1)
    return Course(*([round(float(value), 5) for value in values] for values in (by_slot.mean(axis=1), low, high)))
