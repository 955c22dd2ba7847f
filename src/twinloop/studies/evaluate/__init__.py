"""Emulators, generators, collection and upkeep, judged on data that no fit has seen."""

from twinloop.studies.evaluate.behaviour.people import evaluate_people
from twinloop.studies.evaluate.collection import evaluate_collection
from twinloop.studies.evaluate.demand import evaluate_demand
from twinloop.studies.evaluate.drift import evaluate_drift
from twinloop.studies.evaluate.emulation import evaluate_emulation
from twinloop.studies.evaluate.experience import evaluate_qoe, evaluate_recovery
from twinloop.studies.evaluate.generation import evaluate_generation
from twinloop.studies.evaluate.judgement import Claim, Estimate, Judgement, Row
from twinloop.studies.evaluate.mobility import evaluate_mobility
from twinloop.studies.evaluate.swipe import evaluate_swipe, side_by_side
from twinloop.studies.evaluate.windows import evaluate_windows

__all__ = [
    "Claim",
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
]
