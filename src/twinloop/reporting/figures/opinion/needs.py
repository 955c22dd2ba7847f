"""What twins foretold before every window: what slices' users would take, and whose agreement no resources keep."""

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from twinloop.reporting.aggregation import groups
from twinloop.reporting.figures.canvas import (
    BLUE,
    INK,
    MOST_LINES,
    MUTED,
    SERIES,
    VERMILLION,
    from_zero,
    legend_below,
    of_run,
    on_time,
    panels,
)
from twinloop.reporting.run import Run, Values

_MEGA = 1e6
BINDINGS = ("none", "bandwidth", "cycles", "cache", "sensing", "experience")
"""What an agreement may want for, in the order in which it is drawn."""
_WORDS = {"none": "kept by the foretold mix", "experience": "out of reach of any service"}


def _by_window_and_slice(window: Values, row: Values, values: Values) -> NDArray[np.float64]:
    """Sums over cells."""
    table = np.zeros((window.max() + 1, row.max() + 1))
    np.add.at(table, (window, row), values)
    return table


@of_run
def plot_foreseen(run: Run) -> Figure:
    """Bandwidth that each slice's users were foreseen to take in the window, its 90 % band, and what was reserved."""
    slot, identity = run.columns("foreseen", "slot", "slice")
    window, at = groups(slot)
    row, labels = groups(identity)
    low, middle, high = (
        _by_window_and_slice(window, row, run.columns("foreseen", f"bandwidth_hz_p{part}")[0]) / _MEGA
        for part in ("05", "50", "95")
    )
    reserved_at, reserved = _reserved(run, len(labels))
    shown = min(len(labels), MOST_LINES)
    names = run.names("slices", labels[:shown])
    title = "Bandwidth foreseen for each slice, and reserved"
    figure, axes = panels(title, shown, height=118 + 112 * shown, sharex=True, sharey=True)
    unit_s = on_time(run, list(axes[:, 0]))
    begin = np.append(np.asarray(at), run.slots) * run.slot_s / unit_s

    def steps(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.append(values, values[-1])

    for axis, name, index in zip(axes[:, 0], names, range(shown), strict=True):
        axis.set_title(name)
        axis.fill_between(begin, steps(low[:, index]), steps(high[:, index]), step="post", color=BLUE, alpha=0.25,
                          linewidth=0, label="foreseen, 5 to 95 %")  # fmt: skip
        axis.step(begin, steps(middle[:, index]), where="post", color=BLUE, label="foreseen, median")
        axis.plot(reserved_at * run.slot_s / unit_s, reserved[:, index], color=INK, drawstyle="steps-post",
                  label="reserved")  # fmt: skip
        from_zero(axis)
    figure.supylabel("bandwidth (MHz), all cells", fontsize=13, color=MUTED)
    legend_below(figure, axes[0, 0], columns=3)
    return figure


def _reserved(run: Run, slices: int) -> tuple[Values, NDArray[np.float64]]:
    slot, identity, reserved = run.columns("slices", "slot", "slice", "reserved_bandwidth_hz")
    moment, at = groups(slot)
    row, _ = groups(identity)
    return np.asarray(at), _by_window_and_slice(moment, row, reserved)[:, :slices] / _MEGA


@of_run
def plot_binding(run: Run) -> Figure:
    """Users by what their agreement wants for, at every decision on slices."""
    slot, binding = run.columns("needs", "slot", "binding")
    window, at = groups(slot)
    figure, axes = panels("What agreements want for", height=360)
    axis = axes[0, 0]
    unit_s = on_time(run, [axis])
    begin = np.append(np.asarray(at), run.slots) * run.slot_s / unit_s
    users = np.stack([np.bincount(window, weights=binding == name) for name in BINDINGS])
    base = np.zeros(users.shape[1])
    colours = dict(zip(BINDINGS, (SERIES[0], VERMILLION, *SERIES[2:], MUTED), strict=False))
    for name, count in zip(BINDINGS, users, strict=True):
        if count.any():
            axis.stairs(base + count, begin, baseline=base, fill=True, color=colours[name], alpha=0.75,
                        label=_WORDS.get(name, f"short of {name}"))  # fmt: skip
        base = base + count
    axis.set_ylabel("users")
    from_zero(axis)
    legend_below(figure, axis, columns=3)
    return figure
