"""Policies side by side: dots for seeds, means with 95 % intervals, paired differences, the clairvoyant bound."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Concatenate, ParamSpec

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from twinloop.errors import OutputError
from twinloop.reporting.comparison import Comparison, Difference, interval, open_comparison, readable
from twinloop.reporting.figures.canvas import (
    BLUE,
    GREEN,
    INK,
    MOST_LINES,
    MUTED,
    SERIES,
    SLATE,
    SURFACE,
    VERMILLION,
    WIDE_PX,
    legend_below,
    line_style,
    panels,
    scaled,
    styled,
)
from twinloop.reporting.run import Values
from twinloop.reporting.wording import metric

_TELLING = (
    "ela_share",
    "qoe_median",
    "satisfaction",
    "rebuffer_ratio",
    "mean_quality",
    "resource_use",
    "resource_per_satisfaction",
)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p")
P = ParamSpec("P")


def of_comparison(
    draw: Callable[Concatenate[Comparison, P], Figure],
) -> Callable[Concatenate[Comparison | Path | str, P], Figure]:
    """As `canvas.styled`, for a figure of a comparison, which may also be given as the path of its directory."""
    inner = styled(draw)

    @wraps(draw)
    def drawn(comparison: Comparison | Path | str, *args: P.args, **kwargs: P.kwargs) -> Figure:
        return inner(open_comparison(comparison), *args, **kwargs)

    return drawn


@of_comparison
def plot_metric(comparison: Comparison, name: str = "satisfaction") -> Figure:
    """One metric: a row a policy and a row a control, a dot a seed, the mean with its interval, the bound's line."""
    rows = [(policy, results[name], False) for policy, results in comparison.policies.items() if name in results]
    rows += [(control, results[name], True) for control, results in comparison.controls.items() if name in results]
    if not any(np.isfinite(values).any() for _, values, _ in rows):
        raise OutputError(f"no policy of this comparison has the metric {name}")
    factor, label = _units(name, np.concatenate([values for _, values, _ in rows]))
    figure, axes = panels(_titled(name), height=130 + 38 * len(rows))
    axis: Axes = axes[0, 0]
    for row, (_, values, control) in enumerate(rows):
        _draw_row(axis, row, values / factor, SLATE if control else BLUE)
    extra = [
        Line2D([], [], linestyle="", marker="o", color=MUTED, alpha=0.6, markersize=5, label="one seed"),
        Line2D([], [], marker="D", color=BLUE, markeredgecolor=SURFACE, markersize=8, label="mean, 95 % interval"),
    ]
    if any(control for _, _, control in rows):
        extra.append(Line2D([], [], marker="D", color=SLATE, markeredgecolor=SURFACE, markersize=8, label="control"))
    if name in comparison.bound and np.isfinite(comparison.bound[name]).any():
        bound = interval(comparison.bound[name] / factor)
        axis.axvline(bound.mean, color=GREEN, linestyle=(0, (6, 2)), label="clairvoyant bound, mean")
    axis.set_yticks(range(len(rows)), [readable(policy) + (" (control)" if c else "") for policy, _, c in rows])
    axis.set_ylim(len(rows) - 0.4, -0.6)
    axis.set_xlabel(label)
    axis.margins(x=0.08)
    legend_below(figure, axis, columns=2, extra=extra)
    return figure


def _draw_row(axis: Axes, row: int, values: Values, colour: str) -> None:
    known = values[np.isfinite(values)]
    if not len(known):
        axis.annotate("no result", (0.02, row), xycoords=("axes fraction", "data"), color=MUTED, va="center")
        return
    axis.plot(known, np.full(len(known), row + 0.2), linestyle="", marker="o", color=MUTED, alpha=0.6, markersize=5)
    mean = interval(known)
    if np.isfinite(mean.low):
        axis.plot([mean.low, mean.high], [row, row], color=colour, linewidth=3, solid_capstyle="butt")
    axis.plot(mean.mean, row, linestyle="", marker="D", color=colour, markeredgecolor=SURFACE, markersize=8.5)


@of_comparison
def plot_differences(comparison: Comparison, names: tuple[str, ...] = ()) -> Figure:
    """Paired differences with 95 % intervals, a column a metric: the four most telling unless `names` says which."""
    recorded = [found for found in comparison.differences if np.isfinite(found.mean)]
    if not recorded:
        raise OutputError("this comparison records no paired differences")
    order = comparison.metrics()
    listed = sorted(
        dict.fromkeys(found.metric for found in recorded), key=lambda m: order.index(m) if m in order else 99
    )
    shown = (names or tuple(name for name in _TELLING if name in listed) or tuple(listed))[:4]
    pairs = list(dict.fromkeys((found.a, found.b) for found in recorded if found.metric in shown))
    figure, axes = panels(
        "Paired differences on the same seeds", 1, len(shown), width=WIDE_PX, height=150 + 44 * len(pairs), sharey=True
    )
    for axis, name in zip(axes[0], shown, strict=True):
        _draw_forest(axis, name, [found for found in recorded if found.metric == name], pairs)
    axes[0, 0].set_yticks(range(len(pairs)), [f"{readable(a)}\nagainst {readable(b)}" for a, b in pairs])
    axes[0, 0].set_ylim(len(pairs) - 0.4, -0.6)
    looks = (
        ("o", BLUE, BLUE, "first is better"),
        ("X", VERMILLION, VERMILLION, "first is worse"),
        ("o", SURFACE, SLATE, "no difference shown"),
        ("o", SLATE, SLATE, "differs, neither is better"),
    )
    extra = [
        Line2D([], [], marker=marker, color=edge, markerfacecolor=face, markeredgecolor=edge, markersize=8, label=label)
        for marker, face, edge, label in looks
    ]
    legend_below(figure, axes[0, 0], extra=extra)
    return figure


def _draw_forest(axis: Axes, name: str, found: list[Difference], pairs: list[tuple[str, str]]) -> None:
    factor, label = _units(name, np.array([[d.mean, d.low, d.high] for d in found]))
    axis.axvline(0, color=INK, linewidth=1.2)
    for one in found:
        row = pairs.index((one.a, one.b))
        colour = {1: BLUE, -1: VERMILLION, 0: SLATE}[one.side]
        if np.isfinite([one.low, one.high]).all():
            axis.plot(
                [one.low / factor, one.high / factor], [row, row], color=colour, linewidth=3, solid_capstyle="butt"
            )
        axis.plot(
            one.mean / factor, row, marker="X" if one.side < 0 else "o", color=colour, markersize=9,
            markeredgecolor=colour, markerfacecolor=colour if one.clear else SURFACE, markeredgewidth=1.6,
        )  # fmt: skip
    axis.set_title(metric(name).title)
    unit = label[label.rindex("(") :].replace("(%)", "(percentage points)")
    axis.set_xlabel(f"difference {unit}")
    axis.margins(x=0.12)
    axis.locator_params(axis="x", nbins=5)


@of_comparison
def plot_seeds(comparison: Comparison, name: str = "satisfaction") -> Figure:
    """The metric seed by seed: whether a policy wins everywhere or only on average; the bound of each seed above."""
    rows = [(policy, results[name]) for policy, results in comparison.policies.items() if name in results]
    if not rows:
        raise OutputError(f"no policy of this comparison has the metric {name}")
    factor, label = _units(name, np.concatenate([values for _, values in rows]))
    figure, axes = panels(f"{metric(name).title}, seed by seed", height=360)
    axis: Axes = axes[0, 0]
    place = np.arange(len(comparison.seeds))
    for row, (policy, values) in enumerate(rows):
        axis.plot(
            place, values / factor, marker=MARKERS[row % len(MARKERS)], color=SERIES[row % len(SERIES)], markersize=8,
            linewidth=1.0, linestyle=(0, (1, 2)), label=readable(policy),
        )  # fmt: skip
    if name in comparison.bound and np.isfinite(comparison.bound[name]).any():
        axis.hlines(
            comparison.bound[name] / factor, place - 0.35, place + 0.35, color=GREEN, linewidth=2.2,
            label="clairvoyant bound",
        )  # fmt: skip
    loads = comparison.load_factor
    ticks = [
        f"{seed}\n(load {load:.2f})" if np.isfinite(load) else str(seed)
        for seed, load in zip(comparison.seeds, loads, strict=True)
    ]
    axis.set_xticks(place, ticks)
    axis.set_xlim(-0.5, len(place) - 0.5)
    axis.set_xlabel("seed")
    axis.set_ylabel(label)
    legend_below(figure, axis, columns=2)
    return figure


@of_comparison
def plot_tradeoff(comparison: Comparison, across: str = "resource_use", up: str = "satisfaction") -> Figure:
    """What was gained against what it took: a small dot a seed, a large mark the mean of a policy."""
    rows = [(p, r[across], r[up]) for p, r in comparison.policies.items() if across in r and up in r]
    if not rows:
        raise OutputError(f"no policy of this comparison has both {across} and {up}")
    x_factor, x_label = _units(across, np.concatenate([x for _, x, _ in rows]))
    y_factor, y_label = _units(up, np.concatenate([y for _, _, y in rows]))
    figure, axes = panels(f"{metric(up).title} against {metric(across).title.lower()}", height=360)
    axis: Axes = axes[0, 0]
    for row, (policy, x, y) in enumerate(rows):
        colour, marker = SERIES[row % len(SERIES)], MARKERS[row % len(MARKERS)]
        axis.plot(x / x_factor, y / y_factor, linestyle="", marker=marker, color=colour, alpha=0.4, markersize=5)
        axis.plot(
            interval(x).mean / x_factor, interval(y).mean / y_factor, linestyle="", marker=marker, color=colour,
            markeredgecolor=SURFACE, markersize=13, label=readable(policy),
        )  # fmt: skip
    axis.set_xlabel(x_label)
    axis.set_ylabel(y_label)
    axis.margins(0.12)
    legend_below(figure, axis, columns=2)
    return figure


@of_comparison
def plot_ratios(comparison: Comparison) -> Figure:
    """Distribution of experience over agreement by policy and control; right of 1 agreements are kept."""
    if not comparison.ratios:
        raise OutputError("agreements are judged over 3 minutes, and the runs ended before")
    figure, axes = panels("Experience over agreement, all users, stretches and seeds", width=WIDE_PX, height=380)
    axis: Axes = axes[0, 0]
    axis.axvline(1.0, color=INK, linewidth=1.3, linestyle=(0, (4, 3)), label="as agreed")
    shown = list(comparison.ratios.items())[:MOST_LINES]
    for index, (name, values) in enumerate(shown):
        axis.plot(values, np.linspace(0, 100, len(values)), label=readable(name), **line_style(index))
    axis.set_ylim(0, 101)
    axis.set_xlim(0.2, max(1.6, *(float(values.max()) for _, values in shown)))
    axis.set_xlabel("E* / agreed, mean of 3 minutes")
    axis.set_ylabel("users' stretches at or below (%)")
    legend_below(figure, axis)
    return figure


def _titled(name: str) -> str:
    known = metric(name)
    return known.title + {1: " (more is better)", -1: " (less is better)", 0: ""}[known.better]


def _units(name: str, values: Values) -> tuple[float, str]:
    """What to divide the metric's values by, and the axis label with its unit."""
    known = metric(name)
    if known.kind == "share":
        return 0.01, f"{known.title.lower()} (%)"
    if known.kind in ("number", "count"):
        return 1.0, f"{known.title.lower()} ({'1' if known.kind == 'number' else 'count'})"
    factor, prefix = (1.0, "") if known.kind == "s" else scaled(values)
    return factor, f"{known.title.lower()} ({prefix}{known.kind})"
