"""Cells and servers: load, throughput, users, power; utilisation, queue, cache hits."""

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from twinloop.errors import OutputError
from twinloop.reporting.aggregation import grid_mean, groups, stretches
from twinloop.reporting.figures.canvas import (
    BLUE,
    INK,
    MOST_LINES,
    POOR_TO_GOOD,
    from_zero,
    heat,
    legend_below,
    line_style,
    of_run,
    on_time,
    panels,
    scaled,
)
from twinloop.reporting.run import Run, Values


@dataclass(frozen=True)
class _Row:
    """One panel of a figure: a column, its title, its unit, and whether it is scaled to a share of one."""

    column: str
    title: str
    unit: str
    share: bool = False


_CELLS = (
    _Row("load", "Load (bandwidth in use)", "share", share=True),
    _Row("throughput_bps", "Throughput", "bit/s"),
    _Row("users", "Users", "users"),
    _Row("power_w", "Power", "W"),
)
_SERVERS = (
    _Row("utilisation", "Processor in use", "share", share=True),
    _Row("queue_cycles", "Transcoding work that waits", "cycles"),
    _Row("cache_hit_ratio", "Bits found in the cache", "share", share=True),
    _Row("power_w", "Power", "W"),
)


@of_run
def plot_cells(run: Run) -> Figure:
    """Load, throughput, users and power of every cell over time; above six cells their mean and spread."""
    return _plot_rows(run, "cells", "cell", "Cells over time", _CELLS)


@of_run
def plot_servers(run: Run) -> Figure:
    """Utilisation, queue, cache hits and power of every server over time; above six servers their mean and spread."""
    return _plot_rows(run, "servers", "server", "Edge servers over time", _SERVERS)


@of_run
def plot_cell_load(run: Run) -> Figure:
    """Load of every cell over time as a coloured table: which cell was full, and when."""
    slot, cell, load = run.columns("cells", "slot", "cell", "load")
    index, labels = groups(cell)
    time = stretches(slot, run.slot_s)
    grid = grid_mean(index, len(labels), time.index, len(time.centre_s), load)
    figure, axes = panels("Load of every cell", height=150 + min(24 * len(labels), 420))
    unit_s = on_time(run, [axes[0, 0]])
    scale = {"cmap": POOR_TO_GOOD.reversed(), "vmin": 0.0, "vmax": 1.0}
    end = run.slots * run.slot_s / unit_s
    heat(figure, axes[0, 0], grid, run.names("cells", labels), end, scale, "share of bandwidth in use")
    return figure


def _plot_rows(run: Run, table: str, key: str, title: str, rows: tuple[_Row, ...]) -> Figure:
    slot, identity = run.columns(table, "slot", key)
    index, labels = groups(identity)
    time = stretches(slot, run.slot_s)
    there = [(row, values) for row in rows if (values := run.optional(table, row.column)) is not None]
    if not there:
        raise OutputError(f"{table}.parquet holds none of {', '.join(row.column for row in rows)}")
    figure, axes = panels(title, len(there), height=100 + 112 * len(there), sharex=True)
    unit_s = on_time(run, list(axes[:, 0]))
    moment = time.centre_s / unit_s
    names = run.names(table, labels)
    for axis, (row, values) in zip(axes[:, 0], there, strict=True):
        grid = grid_mean(index, len(labels), time.index, len(time.centre_s), values)
        factor, prefix = (1.0, "") if row.share else scaled(grid)
        _draw_lines(axis, moment, grid / factor, names)
        axis.set_title(row.title)
        axis.set_ylabel(f"{prefix}{row.unit}")
        axis.set_ylim(-0.02, 1.05) if row.share else from_zero(axis)
    legend_below(figure, axes[0, 0], columns=3)
    return figure


def _draw_lines(axis: Axes, moment: Values, grid: Values, names: list[str]) -> None:
    if len(names) <= MOST_LINES:
        for row, name in enumerate(names):
            axis.plot(moment, grid[row], label=name, linewidth=1.5, **line_style(row))
        return
    known = np.where(np.isfinite(grid).any(axis=0), 1.0, np.nan)
    filled = np.where(np.isfinite(grid), grid, 0.0 * known)
    low, high = np.quantile(filled, [0.1, 0.9], axis=0)
    axis.fill_between(moment, low, high, color=BLUE, alpha=0.3, linewidth=0, label="middle eight tenths")
    axis.plot(moment, filled.max(axis=0), color=INK, linewidth=1.0, linestyle=(0, (2, 2)), label="largest")
    axis.plot(moment, filled.mean(axis=0), color=BLUE, label="mean")
