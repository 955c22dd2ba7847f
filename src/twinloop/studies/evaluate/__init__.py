"""Generators against walks and videos that no fit has seen."""

from twinloop.studies.evaluate.judgement import Claim, Estimate, Judgement, Row
from twinloop.studies.evaluate.mobility import evaluate_mobility
from twinloop.studies.evaluate.swipe import evaluate_swipe

__all__ = ["Claim", "Estimate", "Judgement", "Row", "evaluate_mobility", "evaluate_swipe"]
