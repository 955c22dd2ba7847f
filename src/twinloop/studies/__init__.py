"""Case studies, one module each, and in `evaluate` the judgement of parts on data they were not fitted to."""

from twinloop.studies.evaluate import (
    Estimate,
    Judgement,
    Row,
    evaluate_collection,
    evaluate_drift,
    evaluate_emulation,
    evaluate_generation,
    evaluate_mobility,
    evaluate_people,
    evaluate_swipe,
    side_by_side,
)

__all__ = [
    "Estimate",
    "Judgement",
    "Row",
    "evaluate_collection",
    "evaluate_drift",
    "evaluate_emulation",
    "evaluate_generation",
    "evaluate_mobility",
    "evaluate_people",
    "evaluate_swipe",
    "side_by_side",
]
