"""Models of experience, judged on opinions that no fit has seen."""

from twinloop.studies.evaluate.experience.opinion import evaluate_qoe
from twinloop.studies.evaluate.experience.recovery import evaluate_recovery

__all__ = ["evaluate_qoe", "evaluate_recovery"]
