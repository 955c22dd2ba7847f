"""Figures of an evaluation: distributions side by side, and tracks of walkers. They take plain arrays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from twinloop.reporting.figures.canvas import HALF_PX, INK, SERIES, WIDE_PX, legend_below, line_style, panels, styled

_MOST_POINTS = 2000


@dataclass(frozen=True)
class Curve:
    """A named curve; `measured` ones are drawn in ink, as what the others are held to."""

    name: str
    x: Float64[np.ndarray, " points"]
    y: Float64[np.ndarray, " points"]
    measured: bool = False

    @staticmethod
    def exceeding(name: str, sample: Float64[np.ndarray, " n"], *, measured: bool = False) -> "Curve":
        """Share of the sample above each of its values, as steps, thinned to 2,000 points."""
        ordered = np.sort(sample)
        share = 1 - np.arange(1, len(ordered) + 1) / max(len(ordered), 1)
        picked = np.unique(np.linspace(0, len(ordered) - 1, min(len(ordered), _MOST_POINTS)).astype(np.int64))
        first = ordered[:1]
        x, y = np.concatenate([first, ordered[picked]]), np.concatenate([np.ones(len(first)), share[picked]])
        return Curve(name, x, y, measured)


@dataclass(frozen=True)
class Panel:
    """Curves in one pair of axes."""

    x_label: str
    y_label: str
    curves: tuple[Curve, ...]
    title: str = ""
    log_x: bool = False
    log_y: bool = False


@styled
def plot_curves(shown: Sequence[Panel], title: str) -> Figure:
    """Panels side by side, at most four in a row, with one legend below."""
    columns = min(len(shown), 4) if len(shown) != 4 else 2
    rows = -(-len(shown) // columns)
    height = 90 + 230 * rows
    figure, axes = panels(title, rows, columns, width=WIDE_PX if columns > 1 else HALF_PX, height=height)
    for index, axis in enumerate(axes.flat):
        if index >= len(shown):
            axis.set_visible(False)
            continue
        _draw(axis, shown[index])
        axis.label_outer() if _same_labels(shown) else None
    if len(shown[0].curves) > 1:
        legend_below(figure)
    return figure


def _same_labels(shown: Sequence[Panel]) -> bool:
    return len({(panel.x_label, panel.y_label) for panel in shown}) == 1


def _draw(axis: Axes, panel: Panel) -> None:
    others = 0
    for curve in panel.curves:
        style: dict[str, Any] = {"color": INK, "linewidth": 2.6}
        if not curve.measured:
            style = line_style(others)
            others += 1
        kept = (curve.x > 0 if panel.log_x else np.isfinite(curve.x)) & (curve.y > 0 if panel.log_y else True)
        axis.plot(curve.x[kept], curve.y[kept], drawstyle="default", label=curve.name, **style)
    axis.set_xscale("log" if panel.log_x else "linear")
    axis.set_yscale("log" if panel.log_y else "linear")
    if not panel.log_y:
        axis.set_ylim(0, 1.02)
    if not panel.log_x:
        axis.set_xlim(left=0)
    axis.set_xlabel(panel.x_label)
    axis.set_ylabel(panel.y_label)
    axis.set_title(panel.title)


@styled
def plot_tracks(groups: Mapping[str, Sequence[Float64[np.ndarray, "_ 2"]]], title: str, half_width_km: float) -> Figure:
    """Tracks in kilometres, one square panel a group, all on the same scale."""
    figure, axes = panels(title, 1, len(groups), width=WIDE_PX, height=440, sharex=True, sharey=True)
    for axis, (name, tracks) in zip(axes[0], groups.items(), strict=True):
        for index, track in enumerate(tracks):
            axis.plot(track[:, 0], track[:, 1], color=SERIES[index % len(SERIES)], linewidth=1.0, alpha=0.85)
        axis.set_aspect("equal")
        axis.set_xlim(-half_width_km, half_width_km)
        axis.set_ylim(-half_width_km, half_width_km)
        axis.set_title(name)
        axis.set_xlabel("east (km)")
    axes[0, 0].set_ylabel("north (km)")
    return figure
