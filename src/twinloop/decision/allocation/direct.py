"""Both levels by agents of users: each asks for a version and for cycles, and what slices lack is cut alike."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from twinloop.abstraction import Features
from twinloop.decision.allocation.experience import ExperienceAllocation, of_each
from twinloop.decision.allocation.interface import MEGA, flow_pools
from twinloop.decision.allocation.learned import AbstractTactic, felt_of
from twinloop.decision.allocation.sight import columns_of, group_of, means_of_pools, situation_of
from twinloop.decision.pools import pool_sum
from twinloop.decision.proposal import Allocation, Reservation
from twinloop.learning import Observation
from twinloop.qoe import RULES

RATE_LEVELS = 5
CYCLE_SHARES = (0.5, 1.0, 1.5, 2.0)
_BY_EXPERIENCE = ExperienceAllocation()


class UserTactic(AbstractTactic):
    """Agents are users; their branches ask for a rate, nothing or one that holds a version, and for cycles, in parts of
    what that rate would need in the version that needs most.

    What is asked beyond a slice's reservation is cut by one factor, of each resource apart. With more or fewer versions
    than four, levels are spread evenly over them. Source: PDRL-L1 of paper 000, IV; the task of an agent is ours. Left
    out: coordination beyond what agents see of their slice.
    """

    @property
    def levels(self) -> tuple[int, ...]:
        """Of the rate, and of cycles."""
        return (RATE_LEVELS, len(CYCLE_SHARES))

    def agents(self, cells: int, slices: int, flows: int) -> int:
        """One a flow."""
        return flows

    def observe(self, features: Features, reservation: Reservation) -> Observation:
        """A user's own columns, what it minds, the mean of its slice in its cell, and the situation there."""
        felt = felt_of(features)
        pools = flow_pools(features, reservation)
        options = _BY_EXPERIENCE.options(felt, pools)
        columns = columns_of(features, felt, pools, options)
        pool, count = pools.bandwidth_pool, pools.bandwidth.shape[0]
        mean, _ = means_of_pools(columns, pools.served, pool, count)
        minds = group_of(felt)[:, None] == jnp.arange(len(RULES))[None, :]
        seen = [columns, minds.astype(jnp.float32), mean[pool], situation_of(features, felt, pools, options)[pool]]
        return Observation(jnp.concatenate(seen, axis=1), pools.served)

    def carry_out(
        self, features: Features, reservation: Reservation, level: Int[Array, "agents branches"]
    ) -> Allocation:
        """What was asked for, cut to what slices hold."""
        felt = felt_of(features)
        pools = flow_pools(features, reservation)
        options = _BY_EXPERIENCE.options(felt, pools)
        most = options.rate.shape[1] - 1
        asked = jnp.round(level[:, 0] * (most / (RATE_LEVELS - 1))).astype(jnp.int32)
        work = jnp.max(felt.cycles_per_bit, axis=1) * jnp.asarray(CYCLE_SHARES)[level[:, 1]]
        rate = jnp.where(pools.served, of_each(options.rate, asked), 0.0)
        return Allocation(
            _cut(rate * pools.mhz_per_rate, pools.bandwidth_pool, pools.bandwidth) * MEGA,
            _cut(rate * work, pools.cycle_pool, pools.cycles) * MEGA,
        )


def _cut(
    asked: Float[Array, " flows"], pool: Int[Array, " flows"], held: Float[Array, " pools"]
) -> Float[Array, " flows"]:
    total = pool_sum(asked, pool, held.shape[0])
    return asked * jnp.minimum(held / jnp.maximum(total, 1e-9), 1.0)[pool]
