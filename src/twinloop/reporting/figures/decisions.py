"""Decisions and their verdicts: who won when, what was refused or undone and why, what the twin expected of them."""

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from twinloop.errors import OutputError
from twinloop.reporting.aggregation import groups, mean_by, stretches
from twinloop.reporting.figures.canvas import (
    AMBER,
    BLUE,
    INK,
    MUTED,
    SLATE,
    VERMILLION,
    legend_below,
    of_run,
    on_time,
    panels,
)
from twinloop.reporting.run import Run, Values

SCALES = ("window", "slot")
STANDING = "standing"
_EFFECTS = (
    ("applied", "new decision, in effect", BLUE, "|", 1),
    ("kept", "standing decision kept", SLATE, "|", 0),
    ("pending", "new decision, effect not yet seen", AMBER, "o", 2),
    ("rolled_back", "rolled back", VERMILLION, "X", 3),
)


@dataclass(frozen=True)
class Reason:
    """How often one verdict was given, in which loop, and when first."""

    scale: str
    code: int
    text: str
    count: int
    first_s: float


def outcomes(run: Run) -> Values:
    """What became of every decision: `applied`, `pending`, `rolled_back`, or `kept` where the standing one stayed."""
    winner, effect = run.columns("decisions", "winner", "effect")
    winner, effect = winner.astype(str), effect.astype(str)
    return np.where((winner == STANDING) & (effect != "rolled_back"), "kept", effect)


@of_run
def plot_decisions(run: Run) -> Figure:
    """Timeline of winners, a lane for each loop and policy; marks tell what became of the decision."""
    slot, scale, winner = run.columns("decisions", "slot", "scale", "winner")
    outcome = outcomes(run)
    lanes = _lanes(scale.astype(str), winner.astype(str))
    figure, axes = panels("Who decided, and what became of it", width=1140, height=170 + 34 * len(lanes))
    axis: Axes = axes[0, 0]
    unit_s = on_time(run, [axis])
    moment = (np.asarray(slot, np.float64) + 0.5) * run.slot_s / unit_s
    lane = np.array([lanes.index(pair) for pair in zip(scale.astype(str), winner.astype(str), strict=True)])
    for effect, label, colour, marker, order in _EFFECTS:
        mine = outcome == effect
        if mine.any():
            axis.scatter(
                moment[mine], lane[mine], marker=marker, s=180 if marker == "|" else 75, color=colour, linewidths=1.4,
                zorder=2 + order, label=f"{label} ({int(mine.sum())})", rasterized=bool(mine.sum() > 800),
            )  # fmt: skip
    axis.set_yticks(range(len(lanes)), [f"{scale}: {_policy(winner)}" for scale, winner in lanes])
    axis.set_ylim(len(lanes) - 0.4, -0.6)
    axis.grid(visible=False, axis="x")
    axis.set_ylabel("loop: winner")
    legend_below(figure, axis, columns=4)
    return figure


@of_run
def plot_objectives(run: Run) -> Figure:
    """What the twin expected of the best proposal and of the standing decision, for the window and the slot loop."""
    slot, scale, won, stood = run.columns("decisions", "slot", "scale", "objective_proposed", "objective_standing")
    scale = scale.astype(str)
    there = [name for name in SCALES if (np.isfinite(won) & (scale == name)).any()]
    if not there:
        raise OutputError("no decision carries an expected objective")
    figure, axes = panels(
        "What the twin expected of each decision", len(there), height=100 + 155 * len(there), sharex=True
    )
    unit_s = on_time(run, list(axes[:, 0]))
    for axis, name in zip(axes[:, 0], there, strict=True):
        mine = scale == name
        _draw_objectives(axis, run, slot[mine], won[mine], stood[mine], unit_s)
        axis.set_title(f"{name} loop")
        axis.set_ylabel("objective (1)")
    legend_below(figure, axes[0, 0], columns=3)
    return figure


def _draw_objectives(axis: Axes, run: Run, slot: Values, won: Values, stood: Values, unit_s: float) -> None:
    time = stretches(slot, run.slot_s)
    count = len(time.centre_s)
    winner, standing = mean_by(time.index, won, count), mean_by(time.index, stood, count)
    known = np.isfinite(winner) & np.isfinite(standing)
    moment = time.centre_s[known] / unit_s
    marker = "o" if known.sum() <= 40 else None
    axis.fill_between(moment, standing[known], winner[known], color=BLUE, alpha=0.2, linewidth=0, label="expected gain")
    axis.plot(moment, winner[known], color=BLUE, marker=marker, markersize=5, label="best proposal")
    axis.plot(
        moment, standing[known], color=INK, linestyle=(0, (4, 2)), marker=marker, markersize=4, linewidth=1.4,
        markerfacecolor=MUTED, label="standing decision",
    )  # fmt: skip


def reasons(run: Run) -> list[Reason]:
    """Every verdict that was given, the most frequent first."""
    slot, scale, code, text = run.columns("decisions", "slot", "scale", "code", "reason")
    keys = [f"{s}\x1f{int(c)}\x1f{t}" for s, c, t in zip(scale, code, text, strict=True)]
    index, labels = groups(np.array(keys, dtype=object))
    counts = np.bincount(index, minlength=len(labels))
    first = np.full(len(labels), np.inf)
    np.minimum.at(first, index, np.asarray(slot, np.float64))
    found = [
        Reason(*_key(label), count=int(counts[row]), first_s=float(first[row]) * run.slot_s)
        for row, label in enumerate(labels)
    ]
    return sorted(found, key=lambda reason: (reason.scale != "window", -reason.count))


def _key(label: str) -> tuple[str, int, str]:
    scale, code, text = label.split("\x1f")
    return scale, int(code), text


def _lanes(scale: Values, winner: Values) -> list[tuple[str, str]]:
    pairs = set(zip(scale.tolist(), winner.tolist(), strict=True))
    return sorted(pairs, key=lambda pair: (pair[0] != "window", pair[1] == STANDING, pair[1]))


def _policy(name: str) -> str:
    return "kept standing" if name == STANDING else name.replace("_", " ")
