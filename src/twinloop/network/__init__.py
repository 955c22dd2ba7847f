"""The port to a network, and its adapters."""

from twinloop.network.commands import Command, FlowShare, Names, SliceShare, action_of
from twinloop.network.live import LiveNetwork, Mailbox, empty_mailbox
from twinloop.network.measurement import HEADER_BITS, Agent, Channel, idle_agent, measure
from twinloop.network.plans import Asked, Plan, plan_of, request_of
from twinloop.network.port import AbstractNetwork
from twinloop.network.realised import RealisedFlows, realised_flows, realised_load_hz
from twinloop.network.report import Kind, KindRequest, Override, Receipts, Report, Reports, Request, default_request
from twinloop.network.simulated import Plant, SimulatedNetwork, user_truth

__all__ = [
    "HEADER_BITS",
    "AbstractNetwork",
    "Agent",
    "Asked",
    "Channel",
    "Command",
    "FlowShare",
    "Kind",
    "KindRequest",
    "LiveNetwork",
    "Mailbox",
    "Names",
    "Override",
    "Plan",
    "Plant",
    "RealisedFlows",
    "Receipts",
    "Report",
    "Reports",
    "Request",
    "SimulatedNetwork",
    "SliceShare",
    "action_of",
    "default_request",
    "empty_mailbox",
    "idle_agent",
    "measure",
    "plan_of",
    "realised_flows",
    "realised_load_hz",
    "request_of",
    "user_truth",
]

__doors__ = ("formats",)
