"""Experience as functions of arrays: satisfaction with a reservation, utilities of a rate, quality of a version."""

from twinloop.qoe.satisfaction import ConcaveMajorant, SigmoidSatisfaction, concave_majorant
from twinloop.qoe.utility import AbstractUtility, AlphaFair, LogQuality, OffsetLog, QuadraticSatisfaction, log_quality

__all__ = [
    "AbstractUtility",
    "AlphaFair",
    "ConcaveMajorant",
    "LogQuality",
    "OffsetLog",
    "QuadraticSatisfaction",
    "SigmoidSatisfaction",
    "concave_majorant",
    "log_quality",
]
