"""The internal loop: proposals compete inside the twin, and only what survives may be enforced."""

from twinloop.validation.approval import Approved, first_approved
from twinloop.validation.judge import Judge, Verdict, validate
from twinloop.validation.safety import RESULTS

__all__ = ["RESULTS", "Approved", "Judge", "Verdict", "first_approved", "validate"]
