"""What may come: proposals lived through in a fork of the twins, and the twins' future if nothing more is reported."""

from twinloop.service.whatif.foretelling import Foreteller
from twinloop.service.whatif.outlooks import Course, Difference, Interval, Outlook, SliceOutlook
from twinloop.service.whatif.proposals import ProposalError, Shares, shares_of
from twinloop.service.whatif.trials import (
    LONGEST_S,
    MOST_SAMPLES,
    BusyTrialsError,
    EndedTrialError,
    LateTrialError,
    Trial,
    WhatIfs,
    Wish,
)

__all__ = [
    "LONGEST_S",
    "MOST_SAMPLES",
    "BusyTrialsError",
    "Course",
    "Difference",
    "EndedTrialError",
    "Foreteller",
    "Interval",
    "LateTrialError",
    "Outlook",
    "ProposalError",
    "Shares",
    "SliceOutlook",
    "Trial",
    "WhatIfs",
    "Wish",
    "shares_of",
]
