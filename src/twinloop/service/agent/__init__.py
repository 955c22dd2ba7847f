"""Agents: what reports for a site and does as it is commanded, whatever network stands behind it."""

from twinloop.service.agent.broker_link import BrokerLink
from twinloop.service.agent.cmcd_log import CmcdLogAgent
from twinloop.service.agent.data_sets import DATA_SETS, recorded_set
from twinloop.service.agent.link import Link, LinkError, LinkPort
from twinloop.service.agent.recordings import Recording, recorded_file
from twinloop.service.agent.replay import ReplayAgent
from twinloop.service.agent.sending import FileSender, Outcome
from twinloop.service.agent.simulated import SimulatedAgent, Standing, run_agents
from twinloop.service.agent.world import World
from twinloop.service.mqtt import Broker, broker_of

__all__ = [
    "DATA_SETS",
    "Broker",
    "BrokerLink",
    "CmcdLogAgent",
    "FileSender",
    "Link",
    "LinkError",
    "LinkPort",
    "Outcome",
    "Recording",
    "ReplayAgent",
    "SimulatedAgent",
    "Standing",
    "World",
    "broker_of",
    "recorded_file",
    "recorded_set",
    "run_agents",
]
