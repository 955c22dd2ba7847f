"""What governs collection: from what was foretold and then seen to the next request."""

from abc import abstractmethod
from typing import Generic, TypeVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from twinloop.collection.collect import Seen
from twinloop.entities import USER_ATTRIBUTES
from twinloop.network import Request

Memory = TypeVar("Memory")
_OF_LINK = np.array([attribute.name == "sinr_db" for attribute in USER_ATTRIBUTES])


class KindEvidence(eqx.Module):
    """What one slot taught about one kind of entity.

    `expected` was foretold for the slot before its reports came, `known` is what the twins hold after them, valid where
    `heard`; `spread` is the standard deviation of each attribute over all entities. `cell` is the cell whose bandwidth
    an entity's reports take.
    """

    seen: Seen
    expected: Float[Array, "entities attributes"]
    known: Float[Array, "entities attributes"]
    heard: Bool[Array, "entities attributes"]
    spread: Float[Array, " attributes"]
    active: Bool[Array, " entities"]
    cell: Int[Array, " entities"]


class Evidence(eqx.Module):
    """What one slot taught, by kind of entity."""

    users: KindEvidence
    cells: KindEvidence
    servers: KindEvidence


class Standing(eqx.Module):
    """How users' attributes are collected now, by group: what a trace records.

    `period_s` between looks, `bits` precision, `alarm` the change that is reported at once (in the attribute's unit),
    `error` the dual error that drives the ladder, `importance` by attribute, `shift` whether the distribution was found
    to have changed. `discriminator` is the share of sampled statuses told apart beyond chance, `shed` how many
    attributes each cell's budget leaves out, `periodic_bits` what the fixed periods would have cost in this slot.
    """

    period_s: Float[Array, "groups attributes"]
    bits: Float[Array, "groups attributes"]
    alarm: Float[Array, "groups attributes"]
    error: Float[Array, "groups attributes"]
    importance: Float[Array, " attributes"]
    shift: Bool[Array, "groups attributes"]
    discriminator: Float[Array, ""]
    shed: Int[Array, " cells"]
    periodic_bits: Float[Array, ""]


class CollectionState(eqx.Module, Generic[Memory]):
    """What is asked of the network in the next slot, and what the method remembers."""

    request: Request
    memory: Memory


class AbstractCollector(eqx.Module, Generic[Memory]):
    """Sets the next request; pure, for all entities at once."""

    @abstractmethod
    def start(self) -> CollectionState[Memory]:
        """The request of the first slot."""

    @abstractmethod
    def adapt(
        self, state: CollectionState[Memory], evidence: Evidence, slot: Int[Array, ""]
    ) -> CollectionState[Memory]:
        """The next request after what `slot` taught."""

    @abstractmethod
    def standing(self, state: CollectionState[Memory], evidence: Evidence) -> Standing:
        """How users are collected now."""


def granted(request: Request, reports_per_s: Float[Array, " users"]) -> Request:
    """The request with every user's link looked at no less often than was granted, [1/s]; 0 grants nothing.

    What has not changed is not sent for it, and what a cell's budget gave up stays given up.
    """
    longest_s = jnp.where(reports_per_s > 0, 1.0 / jnp.maximum(reports_per_s, 1e-6), jnp.inf)
    asked_s = request.users.period_s
    period_s = jnp.where(_OF_LINK[None, :], jnp.minimum(asked_s, longest_s[:, None]), asked_s)
    return eqx.tree_at(lambda r: r.users.period_s, request, period_s)
