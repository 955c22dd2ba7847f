"""What the twins are worth, window by window."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from twinloop.reporting.figures.canvas import (
    BLUE,
    GREEN,
    INK,
    MUTED,
    SLATE,
    VERMILLION,
    WIDE_PX,
    of_run,
    panels,
    time_unit,
)
from twinloop.reporting.run import Run


@of_run
def plot_value(run: Run) -> Figure:
    """The parts of the twins' value by window, and what people got with them, without them, and at best."""
    first, slots = run.columns("value", "first_slot", "slots")
    unit_s, label = time_unit(run.slots * run.slot_s)
    begin, width = first * run.slot_s / unit_s, slots * run.slot_s / unit_s
    figure, axes = panels("What the twins are worth", 1, 2, width=WIDE_PX, height=360)
    _draw_parts(axes[0, 0], run, begin, width)
    _draw_satisfaction(axes[0, 1], run, begin, width)
    for axis in axes[0]:
        axis.set_xlim(0, begin[-1] + width[-1])
        axis.set_xlabel(f"time ({label})")
    handles = [handle for axis in axes[0] for handle in axis.get_legend_handles_labels()[0]]
    figure.legend(handles=handles, loc="outside lower left", ncols=4)
    return figure


def _draw_parts(axis: Axes, run: Run, begin: NDArray[np.float64], width: NDArray[np.float64]) -> None:
    fidelity, gain, cost, value = (run.columns("value", name)[0] for name in ("fidelity", "gain", "cost", "value"))
    parts = (("fidelity", fidelity, BLUE), ("gain", gain, GREEN), ("cost", -cost, VERMILLION))
    for place, (name, height, colour) in enumerate(parts):
        left = begin + width * (0.14 + 0.24 * place)
        axis.bar(left, height, width=width * 0.22, align="edge", color=colour, label=name)
    axis.step(
        np.append(begin, begin[-1] + width[-1]), np.append(value, value[-1]), where="post", color=INK, label="value"
    )
    axis.axhline(0, color=MUTED, linewidth=1.0)
    axis.set_ylabel("value and its parts")


def _draw_satisfaction(axis: Axes, run: Run, begin: NDArray[np.float64], width: NDArray[np.float64]) -> None:
    edges = np.append(begin, begin[-1] + width[-1])
    lines = (
        ("satisfaction_bound", "at best, the future known", SLATE, (0, (1.5, 1.5))),
        ("satisfaction", "with twins", BLUE, "-"),
        ("satisfaction_unaided", "without twins: equal slices, equal turns", VERMILLION, (0, (6, 2))),
    )
    for column, name, colour, dashes in lines:
        values = run.columns("value", column)[0]
        axis.step(edges, np.append(values, values[-1]), where="post", color=colour, linestyle=dashes, label=name)
    axis.set_ylim(0, 1)
    axis.set_ylabel("satisfaction")
