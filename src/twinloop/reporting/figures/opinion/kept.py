"""How agreements were kept in a run: by class over time, user by user, and when each was below."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from twinloop.reporting.figures.canvas import (
    INK,
    MOST_LINES,
    MUTED,
    SERIES,
    WIDE_PX,
    heat,
    legend_below,
    line_style,
    of_run,
    on_time,
    panels,
)
from twinloop.reporting.figures.opinion.reading import CELL_S, Felt, felt
from twinloop.reporting.run import Run

_MARKERS = ("o", "s", "^", "D", "v", "P")
_MOST_NAMED = 40
_MOST_ROWS = 30
_STEPS = (0.4, 0.6, 0.8, 1.0)
_BELOW_TO_KEPT = ListedColormap(["#a63a06", "#dd7a22", "#ebb04e", "#f2dfae", "#0b62a8"], "below_to_kept")
_AGREED: dict[str, Any] = {"color": INK, "linewidth": 1.3, "linestyle": (0, (4, 3))}


def _classes(people: Felt) -> list[int]:
    """The classes shown: those with most users, in their own order."""
    many = np.argsort(-np.bincount(people.member, minlength=len(people.names)), kind="stable")[:MOST_LINES]
    return sorted(int(one) for one in many)


def _finite_mean(values: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    known = np.isfinite(values)
    count = known.sum(axis=axis)
    return np.where(count > 0, np.where(known, values, 0.0).sum(axis=axis) / np.maximum(count, 1), np.nan)


@of_run
def plot_agreement_history(run: Run) -> Figure:
    """Experience over agreement by class and 3 minutes with the line of what was promised, and who reached it."""
    people = felt(run)
    ratio = people.ratio()
    figure, axes = panels("Agreements of each class over time", 2, height=430, sharex=True)
    unit_s = on_time(run, list(axes[:, 0]))
    moment = CELL_S * (np.arange(ratio.shape[1]) + 0.5) / unit_s
    top, low = axes[:, 0]
    top.axhline(1.0, label="as agreed", **_AGREED)
    for index, at in enumerate(_classes(people)):
        mine = ratio[people.member == at]
        look = line_style(index) | {"marker": _MARKERS[index], "markersize": 6}
        top.plot(moment, _finite_mean(mine, 0), label=people.names[at], **look)
        low.plot(moment, 100 * _finite_mean(np.where(np.isnan(mine), np.nan, mine >= 1.0), 0), **look)
    top.set_ylabel("E* / agreed, mean")
    least, most = top.dataLim.y0, top.dataLim.y1
    top.set_ylim(min(0.7, least - 0.05), max(1.15, most + 0.05))
    low.set_ylabel("users reached (%)")
    low.set_ylim(-4, 104)
    legend_below(figure, top, columns=3)
    return figure


@of_run
def plot_agreement_spread(run: Run) -> Figure:
    """Distribution of experience over agreement by class, all users and stretches of 3 minutes."""
    people = felt(run)
    ratio = people.ratio()
    figure, axes = panels("How much of the agreement people got", height=430)
    axis: Axes = axes[0, 0]
    axis.axvline(1.0, label="as agreed", **_AGREED)
    for index, at in enumerate(_classes(people)):
        mine = ratio[people.member == at]
        ordered = np.sort(mine[np.isfinite(mine)])
        axis.step(ordered, 100 * np.arange(1, len(ordered) + 1) / max(len(ordered), 1), where="post",
                  label=people.names[at], **line_style(index))  # fmt: skip
    axis.set_ylim(0, 101)
    axis.set_xlabel("E* / agreed, mean of 3 minutes")
    axis.set_ylabel("users' stretches at or below (%)")
    legend_below(figure, axis, columns=3)
    return figure


@of_run
def plot_agreement_users(run: Run) -> Figure:
    """Experience over agreement of every user, least first: the mean over the run, and its worst and best 3 minutes."""
    people = felt(run)
    ratio = people.ratio()
    known = np.flatnonzero(np.isfinite(ratio).any(axis=1))
    mean = _finite_mean(ratio, 1)
    order = known[np.argsort(mean[known], kind="stable")]
    place = np.arange(len(order))
    figure, axes = panels("Every user's agreement, least kept first", width=WIDE_PX, height=350)
    axis: Axes = axes[0, 0]
    axis.axhline(1.0, label="as agreed", **_AGREED)
    spread = [np.nanmin(ratio[order], axis=1), np.nanmax(ratio[order], axis=1)]
    axis.vlines(place, spread[0], spread[1], color=MUTED, linewidth=1.2 if len(order) < 200 else 0.4, alpha=0.7,
                label="worst to best 3 minutes")  # fmt: skip
    size = 8.0 if len(order) < 100 else 3.0
    for index, at in enumerate(_classes(people)):
        mine = np.flatnonzero(np.equal(people.member[order], at))
        axis.plot(place[mine], mean[order][mine], linestyle="", marker=_MARKERS[index], color=SERIES[index],
                  markersize=size, label=f"{people.names[at]}, mean")  # fmt: skip
    if len(order) <= _MOST_NAMED:
        axis.set_xticks(place, [str(people.users[row]) for row in order])
    axis.set_xlim(-0.8, len(order) - 0.2)
    axis.set_xlabel("user" if len(order) <= _MOST_NAMED else "users, least kept first")
    axis.set_ylabel("E* / agreed")
    axis.grid(visible=False, axis="x")
    legend_below(figure, axis, columns=5)
    return figure


@of_run
def plot_agreement_cells(run: Run) -> Figure:
    """Experience over agreement of every user and 3 minutes, those longest below on top (at most thirty)."""
    people = felt(run)
    ratio = people.ratio()
    known = np.asarray(np.isfinite(ratio).any(axis=1))
    below, mean = (ratio < 1.0).sum(axis=1), np.nan_to_num(_finite_mean(ratio, 1), nan=9.0)
    order = [int(row) for row in np.lexsort((mean, -below)) if known[row]][:_MOST_ROWS]
    of_all = "" if len(order) == known.sum() else f", the {len(order)} longest below of {int(known.sum()):,}"
    figure, axes = panels(f"Who was below, and when{of_all}", width=WIDE_PX, height=130 + 19 * len(order))
    axis: Axes = axes[0, 0]
    unit_s = on_time(run, [axis])
    labels = [f"{people.names[people.member[row]]} {people.users[row]}" for row in order]
    scale = {"cmap": _BELOW_TO_KEPT, "norm": BoundaryNorm(_STEPS, _BELOW_TO_KEPT.N, extend="both")}
    heat(figure, axis, ratio[order], labels, ratio.shape[1] * CELL_S / unit_s, scale, "E* / agreed")
    axis.tick_params(axis="y", labelsize=10.5)
    return figure
