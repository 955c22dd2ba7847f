"""Group level by agents, user level by the group's own problem: budgets of groups, then a rate for each user."""

from dataclasses import replace

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from twinloop.abstraction import Features
from twinloop.decision.allocation.experience import (
    ExperienceAllocation,
    Options,
    choose,
    granted,
    of_each,
    polish,
)
from twinloop.decision.allocation.interface import FlowPools, flow_pools
from twinloop.decision.allocation.learned import AbstractTactic, felt_of
from twinloop.decision.allocation.sight import columns_of, group_of, means_of_pools, situation_of
from twinloop.decision.allocation.utility import maximise
from twinloop.decision.orchestration import Reach, pack
from twinloop.decision.pools import pool_sum
from twinloop.decision.proposal import Allocation, Reservation
from twinloop.learning import Observation
from twinloop.qoe import RULES

CLAIMS = (1.0, 0.4, 0.65, 1.5, 2.5)
"""By level; at level 0 of all, groups pay alike."""

GROUPS = len(RULES)
_STALL = RULES.index("stall")
_LEAST_GAIN = 1e-3
_MOST_OF_RATE = 0.7


class GroupTactic(AbstractTactic):
    """Agents are slices in cells; of each of its groups, a branch says how much bandwidth counts, another how much
    cycles do. Groups are users of one rule of experience (`qoe.RULES`).

    Group level: users choose versions at prices that clear the slices, where a group at level l pays 1 / `CLAIMS`[l] of
    the price; a slice's bandwidth and cycles are divided among its groups as they are then used. At level 0 of all,
    these are the prices of `ExperienceAllocation`. User level, inside both budgets of a group, by its problem:

    - who minds stalling alone has a concave use for a rate up to what holds the lowest version: `Reach`, solved by
      dual prices (`maximise`);
    - who minds quality needs whole versions: the multiple-choice knapsack over `by_experience.options`, by dynamic
      programming (`pack`, budgets in `parts`).

    A version is priced with room for its buffer to recover (`ExperienceAllocation`), so budgets are counted `overfill`
    times; what exceeds a slice, or is left in it, is settled over the whole slice (`polish`). Source: paper 000,
    III-C.3; claims on prices in the place of fixed shares are ours: with one or two users in a group, whole versions
    would not fit any share.
    """

    by_experience: ExperienceAllocation = ExperienceAllocation()
    overfill: float = eqx.field(static=True, default=1.4)
    parts: tuple[int, int] = eqx.field(static=True, default=(32, 8))

    @property
    def levels(self) -> tuple[int, ...]:
        """Of every group in turn: of bandwidth, of cycles."""
        return (len(CLAIMS),) * (2 * GROUPS)

    def agents(self, cells: int, slices: int, flows: int) -> int:
        """One a slice and cell."""
        return cells * slices

    def observe(self, features: Features, reservation: Reservation) -> Observation:
        """Means over every group with its size, and the situation of the slice in the cell."""
        felt = felt_of(features)
        pools = flow_pools(features, reservation)
        options = self.by_experience.options(felt, pools)
        count = pools.bandwidth.shape[0]
        columns = columns_of(features, felt, pools, options)
        pool = pools.bandwidth_pool * GROUPS + group_of(felt)
        mean, number = means_of_pools(columns, pools.served, pool, count * GROUPS)
        groups = jnp.concatenate([mean, number[:, None]], axis=1).reshape(count, -1)
        situation = situation_of(features, felt, pools, options)
        return Observation(jnp.concatenate([groups, situation], axis=1), situation[:, 0] > 0)

    def carry_out(
        self, features: Features, reservation: Reservation, level: Int[Array, "agents branches"]
    ) -> Allocation:
        """Budgets of groups at these levels, and what their users get of them."""
        felt = felt_of(features)
        pools = flow_pools(features, reservation)
        options = self.by_experience.options(felt, pools)
        group = group_of(felt)
        claim = jnp.asarray(CLAIMS)[level].reshape(-1, GROUPS, 2)[pools.bandwidth_pool, group]
        taken = choose(options, pools, self.by_experience.steps, 1.0 / claim)
        inside = _budgets(pools, options, taken, group, self.overfill)
        budget = jnp.stack([inside.bandwidth, inside.cycles], axis=1)
        cost = jnp.stack([options.mhz, options.mcycles], axis=2)
        steady = group == _STALL
        worth = jnp.where(steady[:, None], 0.0, options.worth)
        version = pack(worth, cost, inside.bandwidth_pool, budget, self.parts).option
        chosen = jnp.where(steady, _held_steadily(options, inside, steady), version)
        chosen = polish(options, pools, chosen, self.by_experience.rounds)
        return granted(felt, pools, chosen, of_each(options.rate, chosen))


def _budgets(
    pools: FlowPools, options: Options, taken: Int[Array, " flows"], group: Int[Array, " flows"], overfill: float
) -> FlowPools:
    """The pools of every group in a slice and cell: what its slice holds, in proportion to what its users take."""
    count = pools.bandwidth.shape[0] * GROUPS
    pool = pools.bandwidth_pool * GROUPS + group

    def parted(use: Float[Array, " flows"], outer: Int[Array, " flows"], held: Float[Array, " outer"]) -> Array:
        total = pool_sum(use, outer, held.shape[0])
        return overfill * pool_sum(use * (held / jnp.maximum(total, 1e-9))[outer], pool, count)

    return replace(
        pools,
        bandwidth_pool=pool,
        cycle_pool=pool,
        bandwidth=parted(of_each(options.mhz, taken), pools.bandwidth_pool, pools.bandwidth),
        cycles=parted(of_each(options.mcycles, taken), pools.cycle_pool, pools.cycles),
    )


def _held_steadily(options: Options, inside: FlowPools, steady: Array) -> Int[Array, " flows"]:
    """1, the lowest version, for those who need no better one where dual prices leave them most of its rate; else 0."""
    need = options.rate[:, 1]
    work = options.mcycles[:, 1] / jnp.maximum(need, 1e-9)
    gain = jnp.maximum(options.worth[:, 1] - options.worth[:, 0], _LEAST_GAIN)
    claims = replace(inside, served=inside.served & steady, cycles_per_rate=work)
    rate = maximise(Reach(need), claims, jnp.where(steady, gain, 0.0), jnp.zeros_like(need), need).rate
    return (rate >= _MOST_OF_RATE * need).astype(jnp.int32)
