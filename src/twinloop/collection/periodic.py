"""Collection at fixed periods: the trivial method, which every adaptive one must beat."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from twinloop.collection.interface import AbstractCollector, CollectionState, Evidence, Standing
from twinloop.network import HEADER_BITS, KindRequest, Request


class Periodic(AbstractCollector[None]):
    """The same request in every slot. `groups` says for every user which of `group_count` groups it is recorded in."""

    request: Request
    groups: Int[Array, " users"]
    group_count: int = eqx.field(static=True)
    cell_count: int = eqx.field(static=True)
    slot_s: float = eqx.field(static=True)

    def start(self) -> CollectionState[None]:
        """The request that a scenario asks for."""
        return CollectionState(self.request, None)

    def adapt(self, state: CollectionState[None], evidence: Evidence, slot: Int[Array, ""]) -> CollectionState[None]:
        """The same request, whatever was seen."""
        del evidence, slot
        return state

    def standing(self, state: CollectionState[None], evidence: Evidence) -> Standing:
        """What is asked of the groups' members on average; errors are not looked at."""
        users = state.request.users

        def mean(values: Array) -> Float[Array, "groups attributes"]:
            return group_mean(values.astype(jnp.float32), self.groups, self.group_count)

        nothing = jnp.zeros((self.group_count, users.bits.shape[1]))
        return Standing(
            period_s=mean(users.period_s),
            bits=mean(users.bits),
            alarm=mean(users.alarm),
            error=nothing,
            importance=jnp.ones(users.bits.shape[1]),
            shift=nothing > 0,
            discriminator=jnp.zeros(()),
            shed=jnp.zeros(self.cell_count, jnp.int32),
            periodic_bits=periodic_cost(self.request.users, evidence.users.active, self.slot_s),
        )


def group_mean(
    values: Float[Array, "entities attributes"], groups: Int[Array, " entities"], count: int
) -> Float[Array, "groups attributes"]:
    """Mean over the members of each group; 0 for a group without any."""
    members = jax.ops.segment_sum(jnp.ones(groups.shape[0]), groups, count)
    return jax.ops.segment_sum(values, groups, count) / jnp.maximum(members, 1.0)[:, None]


def periodic_cost(request: KindRequest, active: Bool[Array, " entities"], slot_s: float) -> Float[Array, ""]:
    """Bits a slot of the periodic attributes of a request, over the entities that are there.

    Sum over entities of sum_a bits_a slot / period_a + header slot / min_a period_a. Left out, so too low: attributes
    that are sent when they change.
    """
    fixed = (request.delta < 0) & request.enabled[None, :]
    rate = jnp.where(fixed, slot_s / jnp.maximum(request.period_s, slot_s), 0.0)
    cost = jnp.sum(rate * request.bits, axis=1) + HEADER_BITS * jnp.max(rate, axis=1)
    return jnp.sum(jnp.where(active, cost, 0.0))
