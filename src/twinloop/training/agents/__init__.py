"""Level one trained: agents of groups, or of users, in the twins' own simulator."""

from twinloop.training.agents.train import (
    AGENT_STEPS,
    Extent,
    TrainedAgents,
    agent_settings,
    agents_card,
    save_agents,
    train_agents,
)

__all__ = [
    "AGENT_STEPS",
    "Extent",
    "TrainedAgents",
    "agent_settings",
    "agents_card",
    "save_agents",
    "train_agents",
]
