"""Branching dueling Q-networks for agents that share one network, trained as one compiled function."""

from twinloop.learning.bdqn.acting import greedy_returns
from twinloop.learning.bdqn.environment import AbstractEnvironment, Consequence, Observation
from twinloop.learning.bdqn.network import QNetwork, load_q_network, q_network, save_q_network
from twinloop.learning.bdqn.settings import BdqnSettings
from twinloop.learning.bdqn.training import LearningCurve, train_bdqn

__all__ = [
    "AbstractEnvironment",
    "BdqnSettings",
    "Consequence",
    "LearningCurve",
    "Observation",
    "QNetwork",
    "greedy_returns",
    "load_q_network",
    "q_network",
    "save_q_network",
    "train_bdqn",
]
