"""The port to a network: two verbs, whatever stands behind it."""

import abc
from typing import Generic, TypeVar

import equinox as eqx
from jaxtyping import Array, Int, PRNGKeyArray

from twinloop.entities import Action
from twinloop.network.report import Report, Request

PlantT = TypeVar("PlantT")


class AbstractNetwork(eqx.Module, Generic[PlantT]):
    """A network that can be read and written. `plant` is the adapter's own state, opaque to everybody else."""

    @abc.abstractmethod
    def report(self, key: PRNGKeyArray, plant: PlantT, request: Request) -> tuple[PlantT, Report]:
        """What arrived since the last call; never waits. A simulated network advances by one slot."""

    @abc.abstractmethod
    def apply(self, key: PRNGKeyArray, plant: PlantT, action: Action, revision: Int[Array, ""]) -> PlantT:
        """Asks the network to take `action` under the number `revision`; whether it did shows in a later report."""
