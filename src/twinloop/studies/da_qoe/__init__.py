"""The case study of digital agents (paper 000, IV; Fig. 5): schemes, worlds, judgement."""

from twinloop.studies.da_qoe.setting import SCHEMES
from twinloop.studies.da_qoe.study import study_da_qoe

__all__ = ["SCHEMES", "study_da_qoe"]
