"""Decisions on two timescales: reservations of slices for a window, allocations to flows for a slot; their bounds."""

from twinloop.decision.allocation.experience import ExperienceAllocation
from twinloop.decision.allocation.interface import AbstractAllocation
from twinloop.decision.allocation.learned import AbstractTactic, LearnedAllocation
from twinloop.decision.allocation.proportional_fair import ProportionalFair
from twinloop.decision.allocation.round_robin import RoundRobin, equal_shares
from twinloop.decision.allocation.shipped import LEARNED, TACTICS, learned_allocation, shipped_checkpoint, with_network
from twinloop.decision.allocation.utility import Utility
from twinloop.decision.bound import SatisfactionBound, bound
from twinloop.decision.demand import (
    BINDING,
    FOLLOW,
    Caps,
    Demand,
    Futures,
    LinkBelief,
    LinkModel,
    People,
    Prices,
    Supply,
    believe_links,
    channel_power,
    fit_links,
    predict_demand,
    rules_of,
    sample_links,
    started,
    store_of,
)
from twinloop.decision.distribution import DemandDistribution, demand_distribution
from twinloop.decision.dynamics import (
    BLOCK_S,
    SIGNALS,
    WINDOW_BLOCKS,
    AdaptiveWindow,
    DynamicsScale,
    Surroundings,
    WindowMemory,
    adaptive_window,
    dynamics_score,
    fit_scale,
    fixed_window,
    shipped_pace,
    threshold_candidates,
    tune_thresholds,
    variation,
)
from twinloop.decision.game.best_response import Convergence, asynchronous, synchronous
from twinloop.decision.game.efficiency import Efficiency, efficiency, jain_index
from twinloop.decision.game.equilibrium import (
    Equilibrium,
    settled_equilibrium,
    shared_equilibrium,
    variational_equilibrium,
)
from twinloop.decision.game.gains import (
    AbstractGain,
    LogGain,
    MajorantGain,
    SigmoidGain,
    majorant_gain,
)
from twinloop.decision.game.resource_game import ResourceGame, resource_game
from twinloop.decision.proposal import Allocation, Proposal, Reservation, assemble_action, reserved_by
from twinloop.decision.registry import ALLOCATIONS, RESERVATIONS
from twinloop.decision.reservation.agents import AgentReservation
from twinloop.decision.reservation.convex import Convex, ReservationReport
from twinloop.decision.reservation.equal_share import EqualShare
from twinloop.decision.reservation.equilibrium import GameReservation
from twinloop.decision.reservation.gain import GreedyGain, game_of, reserve_by_gain, sigmoid_steps
from twinloop.decision.reservation.greedy_demand import GreedyDemand
from twinloop.decision.reservation.groups import Groups
from twinloop.decision.reservation.interface import AbstractReservation, Appraisal

__all__ = [
    "ALLOCATIONS",
    "BINDING",
    "BLOCK_S",
    "FOLLOW",
    "LEARNED",
    "RESERVATIONS",
    "SIGNALS",
    "TACTICS",
    "WINDOW_BLOCKS",
    "AbstractAllocation",
    "AbstractGain",
    "AbstractReservation",
    "AbstractTactic",
    "AdaptiveWindow",
    "AgentReservation",
    "Allocation",
    "Appraisal",
    "Caps",
    "Convergence",
    "Convex",
    "Demand",
    "DemandDistribution",
    "DynamicsScale",
    "Efficiency",
    "EqualShare",
    "Equilibrium",
    "ExperienceAllocation",
    "Futures",
    "GameReservation",
    "GreedyDemand",
    "GreedyGain",
    "Groups",
    "LearnedAllocation",
    "LinkBelief",
    "LinkModel",
    "LogGain",
    "MajorantGain",
    "People",
    "Prices",
    "ProportionalFair",
    "Proposal",
    "Reservation",
    "ReservationReport",
    "ResourceGame",
    "RoundRobin",
    "SatisfactionBound",
    "SigmoidGain",
    "Supply",
    "Surroundings",
    "Utility",
    "WindowMemory",
    "adaptive_window",
    "assemble_action",
    "asynchronous",
    "believe_links",
    "bound",
    "channel_power",
    "demand_distribution",
    "dynamics_score",
    "efficiency",
    "equal_shares",
    "fit_links",
    "fit_scale",
    "fixed_window",
    "game_of",
    "jain_index",
    "learned_allocation",
    "majorant_gain",
    "predict_demand",
    "reserve_by_gain",
    "reserved_by",
    "resource_game",
    "rules_of",
    "sample_links",
    "settled_equilibrium",
    "shared_equilibrium",
    "shipped_checkpoint",
    "shipped_pace",
    "sigmoid_steps",
    "started",
    "store_of",
    "synchronous",
    "threshold_candidates",
    "tune_thresholds",
    "variation",
    "variational_equilibrium",
    "with_network",
]
