"""The look of every figure: colours safe for colour blindness, sizes in page pixels, axes of time."""

from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from twinloop.reporting.run import Run, open_run

INK = "#1d2733"
MUTED = "#5d6976"
GRID = "#dde3e9"
SURFACE = "#fefefe"
BLUE, VERMILLION, GREEN, PURPLE, AMBER, SLATE = "#0072b2", "#d55e00", "#00916a", "#b4558d", "#b98200", "#66738c"
SERIES = (BLUE, VERMILLION, GREEN, PURPLE, AMBER, SLATE)
DASHES: tuple[Any, ...] = ("-", (0, (6, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)), (0, (3, 1)), (0, (8, 2, 2, 2, 2, 2)))
POOR_TO_GOOD = LinearSegmentedColormap.from_list(
    "poor_to_good", ["#b23c07", "#dd7a22", "#d8b653", "#62a9cc", "#0b62a8"]
)

HALF_PX = 520
WIDE_PX = 1140
MOST_LINES = 6
_PX_PER_INCH = 72

STYLE: dict[Any, Any] = {
    "font.family": ["DejaVu Sans"],
    "font.size": 13,
    "figure.titlesize": 15,
    "figure.titleweight": "bold",
    "axes.titlesize": 13,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 13,
    "legend.fontsize": 12.5,
    "xtick.labelsize": 12,
    "ytick.labelsize": 12,
    "text.color": INK,
    "axes.titlecolor": INK,
    "axes.labelcolor": MUTED,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "axes.edgecolor": GRID,
    "axes.facecolor": "none",
    "figure.facecolor": SURFACE,
    "savefig.facecolor": SURFACE,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
    "hatch.linewidth": 0.8,
    "hatch.color": MUTED,
}

P = ParamSpec("P")
S = TypeVar("S")


def styled(draw: Callable[Concatenate[S, P], Figure]) -> Callable[Concatenate[S, P], Figure]:
    """Draw in the house style, which leaves with the call: nothing of matplotlib's own settings stays changed."""

    @wraps(draw)
    def drawn(subject: S, *args: P.args, **kwargs: P.kwargs) -> Figure:
        with mpl.rc_context(STYLE):
            return draw(subject, *args, **kwargs)

    return drawn


def of_run(draw: Callable[Concatenate[Run, P], Figure]) -> Callable[Concatenate[Run | Path | str, P], Figure]:
    """As `styled`, for a figure of a run, which may also be given as the path of its directory."""
    inner = styled(draw)

    @wraps(draw)
    def drawn(run: Run | Path | str, *args: P.args, **kwargs: P.kwargs) -> Figure:
        return inner(open_run(run), *args, **kwargs)

    return drawn


def panels(
    title: str, rows: int = 1, columns: int = 1, *, width: int = HALF_PX, height: int = 320, **grid: Any
) -> tuple[Figure, NDArray[Any]]:
    """A titled figure of `width` x `height` page pixels with rows x columns axes (always a two-dimensional array)."""
    figure = Figure(figsize=(width / _PX_PER_INCH, height / _PX_PER_INCH), dpi=_PX_PER_INCH)
    pads: dict[str, float] = {"h_pad": 6 / _PX_PER_INCH, "w_pad": 5 / _PX_PER_INCH, "hspace": 0.035}
    figure.set_layout_engine("constrained", **pads)
    figure.suptitle(title, x=0.008, horizontalalignment="left")
    axes = figure.subplots(rows, columns, squeeze=False, **grid)
    return figure, axes


def legend_below(figure: Figure, axes: Axes | None = None, *, columns: int = 4, extra: Sequence[Any] = ()) -> None:
    """One legend under all panels, taken from `axes` (the first panel unless told) and the handles in `extra`."""
    source = figure.axes[0] if axes is None else axes
    handles, labels = source.get_legend_handles_labels()
    handles = [*handles, *extra]
    labels = [*labels, *(str(handle.get_label()) for handle in extra)]
    if handles:
        figure.legend(handles, labels, loc="outside lower left", ncols=columns, columnspacing=1.4, handlelength=2.0)


def time_unit(longest_s: float) -> tuple[float, str]:
    """Seconds in the unit that suits a run of `longest_s`, and its label."""
    if longest_s <= 200:
        return 1.0, "s"
    return (60.0, "min") if longest_s <= 3 * 3600 else (3600.0, "h")


def on_time(run: Run, axes: Sequence[Axes]) -> float:
    """Label the lowest of `axes` with the run's time and fit all to it; returns the seconds of a unit."""
    longest = max(run.slots * run.slot_s, run.slot_s)
    unit_s, label = time_unit(longest)
    for one in axes:
        one.set_xlim(0, longest / unit_s)
    axes[-1].set_xlabel(f"time ({label})")
    return unit_s


def line_style(index: int) -> dict[str, Any]:
    """Colour and dashes of the `index`-th series: both differ, so that neither alone must be told apart."""
    return {"color": SERIES[index % len(SERIES)], "linestyle": DASHES[index % len(DASHES)]}


def scaled(values: NDArray[Any]) -> tuple[float, str]:
    """Factor and SI prefix that bring the largest of `values` between 1 and 1000."""
    finite = np.abs(values[np.isfinite(values)])
    largest = float(finite.max()) if finite.size else 0.0
    steps = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
    return next(((factor, prefix) for factor, prefix in steps if largest >= factor), (1.0, ""))


def from_zero(axis: Axes, *, room: float = 1.08, least: float = 0.0) -> None:
    """Vertical axis from 0 to a little above the data, at least to `least`."""
    top = max(axis.dataLim.y1 if np.isfinite(axis.dataLim.y1) else 0.0, least)
    axis.set_ylim(0, top * room if top > 0 else 1.0)


def heat(
    figure: Figure, axis: Axes, values: NDArray[np.float64], labels: list[str], end: float, scale: Any, label: str
) -> None:
    """Rows of `labels` against time up to `end` as a coloured table with its scale; what is unknown stays empty."""
    image = axis.imshow(
        np.ma.masked_invalid(values), aspect="auto", interpolation="nearest",
        extent=(0, end, len(labels) - 0.5, -0.5), rasterized=True, **scale,
    )  # fmt: skip
    every = -(-len(labels) // 40)
    axis.set_yticks(range(0, len(labels), every), labels[::every])
    axis.grid(visible=False)
    figure.colorbar(image, ax=axis, label=label, pad=0.015, aspect=30)
