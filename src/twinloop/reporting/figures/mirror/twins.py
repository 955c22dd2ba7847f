"""The twins: how true and how fresh they are, attribute by attribute, and what their reports cost."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from twinloop.errors import OutputError
from twinloop.reporting.aggregation import grid_mean, groups, mean_by, stretches
from twinloop.reporting.figures.canvas import (
    BLUE,
    POOR_TO_GOOD,
    SERIES,
    VERMILLION,
    from_zero,
    heat,
    line_style,
    of_run,
    on_time,
    panels,
    scaled,
)
from twinloop.reporting.run import Run

_KINDS = ("users", "cells", "servers")


def attribute_means(run: Run) -> list[tuple[str, float, float]]:
    """Name, mean fidelity and mean age in seconds of every attribute, the least faithful first."""
    attribute, fidelity, age_s = run.columns("twins", "attribute", "fidelity", "mean_age_s")
    index, labels = groups(attribute)
    rows = zip(labels, mean_by(index, fidelity, len(labels)), mean_by(index, age_s, len(labels)), strict=True)
    return sorted(((str(n), float(f), float(a)) for n, f, a in rows), key=lambda row: (np.nan_to_num(row[1]), row[0]))


@of_run
def plot_twins(run: Run) -> Figure:
    """Fidelity and age of every attribute, the least faithful on top."""
    rows = attribute_means(run)
    names = [attribute_title(name) for name, _, _ in rows]
    figure, axes = panels(
        "How true and how fresh the twins are", 1, 2, height=130 + 21 * len(rows), sharey=True, width_ratios=[1.25, 1]
    )
    place = np.arange(len(rows))
    fidelity = np.array([row[1] for row in rows])
    age_s = np.array([row[2] for row in rows])
    left: Axes = axes[0, 0]
    right: Axes = axes[0, 1]
    left.barh(place, fidelity, color=BLUE, height=0.66, label="fidelity: 1 = the next report came as foretold")
    right.barh(place, age_s, color=SERIES[4], height=0.66, label="age: time since the value was measured")
    left.set_yticks(place, names)
    left.set_ylim(len(rows) - 0.4, -0.6)
    left.set_xlim(0, 1.0)
    left.set_xlabel("fidelity (share)")
    right.set_xlabel("mean age (s)")
    right.set_xlim(0, max(float(np.nanmax(age_s)) * 1.08 if np.isfinite(age_s).any() else 1.0, 0.1))
    for axis in (left, right):
        axis.grid(visible=False, axis="y")
    handles = [*left.get_legend_handles_labels()[0], *right.get_legend_handles_labels()[0]]
    figure.legend(handles=handles, loc="outside lower left", ncols=1)
    return figure


@of_run
def plot_twin_history(run: Run) -> Figure:
    """Fidelity of every attribute over time as a coloured table: what the twin lost and found again."""
    slot, attribute, fidelity = run.columns("twins", "slot", "attribute", "fidelity")
    index, labels = groups(attribute)
    time = stretches(slot, run.slot_s, most=120)
    grid = grid_mean(index, len(labels), time.index, len(time.centre_s), fidelity)
    order = [labels.index(name) for name, _, _ in attribute_means(run)]
    figure, axes = panels("Fidelity over time", height=130 + 21 * len(labels))
    unit_s = on_time(run, [axes[0, 0]])
    low = float(np.nanquantile(grid, 0.02))
    scale = {"cmap": POOR_TO_GOOD, "vmin": min(0.9, np.floor(low * 10) / 10), "vmax": 1.0}
    names = [attribute_title(labels[row]) for row in order]
    heat(figure, axes[0, 0], grid[order], names, run.slots * run.slot_s / unit_s, scale, "fidelity (share)")
    return figure


@of_run
def plot_collection(run: Run) -> Figure:
    """Bits of reports a slot by kind, and reports that came late or twice."""
    (slot,) = run.columns("collection", "slot")
    time = stretches(slot, run.slot_s, most=75)
    count = len(time.centre_s)
    kinds = [(kind, values) for kind in _KINDS if (values := run.optional("collection", f"{kind}_bits")) is not None]
    if not kinds:
        raise OutputError(f"collection.parquet holds none of {', '.join(f'{kind}_bits' for kind in _KINDS)}")
    rates = np.stack([mean_by(time.index, values, count) for _, values in kinds]) / run.slot_s
    factor, prefix = scaled(rates.sum(axis=0))
    figure, axes = panels("What the reports cost", 2, height=420, sharex=True, height_ratios=[1.6, 1])
    unit_s = on_time(run, list(axes[:, 0]))
    moment = time.centre_s / unit_s
    colours = [line_style(row)["color"] for row in range(len(kinds))]
    labels = [f"reports of {kind}" for kind, _ in kinds]
    axes[0, 0].stackplot(moment, rates / factor, labels=labels, colors=colours, alpha=0.75, step="mid", linewidth=0)
    axes[0, 0].set_ylabel(f"reports ({prefix}bit/s)")
    from_zero(axes[0, 0])
    faults = [(name, values) for name in ("late", "duplicates")
              if (values := run.optional("collection", name)) is not None]  # fmt: skip
    for (name, values), colour, dash in zip(faults, (VERMILLION, SERIES[5]), ("-", (0, (2, 1))), strict=False):
        label = "late reports" if name == "late" else "reports received twice"
        axes[1, 0].plot(moment, mean_by(time.index, values, count), label=label, color=colour, linestyle=dash)
    axes[1, 0].set_ylabel("reports a slot")
    from_zero(axes[1, 0], least=1.0)
    handles = [*axes[0, 0].get_legend_handles_labels()[0], *axes[1, 0].get_legend_handles_labels()[0]]
    figure.legend(handles=handles, loc="outside lower left", ncols=2)
    return figure


def collected_by_kind(run: Run) -> dict[str, float]:
    """Bits that each kind of report cost over the whole run."""
    columns = {kind: run.optional("collection", f"{kind}_bits") for kind in _KINDS}
    return {kind: float(np.nansum(values)) for kind, values in columns.items() if values is not None}


def attribute_title(attribute: str) -> str:
    """An attribute's name as people read it, without its unit."""
    name = attribute
    for end in ("_bps", "_dbm", "_db", "_hz", "_mps", "_per_s", "_s", "_m", "_w", "_bits"):
        if name.endswith(end):
            name = name.removesuffix(end)
            break
    return name.replace("_", " ").replace(".", ": ").replace("/", ": ")
