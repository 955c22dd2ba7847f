"""Expected against given opinion, the effect of factors, and how errors change by rater. They take plain arrays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from matplotlib.figure import Figure

from twinloop.reporting.figures.canvas import (
    BLUE,
    INK,
    MUTED,
    WIDE_PX,
    legend_below,
    line_style,
    panels,
    styled,
)

_TICKS = (250, 500, 1000, 2000, 4000, 8000, 16000)


@dataclass(frozen=True)
class EffectCurve:
    """Expected score against one factor with an interval."""

    factor: str
    x: Float64[np.ndarray, " points"]
    y: Float64[np.ndarray, " points"]
    low: Float64[np.ndarray, " points"]
    high: Float64[np.ndarray, " points"]


@styled
def plot_expected(
    groups: Mapping[str, tuple[Float64[np.ndarray, "_"], Float64[np.ndarray, "_"]]], title: str, label: str
) -> Figure:
    """Given against expected values of `label` (0 to 100), a panel a group, with the line of equality."""
    columns = min(3, len(groups))
    rows = -(-len(groups) // columns)
    figure, axes = panels(title, rows, columns, width=WIDE_PX, height=70 + 270 * rows, sharex=True, sharey=True)
    for axis in axes.flat[len(groups) :]:
        axis.set_visible(False)
    for axis, (name, (expected, given)) in zip(axes.flat, groups.items(), strict=False):
        axis.plot([0, 100], [0, 100], color=MUTED, linewidth=1.0, linestyle=(0, (4, 3)))
        axis.plot(expected, given, "o", color=BLUE, markersize=4, alpha=0.6, markeredgewidth=0)
        axis.set_title(f"{name}: r = {np.corrcoef(expected, given)[0, 1]:.2f}")
        axis.set_xlim(-2, 102)
        axis.set_ylim(-2, 102)
        axis.set_xlabel(f"expected {label}")
        axis.set_ylabel(label)
        axis.label_outer()
    return figure


@styled
def plot_effects(curves: Sequence[EffectCurve], title: str) -> Figure:
    """Expected score from 0 to 100 against each factor, a panel each, its 95 % interval shaded."""
    columns = min(2, len(curves))
    rows = -(-len(curves) // columns)
    figure, axes = panels(title, rows, columns, width=WIDE_PX, height=70 + 260 * rows, sharey=True)
    for axis in axes.flat[len(curves) :]:
        axis.set_visible(False)
    for axis, curve in zip(axes.flat, curves, strict=False):
        axis.fill_between(curve.x, curve.low, curve.high, color=BLUE, alpha=0.18, linewidth=0, label="95 % interval")
        axis.plot(curve.x, curve.y, color=BLUE, label="expected score")
        if curve.x[0] > 0 and curve.x[-1] / curve.x[0] > 20:
            axis.set_xscale("log")
            ticks = [tick for tick in _TICKS if curve.x[0] <= tick <= curve.x[-1]]
            axis.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
            axis.set_xticks([], minor=True)
        axis.set_xlabel(curve.factor)
        axis.set_ylim(0, 100)
    for axis in axes[:, 0]:
        axis.set_ylabel("score (0-100)")
    legend_below(figure, columns=2)
    return figure


@styled
def plot_raters(gains: Mapping[str, Float64[np.ndarray, " raters"]], title: str, label: str) -> Figure:
    """Error of each rater's personal model less that of the general one, raters in falling order, a line a setting."""
    figure, axes = panels(title, width=WIDE_PX, height=380)
    axis = axes[0, 0]
    axis.axhline(0.0, color=INK, linewidth=1.0)
    for index, (name, gain) in enumerate(gains.items()):
        ordered = np.sort(gain)
        share = (np.arange(len(ordered)) + 0.5) / len(ordered)
        axis.plot(100.0 * share, ordered, label=name, **line_style(index))
    axis.set_xlim(0, 100)
    axis.set_xlabel("raters, best first (%)")
    axis.set_ylabel(label)
    legend_below(figure)
    return figure
