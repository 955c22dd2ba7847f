"""Values of twins over the time asked about: now from the picture, the past from history, the future foretold."""

from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from twinloop.entities import column
from twinloop.service.analytics.identities import Rows
from twinloop.service.analytics.settings import AnalyticsSettings
from twinloop.service.live import Foretold, Picture, Series

Floats = NDArray[np.float64]
Noun = Literal["user", "cell", "server", "slice"]


@dataclass(frozen=True)
class Window:
    """The time asked about [epoch s]: statistics of the `past`, the state `now`, a prediction of the `future`."""

    tense: Literal["past", "now", "future"]
    from_s: float
    to_s: float

    @property
    def length_s(self) -> float:
        """Its length."""
        return self.to_s - self.from_s


@runtime_checkable
class View(Protocol):
    """The twins as somebody may see them: now, and by the names and rows of that picture in the past and the future."""

    @property
    def picture(self) -> Picture:
        """The twins after the last slot."""
        ...

    def series(self, kind: str, name: str, attribute: str, from_s: float, to_s: float, step_s: float) -> Series:
        """See `HistoryPort`."""
        ...

    def foretell(self, kind: str, attribute: str, horizon_s: float) -> Foretold:
        """See `ForetellPort`."""
        ...


@dataclass(frozen=True)
class Scene:
    """What an answer is made from. Of the past and the future only that is asked which the picture shows: where it has
    no value of a twin, its history and its forecast are not looked at.
    """

    picture: Picture
    view: View
    settings: AnalyticsSettings
    window: Window

    @property
    def predicted(self) -> bool:
        """Whether the future is asked about."""
        return self.window.tense == "future"


@dataclass(frozen=True)
class Samples:
    """One attribute of some twins, [steps, rows]: `mean`, NaN where unknown, and how far off it may be, `std` (0 of
    what was reported). Steps begin at `time_s` and last `step_s`.
    """

    time_s: Floats
    mean: Floats
    std: Floats
    step_s: float


def samples(scene: Scene, noun: Noun, rows: Rows, attribute: str, steps: int | None = None) -> Samples:
    """An attribute of the twins in `rows` over the window, in at most `steps` steps (default: as set).

    Predictions keep the steps of the forecast.
    """
    window = scene.window
    if window.tense == "now":
        return _now(scene, noun, rows, attribute)
    if window.tense == "future":
        return _future(scene, noun, rows, attribute)
    step_s = max(window.length_s / (steps or scene.settings.steps), scene.picture.slot_s)
    number = max(int(np.ceil(window.length_s / step_s - 1e-6)), 1)
    mean = np.full((number, len(rows)), np.nan)
    shown = _shown(scene, noun, rows, attribute)
    for place in np.flatnonzero(shown):
        name = scene.picture.of(noun).ids[int(rows[place])]
        try:
            series = scene.view.series(noun, name, attribute, window.from_s, window.to_s, step_s)
        except KeyError:
            continue
        step = np.floor((series.time_s - window.from_s) / step_s + 1e-6).astype(np.int64)
        inside = (step >= 0) & (step < number)
        mean[step[inside], place] = series.value[inside]
    time_s = window.from_s + step_s * np.arange(number, dtype=np.float64)
    held = _held(mean, int(scene.settings.fresh_s / step_s + 1e-6))
    return Samples(time_s, held, np.zeros_like(held), step_s)


def current(scene: Scene, noun: Noun, rows: Rows, attribute: str) -> Floats:
    """What was reported last of the twins in `rows`; NaN where that never happened, or longer ago than is current."""
    twins, picture = scene.picture.of(noun), scene.picture
    at = column(twins.attributes, attribute)
    age_s = (picture.slot - twins.slot[rows, at]) * picture.slot_s
    fresh = _shown(scene, noun, rows, attribute) & (age_s <= scene.settings.fresh_s)
    return np.where(fresh, twins.value[rows, at], np.nan).astype(np.float64)


def even_sample(rows: Rows, most: int) -> Rows:
    """At most `most` of the rows, evenly spread."""
    if len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)]


def _held(mean: Floats, most: int) -> Floats:
    """[steps, rows] with a value held over the unknown steps that follow it, at most so many."""
    held, left = mean.copy(), np.zeros(mean.shape[1], np.int64)
    for step in range(len(mean)):
        known = np.isfinite(mean[step])
        left = np.where(known, most, left - 1)
        if step:
            held[step] = np.where(~known & (left >= 0), held[step - 1], held[step])
    return held


def _shown(scene: Scene, noun: Noun, rows: Rows, attribute: str) -> NDArray[np.bool_]:
    twins = scene.picture.of(noun)
    return twins.active[rows] & (twins.slot[rows, column(twins.attributes, attribute)] >= 0)


def _now(scene: Scene, noun: Noun, rows: Rows, attribute: str) -> Samples:
    value = current(scene, noun, rows, attribute)[None, :]
    return Samples(np.asarray([scene.window.from_s]), value, np.zeros_like(value), scene.picture.slot_s)


def _future(scene: Scene, noun: Noun, rows: Rows, attribute: str) -> Samples:
    window, picture, shown = scene.window, scene.picture, _shown(scene, noun, rows, attribute)
    nothing = np.full((1, len(rows)), np.nan)
    unknown = Samples(np.asarray([window.from_s]), nothing, nothing, window.length_s)
    if not shown.any():
        return unknown
    try:
        foretold = scene.view.foretell(noun, attribute, window.to_s - picture.time_s(float(picture.slot)))
    except KeyError:
        return unknown
    inside = (foretold.time_s >= window.from_s - 1e-6) & (foretold.time_s < window.to_s - 1e-6)
    if not inside.any():
        inside = np.abs(foretold.time_s - window.from_s) <= picture.slot_s
    if not inside.any():
        return unknown
    mean, std = foretold.mean[inside][:, rows], foretold.std[inside][:, rows]
    known = shown & np.isfinite(mean) & np.isfinite(std)
    mean, std = (np.where(known, part, np.nan).astype(np.float64) for part in (mean, std))
    time_s = foretold.time_s[inside]
    step_s = float(time_s[1] - time_s[0]) if len(time_s) > 1 else picture.slot_s
    return Samples(time_s, mean, std, step_s)
