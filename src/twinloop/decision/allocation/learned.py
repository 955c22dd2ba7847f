"""Slot policies whose decisions come from a trained branching Q-network."""

import abc

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Int, PyTree

from twinloop.abstraction import Features, Felt
from twinloop.decision.allocation.interface import AbstractAllocation
from twinloop.decision.proposal import Allocation, Reservation
from twinloop.learning import Observation, QNetwork


class AbstractTactic(eqx.Module):
    """What agents that share a network see of a slot, and what becomes of the levels that they choose.

    Nothing of it is learned; the same tactic is lived with in training and in the loop.
    """

    @property
    @abc.abstractmethod
    def levels(self) -> tuple[int, ...]:
        """How many levels each branch of an agent's action has."""

    @abc.abstractmethod
    def agents(self, cells: int, slices: int, flows: int) -> int:
        """How many agents there are in a network of so many cells, slices and flows."""

    @abc.abstractmethod
    def observe(self, features: Features, reservation: Reservation) -> Observation:
        """What every agent sees."""

    @abc.abstractmethod
    def carry_out(
        self, features: Features, reservation: Reservation, level: Int[Array, "agents branches"]
    ) -> Allocation:
        """What flows get under these levels."""


class Held(eqx.Module):
    """Levels that agents keep to, and the slots they have decided for so far."""

    level: Int[Array, "agents branches"]
    slot: Int[Array, ""]


class LearnedAllocation(AbstractAllocation):
    """Levels of highest value by a trained network, chosen every `hold` slots and kept to between.

    What the levels mean is carried out anew in every slot, with what is known then. Raises ValueError where the
    features say nothing of experience.
    """

    tactic: AbstractTactic
    network: QNetwork
    count: int = eqx.field(static=True)
    hold: int = eqx.field(static=True)

    def init(self) -> PyTree[Array]:
        """Nothing decided yet."""
        return Held(jnp.zeros((self.count, len(self.tactic.levels)), jnp.int32), jnp.int32(0))

    def allocate(
        self, features: Features, reservation: Reservation, state: PyTree[Array]
    ) -> tuple[Allocation, PyTree[Array]]:
        """What the levels in force give every flow."""
        seen = self.tactic.observe(features, reservation)
        level = jnp.where(state.slot % self.hold == 0, self.network.greedy(seen.features), state.level)
        return self.tactic.carry_out(features, reservation, level), Held(level, state.slot + 1)


def felt_of(features: Features) -> Felt:
    """How people feel. Raises ValueError where the features say nothing of it."""
    if features.felt is None:
        raise ValueError("allocation by agents needs twins that follow experience")
    return features.felt
