"""The port to a network, and its adapters."""

from twinloop.network.measurement import HEADER_BITS, Agent, Channel, idle_agent, measure
from twinloop.network.port import AbstractNetwork
from twinloop.network.realised import RealisedFlows, realised_flows, realised_load_hz
from twinloop.network.report import KindRequest, Override, Receipts, Report, Reports, Request, default_request
from twinloop.network.simulated import Plant, SimulatedNetwork, user_truth

__all__ = [
    "HEADER_BITS",
    "AbstractNetwork",
    "Agent",
    "Channel",
    "KindRequest",
    "Override",
    "Plant",
    "RealisedFlows",
    "Receipts",
    "Report",
    "Reports",
    "Request",
    "SimulatedNetwork",
    "default_request",
    "idle_agent",
    "measure",
    "realised_flows",
    "realised_load_hz",
    "user_truth",
]
