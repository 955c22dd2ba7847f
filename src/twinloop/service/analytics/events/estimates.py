"""Means and totals of what is known, and how sure a statement about them is.

Confidence is one number with one meaning: the share of what the statement is about that is known, times the probability
that the truth lies within the stated precision (which of what was observed is 1). Forecast errors of one twin are taken
to last: they do not average out over time. Those of different twins are taken to be independent.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from twinloop.service.analytics.events.samples import Floats, Samples, Scene

_MOST_SURE = 99
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(15)


@dataclass(frozen=True)
class Estimate:
    """A quantity: `value` (NaN: unknown), `std` of its error, and the share of it that is known."""

    value: float
    std: float
    coverage: float

    @property
    def known(self) -> bool:
        """Whether there is anything to say."""
        return bool(np.isfinite(self.value))

    def scaled(self, factor: float) -> "Estimate":
        """The same in another unit."""
        return Estimate(self.value * factor, self.std * abs(factor), self.coverage)


@dataclass(frozen=True)
class ByRow:
    """The same for every row: [rows]."""

    value: Floats
    std: Floats
    coverage: Floats

    @property
    def known(self) -> NDArray[np.bool_]:
        """Rows with anything to say."""
        return np.isfinite(self.value)


def over_time(one: Samples) -> ByRow:
    """Every row's mean over time; its error is the mean of the errors, for a forecast that is off stays off."""
    known = np.isfinite(one.mean)
    count = known.sum(axis=0)
    least = np.maximum(count, 1)
    value = np.where(count > 0, np.where(known, one.mean, 0.0).sum(axis=0) / least, np.nan)
    std = np.where(known, one.std, 0.0).sum(axis=0) / least
    return ByRow(value, std, count / len(one.mean))


def mean_over(rows: ByRow) -> Estimate:
    """The mean over rows; their errors are independent. Rows of which nothing is known lower the coverage."""
    known = rows.known
    count = int(known.sum())
    if count == 0:
        return Estimate(float("nan"), 0.0, 0.0)
    std = float(np.sqrt(np.sum(rows.std[known] ** 2))) / count
    return Estimate(float(rows.value[known].mean()), std, float(np.where(known, rows.coverage, 0.0).mean()))


def total_over(rows: ByRow) -> Estimate:
    """The sum over the rows of which something is known; the others lower the coverage."""
    return mean_over(rows).scaled(float(rows.known.sum()))


def ratio(above: Estimate, below: Estimate) -> Estimate:
    """A ratio of two independent quantities, its error to first order; unknown where that below is not positive."""
    if not above.known or not below.known or below.value <= 0:
        return Estimate(float("nan"), 0.0, 0.0)
    value = above.value / below.value
    std = float(np.hypot(above.std, value * below.std)) / below.value
    return Estimate(value, std, min(above.coverage, below.coverage))


def by_row(rows: ByRow, row: int) -> Estimate:
    """One row."""
    return Estimate(float(rows.value[row]), float(rows.std[row]), float(rows.coverage[row]))


def probability_between(value: float, std: float, low: float, high: float) -> float:
    """Probability that a normal quantity lies in [low, high]."""
    if std <= 0:
        return float(low <= value <= high)
    return float(ndtr((high - value) / std) - ndtr((low - value) / std))


def sure_percent(scene: Scene, coverage: float, probability: float) -> int:
    """Confidence, 0 to 100, of a statement that holds with `probability` about what is known; predictions are never
    called certain.
    """
    if not scene.predicted:
        return int(coverage * 100.0 + 1e-6)
    return min(round(coverage * probability * 100.0), _MOST_SURE)


def confidence(scene: Scene, one: Estimate, stated: float, off: float) -> int:
    """Confidence that the truth is within `off` of what is `stated`. Nothing here goes below 0, so where that is within
    reach everything below it counts as 0.
    """
    low = stated - off if stated > off else -np.inf
    return sure_percent(scene, one.coverage, probability_between(one.value, one.std, low, stated + off))


def level_confidence(scene: Scene, share: Estimate, stated: int) -> int:
    """Confidence that a share is within `precision.level_percent` of a `stated` level in per cent; where a full one is,
    more than full is, too.
    """
    off = scene.settings.precision.level_percent
    if stated + off < 100:
        return confidence(scene, share.scaled(100.0), float(stated), off)
    likely = probability_between(share.value, share.std, (stated - off) / 100.0, np.inf)
    return sure_percent(scene, share.coverage, likely)


def bent_moments(mean: Floats, std: Floats, bend: Callable[[Floats], Floats]) -> tuple[Floats, Floats]:
    """Mean and variance of a function of a normal quantity, by Gauss-Hermite quadrature."""
    weights = _WEIGHTS / _WEIGHTS.sum()
    values = bend(mean[..., None] + std[..., None] * _NODES)
    first = values @ weights
    return first, np.maximum((values - first[..., None]) ** 2 @ weights, 0.0)
