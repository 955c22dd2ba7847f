"""How attributes are asked for over time, group by group."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float64
from matplotlib.colors import BoundaryNorm, LinearSegmentedColormap, ListedColormap
from matplotlib.figure import Figure

from twinloop.reporting.aggregation import groups
from twinloop.reporting.figures.canvas import WIDE_PX, of_run, panels, styled, time_unit
from twinloop.reporting.figures.mirror.twins import attribute_title
from twinloop.reporting.run import Run

_OFTEN_TO_SELDOM = LinearSegmentedColormap.from_list("often", ["#b23c07", "#dd7a22", "#d8b653", "#62a9cc", "#08427a"])
_MOST_STEPS = 12

Asked = Mapping[str, tuple[Sequence[str], Float64[np.ndarray, "attributes times"]]]


@styled
def plot_ladder(asked: Asked, step_s: float, title: str, unit: str) -> Figure:
    """For each group a table of attributes against time, coloured by the period between looks in `unit`.

    A column of the arrays lasts `step_s`.
    """
    return _drawn(asked, step_s, title, unit)


@of_run
def plot_requests(run: Run) -> Figure:
    """Seconds between looks at every attribute of each slice's users."""
    slot, row, attribute, period_s = run.columns("requests", "slot", "slice", "attribute", "period_s")
    index, names = groups(attribute)
    rows, slices = groups(row)
    times, at = np.unique(slot, return_inverse=True)
    table = np.full((len(slices), len(names), len(times)), np.nan)
    table[rows, index, at] = period_s
    step_s = run.slot_s * (float(times[1] - times[0]) if len(times) > 1 else 1.0)
    labels = run.names("slices", slices)
    asked = {label: ([str(name) for name in names], table[place]) for place, label in enumerate(labels)}
    return _drawn(asked, step_s, "How often attributes are looked at", "s")


def _drawn(asked: Asked, step_s: float, title: str, unit: str) -> Figure:
    most = max(len(names) for names, _ in asked.values())
    figure, axes = panels(title, 1, len(asked), width=WIDE_PX, height=150 + 21 * most, sharey=True)
    steps = np.unique(np.concatenate([periods[np.isfinite(periods)].round(2) for _, periods in asked.values()]))
    if len(steps) > _MOST_STEPS:
        steps = steps[np.unique(np.linspace(0, len(steps) - 1, _MOST_STEPS).round().astype(np.int64))]
    colours = [_OFTEN_TO_SELDOM(place / max(len(steps) - 1, 1)) for place in range(len(steps))]
    middle = np.sqrt(steps[:-1] * steps[1:])
    bounds = np.concatenate([[steps[0] / 2], middle, [steps[-1] * 2]])
    image = None
    for axis, (group, (names, periods)) in zip(axes[0], asked.items(), strict=True):
        unit_s, label = time_unit(periods.shape[1] * step_s)
        image = axis.imshow(
            np.ma.masked_invalid(periods), aspect="auto", interpolation="nearest", cmap=ListedColormap(colours),
            norm=BoundaryNorm(bounds, len(steps)), rasterized=True,
            extent=(0, periods.shape[1] * step_s / unit_s, len(names) - 0.5, -0.5),
        )  # fmt: skip
        axis.set_yticks(range(len(names)), [attribute_title(name) for name in names])
        axis.grid(visible=False)
        axis.set_title(group)
        axis.set_xlabel(f"time ({label})")
    if image is not None:
        scale = figure.colorbar(image, ax=axes[0, -1], label=f"period ({unit})", pad=0.02, aspect=30, spacing="uniform")
        centres = np.sqrt(bounds[:-1] * bounds[1:])
        scale.set_ticks(centres.tolist(), labels=[f"{step:g}" for step in steps], minor=False)
        scale.minorticks_off()
    return figure
