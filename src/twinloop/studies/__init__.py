"""Case studies, one module each, and in `evaluate` the judgement of generators against data they were not fitted to."""

from twinloop.studies.evaluate import Estimate, Judgement, evaluate_mobility, evaluate_swipe

__all__ = ["Estimate", "Judgement", "evaluate_mobility", "evaluate_swipe"]
