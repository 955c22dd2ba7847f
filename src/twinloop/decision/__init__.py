"""Decisions on two timescales: reservations of slices for a window, allocations to flows for a slot; their bounds."""

from twinloop.decision.allocation.interface import AbstractAllocation
from twinloop.decision.allocation.proportional_fair import ProportionalFair
from twinloop.decision.allocation.round_robin import RoundRobin, equal_shares
from twinloop.decision.allocation.utility import Utility
from twinloop.decision.bound import SatisfactionBound, bound
from twinloop.decision.proposal import Allocation, Proposal, Reservation, assemble_action, reserved_by
from twinloop.decision.registry import ALLOCATIONS, RESERVATIONS
from twinloop.decision.reservation.convex import Convex, ReservationReport
from twinloop.decision.reservation.equal_share import EqualShare
from twinloop.decision.reservation.greedy_demand import GreedyDemand
from twinloop.decision.reservation.interface import AbstractReservation, Appraisal

__all__ = [
    "ALLOCATIONS",
    "RESERVATIONS",
    "AbstractAllocation",
    "AbstractReservation",
    "Allocation",
    "Appraisal",
    "Convex",
    "EqualShare",
    "GreedyDemand",
    "ProportionalFair",
    "Proposal",
    "Reservation",
    "ReservationReport",
    "RoundRobin",
    "SatisfactionBound",
    "Utility",
    "assemble_action",
    "bound",
    "equal_shares",
    "reserved_by",
]
