"""User level: what the users of a group get of the group's budgets."""

from twinloop.decision.orchestration.knapsack import Packed, pack
from twinloop.decision.orchestration.reach import Reach

__all__ = ["Packed", "Reach", "pack"]
