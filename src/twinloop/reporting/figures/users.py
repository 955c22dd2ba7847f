"""What single users got: spread of rate, stalls and quality, and how it went over time."""

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from twinloop.errors import OutputError
from twinloop.reporting.aggregation import groups, mean_by, most_common, quantiles_by, stretches, sum_by
from twinloop.reporting.figures.canvas import (
    BLUE,
    INK,
    MOST_LINES,
    MUTED,
    SERIES,
    VERMILLION,
    from_zero,
    legend_below,
    of_run,
    on_time,
    panels,
    scaled,
)
from twinloop.reporting.run import Run, Values

MARKERS = ("o", "s", "^", "D", "v", "P")
_MOST_DOTS = 300


@dataclass(frozen=True)
class UserMeans:
    """Every user's run in a row: identity, slice, cell, and means over the slots in which the user was there."""

    run: Run
    index: Values
    users: list[int]

    def mean(self, column: str) -> Values:
        """Mean of `column` for every user. Raises OutputError when the column is missing."""
        return mean_by(self.index, self.run.columns("users", column)[0], len(self.users))

    def total(self, column: str) -> Values:
        """Sum of `column` for every user. Raises OutputError when the column is missing."""
        return sum_by(self.index, self.run.columns("users", column)[0], len(self.users))

    def stalled(self) -> Values:
        """Share of each user's time in which playback stood still."""
        present_s = np.bincount(self.index, minlength=len(self.users)) * self.run.slot_s
        return self.total("rebuffer_s") / present_s

    def usual(self, column: str, kind: str) -> tuple[Values, list[str]]:
        """The `slice` or `cell` in which each user was most of the time, and the names of all."""
        code, labels = groups(self.run.columns("users", column)[0])
        return most_common(self.index, code, len(self.users)), self.run.names(kind, labels)


def user_means(run: Run) -> UserMeans:
    """The users of a run. Raises OutputError when nobody is recorded."""
    index, users = groups(run.columns("users", "user")[0])
    return UserMeans(run, index, users)


@of_run
def plot_users(run: Run) -> Figure:
    """Mean rate, stalled time and picture quality: a dot a user (a sample above 300 a slice), a box a slice."""
    means = user_means(run)
    row, names = means.usual("slice", "slices")
    rate = means.mean("rate_bps")
    factor, prefix = scaled(rate)
    measures = [(rate / factor, f"mean rate ({prefix}bit/s)"), (100 * means.stalled(), "stalled time (% of watching)")]
    if run.optional("users", "quality") is not None:
        measures.append((means.mean("quality"), "picture quality (0 lowest, 1 highest version)"))
    kept = np.argsort(-np.bincount(row, minlength=len(names)), kind="stable")[:MOST_LINES]
    shown = sorted(int(index) for index in kept)
    height = 96 + len(measures) * (52 + 40 * len(shown))
    figure, axes = panels("How users fared, slice by slice", len(measures), height=height)
    for axis, (values, label) in zip(axes[:, 0], measures, strict=True):
        _draw_spread(axis, [values[row == index] for index in shown])
        axis.set_yticks(range(len(shown)), [names[index] for index in shown])
        axis.set_ylim(len(shown) - 0.4, -0.6)
        axis.set_xlabel(label)
        low, high = axis.get_xlim()
        axis.set_xlim((0.0, 1.0) if high <= 0.1 else (min(0.0, low), high))
    for axis in axes[2:, 0]:
        axis.set_xlim(-0.03, 1.03)
    dot = Line2D([], [], linestyle="", marker="o", color=MUTED, label="one user")
    box = Patch(facecolor="none", edgecolor=INK, label="middle half and median")
    legend_below(figure, extra=[dot, box])
    return figure


def _draw_spread(axis: Axes, parts: list[Values]) -> None:
    for position, values in enumerate(parts):
        values = values[np.isfinite(values)]
        if not len(values):
            continue
        dots = np.sort(values)[:: -(-len(values) // _MOST_DOTS)]
        shift = 0.26 * np.sin(np.arange(len(dots)) * 2.399963)
        axis.scatter(
            dots, position + shift, s=22, color=SERIES[position % len(SERIES)], marker=MARKERS[position % len(MARKERS)],
            alpha=0.55, linewidths=0, rasterized=len(dots) > 100,
        )  # fmt: skip
        low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
        axis.barh(position, high - low, left=low, height=0.62, facecolor="none", edgecolor=INK, linewidth=1.3)
        axis.plot([middle, middle], [position - 0.31, position + 0.31], color=INK, linewidth=3)


@of_run
def plot_experience(run: Run) -> Figure:
    """Satisfaction over time as a fan over users, below it the share of users whose playback stands still."""
    slot, satisfaction = run.columns("users", "slot", "satisfaction")
    time = stretches(slot, run.slot_s, most=100)
    count = len(time.centre_s)
    low, quarter, middle, three, _ = quantiles_by(time.index, satisfaction, count, [0.1, 0.25, 0.5, 0.75, 0.9])
    mean = mean_by(time.index, satisfaction, count)
    figure, axes = panels("What people got over time", 2, height=410, sharex=True, height_ratios=[1.8, 1])
    unit_s = on_time(run, list(axes[:, 0]))
    moment = time.centre_s / unit_s
    top: Axes = axes[0, 0]
    top.fill_between(moment, low, quarter, color=BLUE, alpha=0.16, linewidth=0, label="tenth to quarter from below")
    top.fill_between(moment, quarter, three, color=BLUE, alpha=0.36, linewidth=0, label="middle half of users")
    top.plot(moment, middle, color=BLUE, label="median")
    top.plot(moment, mean, color=INK, linestyle=(0, (4, 2)), linewidth=1.5, label="mean")
    top.set_ylim(-0.02, 1.03)
    top.set_ylabel("satisfaction")
    stalled = run.optional("users", "rebuffer_s")
    if stalled is not None:
        share = 100 * mean_by(time.index, (stalled > 0).astype(float), count)
        axes[1, 0].fill_between(moment, share, color=VERMILLION, alpha=0.75, linewidth=0, step="mid")
    axes[1, 0].set_ylabel("stalled (%)")
    from_zero(axes[1, 0], least=1.0)
    legend_below(figure, top, columns=2)
    return figure


@of_run
def plot_radio(run: Run) -> Figure:
    """Each user's satisfaction against mean signal quality: whether the air or the decisions were to blame."""
    means = user_means(run)
    row, names = means.usual("slice", "slices")
    sinr_db, satisfaction = means.mean("sinr_db"), means.mean("satisfaction")
    if not (np.isfinite(sinr_db) & np.isfinite(satisfaction)).any():
        raise OutputError("no user has both a signal quality and a satisfaction")
    many = len(sinr_db) > 400
    figure, axes = panels("Signal quality and satisfaction of each user", height=350)
    axis: Axes = axes[0, 0]
    for index, name in list(enumerate(names))[:MOST_LINES]:
        mine = row == index
        axis.scatter(
            sinr_db[mine], satisfaction[mine], s=14 if many else 44, alpha=0.45 if many else 0.8,
            color=SERIES[index % len(SERIES)], marker=MARKERS[index % len(MARKERS)], label=name, linewidths=0,
            rasterized=many,
        )  # fmt: skip
    axis.set_xlabel("mean signal to interference and noise (dB)")
    axis.set_ylabel("mean satisfaction")
    axis.set_ylim(min(0.5, float(np.nanmin(satisfaction)) - 0.05), 1.03)
    legend_below(figure, axis, columns=3)
    return figure


def worst_users(run: Run, most: int = 10) -> list[dict[str, float | int | str]]:
    """The `most` users with the lowest mean satisfaction, with what explains it where the columns are there."""
    means = user_means(run)
    satisfaction = means.mean("satisfaction")
    slice_of, slice_names = means.usual("slice", "slices")
    cell_of, cell_names = means.usual("cell", "cells")
    optional = ("rate_bps", "needed_bps", "quality", "sinr_db", "delay_s")
    values = {name: means.mean(name) for name in optional if run.optional("users", name) is not None}
    if run.optional("users", "rebuffer_s") is not None:
        values["rebuffer_s"] = means.total("rebuffer_s")
    order = np.argsort(np.nan_to_num(satisfaction, nan=2.0), kind="stable")[:most]
    return [
        {
            "user": means.users[int(i)],
            "slice": slice_names[int(slice_of[i])],
            "cell": cell_names[int(cell_of[i])],
            "satisfaction": float(satisfaction[i]),
            **{name: float(column[i]) for name, column in values.items()},
        }
        for i in order
    ]
