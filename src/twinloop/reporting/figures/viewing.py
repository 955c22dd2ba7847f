"""Viewers: how often they swipe, and simulated swipes against the retention curves of the data."""

from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from twinloop.errors import OutputError
from twinloop.reporting.aggregation import groups, mean_by, stretches
from twinloop.reporting.figures.canvas import (
    HALF_PX,
    INK,
    PURPLE,
    VERMILLION,
    WIDE_PX,
    from_zero,
    legend_below,
    of_run,
    on_time,
    panels,
)
from twinloop.reporting.run import Run, Values

_MOST_CLASSES = 9


@dataclass(frozen=True)
class RetentionRow:
    """One class of videos: views simulated, and the largest gap between the two curves."""

    name: str
    views: int
    gap: float


@of_run
def plot_swipes(run: Run) -> Figure:
    """Swipes a user and minute over time. Raises OutputError when nobody swiped."""
    slot, swipes = run.columns("users", "slot", "swipes")
    if not np.nansum(swipes):
        raise OutputError("nobody swiped in this run: every video was watched on")
    time = stretches(slot, run.slot_s, most=60)
    rate = mean_by(time.index, swipes, len(time.centre_s)) * 60.0 / run.slot_s
    mean = float(np.nanmean(swipes)) * 60.0 / run.slot_s
    figure, axes = panels("How often people swipe on", height=300)
    axis = axes[0, 0]
    unit_s = on_time(run, [axis])
    width = time.slots * run.slot_s / unit_s
    axis.bar(time.centre_s / unit_s, rate, width=0.9 * width, color=PURPLE, alpha=0.8, label="swipes")
    axis.axhline(mean, color=INK, linestyle=(0, (4, 2)), linewidth=1.4, label=f"mean {mean:.1f}")
    axis.set_ylabel("swipes a user and minute")
    from_zero(axis)
    legend_below(figure, axis)
    return figure


@of_run
def plot_watching(run: Run) -> Figure:
    """How long people watched before they swiped. Raises OutputError when nobody swiped."""
    swipes, watched_s = run.columns("users", "swipes", "last_watch_s")
    times = np.asarray(watched_s)[(np.nan_to_num(swipes) > 0) & np.isfinite(watched_s)]
    if not len(times):
        raise OutputError("nobody swiped in this run, so no watching time ended")
    figure, axes = panels("How long people watched before a swipe", height=300)
    axis = axes[0, 0]
    top = max(float(np.quantile(times, 0.99)), 1.0)
    bins = np.linspace(0, np.ceil(top), min(int(np.ceil(top)), 40) + 1)
    axis.hist(times, bins=bins, color=PURPLE, alpha=0.8, label=f"views that ended in a swipe ({len(times):,})")
    median = float(np.median(times))
    axis.axvline(median, color=INK, linestyle=(0, (4, 2)), linewidth=1.4, label=f"median {median:.1f} s")
    axis.set_xlabel("time watched (s)")
    axis.set_ylabel("views")
    legend_below(figure, axis)
    return figure


@of_run
def plot_retention(run: Run) -> Figure:
    """Share of views that go on after each second, in the data and simulated, for the nine most viewed classes."""
    kind, name, second, data, simulated = run.columns(
        "retention", "class", "name", "second", "data_survival", "simulated_survival"
    )
    index, labels = groups(kind)
    views = _views(run, index, len(labels))
    shown = sorted(np.argsort(-views, kind="stable")[:_MOST_CLASSES].tolist())
    columns = min(3, len(shown))
    rows = -(-len(shown) // columns)
    figure, axes = panels(
        "Do simulated people swipe like real ones?", rows, columns, width=WIDE_PX if columns == 3 else HALF_PX,
        height=130 + 185 * rows, sharex=True, sharey=True,
    )  # fmt: skip
    for axis in axes.flat[len(shown) :]:
        axis.set_visible(False)
    for axis, row in zip(axes.flat, shown, strict=False):
        mine = np.flatnonzero(index == row)
        mine = mine[np.argsort(second[mine])]
        axis.plot(second[mine], data[mine], color=INK, label="data", linewidth=2.2)
        axis.plot(second[mine], simulated[mine], color=VERMILLION, linestyle=(0, (4, 2)), label="simulated")
        axis.fill_between(second[mine], data[mine], simulated[mine], color=VERMILLION, alpha=0.15, linewidth=0)
        axis.set_title(_title(str(name[mine[0]]), int(views[row])))
        axis.set_ylim(0, 1.03)
    for axis in [axis for axis in axes.flat if axis.get_visible()][-columns:]:
        axis.set_xlabel("time into the video (s)")
        axis.tick_params(labelbottom=True)
    for axis in axes[:, 0]:
        axis.set_ylabel("still watching (share)")
    legend_below(figure, axes.flat[0])
    return figure


def retention_rows(run: Run) -> list[RetentionRow]:
    """Every class of retention.parquet with its largest gap between data and simulation."""
    kind, name, data, simulated = run.columns("retention", "class", "name", "data_survival", "simulated_survival")
    index, labels = groups(kind)
    views = _views(run, index, len(labels))
    gap = np.zeros(len(labels))
    np.maximum.at(gap, index, np.nan_to_num(np.abs(data - simulated)))
    first = np.array([np.flatnonzero(index == row)[0] for row in range(len(labels))])
    return [RetentionRow(str(name[first[row]]), int(views[row]), float(gap[row])) for row in range(len(labels))]


def _views(run: Run, index: Values, classes: int) -> Values:
    views = np.zeros(classes)
    count = run.optional("retention", "count")
    if count is not None:
        np.maximum.at(views, index, np.nan_to_num(np.asarray(count, np.float64)))
    return views


def _title(name: str, views: int) -> str:
    return f"{name} ({views:,} views)" if views else name
