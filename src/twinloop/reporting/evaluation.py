"""Figures of an evaluation: distributions side by side, and tracks of walkers. They take plain arrays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from twinloop.reporting.figures.canvas import (
    HALF_PX,
    INK,
    MUTED,
    SERIES,
    SURFACE,
    WIDE_PX,
    from_zero,
    legend_below,
    line_style,
    panels,
    styled,
)

_MOST_POINTS = 2000
_MOST_IN_HALF = 5


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
    """Curves in one pair of axes, of shares unless `free_y`; `dotted` curves show their points, axes fitted to them.

    `marks` are vertical lines: where, and what is written beside them.
    """

    x_label: str
    y_label: str
    curves: tuple[Curve, ...]
    title: str = ""
    log_x: bool = False
    log_y: bool = False
    free_y: bool = False
    dotted: bool = False
    marks: tuple[tuple[float, str], ...] = ()


@styled
def plot_curves(shown: Sequence[Panel], title: str) -> Figure:
    """Panels side by side, at most four in a row, with one legend below."""
    columns = min(len(shown), 4) if len(shown) != 4 else 2
    rows = -(-len(shown) // columns)
    height = 90 + 230 * rows
    wide = columns > 1 or max(len(panel.curves) for panel in shown) > _MOST_IN_HALF
    figure, axes = panels(title, rows, columns, width=WIDE_PX if wide else HALF_PX, height=height)
    for index, axis in enumerate(axes.flat):
        if index >= len(shown):
            axis.set_visible(False)
            continue
        _draw(axis, shown[index])
        axis.label_outer() if _same_labels(shown) and not shown[0].free_y else None
    if len(shown[0].curves) > 1:
        legend_below(figure)
    return figure


def _same_labels(shown: Sequence[Panel]) -> bool:
    one_scale = not any(panel.free_y for panel in shown)
    return one_scale and len({(panel.x_label, panel.y_label) for panel in shown}) == 1


def _draw(axis: Axes, panel: Panel) -> None:
    others = 0
    for curve in panel.curves:
        style: dict[str, Any] = {"color": INK, "linewidth": 2.6}
        if not curve.measured:
            style = line_style(others)
            others += 1
        kept = (curve.x > 0 if panel.log_x else np.isfinite(curve.x)) & (curve.y > 0 if panel.log_y else True)
        points: dict[str, Any] = {"marker": "o", "markersize": 5} if panel.dotted else {}
        axis.plot(curve.x[kept], curve.y[kept], drawstyle="default", label=curve.name, **style, **points)
    axis.set_xscale("log" if panel.log_x else "linear")
    axis.set_yscale("log" if panel.log_y else "linear")
    if panel.free_y and not panel.log_y:
        axis.margins(y=0.15) if panel.dotted else from_zero(axis)
    elif not panel.log_y:
        axis.set_ylim(0, 1.02)
    for number, (x, label) in enumerate(panel.marks):
        axis.axvline(x, color=MUTED, linewidth=1.0, linestyle=(0, (2, 2)))
        height = 0.98 - 0.07 * (number % 4)
        style = {"verticalalignment": "top", "fontsize": 10.5, "color": MUTED, "zorder": 1.5}
        box = {"facecolor": SURFACE, "edgecolor": "none", "alpha": 0.75, "pad": 0.8}
        axis.text(x, height, f" {label}", transform=axis.get_xaxis_transform(), bbox=box if label else None, **style)
    if not (panel.log_x or panel.dotted):
        axis.set_xlim(left=min(0.0, *(float(curve.x.min(initial=0.0)) for curve in panel.curves)))
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


@styled
def plot_maps(
    maps: Mapping[str, Float64[np.ndarray, "_ _"]], title: str, columns: int, *, width_km: float, label: str
) -> Figure:
    """Square maps (first row at the south) by name, `columns` in a row, all on one scale of colour."""
    rows = -(-len(maps) // columns)
    size = {"width": WIDE_PX, "height": 70 + 250 * rows}
    figure, axes = panels(title, rows, columns, **size, sharex=True, sharey=True)
    most = max(float(one.max()) for one in maps.values())
    shown = None
    for index, axis in enumerate(axes.flat):
        axis.set_visible(index < len(maps))
    for axis, (name, values) in zip(axes.flat, maps.items(), strict=False):
        extent = (0.0, width_km, 0.0, width_km)
        shown = axis.imshow(values, origin="lower", extent=extent, vmin=0.0, vmax=most, cmap="viridis")
        axis.set_title(name)
        axis.grid(visible=False)
        axis.set_xlabel("east (km)")
        axis.set_ylabel("north (km)")
        axis.label_outer()
    if shown is not None:
        figure.colorbar(shown, ax=list(axes.flat), label=label, pad=0.015, aspect=30)
    return figure
