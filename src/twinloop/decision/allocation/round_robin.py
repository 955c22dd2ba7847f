"""Round robin: every flow that wants data gets the same share."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

from twinloop.abstraction import Features
from twinloop.decision.allocation.interface import MEGA, AbstractAllocation, FlowPools, flow_pools
from twinloop.decision.pools import pool_sum
from twinloop.decision.proposal import Allocation, Reservation


class RoundRobin(AbstractAllocation):
    """Equal bandwidth to the flows of a pool that want data, and equal cycles to those that need transcoding.

    A scheduler passes over empty queues, so with `skip_served` a flow takes no more than what carries its want, and the
    turns it leaves go round among the others: share = min(want / se, level), the level filling the pool. Without, every
    flow gets capacity / flows. Channels, needs and weights are not looked at.
    """

    skip_served: bool = eqx.field(static=True, default=True)

    def allocate(
        self, features: Features, reservation: Reservation, state: PyTree[Array]
    ) -> tuple[Allocation, PyTree[Array]]:
        """Equal shares of both resources, each on its own."""
        pools = flow_pools(features, reservation)
        want = pools.want if self.skip_served else jnp.full_like(pools.want, jnp.inf)
        bandwidth = equal_shares(pools.served, want * pools.mhz_per_rate, pools.bandwidth_pool, pools.bandwidth)
        return Allocation(bandwidth * MEGA, computing_in_turn(pools, want)), state


def computing_in_turn(pools: FlowPools, want: Float[Array, " flows"]) -> Float[Array, " flows"]:
    """Equal cycles [cycle/s] to the flows that need transcoding, none more than `want` [Mbit/s] takes while others can
    use them.
    """
    computes = pools.served & (pools.cycles_per_rate > 0)
    return equal_shares(computes, want * pools.cycles_per_rate, pools.cycle_pool, pools.cycles) * MEGA


def equal_shares(
    member: Bool[Array, " flows"],
    cap: Float[Array, " flows"],
    pool: Int[Array, " flows"],
    capacity: Float[Array, " pools"],
) -> Float[Array, " flows"]:
    """Max-min shares: min(cap, level) for members, 0 for others; the level fills the pool unless all are capped.

    Newton's method on the concave use(level) from below: every step serves the flows that fit below the level in full
    and divides the rest equally, so it ends, exactly, after as many steps as there are rounds. What is left when all
    flows of a pool are capped is divided among them in proportion.
    """
    count = capacity.shape[0]
    members = pool_sum(member.astype(cap.dtype), pool, count)
    cap = jnp.where(member, cap, 0.0)
    first = capacity / jnp.maximum(members, 1.0)

    def rising(state: tuple[Float[Array, " pools"], Float[Array, " pools"]]) -> Bool[Array, ""]:
        before, now = state
        return jnp.any(now > before * (1 + 1e-5))

    def go_round(
        state: tuple[Float[Array, " pools"], Float[Array, " pools"]],
    ) -> tuple[Float[Array, " pools"], Float[Array, " pools"]]:
        _, level = state
        below = member & (cap <= level[pool])
        served = pool_sum(jnp.where(below, cap, 0.0), pool, count)
        waiting = members - pool_sum(below.astype(cap.dtype), pool, count)
        raised = jnp.maximum(capacity - served, 0.0) / jnp.maximum(waiting, 1.0)
        return level, jnp.where(waiting > 0, jnp.maximum(level, raised), level)

    _, level = jax.lax.while_loop(rising, go_round, (jnp.full_like(first, -1.0), first))
    share = jnp.where(member, jnp.minimum(cap, level[pool]), 0.0)
    total = pool_sum(share, pool, count)
    return share * jnp.where(total > 0, capacity / jnp.maximum(total, 1e-30), 0.0)[pool]
