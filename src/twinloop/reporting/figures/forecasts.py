"""Figures of forecasts: bands against what came, and scores of models with their intervals. They take plain arrays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from twinloop.reporting.figures.canvas import BLUE, INK, SLATE, VERMILLION, WIDE_PX, legend_below, panels, styled

_COLOURS = {"proposed": BLUE, "baseline": VERMILLION, "reference": SLATE}
_MARKS = {"proposed": "D", "baseline": "o", "reference": "s"}


@dataclass(frozen=True)
class Band:
    """Forecasts of one quantity against what came, over time: median, the central 50 % and 90 % (NaN is a gap)."""

    title: str
    x: Float[np.ndarray, " steps"]
    truth: Float[np.ndarray, " steps"]
    median: Float[np.ndarray, " steps"]
    half: tuple[Float[np.ndarray, " steps"], Float[np.ndarray, " steps"]]
    most: tuple[Float[np.ndarray, " steps"], Float[np.ndarray, " steps"]]


@dataclass(frozen=True)
class Dots:
    """A figure of every model, with the ends of its interval, in one panel; `role` as in a judgement's rows."""

    label: str
    values: Mapping[str, tuple[float, float, float]]
    roles: Mapping[str, str]


@styled
def plot_forecast_bands(bands: Sequence[Band], title: str, x_label: str, y_label: str) -> Figure:
    """One panel a band, one below the other, on the same axis of time."""
    height = 90 + 200 * len(bands)
    figure, axes = panels(title, len(bands), 1, width=WIDE_PX, height=height, sharex=True, sharey=True)
    for axis, band in zip(axes[:, 0], bands, strict=True):
        axis.fill_between(band.x, *band.most, color=BLUE, alpha=0.16, linewidth=0, label="90 % interval")
        axis.fill_between(band.x, *band.half, color=BLUE, alpha=0.32, linewidth=0, label="50 % interval")
        axis.plot(band.x, band.median, color=BLUE, linewidth=1.4, label="median forecast")
        axis.plot(band.x, band.truth, color=INK, linewidth=1.2, marker=".", markersize=3.5, label="what came")
        axis.set_title(band.title)
        axis.set_ylabel(y_label)
        axis.set_xlim(band.x[0], band.x[-1])
    axes[-1, 0].set_xlabel(x_label)
    legend_below(figure)
    return figure


@styled
def plot_scores(shown: Sequence[Dots], title: str) -> Figure:
    """Models from top to bottom in the order of the first panel, one panel a figure, intervals as bars."""
    names = sorted(shown[0].values, key=lambda name: shown[0].values[name][0])
    height = 110 + 24 * len(names)
    figure, axes = panels(title, 1, len(shown), width=WIDE_PX, height=height, sharey=True)
    at = np.arange(len(names))
    for axis, dots in zip(axes[0], shown, strict=True):
        for role, colour in _COLOURS.items():
            own = [index for index, name in enumerate(names) if dots.roles[name] == role]
            if not own:
                continue
            value, low, high = np.array([dots.values[names[index]] for index in own]).T
            reach = np.maximum([value - low, high - value], 0.0)
            style = {"color": colour, "marker": _MARKS[role], "linestyle": "none", "markersize": 5, "elinewidth": 1.4}
            axis.errorbar(value, at[own], xerr=reach, label=role, **style)
        axis.set_xlabel(dots.label)
        axis.locator_params(axis="x", nbins=4)
    axes[0, 0].set_yticks(at, names)
    axes[0, 0].invert_yaxis()
    legend_below(figure)
    return figure
