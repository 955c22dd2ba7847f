"""User level: rates for the next slot that keep most users on track to the experience they were promised."""

from twinloop.decision.orchestration.allocate import Claim, allocate_users, allocate_versions, claims
from twinloop.decision.orchestration.knapsack import Packed, pack
from twinloop.decision.orchestration.reach import Reach
from twinloop.decision.orchestration.track import Ladder, Required, Track, required

__all__ = [
    "Claim",
    "Ladder",
    "Packed",
    "Reach",
    "Required",
    "Track",
    "allocate_users",
    "allocate_versions",
    "claims",
    "pack",
    "required",
]
