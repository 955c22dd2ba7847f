"""Generators against walks and videos that no fit has seen."""

from twinloop.studies.evaluate.judgement import Judgement, Row
from twinloop.studies.evaluate.mobility import evaluate_mobility
from twinloop.studies.evaluate.swipe import evaluate_swipe

__all__ = ["Judgement", "Row", "evaluate_mobility", "evaluate_swipe"]
