"""Every reservation and allocation method by the name a scenario or a command gives it."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from twinloop.decision.allocation.experience import ExperienceAllocation
from twinloop.decision.allocation.interface import AbstractAllocation
from twinloop.decision.allocation.proportional_fair import ProportionalFair
from twinloop.decision.allocation.round_robin import RoundRobin
from twinloop.decision.allocation.utility import Utility
from twinloop.decision.reservation.convex import Convex
from twinloop.decision.reservation.equal_share import EqualShare
from twinloop.decision.reservation.equilibrium import GameReservation
from twinloop.decision.reservation.gain import GreedyGain
from twinloop.decision.reservation.greedy_demand import GreedyDemand
from twinloop.decision.reservation.interface import AbstractReservation

RESERVATIONS: Mapping[str, Callable[[], AbstractReservation]] = MappingProxyType(
    {"equal": EqualShare, "greedy": GreedyDemand, "gain": GreedyGain, "game": GameReservation, "convex": Convex}
)

ALLOCATIONS: Mapping[str, Callable[[], AbstractAllocation]] = MappingProxyType(
    {
        "round_robin": RoundRobin,
        "proportional_fair": ProportionalFair,
        "utility": Utility,
        "experience": ExperienceAllocation,
    }
)
