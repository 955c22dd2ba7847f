"""The internal loop: proposals compete inside the twin, and only what survives may be enforced."""

from twinloop.validation.admission import (
    ADMISSIONS,
    Admission,
    Breaches,
    Emulation,
    Outlook,
    admit,
    agreed_figures,
    breaches,
    granted,
    judge_order,
    most_grantable,
    outlook,
    promised_figure,
)
from twinloop.validation.approval import Approved, first_approved
from twinloop.validation.judge import STALL_WEIGHT, Judge, Verdict, validate
from twinloop.validation.safety import RESULTS, recheck

__all__ = [
    "ADMISSIONS",
    "RESULTS",
    "STALL_WEIGHT",
    "Admission",
    "Approved",
    "Breaches",
    "Emulation",
    "Judge",
    "Outlook",
    "Verdict",
    "admit",
    "agreed_figures",
    "breaches",
    "first_approved",
    "granted",
    "judge_order",
    "most_grantable",
    "outlook",
    "promised_figure",
    "recheck",
    "validate",
]
