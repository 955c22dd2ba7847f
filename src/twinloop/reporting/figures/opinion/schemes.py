"""Schemes of a study against each other: by number of users, by window, one gap after another. Plain arrays."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from twinloop.reporting.figures.canvas import (
    BLUE,
    INK,
    MUTED,
    SERIES,
    VERMILLION,
    WIDE_PX,
    legend_below,
    line_style,
    panels,
    styled,
)


class Bar(NamedTuple):
    """A mean with the ends of its interval."""

    value: float
    low: float
    high: float


@styled
def plot_ratio_by_users(
    ratio: Mapping[str, Mapping[int, Bar]], bound: Mapping[int, Bar], title: str, label: str
) -> Figure:
    """A figure of every scheme by number of users with its intervals, and what nobody can exceed."""
    figure, axes = panels(title, width=WIDE_PX, height=360)
    axis = axes[0, 0]
    for index, (name, by_users) in enumerate(ratio.items()):
        numbers = np.array(list(by_users), float) + 0.08 * (index - (len(ratio) - 1) / 2)
        values = np.array([bar.value for bar in by_users.values()])
        ends = np.abs(np.array([[bar.low, bar.high] for bar in by_users.values()]).T - values)
        axis.errorbar(numbers, values, yerr=ends, marker="o", markersize=5, capsize=3, label=name, **line_style(index))
    if bound:
        most = [bar.value for bar in bound.values()]
        axis.errorbar(list(bound), most, color=MUTED, linewidth=1.4, linestyle=(0, (2, 2)), label="clairvoyant bound")
    axis.set_xticks(sorted({number for by_users in ratio.values() for number in by_users}))
    axis.set_xlabel("users")
    axis.set_ylabel(label)
    legend_below(figure)
    return figure


@styled
def plot_gaps(gaps: Mapping[str, Bar], title: str, label: str) -> Figure:
    """Paired differences with their intervals, one below the other; left of the line the first one is worse."""
    figure, axes = panels(title, width=WIDE_PX, height=90 + 27 * max(len(gaps), 3))
    axis = axes[0, 0]
    rows = np.arange(len(gaps))
    for row, bar in zip(rows, gaps.values(), strict=True):
        sure = bar.low > 0 or bar.high < 0
        colour = VERMILLION if sure and bar.value < 0 else BLUE if sure else MUTED
        axis.plot([bar.low, bar.high], [row, row], color=colour, linewidth=2.2)
        axis.plot([bar.value], [row], marker="D", markersize=6, color=colour)
    axis.axvline(0.0, color=INK, linewidth=1.0)
    axis.set_yticks(rows, list(gaps))
    axis.set_ylim(len(gaps) - 0.4, -0.6)
    axis.set_xlabel(label)
    return figure


@styled
def plot_windows(points: Mapping[str, tuple[Bar, Bar]], title: str) -> Figure:
    """Every rule of windows by how often slices were decided anew an hour and the ELA ratio that it kept."""
    figure, axes = panels(title, width=WIDE_PX, height=360)
    axis = axes[0, 0]
    for index, (name, (often, kept)) in enumerate(points.items()):
        colour = SERIES[index % len(SERIES)]
        axis.errorbar(
            [often.value], [kept.value], xerr=[[often.value - often.low], [often.high - often.value]],
            yerr=[[kept.value - kept.low], [kept.high - kept.value]], marker="o", markersize=7, capsize=3,
            color=colour, linestyle="none", label=name,
        )  # fmt: skip
    axis.set_xlim(left=0.0)
    axis.set_xlabel("reconfigurations enforced per hour")
    axis.set_ylabel("mean ELA ratio")
    legend_below(figure)
    return figure


@styled
def plot_slices_and_windows(
    reserved_mhz: Float[np.ndarray, "minutes slices"],
    names: Sequence[str],
    decided: Float[np.ndarray, " minutes"],
    score: Float[np.ndarray, " minutes"],
    stage: Float[np.ndarray, " minutes"],
    game_level: Float[np.ndarray, "minutes slices"],
    title: str,
) -> Figure:
    """Bandwidth of every slice over time with the minutes in which slices were decided, the dynamics score, and the
    part of their demand that slices have at the equilibrium of every decision's game.
    """
    figure, axes = panels(title, 3, 1, width=WIDE_PX, height=620, sharex=True, height_ratios=[3, 2, 2])
    top, low, game = axes[:, 0]
    minutes = np.arange(len(reserved_mhz) + 1)
    for index, name in enumerate(names):
        held = np.append(reserved_mhz[:, index], reserved_mhz[-1, index])
        top.step(minutes, held, where="post", label=name, **line_style(index))
    for minute in np.flatnonzero(decided > 0):
        top.axvline(minute, color=MUTED, linewidth=0.7, alpha=0.6)
    top.set_ylabel("bandwidth (MHz), all cells")
    top.set_ylim(0)
    asked = np.flatnonzero(np.isfinite(score))
    low.plot(asked, score[asked], marker="o", markersize=5, color=BLUE, label="dynamics score")
    low.set_ylabel("dynamics score")
    low.set_ylim(0, 1)
    right = low.twinx()
    right.step(asked, stage[asked] + 1, where="mid", color=VERMILLION, linestyle=(0, (4, 2)), label="stage")
    right.set_ylabel("stage (5: shortest windows)")
    right.set_ylim(0.5, 5.5)
    right.grid(visible=False)
    played = np.flatnonzero(np.isfinite(game_level).all(axis=1))
    for index in range(len(names)):
        game.step(played, game_level[played, index], where="post", **line_style(index))
    game.set_ylabel("game: demand met")
    game.set_ylim(0, 1.05)
    game.set_xlabel("time (min); vertical lines: slices decided")
    stage_handle = right.get_legend_handles_labels()[0]
    legend_below(figure, top, extra=[*low.get_legend_handles_labels()[0], *stage_handle])
    return figure


@styled
def plot_learning(curves: Mapping[str, Mapping[str, Any]], title: str) -> Figure:
    """Return of greedy episodes while agents learn, with 95 % intervals: `steps`, `return`, `low`, `high` of each."""
    figure, axes = panels(title, 1, len(curves), width=WIDE_PX, height=300)
    for axis, (name, curve) in zip(axes[0], curves.items(), strict=True):
        steps = np.asarray(curve["steps"]) / 1e3
        axis.plot(steps, curve["return"], marker="o", markersize=4, color=BLUE)
        axis.fill_between(steps, curve["low"], curve["high"], color=BLUE, alpha=0.18, linewidth=0)
        axis.set_title(name)
        axis.set_xlabel("thousand steps of environments")
    axes[0, 0].set_ylabel("return of an episode")
    return figure
