"""Pareto distribution cut to an interval: its distribution function and a minimum-distance fit."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

_EXPONENTS = np.arange(0.02, 3.001, 0.02)
_CUTS = 40


@dataclass(frozen=True)
class TruncatedPareto:
    """P(X > x) ~ x^-exponent between `low` and `high`; the density falls with x^-(1 + exponent)."""

    exponent: float
    low: float
    high: float

    def cdf(self, x: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
        """F(x) = (1 - (low/x)^a) / (1 - (low/high)^a), a the exponent."""
        clipped = np.clip(x, self.low, self.high)
        return (1 - (self.low / clipped) ** self.exponent) / (1 - (self.low / self.high) ** self.exponent)

    def draw(self, generator: np.random.Generator, count: int) -> Float64[np.ndarray, " n"]:
        """Independent samples by the inverse of F."""
        tail = 1 - (self.low / self.high) ** self.exponent
        return self.low * (1 - generator.random(count) * tail) ** (-1 / self.exponent)


def distance(cdf: Float64[np.ndarray, " n"]) -> float:
    """Kolmogorov-Smirnov distance of a sample from a distribution; `cdf` is F at the sample in ascending order."""
    n = len(cdf)
    return float(max(np.max(cdf - np.arange(n) / n), np.max(np.arange(1, n + 1) / n - cdf)))


def hill_exponent(sample: Float64[np.ndarray, " n"], low: float) -> float:
    """Hill's estimate 1 / mean ln(x / low) of the exponent of an untruncated Pareto tail above `low`."""
    tail = sample[sample > low]
    return float(1 / np.mean(np.log(tail / low)))


def fit_truncated_pareto(sample: Float64[np.ndarray, " n"], low: float) -> TruncatedPareto:
    """Exponent and upper cut of least Kolmogorov-Smirnov distance to the part of `sample` above `low`.

    The upper cut is sought between the .9 quantile and the greatest value. A minimum-distance fit is
    taken because measured flights are no exact Pareto: maximum likelihood bends the body to fit the tail.
    """
    ordered = np.sort(sample[sample > low])
    cuts = np.geomspace(np.quantile(ordered, 0.9), ordered[-1], _CUTS)
    candidates = [TruncatedPareto(float(exponent), low, float(high)) for exponent in _EXPONENTS for high in cuts]
    return min(candidates, key=lambda candidate: distance(candidate.cdf(ordered)))
