"""Case studies, one module each, and in `evaluate` the judgement of parts on data they were not fitted to."""

from twinloop.studies.da_qoe import SCHEMES, VARIANTS, study_da_qoe
from twinloop.studies.evaluate import (
    Estimate,
    Judgement,
    Row,
    evaluate_collection,
    evaluate_demand,
    evaluate_drift,
    evaluate_emulation,
    evaluate_generation,
    evaluate_mobility,
    evaluate_people,
    evaluate_qoe,
    evaluate_recovery,
    evaluate_swipe,
    evaluate_windows,
    side_by_side,
)

__all__ = [
    "SCHEMES",
    "VARIANTS",
    "Estimate",
    "Judgement",
    "Row",
    "evaluate_collection",
    "evaluate_demand",
    "evaluate_drift",
    "evaluate_emulation",
    "evaluate_generation",
    "evaluate_mobility",
    "evaluate_people",
    "evaluate_qoe",
    "evaluate_recovery",
    "evaluate_swipe",
    "evaluate_windows",
    "side_by_side",
    "study_da_qoe",
]
