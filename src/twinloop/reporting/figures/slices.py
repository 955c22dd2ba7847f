"""Slices over time: what was reserved, used and demanded, and how satisfied their users were."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from twinloop.errors import OutputError
from twinloop.reporting.aggregation import Stretches, grid_mean, groups, stretches
from twinloop.reporting.figures.canvas import (
    BLUE,
    INK,
    MOST_LINES,
    MUTED,
    VERMILLION,
    from_zero,
    legend_below,
    line_style,
    of_run,
    on_time,
    panels,
    scaled,
)
from twinloop.reporting.run import Run, Values


@dataclass(frozen=True)
class _Slices:
    """The rows of slices.parquet sorted out: the slices shown (those with most demand) over stretches of time."""

    run: Run
    row: Values
    shown: list[int]
    names: list[str]
    rows: int
    time: Stretches

    def grid(self, column: str) -> Values:
        """Mean of `column` by slice shown and stretch of time."""
        (values,) = self.run.columns("slices", column)
        return grid_mean(self.row, self.rows, self.time.index, len(self.time.centre_s), values)[self.shown]


def _sorted_out(run: Run) -> _Slices:
    slot, identity = run.columns("slices", "slot", "slice")
    row, labels = groups(identity)
    worth = run.optional("slices", "demand_bandwidth_hz")
    weights = np.ones(len(row)) if worth is None else np.nan_to_num(worth)
    largest = np.argsort(-np.bincount(row, weights=weights), kind="stable")[:MOST_LINES]
    shown = sorted(int(index) for index in largest)
    return _Slices(run, row, shown, run.names("slices", [labels[i] for i in shown]), len(labels),
                   stretches(slot, run.slot_s))  # fmt: skip


@of_run
def plot_slices(run: Run) -> Figure:
    """Reserved, used and demanded bandwidth of every slice (at most the six largest), one panel each."""
    slices = _sorted_out(run)
    curves = {name: slices.grid(f"{name}_bandwidth_hz") for name in ("reserved", "used", "demand")}
    factor, prefix = scaled(np.concatenate(list(curves.values())))
    count = len(slices.shown)
    figure, axes = panels(
        "Bandwidth of each slice: reserved, used, demanded", count, height=118 + 118 * count, sharex=True, sharey=True
    )
    unit_s = on_time(run, list(axes[:, 0]))
    time = slices.time.centre_s / unit_s
    for axis, name, row in zip(axes[:, 0], slices.names, range(count), strict=True):
        axis.set_title(name)
        axis.fill_between(time, curves["used"][row] / factor, color=BLUE, alpha=0.4, linewidth=0, label="used")
        axis.plot(time, curves["reserved"][row] / factor, color=INK, drawstyle="steps-mid", label="reserved")
        axis.plot(
            time, curves["demand"][row] / factor, color=VERMILLION, linestyle=(0, (4, 2)), linewidth=1.4,
            label="demand foreseen",
        )  # fmt: skip
        _mark_events(axis, run, unit_s, name)
    usual = max(float(np.nanmax(curves["reserved"])), float(np.nanquantile(curves["demand"], 0.98))) / factor
    axes[0, 0].set_ylim(0, 1.15 * usual or 1.0)
    figure.supylabel(f"bandwidth ({prefix}Hz)", fontsize=13, color=MUTED)
    legend_below(figure, axes[0, 0])
    return figure


@of_run
def plot_slice_satisfaction(run: Run) -> Figure:
    """Mean satisfaction of the users of each slice over time, and how many users it has."""
    slices = _sorted_out(run)
    satisfaction = slices.grid("satisfaction")
    users = slices.grid("users") if run.optional("slices", "users") is not None else None
    rows = 1 if users is None else 2
    figure, axes = panels(
        "Satisfaction of each slice's users", rows, height=270 + 140 * (rows - 1), sharex=True,
        height_ratios=[2.4, 1][:rows],
    )  # fmt: skip
    unit_s = on_time(run, list(axes[:, 0]))
    time = slices.time.centre_s / unit_s
    for row, name in enumerate(slices.names):
        axes[0, 0].plot(time, satisfaction[row], label=name, **line_style(row))
        if users is not None:
            axes[1, 0].plot(time, users[row], drawstyle="steps-mid", **line_style(row))
    lowest = float(np.nanmin(satisfaction)) if np.isfinite(satisfaction).any() else 0.0
    axes[0, 0].set_ylim(max(0.0, min(0.5, np.floor(lowest * 10) / 10 - 0.05)), 1.02)
    axes[0, 0].set_ylabel("share of needed rate")
    _mark_events(axes[0, 0], run, unit_s)
    if users is not None:
        axes[1, 0].set_ylabel("users")
        from_zero(axes[1, 0])
    legend_below(figure, axes[0, 0], columns=3)
    return figure


@of_run
def plot_slice_computing(run: Run) -> Figure:
    """Processor cycles reserved and demanded, and cache reserved, by slice over time."""
    slices = _sorted_out(run)
    columns = [name for name in ("reserved_cycles_per_s", "demand_cycles_per_s", "reserved_cache_bytes")
               if run.optional("slices", name) is not None]  # fmt: skip
    if not columns:
        raise OutputError("slices.parquet holds neither cycles nor cache of the slices")
    titles = {
        "reserved_cycles_per_s": ("Cycles reserved", "cycles/s"),
        "demand_cycles_per_s": ("Cycles demanded (foreseen by the twin)", "cycles/s"),
        "reserved_cache_bytes": ("Cache reserved", "B"),
    }
    cycles = [slices.grid(column) for column in columns if "cycles" in column]
    most = max((float(np.nanmax(grid)) for grid in cycles if np.isfinite(grid).any()), default=0.0)
    figure, axes = panels(
        "Computing and cache of each slice", len(columns), height=110 + 125 * len(columns), sharex=True
    )
    unit_s = on_time(run, list(axes[:, 0]))
    for axis, column in zip(axes[:, 0], columns, strict=True):
        values = slices.grid(column)
        top = most if "cycles" in column else float(np.nanmax(values))
        factor, prefix = scaled(np.array([top]))
        for row, name in enumerate(slices.names):
            style: dict[str, Any] = line_style(row)
            axis.plot(slices.time.centre_s / unit_s, values[row] / factor, label=name, drawstyle="steps-mid", **style)
        axis.set_title(titles[column][0])
        axis.set_ylabel(f"{prefix}{titles[column][1]}")
        from_zero(axis, least=top / factor)
    legend_below(figure, axes[0, 0], columns=3)
    return figure


def _mark_events(axis: Axes, run: Run, unit_s: float, only: str = "") -> None:
    """Lines where the scenario changes a slice (all slices, named, unless `only` one is shown)."""
    for event in run.events():
        if only and event.slice != only:
            continue
        axis.axvline(event.at_s / unit_s, color=MUTED, linestyle=(0, (1, 2)), linewidth=1.5)
        axis.annotate(
            event.change if only else f"{event.change} {event.slice}", (event.at_s / unit_s, 0.0),
            xycoords=("data", "axes fraction"), xytext=(4, 4), textcoords="offset points", fontsize=11.5, color=INK,
        )  # fmt: skip
