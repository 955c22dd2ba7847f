"""Reports: figures, tables and one self-contained page from a run directory. The only home of matplotlib and Jinja.

Names are loaded when first asked for, so that naming this package costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from twinloop.reporting.chapters.study import Chapter, Drawing, write_study
    from twinloop.reporting.comparison import Comparison, open_comparison
    from twinloop.reporting.comparison_report import write_comparison
    from twinloop.reporting.evaluation import Curve, Panel, plot_curves, plot_maps, plot_tracks
    from twinloop.reporting.figures.campus import plot_map
    from twinloop.reporting.figures.collection import plot_ladder, plot_requests
    from twinloop.reporting.figures.comparison import (
        plot_differences,
        plot_metric,
        plot_ratios,
        plot_seeds,
        plot_tradeoff,
    )
    from twinloop.reporting.figures.decisions import plot_decisions, plot_objectives
    from twinloop.reporting.figures.forecasts import Band, Dots, plot_forecast_bands, plot_scores
    from twinloop.reporting.figures.infrastructure import plot_cell_load, plot_cells, plot_servers
    from twinloop.reporting.figures.mirror.foresight import plot_coverage, plot_forecasts
    from twinloop.reporting.figures.mirror.twins import plot_collection, plot_twin_history, plot_twins
    from twinloop.reporting.figures.mirror.value import plot_value
    from twinloop.reporting.figures.opinion.agreements import (
        plot_agreement_ratio,
        plot_experience_by_users,
    )
    from twinloop.reporting.figures.opinion.kept import (
        plot_agreement_cells,
        plot_agreement_history,
        plot_agreement_spread,
        plot_agreement_users,
    )
    from twinloop.reporting.figures.opinion.lived import plot_belief, plot_experience_history, plot_lacking
    from twinloop.reporting.figures.opinion.schemes import (
        Bar,
        plot_gaps,
        plot_learning,
        plot_ratio_by_users,
        plot_slices_and_windows,
        plot_windows,
    )
    from twinloop.reporting.figures.opinion.scores import EffectCurve, plot_effects, plot_expected, plot_raters
    from twinloop.reporting.figures.slices import plot_slice_computing, plot_slice_satisfaction, plot_slices
    from twinloop.reporting.figures.users import plot_experience, plot_radio, plot_users
    from twinloop.reporting.figures.viewing import plot_retention, plot_swipes, plot_watching
    from twinloop.reporting.page import Table, Tile
    from twinloop.reporting.report import write_report
    from twinloop.reporting.run import Run, open_run

__all__ = [
    "Band",
    "Bar",
    "Chapter",
    "Comparison",
    "Curve",
    "Dots",
    "Drawing",
    "EffectCurve",
    "Figure",
    "Panel",
    "Run",
    "Table",
    "Tile",
    "open_comparison",
    "open_run",
    "plot_agreement_cells",
    "plot_agreement_history",
    "plot_agreement_ratio",
    "plot_agreement_spread",
    "plot_agreement_users",
    "plot_belief",
    "plot_cell_load",
    "plot_cells",
    "plot_collection",
    "plot_coverage",
    "plot_curves",
    "plot_decisions",
    "plot_differences",
    "plot_effects",
    "plot_expected",
    "plot_experience",
    "plot_experience_by_users",
    "plot_experience_history",
    "plot_forecast_bands",
    "plot_forecasts",
    "plot_gaps",
    "plot_lacking",
    "plot_ladder",
    "plot_learning",
    "plot_map",
    "plot_maps",
    "plot_metric",
    "plot_objectives",
    "plot_radio",
    "plot_raters",
    "plot_ratio_by_users",
    "plot_ratios",
    "plot_requests",
    "plot_retention",
    "plot_scores",
    "plot_seeds",
    "plot_servers",
    "plot_slice_computing",
    "plot_slice_satisfaction",
    "plot_slices",
    "plot_slices_and_windows",
    "plot_swipes",
    "plot_tracks",
    "plot_tradeoff",
    "plot_twin_history",
    "plot_twins",
    "plot_users",
    "plot_value",
    "plot_watching",
    "plot_windows",
    "write_comparison",
    "write_report",
    "write_study",
]

_HOMES = {
    "chapters.study": ("Chapter", "Drawing", "write_study"),
    "comparison": ("Comparison", "open_comparison"),
    "comparison_report": ("write_comparison",),
    "evaluation": ("Curve", "Figure", "Panel", "plot_curves", "plot_maps", "plot_tracks"),
    "figures.campus": ("plot_map",),
    "figures.comparison": ("plot_differences", "plot_metric", "plot_ratios", "plot_seeds", "plot_tradeoff"),
    "figures.decisions": ("plot_decisions", "plot_objectives"),
    "figures.collection": ("plot_ladder", "plot_requests"),
    "figures.mirror.foresight": ("plot_coverage", "plot_forecasts"),
    "figures.forecasts": ("Band", "Dots", "plot_forecast_bands", "plot_scores"),
    "figures.infrastructure": ("plot_cell_load", "plot_cells", "plot_servers"),
    "figures.slices": ("plot_slice_computing", "plot_slice_satisfaction", "plot_slices"),
    "figures.mirror.twins": ("plot_collection", "plot_twin_history", "plot_twins"),
    "figures.users": ("plot_experience", "plot_radio", "plot_users"),
    "figures.mirror.value": ("plot_value",),
    "figures.opinion.agreements": (
        "plot_agreement_ratio",
        "plot_experience_by_users",
    ),
    "figures.opinion.kept": (
        "plot_agreement_cells",
        "plot_agreement_history",
        "plot_agreement_spread",
        "plot_agreement_users",
    ),
    "figures.opinion.lived": ("plot_belief", "plot_experience_history", "plot_lacking"),
    "figures.opinion.schemes": (
        "Bar",
        "plot_gaps",
        "plot_learning",
        "plot_ratio_by_users",
        "plot_slices_and_windows",
        "plot_windows",
    ),
    "figures.opinion.scores": ("EffectCurve", "plot_effects", "plot_expected", "plot_raters"),
    "figures.viewing": ("plot_retention", "plot_swipes", "plot_watching"),
    "page": ("Table", "Tile"),
    "report": ("write_report",),
    "run": ("Run", "open_run"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Load the module that holds `name`. Raises AttributeError for a name that is not offered."""
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
