"""What a learner of discrete actions acts in: agents that look alike, each with the same branches to decide on."""

import abc
from typing import Any

import equinox as eqx
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree


class Observation(eqx.Module):
    """What every agent sees. Agents that are not `present` neither act nor learn; their features count for nothing."""

    features: Float[Array, "*batch agents features"]
    present: Bool[Array, "*batch agents"]


class Consequence(eqx.Module):
    """What a step brought: the `reward` of every agent (one number for all where they share it), whose time has `ended`
    for good, and whether the episode is `over`, so that another begins.

    An episode may be over while nobody's time has ended: it was cut, and what would have followed still counts. An
    agent that was present and no longer is has ended.
    """

    reward: Float[Array, "*batch agents"]
    ended: Bool[Array, "*batch agents"]
    over: Bool[Array, "*batch"]


class AbstractEnvironment(eqx.Module):
    """Episodes as pure functions of a key, a state and an action; they run inside jit, vmap and scan.

    A state is a tree of arrays of shapes that never change. Agents share one network, so what tells them apart (their
    model, say, one-hot) belongs into their features. An action is a whole number below `levels[d]` for each branch d.
    """

    @property
    @abc.abstractmethod
    def levels(self) -> tuple[int, ...]:
        """How many values every branch of an action has."""

    @abc.abstractmethod
    def init(self, key: PRNGKeyArray) -> tuple[Any, Observation]:
        """The state in which an episode begins and what is seen of it."""

    @abc.abstractmethod
    def step(
        self, key: PRNGKeyArray, state: PyTree, action: Int[Array, "agents branches"]
    ) -> tuple[Any, Observation, Consequence]:
        """The state after one step, what is seen of it, and what the step brought."""
