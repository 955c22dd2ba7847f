"""The case study of digital agents (paper 000, IV; Fig. 5): schemes, variants, worlds, judgement, report."""

from twinloop.studies.da_qoe.setting import SCHEMES
from twinloop.studies.da_qoe.study import study_da_qoe
from twinloop.studies.da_qoe.variants import VARIANTS

__all__ = ["SCHEMES", "VARIANTS", "study_da_qoe"]
