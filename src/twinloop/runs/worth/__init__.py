"""What twins are worth: the same world without them beside it, and their value window by window."""

from twinloop.runs.worth.unaided import Served, Unaided, begin_unaided, served, unaided_slot
from twinloop.runs.worth.value import ByWindow, Worth, value_summary, value_table

__all__ = [
    "ByWindow",
    "Served",
    "Unaided",
    "Worth",
    "begin_unaided",
    "served",
    "unaided_slot",
    "value_summary",
    "value_table",
]
