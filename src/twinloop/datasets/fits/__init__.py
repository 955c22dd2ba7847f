"""Fits of the shipped figures; run by `twinloop data fit`."""

from pathlib import Path

from twinloop.datasets.figures import Figures
from twinloop.datasets.fits.pareto import TruncatedPareto, distance, fit_truncated_pareto, hill_exponent
from twinloop.datasets.fits.spectral import fit_radio
from twinloop.datasets.fits.split import HELD_OUT_RULE, held_out
from twinloop.datasets.fits.viewing import (
    fit_factor_spread,
    fit_viewing,
    hazard_behind,
    nelson_aalen,
    survival_on_knots,
    viewer_hazard,
)
from twinloop.datasets.fits.walking import Flights, extract_flights, fit_mobility, pooled_flights
from twinloop.datasets.places import load_walks
from twinloop.datasets.radio import load_sutd5g
from twinloop.datasets.video import load_leave_distributions, load_retention, load_viewing_log

__all__ = [
    "HELD_OUT_RULE",
    "Flights",
    "TruncatedPareto",
    "distance",
    "extract_flights",
    "fit_factor_spread",
    "fit_figures",
    "fit_mobility",
    "fit_radio",
    "fit_truncated_pareto",
    "fit_viewing",
    "hazard_behind",
    "held_out",
    "hill_exponent",
    "nelson_aalen",
    "pooled_flights",
    "survival_on_knots",
    "viewer_hazard",
]

FIT_COMMAND = "twinloop data fit --data DIR --out src/twinloop/datasets/figures.json"


def fit_figures(data: Path, command: str = FIT_COMMAND) -> Figures:
    """All shipped figures from the sets in `data`. Raises DataError when a set is absent or any of its files is faulty.

    A fit stops at a fault: figures from half a set would look like those from the whole one.
    """
    retention = load_retention(data)
    leaving = load_leave_distributions(data)
    views = load_viewing_log(data)
    campus = load_sutd5g(data)
    walks = load_walks(data)
    faults = [*retention.faults, *leaving.faults, *views.faults, *campus.faults, *walks.faults]
    if faults:
        raise faults[0]
    return Figures(
        version=1,
        viewing=fit_viewing(retention.items, leaving.items, views.items[0], command),
        radio=fit_radio(campus.items, command),
        levy=fit_mobility(walks.items, command),
    )
