"""Agents: what reports for a site and does as it is commanded, whatever network stands behind it."""

from twinloop.service.agent.broker_link import BrokerLink
from twinloop.service.agent.link import Link, LinkError
from twinloop.service.agent.simulated import SimulatedAgent, Standing, run_agents
from twinloop.service.agent.world import World

__all__ = ["BrokerLink", "Link", "LinkError", "SimulatedAgent", "Standing", "World", "run_agents"]
