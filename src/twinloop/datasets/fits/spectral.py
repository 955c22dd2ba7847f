"""Spectral efficiency of a real link against Shannon's, from the campus walks."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

from twinloop.datasets.figures import Provenance, RadioFigures
from twinloop.datasets.radio import SUTD_BANDWIDTH_HZ, CampusTrace

_CAP_QUANTILE = 0.99
_FACTORS = np.arange(0.2, 1.0001, 0.005)


def fit_radio(traces: Sequence[CampusTrace], command: str) -> RadioFigures:
    """Factor of Shannon's rate over 46 MHz that leaves the least absolute deviation; rows with a rate count.

    `se_max` is the .99 quantile of the measured spectral efficiency. Held rates are counted once.
    """
    shannon = {units: _pairs(traces, units)[0] for units in (False, True)}
    measured = {units: _pairs(traces, units)[1] for units in (False, True)}
    every_shannon = np.concatenate(list(shannon.values()))
    every = np.concatenate(list(measured.values()))
    se_max = float(np.quantile(every, _CAP_QUANTILE))
    deviation = [np.abs(every - np.minimum(factor * every_shannon, se_max)).mean() for factor in _FACTORS]
    factor = float(_FACTORS[int(np.argmin(deviation))])
    error = np.abs(np.minimum(factor * every_shannon, se_max) / every - 1)
    return RadioFigures(
        se_factor=factor,
        se_factor_one_unit=_median_ratio(measured[False], shannon[False]),
        se_factor_all_units=_median_ratio(measured[True], shannon[True]),
        se_max=se_max,
        median_error=float(np.median(error)),
        bandwidth_hz=SUTD_BANDWIDTH_HZ,
        provenance=Provenance(
            ("sutd5g",),
            "FCCLab, SUTD 5G dataset 2023 (walk tests on a private campus network)",
            command,
            "none: both walks are fitted",
            tuple(trace.name for trace in traces),
            len(every),
        ),
    )


def _pairs(
    traces: Sequence[CampusTrace], all_units_on: bool
) -> tuple[Float64[np.ndarray, " rows"], Float64[np.ndarray, " rows"]]:
    """Shannon's and the measured spectral efficiency in bit/s/Hz, over rows with SINR and a fresh rate above zero."""
    chosen = [trace for trace in traces if trace.all_units_on == all_units_on]
    shannon = [np.log2(1 + 10 ** (trace.sinr_db[_usable(trace)] / 10)) for trace in chosen]
    measured = [trace.rate_bps[_usable(trace)] / SUTD_BANDWIDTH_HZ for trace in chosen]
    return np.concatenate([*shannon, np.empty(0)]), np.concatenate([*measured, np.empty(0)])


def _usable(trace: CampusTrace) -> np.ndarray:
    return np.isfinite(trace.sinr_db) & (trace.rate_bps > 0) & ~trace.held


def _median_ratio(measured: Float64[np.ndarray, " rows"], shannon: Float64[np.ndarray, " rows"]) -> float:
    return float(np.median(measured / shannon)) if len(measured) else float("nan")
