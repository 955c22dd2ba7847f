"""What people experienced in a run: over time, against what their twins believed, and what was lacking."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from twinloop.reporting.aggregation import mean_by, quantiles_by
from twinloop.reporting.figures.canvas import (
    AMBER,
    BLUE,
    INK,
    MUTED,
    PURPLE,
    SERIES,
    VERMILLION,
    from_zero,
    legend_below,
    of_run,
    on_time,
    panels,
)
from twinloop.reporting.figures.opinion.reading import felt
from twinloop.reporting.run import Run

RULES = {"stall": "minds stalls", "quality": "minds the picture", "both": "minds both"}
_MARKERS = ("o", "s", "^")
_MOST_DOTS = 3000
_LEAST_A_BIN = 5
_EDGES = np.arange(1.0, 5.01, 0.4)


@of_run
def plot_experience_history(run: Run) -> Figure:
    """True experience over the minutes: median and middle half of users, beside the median that twins believed."""
    people = felt(run)
    minute, count = people.minute, people.minutes
    true, believed = people.column("experience"), people.column("believed")
    low, lower, middle, upper, high = quantiles_by(minute, true, count, [0.1, 0.25, 0.5, 0.75, 0.9])
    (held,) = quantiles_by(minute, believed, count, [0.5])
    figure, axes = panels("Experience of every minute", height=340)
    axis: Axes = axes[0, 0]
    unit_s = on_time(run, [axis])
    moment = 60.0 * (np.arange(count) + 0.5) / unit_s
    axis.fill_between(moment, low, high, color=BLUE, alpha=0.14, linewidth=0, label="eight of ten users")
    axis.fill_between(moment, lower, upper, color=BLUE, alpha=0.3, linewidth=0, label="middle half of users")
    axis.plot(moment, middle, color=BLUE, marker="o", markersize=4, label="median, true")
    axis.plot(moment, held, color=VERMILLION, linestyle=(0, (4, 2)), marker="s", markersize=4, label="median, believed")
    axis.set_ylim(0.95, 5.05)
    axis.set_ylabel("experience E* (1 worst, 5 best)")
    legend_below(figure, axis, columns=2)
    return figure


@of_run
def plot_belief(run: Run) -> Figure:
    """True against believed experience, a dot a user and minute, by the rule that twins hold; and their means."""
    people = felt(run)
    true, believed = people.column("experience"), people.column("believed")
    rule = run.optional("experience", "believed_rule")
    kind = np.full(len(true), "") if rule is None else rule.astype(str)
    shown = np.zeros(len(true), bool)
    shown[:: -(-len(true) // _MOST_DOTS)] = True
    figure, axes = panels("What twins believed, and how it was", height=430)
    axis: Axes = axes[0, 0]
    axis.plot([1, 5], [1, 5], color=MUTED, linewidth=1.0, linestyle=(0, (4, 3)), label="believed as it was")
    for index, name in enumerate(RULES if rule is not None else [""]):
        mine = shown & (kind == name)
        if not mine.any():
            continue
        axis.scatter(
            believed[mine], true[mine], s=22, color=SERIES[index], marker=_MARKERS[index], alpha=0.5, linewidths=0,
            label=f"{RULES[name]}, twins say" if name else "a user's minute", rasterized=bool(shown.sum() > 400),
        )  # fmt: skip
    place = np.clip(np.digitize(believed, _EDGES) - 1, 0, len(_EDGES) - 2)
    rows = np.bincount(place, minlength=len(_EDGES) - 1)
    full = rows >= _LEAST_A_BIN
    x, y = (mean_by(place, values, len(rows))[full] for values in (believed, true))
    axis.plot(x, y, color=INK, marker="D", markersize=5, linewidth=1.6, label="mean where believed alike")
    axis.set_xlim(0.9, 5.1)
    axis.set_ylim(0.9, 5.1)
    axis.set_xlabel("experience believed by the twin (1 to 5)")
    axis.set_ylabel("true experience E* (1 to 5)")
    legend_below(figure, axis, columns=2)
    return figure


@of_run
def plot_lacking(run: Run) -> Figure:
    """What the mean user lacked of the best experience, by cause: stalls, the picture, and what no service changes."""
    people = felt(run)
    true, no_stalls, best = (people.column(name) for name in ("experience", "no_stalls", "at_best"))
    causes = (
        ("swipes and slow walks", AMBER, "//", 5.0 - best),
        ("picture below the best", PURPLE, "..", best - no_stalls),
        ("stalls", VERMILLION, "", no_stalls - true),
    )
    figure, axes = panels("What was lacking of the best experience", height=320)
    axis: Axes = axes[0, 0]
    unit_s = on_time(run, [axis])
    edges = 60.0 * np.arange(people.minutes + 1) / unit_s
    floor = np.zeros(people.minutes)
    for name, colour, hatch, lost in causes:
        top = floor + np.nan_to_num(mean_by(people.minute, lost, people.minutes))
        axis.fill_between(
            edges, np.append(floor, floor[-1]), np.append(top, top[-1]), step="post", facecolor=colour, alpha=0.65,
            hatch=hatch, linewidth=0, label=name,
        )  # fmt: skip
        floor = top
    axis.set_ylabel("points below 5, mean of users")
    from_zero(axis, least=1.0)
    legend_below(figure, axis, columns=3)
    return figure
