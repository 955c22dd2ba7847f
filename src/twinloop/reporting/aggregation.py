"""Sums, means and quantiles of trace columns by group and by stretch of time, for display only."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinloop.reporting.run import Values

MOST_POINTS = 240


@dataclass(frozen=True)
class Stretches:
    """Equal stretches of time that the slots of a trace fall into.

    `index[rows]` is the stretch of each row, `centre_s[stretches]` its middle in seconds, `slots` its length.
    """

    index: NDArray[np.intp]
    centre_s: NDArray[np.float64]
    slots: int


def stretches(slot: Values, slot_s: float, most: int = MOST_POINTS) -> Stretches:
    """Stretches for the rows' `slot`: single slots where they are at most `most`, longer ones otherwise."""
    first, last = int(slot.min()), int(slot.max())
    slots = -(-(last - first + 1) // most)
    index = (np.asarray(slot, np.int64) - first) // slots
    starts = first + slots * np.arange(int(index.max()) + 1)
    centre_s = np.asarray((starts + 0.5 * (slots - 1)) * slot_s, np.float64)
    return Stretches(index.astype(np.intp), centre_s, slots)


def groups(identities: Values) -> tuple[NDArray[np.intp], list[Any]]:
    """Group of each row, and the groups' identities in ascending order."""
    if identities.dtype == object:
        identities = identities.astype(str)
    labels, index = np.unique(identities, return_inverse=True)
    return index.reshape(-1), labels.tolist()


def sum_by(index: NDArray[np.intp], values: Values, count: int) -> NDArray[np.float64]:
    """Sum of the finite `values` of each of `count` groups."""
    finite = np.isfinite(values)
    total = np.bincount(index[finite], weights=np.asarray(values, np.float64)[finite], minlength=count)
    return total.astype(np.float64)


def mean_by(index: NDArray[np.intp], values: Values, count: int) -> NDArray[np.float64]:
    """Mean of the finite `values` of each of `count` groups, NaN for a group without any."""
    finite = np.isfinite(values)
    rows = np.bincount(index[finite], minlength=count)
    return np.where(rows > 0, sum_by(index, values, count) / np.maximum(rows, 1), np.nan)


def grid_mean(
    row: NDArray[np.intp], rows: int, column: NDArray[np.intp], columns: int, values: Values
) -> NDArray[np.float64]:
    """Mean of `values` for every (row, column), NaN where there is none."""
    return mean_by(row * columns + column, values, rows * columns).reshape(rows, columns)


def quantiles_by(index: NDArray[np.intp], values: Values, count: int, levels: list[float]) -> NDArray[np.float64]:
    """Quantiles `[levels, groups]` of the finite `values` of each group, NaN for a group without any."""
    finite = np.isfinite(values)
    order = np.argsort(index[finite], kind="stable")
    ordered = np.asarray(values, np.float64)[finite][order]
    ends = np.cumsum(np.bincount(index[finite], minlength=count))
    parts = np.split(ordered, ends[:-1])
    empty = np.full(len(levels), np.nan)
    return np.stack([np.quantile(part, levels) if len(part) else empty for part in parts], axis=1)


def most_common(index: NDArray[np.intp], values: NDArray[np.intp], count: int) -> NDArray[np.intp]:
    """The most frequent of the small non-negative integers `values` in each group."""
    width = int(values.max()) + 1 if len(values) else 1
    table = np.bincount(index * width + values, minlength=count * width).reshape(count, width)
    return table.argmax(axis=1)
