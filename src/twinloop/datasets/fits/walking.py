"""Flights and pauses of walks, and the Levy parameters fitted to them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

from twinloop.datasets.figures import MobilityFigures, Provenance
from twinloop.datasets.fits.pareto import fit_parts, fit_truncated_pareto, hill_exponent
from twinloop.datasets.fits.split import HELD_OUT_RULE, held_out
from twinloop.datasets.places import JUMP_MPS, STATIONARY_M, Walk

FLIGHT_LOW_M = 50.0
PAUSE_LOW_S = 30.0


@dataclass(frozen=True)
class Flights:
    """Flights of one or many walks: length (start to end, straight), duration, and pauses between long flights."""

    length_m: Float64[np.ndarray, " flights"]
    duration_s: Float64[np.ndarray, " flights"]
    pause_s: Float64[np.ndarray, " pauses"]


def extract_flights(
    position_m: Float64[np.ndarray, "samples 2"],
    step_s: float,
    *,
    low_m: float = FLIGHT_LOW_M,
    jump_mps: float = JUMP_MPS,
    stationary_m: float = STATIONARY_M,
) -> Flights:
    """Flights of a walk sampled every `step_s`, the same for measured and simulated walks.

    A step faster than `jump_mps` is a jump of the receiver, a step shorter than `stationary_m` in 30 s is standing
    still; a flight is an unbroken run of the other steps, its length the straight line from its start to its end (the
    pause-based model of Rhee et al., IEEE/ACM Trans. Netw. 19(3), 2011). Kept are flights above `low_m`. A pause is the
    time between two kept flights that follow one another with no jump between them, shorter movements included.
    """
    step_m = np.linalg.norm(np.diff(position_m, axis=0), axis=1)
    jump = step_m > jump_mps * step_s
    moving = (step_m >= stationary_m * step_s / 30.0) & ~jump
    begin, end = _runs(moving)
    length_m = np.linalg.norm(position_m[end] - position_m[begin], axis=1)
    kept = length_m > low_m
    begin, end, length_m = begin[kept], end[kept], length_m[kept]
    jumps = np.concatenate([[0], np.cumsum(jump)])
    unbroken = jumps[begin[1:]] == jumps[end[:-1]]
    pause_s = ((begin[1:] - end[:-1]) * step_s)[unbroken]
    return Flights(length_m, (end - begin) * step_s, pause_s.astype(np.float64))


def _runs(moving: Bool[np.ndarray, " steps"]) -> tuple[Int64[np.ndarray, " runs"], Int64[np.ndarray, " runs"]]:
    change = np.diff(np.concatenate([[0], moving.astype(np.int64), [0]]))
    return np.flatnonzero(change == 1), np.flatnonzero(change == -1)


def pooled_flights(walks: Sequence[Walk]) -> Flights:
    """Flights of all walks together."""
    each = [extract_flights(walk.position_m, walk.step_s) for walk in walks]
    return Flights(
        np.concatenate([flights.length_m for flights in each]),
        np.concatenate([flights.duration_s for flights in each]),
        np.concatenate([flights.pause_s for flights in each]),
    )


def fit_mobility(walks: Sequence[Walk], command: str) -> MobilityFigures:
    """Levy parameters from the walks that are not held out.

    Flights and pauses are truncated Paretos of least Kolmogorov-Smirnov distance, one and three adjoining; the time law
    t = k l^(1 - rho) is a straight line through ln t over ln l by least absolute deviations. A pause of n still steps
    lasted between n and n + 1 steps and is fitted as anything between.
    """
    train = [walk for walk in walks if not held_out(walk.name)]
    flights = pooled_flights(train)
    length = fit_truncated_pareto(flights.length_m, FLIGHT_LOW_M)
    pause_s = _unrounded(flights.pause_s, train[0].step_s)
    pause = fit_truncated_pareto(pause_s, PAUSE_LOW_S)
    factor, rho, spread = _time_law(flights)
    return MobilityFigures(
        flight_exponent=length.exponent,
        flight_low_m=length.low,
        flight_high_m=length.high,
        hill_exponent=hill_exponent(flights.length_m, FLIGHT_LOW_M),
        pause_exponent=pause.exponent,
        pause_low_s=PAUSE_LOW_S,
        pause_high_s=pause.high,
        flight_parts=fit_parts(flights.length_m, FLIGHT_LOW_M),
        pause_parts=fit_parts(pause_s, PAUSE_LOW_S),
        time_factor=factor,
        time_rho=rho,
        time_spread=spread,
        stationary_m=STATIONARY_M,
        jump_mps=JUMP_MPS,
        provenance=Provenance(
            sources=("kaist_walks",),
            citation="Rhee, Shin, Hong, Lee, Kim, Chong: On the Levy-walk nature of human mobility, "
            "IEEE/ACM Trans. Netw. 19(3), 2011; traces CRAWDAD ncsu/mobilitymodels",
            command=command,
            split=HELD_OUT_RULE,
            fitted_on=tuple(walk.name for walk in train),
            samples=len(flights.length_m),
        ),
    )


def _time_law(flights: Flights) -> tuple[float, float, float]:
    """k, rho and the spread of ln t of t = k l^(1 - rho)."""
    x, y = np.log(flights.length_m), np.log(flights.duration_s)
    weight = np.ones_like(x)
    slope, level = 1.0, 0.0
    for _ in range(50):
        mean_x, mean_y = np.average(x, weights=weight), np.average(y, weights=weight)
        slope = float(np.sum(weight * (x - mean_x) * (y - mean_y)) / np.sum(weight * (x - mean_x) ** 2))
        level = float(mean_y - slope * mean_x)
        weight = 1 / np.maximum(np.abs(y - level - slope * x), 1e-3)
    return float(np.exp(level)), 1 - slope, float(np.std(y - level - slope * x))


def _unrounded(pause_s: Float64[np.ndarray, " n"], step_s: float) -> Float64[np.ndarray, " n"]:
    """Pauses with equal ones spread evenly over one step, the same on every run."""
    order = np.argsort(pause_s, kind="stable")
    ordered = pause_s[order]
    first = np.searchsorted(ordered, ordered, side="left")
    count = np.searchsorted(ordered, ordered, side="right") - first
    return ordered + step_s * (np.arange(len(ordered)) - first + 0.5) / count
