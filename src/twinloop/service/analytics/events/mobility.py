"""UE_MOBILITY: in which cells people were, are, and will be."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from twinloop.service.analytics.events.estimates import sure_percent
from twinloop.service.analytics.events.finding import Finding, Question
from twinloop.service.analytics.events.samples import Floats, Rows, Scene, current, even_sample, samples
from twinloop.service.analytics.identities import Identities
from twinloop.service.analytics.models import LocationInfo, UeMobility
from twinloop.service.analytics.wire import instant, ratio_percent

_POINTS = 128
_NOWHERE = -1
_FAR_M = 1e12
_EDGE_M = 1e-3


@dataclass(frozen=True)
class _Whereabouts:
    """The likeliest cell of users, [steps, users], -1 where unknown, and how likely it is; `time_s` has one more entry,
    the end.
    """

    time_s: Floats
    cell: NDArray[np.int64]
    sure: Floats


def ue_mobility(scene: Scene, question: Question, identities: Identities) -> list[Finding]:
    """One item for each stretch of time in which nobody of those asked about moved to another cell.

    Of the past and now: the reported `serving_cell`. `ratio` is the share of the people who are known to be in a cell,
    `confidence` the share of all people asked about whose cell is known. Of the future: the cell that is nearest to
    the foretold position (a normal quantity), with a head start for the cell that serves now so that the present is
    told as it is; `ratio` counts people where they most likely are, `confidence` is the probability that one of them
    is there at a time of the stretch.

    Left out: radio, by which cells are truly chosen; recurring times.
    """
    rows = even_sample(question.users, scene.settings.most_twins)
    where = _foreseen(scene, rows) if scene.predicted else _reported(scene, rows)
    starts = [0, *(np.flatnonzero((where.cell[1:] != where.cell[:-1]).any(axis=1)) + 1), len(where.cell)]
    found: list[Finding] = []
    for begin, end in pairwise(starts):
        item = _stretch(scene, identities, where, int(begin), int(end))
        if item is not None:
            found.append(Finding(f"{begin}", item))
    return found


def _stretch(scene: Scene, identities: Identities, where: _Whereabouts, begin: int, end: int) -> UeMobility | None:
    cells = where.cell[begin]
    known = cells != _NOWHERE
    if not known.any():
        return None
    of_cell: list[LocationInfo] = []
    for cell in np.unique(cells[known]):
        here = cells == cell
        likely = float(where.sure[begin:end][:, here].mean())
        of_cell.append(
            LocationInfo(
                loc=identities.location(int(cell)),
                ratio=ratio_percent(float(here.sum() / known.sum())),
                confidence=sure_percent(scene, float(known.mean()), likely),
            )
        )
    of_cell.sort(key=lambda info: -(info.ratio or 0))
    start_s, end_s = float(where.time_s[begin]), float(where.time_s[end])
    return UeMobility(ts=instant(start_s), duration=max(round(end_s - start_s), 0), loc_infos=of_cell)


def _reported(scene: Scene, rows: Rows) -> _Whereabouts:
    serving = samples(scene, "user", rows, "serving_cell", scene.settings.label_steps)
    whole = np.isfinite(serving.mean) & (np.abs(serving.mean - np.round(serving.mean)) < 1e-3)
    cell = np.where(whole, np.nan_to_num(serving.mean), _NOWHERE).round().astype(np.int64)
    kept = _kept(scene, cell)
    return _Whereabouts(_ends(serving.time_s[kept], scene), cell[kept], np.ones(cell[kept].shape))


def _foreseen(scene: Scene, rows: Rows) -> _Whereabouts:
    picture = scene.picture
    across, along = (samples(scene, "user", rows, axis) for axis in ("position_x_m", "position_y_m"))
    cells_m = picture.cell_position_m.astype(np.float64)
    in_use = picture.cells.active & np.isfinite(cells_m).all(axis=-1)
    cells_m = np.where(in_use[:, None], cells_m, _FAR_M)
    here_m = np.stack([current(scene, "user", rows, axis) for axis in ("position_x_m", "position_y_m")], axis=-1)
    serving = current(scene, "user", rows, "serving_cell")
    head_start_m = _head_start_m(cells_m, here_m, serving)
    kept, points = _kept(scene, across.mean), _points()
    cell = np.full((len(kept), len(rows)), _NOWHERE, np.int64)
    sure = np.zeros(cell.shape)
    for step, at in enumerate(kept):
        mean = np.stack([across.mean[at], along.mean[at]], axis=-1)
        std = np.stack([across.std[at], along.std[at]], axis=-1)
        for user in np.flatnonzero(np.isfinite(mean).all(axis=-1) & in_use.any()):
            at_m = mean[user] + std[user] * points
            away_m = np.linalg.norm(at_m[:, None, :] - cells_m[None, :, :], axis=-1)
            share = np.bincount(np.argmin(away_m - head_start_m[user], axis=1), minlength=away_m.shape[1]) / len(at_m)
            cell[step, user], sure[step, user] = int(np.argmax(share)), float(share.max())
    return _Whereabouts(_ends(across.time_s[kept], scene), cell, sure)


def _kept(scene: Scene, of_step: NDArray[np.generic]) -> Rows:
    """Steps to look at, [steps, users]: all of a person, of several people (or foretold) as many as are set."""
    steps, users = of_step.shape
    every = 1 if users == 1 and not scene.predicted else int(np.ceil(steps / scene.settings.steps))
    return np.arange(0, steps, every, dtype=np.int64)


def _head_start_m(cells_m: Floats, here_m: Floats, serving: Floats) -> Floats:
    """By how much nearer a cell counts, [users, cells]: the serving one by what another is nearer now, else 0."""
    head_start = np.zeros((len(here_m), len(cells_m)))
    for user in np.flatnonzero(np.isfinite(here_m).all(axis=-1) & np.isfinite(serving)):
        away_m = np.linalg.norm(cells_m - here_m[user], axis=-1)
        cell = int(serving[user])
        if 0 <= cell < len(cells_m):
            head_start[user, cell] = away_m[cell] - away_m.min() + _EDGE_M
    return head_start


def _points() -> Floats:
    """Points of the standard normal distribution in the plane, [points, 2], evenly spread (Halton, bases 2 and 3)."""
    return ndtri(np.stack([_radical_inverse(base) for base in (2, 3)], axis=-1))


def _radical_inverse(base: int) -> Floats:
    number, value, weight = np.arange(1, _POINTS + 1), np.zeros(_POINTS), 1.0 / base
    while number.any():
        value += weight * (number % base)
        number, weight = number // base, weight / base
    return value


def _ends(time_s: Floats, scene: Scene) -> Floats:
    return np.append(time_s, max(scene.window.to_s, float(time_s[-1])))
