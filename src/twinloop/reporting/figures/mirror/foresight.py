"""What the twins foresaw: forecast bands against what came, and how often the interval held."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from twinloop.reporting.aggregation import groups
from twinloop.reporting.figures.canvas import BLUE, INK, MUTED, SERIES, WIDE_PX, of_run, panels, time_unit
from twinloop.reporting.figures.mirror.twins import attribute_title
from twinloop.reporting.run import Run

_Z90 = 1.6449
_SHOWN = (("rate_bps", 1e6, "Mbit/s"), ("sinr_db", 1.0, "dB"), ("buffer_s", 1.0, "s"), ("position_x_m", 1.0, "m"))
_STRETCH_SLOTS = 240


@of_run
def plot_forecasts(run: Run) -> Figure:
    """One user's attributes over some minutes in the middle of the run: foretold with the 90 % interval, and true.

    Of the users whose forecasts were kept it shows the one whose channel changes most.
    """
    user, attribute = run.columns("forecasts", "user", "attribute")
    chosen = _liveliest(run)
    title = f"User {chosen}: foretold one slot ahead, and what came"
    figure, axes = panels(title, 2, 2, width=WIDE_PX, height=430, sharex=True)
    unit_s, label = time_unit(run.slots * run.slot_s)
    for axis, (name, factor, unit) in zip(axes.flat, _SHOWN, strict=True):
        _draw_band(axis, run, (user == chosen) & (attribute == name), factor, run.slot_s / unit_s)
        axis.set_ylabel(f"{attribute_title(name)} ({unit})")
    for axis in axes[-1]:
        axis.set_xlabel(f"time ({label})")
    handles = axes[0, 0].get_legend_handles_labels()[0]
    figure.legend(handles=handles, loc="outside lower left", ncols=3)
    return figure


def _liveliest(run: Run) -> int:
    user, attribute, truth = run.columns("forecasts", "user", "attribute", "truth")
    people = np.unique(user)
    spread = [float(np.ptp(truth[(user == one) & (attribute == "sinr_db")])) for one in people]
    return int(people[int(np.argmax(spread))])


def _draw_band(axis: Axes, run: Run, rows: NDArray[np.bool_], factor: float, slot_in_units: float) -> None:
    slot, emulated, std, truth = (
        values[rows] for values in run.columns("forecasts", "slot", "emulated", "std", "truth")
    )
    middle = len(slot) // 2
    shown = slice(max(middle - _STRETCH_SLOTS // 2, min(len(slot), 5)), middle + _STRETCH_SLOTS // 2)
    at = slot[shown] * slot_in_units
    emulated, std, truth = emulated[shown] / factor, std[shown] / factor, truth[shown] / factor
    low, high = emulated - _Z90 * std, emulated + _Z90 * std
    axis.fill_between(at, low, high, color=BLUE, alpha=0.22, linewidth=0, label="90 % interval")
    axis.plot(at, emulated, color=BLUE, linewidth=1.3, label="foretold")
    axis.plot(at, truth, color=INK, linewidth=1.1, linestyle=(0, (3, 1)), label="true")
    if len(at) > 1:
        least, most = min(truth.min(), np.quantile(low, 0.05)), max(truth.max(), np.quantile(high, 0.95))
        axis.set_ylim(least - 0.05 * (most - least) - 1e-9, most + 0.05 * (most - least) + 1e-9)
        axis.set_xlim(at[0], at[-1])


def coverage(run: Run) -> list[tuple[str, float]]:
    """Share of users and slots inside the 90 % interval foretold, by attribute, the lowest first; labels left out."""
    attribute, compared, covered = run.columns("twins", "attribute", "compared", "covered")
    foretold = set(groups(run.columns("forecasts", "attribute")[0])[1])
    index, labels = groups(attribute)
    total = np.bincount(index, compared, len(labels))
    inside = np.bincount(index, covered, len(labels))
    found = [
        (str(name), float(inside[row] / total[row]))
        for row, name in enumerate(labels)
        if total[row] > 0 and name in foretold
    ]
    return sorted(found, key=lambda pair: pair[1])


@of_run
def plot_coverage(run: Run) -> Figure:
    """How often the truth lay in the 90 % interval foretold for it, by attribute."""
    rows = coverage(run)
    figure, axes = panels("How often the 90 % interval held", height=130 + 21 * len(rows))
    axis: Axes = axes[0, 0]
    place = np.arange(len(rows))
    axis.barh(place, [share for _, share in rows], color=SERIES[2], height=0.66)
    axis.axvline(0.9, color=MUTED, linewidth=1.4, linestyle=(0, (3, 2)), label="promised: 90 %")
    axis.set_yticks(place, [attribute_title(name) for name, _ in rows])
    axis.set_ylim(len(rows) - 0.4, -0.6)
    axis.set_xlim(0, 1)
    axis.set_xlabel("share of users and slots inside")
    axis.grid(visible=False, axis="y")
    figure.legend(loc="outside lower left")
    return figure
