"""Pareto distribution cut to an interval: its distribution function and a minimum-distance fit."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float64

from twinloop.datasets.figures import ParetoPart

_EXPONENTS = np.arange(0.02, 3.001, 0.02)
_PIECE_EXPONENTS = np.arange(-3.99, 6.0, 0.02)
_CUTS = 40
_KNOTS = 16
_LEAST_IN_PIECE = 10


@dataclass(frozen=True)
class TruncatedPareto:
    """P(X > x) ~ x^-exponent between `low` and `high`; the density falls with x^-(1 + exponent).

    An exponent below 0 is allowed (the upper cut makes it a distribution), 0 is not.
    """

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


def fit_parts(sample: Float64[np.ndarray, " n"], low: float) -> tuple[ParetoPart, ...]:
    """Three adjoining truncated Paretos from `low` to the greatest value.

    Two knots are sought among quantiles for the least Kolmogorov-Smirnov distance; inside a piece the exponent has the
    greatest likelihood, and a piece weighs what it holds. Short and long flights are of different kinds (moves about
    a place, trips across the campus): one Pareto misses the trips.
    """
    ordered = np.sort(sample[sample > low])
    edges = np.unique(np.quantile(ordered, np.linspace(0.05, 0.97, _KNOTS)))
    edges = edges[(edges > low) & (edges < ordered[-1])]
    candidates = [
        _pieces(ordered, (low, float(first), float(second), float(ordered[-1])))
        for index, first in enumerate(edges)
        for second in edges[index + 1 :]
    ]
    whole = [parts for parts in candidates if parts]
    return min(whole, key=lambda parts: distance(mixture_cdf(parts, ordered)))


def mixture_cdf(parts: tuple[ParetoPart, ...], x: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    """Distribution function of the mixture at `x`."""
    each = [part.weight * TruncatedPareto(part.exponent, part.low, part.high).cdf(x) for part in parts]
    return np.sum(each, axis=0)


def _pieces(ordered: Float64[np.ndarray, " n"], edges: tuple[float, ...]) -> tuple[ParetoPart, ...]:
    """Parts between the edges; none when a piece holds too little to be fitted."""
    parts: list[ParetoPart] = []
    for low, high in pairwise(edges):
        inside = ordered[(ordered > low) & (ordered <= high)]
        if len(inside) < _LEAST_IN_PIECE:
            return ()
        parts.append(ParetoPart(len(inside) / len(ordered), _likeliest_exponent(inside, low, high), low, high))
    return tuple(parts)


def _likeliest_exponent(inside: Float64[np.ndarray, " n"], low: float, high: float) -> float:
    a = _PIECE_EXPONENTS
    norm = np.log(np.abs(a)) + a * np.log(low) - np.log(np.abs(1 - (low / high) ** a))
    return float(a[np.argmax(len(inside) * norm - (a + 1) * np.log(inside).sum())])
