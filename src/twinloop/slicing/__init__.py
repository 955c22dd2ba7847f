"""Slice specifications, their life cycle, and the invariants of capacity and isolation that every decision must
keep.
"""

from twinloop.slicing.invariants import Violations, capacity_and_isolation
from twinloop.slicing.specification import (
    SliceSpec,
    SliceTable,
    adjust_slice,
    create_slice,
    end_slice,
    table_from_specs,
)

__all__ = [
    "SliceSpec",
    "SliceTable",
    "Violations",
    "adjust_slice",
    "capacity_and_isolation",
    "create_slice",
    "end_slice",
    "table_from_specs",
]
