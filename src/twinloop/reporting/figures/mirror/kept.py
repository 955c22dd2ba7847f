"""The model of when viewers leave over a run: how surprised it was, and when it was changed."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from twinloop.reporting.figures.canvas import BLUE, INK, MUTED, SLATE, VERMILLION, WIDE_PX, of_run, on_time, panels
from twinloop.reporting.run import Run

_LOOKS_A_POINT = 20
_LINES = (
    ("twins", "twins", BLUE, "-"),
    ("first_model", "the first version, never updated", VERMILLION, (0, (6, 2))),
    ("truth", "the network's own hazards", SLATE, (0, (1.5, 1.5))),
)
_MARKS = {
    "drift": ("v", "drift found"),
    "refresh": ("d", "update by calendar"),
    "promoted": ("^", "version promoted"),
    "refused": ("x", "version refused"),
    "rolled back": ("s", "version rolled back"),
}


@of_run
def plot_upkeep(run: Run) -> Figure:
    """Surprise at how views ended, mean over 20 looks, of the twins, of the first version, and of the truth."""
    slot, *lines = run.columns("looks", "slot", *(column for column, *_ in _LINES))
    figure, axes = panels("Surprise at when viewers leave, and what was done", width=WIDE_PX, height=380)
    axis: Axes = axes[0, 0]
    unit_s = on_time(run, [axis])
    at = _means(slot * run.slot_s / unit_s)
    for (_, label, colour, dashes), values in zip(_LINES, lines, strict=True):
        axis.plot(at, _means(values), color=colour, linestyle=dashes, label=label)
    for number, drift in enumerate(drifts(run)):
        axis.axvline(float(drift["at_s"]) / unit_s, color=INK, linewidth=1.2, linestyle=(0, (4, 3)),
                     label="behaviour changed" if number == 0 else None)  # fmt: skip
    low, high = axis.get_ylim()
    axis.set_ylim(low - 0.14 * (high - low), high)
    _mark(axis, run, low - 0.07 * (high - low), unit_s)
    axis.set_ylabel("nats a view")
    figure.legend(loc="outside lower left", ncols=4)
    return figure


def events(run: Run) -> Sequence[Mapping[str, Any]]:
    """What upkeep did, in order."""
    return (run.summary.get("upkeep") or {}).get("events", [])


def drifts(run: Run) -> Sequence[Mapping[str, Any]]:
    """What became of each drift that the scenario put in."""
    return (run.summary.get("upkeep") or {}).get("drifts", [])


def _mark(axis: Axes, run: Run, height: float, unit_s: float) -> None:
    for kind, (shape, label) in _MARKS.items():
        at = [event["slot"] * run.slot_s / unit_s for event in events(run) if event["kind"] == kind]
        if at:
            colour = INK if shape == "x" else MUTED
            axis.plot(at, [height] * len(at), shape, color=colour, markersize=9, markerfacecolor="none",
                      markeredgewidth=1.6, linestyle="none", label=label)  # fmt: skip


def _means(values: NDArray[Any]) -> NDArray[np.float64]:
    """Means over consecutive looks, so that noise does not hide the level."""
    size = min(_LOOKS_A_POINT, max(len(values) // 8, 1))
    whole = len(values) // size * size
    return np.asarray(values[:whole], np.float64).reshape(-1, size).mean(axis=1)
