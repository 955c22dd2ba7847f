"""Allocation by experience: a version for each user, at prices that clear bandwidth and cycles together."""

from dataclasses import replace
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.special import ndtr
from jaxtyping import Array, Bool, Float, Int, PyTree

from twinloop.abstraction import Features, Felt
from twinloop.decision.allocation.interface import AbstractAllocation, FlowPools, finish, flow_pools
from twinloop.decision.pools import pool_sum
from twinloop.decision.proposal import Allocation, Reservation
from twinloop.qoe import BEST, WORST

_PERIOD_S = 60.0
_FIRST_PRICES = (0.1, 3e-4)
_LEAST_PRICES = (1e-4, 1e-6)
_FULL = 0.97
_OVERFULL, _LEAST_GAIN = 1e-6, 1e-6
_FIRST_STEP, _LAST_STEP = 1.0, 0.15


class Options(NamedTuple):
    """What each flow may be given, one column an option, the first one nothing.

    `rate` [Mbit/s] holds a version, `worth` is what that is worth, `mhz` and `mcycles` [Mcycle/s] what it takes.
    """

    rate: Float[Array, "flows options"]
    worth: Float[Array, "flows options"]
    mhz: Float[Array, "flows options"]
    mcycles: Float[Array, "flows options"]


class Market(NamedTuple):
    """The option that each flow takes, and the prices [worth per MHz, per Mcycle/s] of every pool."""

    option: Int[Array, " flows"]
    mhz_price: Float[Array, " bandwidth_pools"]
    mcycle_price: Float[Array, " cycle_pools"]


class ExperienceAllocation(AbstractAllocation):
    """Gives versions so that as many users as possible reach the mean experience that they were promised.

    maximise sum_u V_u(o_u) over options o_u (nothing, or a version) inside every slice's bandwidth and cycles, with

        V = a Phi((M - ELA - spare) / sigma) + (1 - a - c) min(M / ELA, 1) + c M / 5

    M the mean experience of the periods held against the agreement, were the option kept, by the user's own model of
    experience; Phi the normal distribution. The problem is a multiple-choice knapsack with two resources, relaxed by
    prices that follow use over capacity in `steps`; in as many `rounds` a flow of each pool is then moved, down where a
    pool is overfull, up where something is left (`polish`).

    A version is held by `hold` times its rate, and `refill` more for every second that the buffer lacks, at most `fill`
    times; but by less than `below` of the rate at which a player would take the next one, the top one by `top`. Without
    data a user stalls all the time, with a version `stall_s_per_min`. Source: paper 000, III-C.3, user level; the
    objective is ours. Raises ValueError where the features say nothing of experience. Left out: that a change of
    version takes the player a few slots.
    """

    reach: float = eqx.field(static=True, default=0.3)
    level: float = eqx.field(static=True, default=0.3)
    sigma: float = eqx.field(static=True, default=0.3)
    spare: float = eqx.field(static=True, default=0.1)
    hold: float = eqx.field(static=True, default=1.05)
    refill: float = eqx.field(static=True, default=0.15)
    fill: float = eqx.field(static=True, default=1.9)
    below: float = eqx.field(static=True, default=0.95)
    top: float = eqx.field(static=True, default=1.5)
    stall_s_per_min: float = eqx.field(static=True, default=1.5)
    steps: int = eqx.field(static=True, default=10)
    rounds: int = eqx.field(static=True, default=10)

    def allocate(
        self, features: Features, reservation: Reservation, state: PyTree[Array]
    ) -> tuple[Allocation, PyTree[Array]]:
        """Rates for the next slot."""
        if features.felt is None:
            raise ValueError("allocation by experience needs twins that follow experience")
        pools = flow_pools(features, reservation)
        options = self.options(features.felt, pools)
        chosen = polish(options, pools, choose(options, pools, self.steps), self.rounds)
        rate = of_each(options.rate, chosen)
        return granted(features.felt, pools, chosen, rate), state

    def options(self, felt: Felt, pools: FlowPools) -> Options:
        """Everybody's options with their worth and use."""
        versions = felt.version_bps / 1e6
        lacking_s = pools.want / jnp.maximum(pools.need, 1e-9) - 1.0
        held = jnp.clip(self.hold + self.refill * lacking_s, 1.0, self.fill)[:, None] * versions[None, :]
        following = jnp.concatenate([self.below * versions[1:], self.top * versions[-1:]])
        rate = jnp.pad(jnp.minimum(held, following[None, :]), ((0, 0), (1, 0)))
        work = jnp.pad(felt.cycles_per_bit, ((0, 0), (1, 0)))
        worth = self.worth(felt)
        return Options(
            rate=rate,
            worth=jnp.where(pools.served[:, None], worth, 0.0),
            mhz=rate * pools.mhz_per_rate[:, None],
            mcycles=jnp.where(pools.served[:, None], rate * work, 0.0),
        )

    def worth(self, felt: Felt) -> Float[Array, "flows options"]:
        """V of every option."""
        span = jnp.log(felt.version_bps[-1] / felt.version_bps[0])
        quality = jnp.log(felt.version_bps / felt.version_bps[0]) / jnp.maximum(span, 1e-6)
        quality = jnp.concatenate([jnp.zeros(1), quality])[None, :]
        stalls = jnp.where(jnp.arange(quality.shape[1])[None, :] == 0, _PERIOD_S, self.stall_s_per_min)
        passed = jnp.clip(felt.elapsed_s / _PERIOD_S, 0.0, 1.0)[:, None]
        now = _experience(
            felt,
            passed * felt.quality[:, None] + (1.0 - passed) * quality,
            felt.stall_s[:, None] + (1.0 - passed) * stalls,
        )
        later = _experience(felt, quality, stalls)
        after = jnp.maximum(felt.periods - felt.done - 1.0, 0.0)[:, None]
        mean = (felt.experience_sum[:, None] + now + after * later) / felt.periods
        agreed = jnp.maximum(felt.agreed, WORST)[:, None]
        reached = ndtr((mean - agreed - self.spare) / self.sigma)
        kept = jnp.minimum(mean / agreed, 1.0)
        return self.reach * reached + (1.0 - self.reach - self.level) * kept + self.level * mean / BEST


def choose(
    options: Options, pools: FlowPools, steps: int, factor: Float[Array, "flows 2"] | None = None
) -> Int[Array, " flows"]:
    """Everybody's best option at prices near those that clear all pools (`clear_options`)."""
    return clear_options(options, pools, steps, factor).option


def clear_options(
    options: Options, pools: FlowPools, steps: int, factor: Float[Array, "flows 2"] | None = None
) -> Market:
    """Everybody's best option, and the prices.

    Prices start alike and are multiplied by exp(eta (use / capacity - .97)) in every step, eta falling from 1 to .15.
    With a `factor`, flows pay so many times the prices of bandwidth and of cycles.
    """
    paid = jnp.ones((options.mhz.shape[0], 2)) if factor is None else factor
    sizes = (jnp.maximum(pools.bandwidth, 1e-9), jnp.maximum(pools.cycles, 1e-9))

    def best(prices: tuple[Array, Array]) -> Int[Array, " flows"]:
        charge = (paid[:, 0] * prices[0][pools.bandwidth_pool])[:, None] * options.mhz
        charge += (paid[:, 1] * prices[1][pools.cycle_pool])[:, None] * options.mcycles
        return jnp.argmax(options.worth - charge, axis=1)

    def follow(step: Int[Array, ""], prices: tuple[Array, Array]) -> tuple[Array, Array]:
        option = best(prices)
        size = _FIRST_STEP + (_LAST_STEP - _FIRST_STEP) * step / max(steps - 1, 1)
        use = (
            pool_sum(of_each(options.mhz, option), pools.bandwidth_pool, sizes[0].shape[0]),
            pool_sum(of_each(options.mcycles, option), pools.cycle_pool, sizes[1].shape[0]),
        )
        moved = [
            jnp.maximum(price * jnp.exp(size * jnp.clip(used / room - _FULL, -1.0, 1.0)), least)
            for price, used, room, least in zip(prices, use, sizes, _LEAST_PRICES, strict=True)
        ]
        return moved[0], moved[1]

    first = (jnp.full_like(sizes[0], _FIRST_PRICES[0]), jnp.full_like(sizes[1], _FIRST_PRICES[1]))
    prices = jax.lax.fori_loop(0, steps, follow, first)
    return Market(best(prices), *prices)


def polish(options: Options, pools: FlowPools, option: Int[Array, " flows"], rounds: int) -> Int[Array, " flows"]:
    """Options moved one flow a bandwidth pool and round: up where it gains most by the share of the pools that it
    takes and fits, down where an overfull pool loses least by what is freed. Prices leave both, since options are few
    and large.
    """
    flows = option.shape[0]
    bandwidth, cycles = jnp.maximum(pools.bandwidth, 1e-9), jnp.maximum(pools.cycles, 1e-9)
    resources = (
        (options.mhz, pools.bandwidth_pool, bandwidth),
        (options.mcycles, pools.cycle_pool, cycles),
    )

    def move(_: Int[Array, ""], now: Int[Array, " flows"]) -> Int[Array, " flows"]:
        gained = options.worth - of_each(options.worth, now)[:, None]
        taken, freed = jnp.zeros_like(gained), jnp.zeros_like(gained)
        fits, over = jnp.ones(gained.shape, bool), jnp.zeros(flows, bool)
        for use, pool, size in resources:
            held = of_each(use, now)
            left = (size - pool_sum(held, pool, size.shape[0]))[pool]
            more = use - held[:, None]
            full = left < -_OVERFULL
            taken += more / size[pool][:, None]
            freed += jnp.where(full[:, None], -more, 0.0) / size[pool][:, None]
            fits &= more <= left[:, None]
            over |= full
        up = ~over[:, None] & fits & (gained > _LEAST_GAIN)
        down = over[:, None] & (freed > _LEAST_GAIN)
        rate = jnp.where(up, gained / jnp.maximum(taken, 1e-3), jnp.where(down, gained / freed, -jnp.inf))
        rate = jnp.where(pools.served[:, None], rate, -jnp.inf)
        best = jnp.argmax(rate, axis=1)
        reached = of_each(rate, best)
        moves = _first_of_pool(reached, pools.bandwidth_pool, bandwidth.shape[0])
        return jnp.where(moves, best, now)

    return jax.lax.fori_loop(0, rounds, move, option)


def _first_of_pool(value: Float[Array, " flows"], pool: Int[Array, " flows"], pools: int) -> Bool[Array, " flows"]:
    """The first flow of every pool that has the greatest finite `value` in it."""
    row = jnp.arange(value.shape[0])
    greatest = (value >= jax.ops.segment_max(value, pool, pools)[pool]) & jnp.isfinite(value)
    first = jax.ops.segment_min(jnp.where(greatest, row, value.shape[0]), pool, pools)
    return row == first[pool]


def _experience(
    felt: Felt, quality: Float[Array, "#flows options"], stall_s: Float[Array, "#flows options"]
) -> Float[Array, "flows options"]:
    models = felt.models
    service = models.level[:, None] + models.quality_weight[:, None] * quality - models.stall_weight[:, None] * stall_s
    return WORST + (BEST - WORST) * jnp.clip(service * felt.factor[:, None], 0.0, 1.0)


def granted(felt: Felt, pools: FlowPools, chosen: Int[Array, " flows"], rate: Float[Array, " flows"]) -> Allocation:
    """The allocation of `rate`; cycles for the version that is played as well as for the chosen one.

    Spare cycles go to flows as a margin; spare bandwidth does not, since a player that is given more takes a version
    that it cannot hold.
    """
    last = felt.version_bps.shape[0] - 1
    playing = jnp.clip(jnp.round(felt.version), 0, last).astype(jnp.int32)
    work = jnp.maximum(of_each(felt.cycles_per_bit, playing), of_each(felt.cycles_per_bit, jnp.maximum(chosen - 1, 0)))
    pools = replace(pools, cycles_per_rate=jnp.where(pools.served, work, 0.0))
    rate = jnp.where(pools.served, rate, 0.0)
    return Allocation(finish(pools, rate, False).bandwidth_hz, finish(pools, rate, True).cycles_per_s)


def of_each(table: Float[Array, "flows columns"], column: Int[Array, " flows"]) -> Float[Array, " flows"]:
    """Each row's entry in its own column."""
    return jnp.take_along_axis(table, column[:, None], axis=1)[:, 0]
