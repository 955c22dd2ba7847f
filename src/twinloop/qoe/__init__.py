"""Experience as functions of arrays: satisfaction with a reservation, utilities of a rate, quality of a version."""

from twinloop.qoe.experience import BEST, IMPACTS, RULES, WORST, Conditions, UserModels
from twinloop.qoe.satisfaction import ConcaveMajorant, SigmoidSatisfaction, concave_majorant
from twinloop.qoe.utility import AbstractUtility, AlphaFair, LogQuality, OffsetLog, QuadraticSatisfaction, log_quality

__all__ = [
    "BEST",
    "IMPACTS",
    "RULES",
    "WORST",
    "AbstractUtility",
    "AlphaFair",
    "ConcaveMajorant",
    "Conditions",
    "LogQuality",
    "OffsetLog",
    "QuadraticSatisfaction",
    "SigmoidSatisfaction",
    "UserModels",
    "concave_majorant",
    "log_quality",
]
