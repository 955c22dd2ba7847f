"""What agents see of people: columns of order 1, by flow, and their means over groups."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from twinloop.abstraction import Features, Felt
from twinloop.decision.allocation.experience import Options
from twinloop.decision.allocation.interface import FlowPools
from twinloop.decision.pools import pool_sum
from twinloop.qoe import BEST, IMPACTS, RULES, WORST

_PERIOD_S = 60.0
_FULL_BUFFER_S = 10.0
_MANY_USERS = 8.0


class Standing(NamedTuple):
    """Where everybody stands: the experience still required on average less what was agreed, and elapsed parts."""

    lacking: Float[Array, " flows"]
    passed: Float[Array, " flows"]
    over: Float[Array, " flows"]


def standing_of(felt: Felt) -> Standing:
    """Lacking = (ELA n - sum E - a E_now) / (n - done - a) - ELA, E_now the period's experience were it all as so far.

    n are the periods held against the agreement, a the elapsed part of the present one; cut to [-2, 2].
    """
    models = felt.models
    passed = jnp.clip(felt.elapsed_s / _PERIOD_S, 0.0, 1.0)
    stall_s = felt.stall_s / jnp.maximum(passed, 1.0 / _PERIOD_S)
    service = models.level + models.quality_weight * felt.quality - models.stall_weight * stall_s
    now = WORST + (BEST - WORST) * jnp.clip(service * felt.factor, 0.0, 1.0)
    left = jnp.maximum(felt.periods - felt.done - passed, 0.25)
    required = (felt.agreed * felt.periods - felt.experience_sum - passed * now) / left
    return Standing(jnp.clip(required - felt.agreed, -2.0, 2.0), passed, (felt.done + passed) / felt.periods)


def group_of(felt: Felt) -> Int[Array, " flows"]:
    """The group of a user: what it minds (`qoe.RULES`), by the likeliest structure of its model."""
    return jnp.clip(felt.structure // len(IMPACTS), 0, len(RULES) - 1)


def columns_of(features: Features, felt: Felt, pools: FlowPools, options: Options) -> Float[Array, "flows columns"]:
    """What is seen of every flow; what it may use stands in parts of its slice's reservation.

    Buffer, MHz a Mbit/s, standing, stalling and quality in this period, version played, agreement, weights and factor
    of the model, whether behaviour and environment weigh on it, use of the lowest and the top version.
    """
    held = jnp.maximum(pools.bandwidth, 1e-9)[pools.bandwidth_pool]
    computed = jnp.maximum(pools.cycles, 1e-9)[pools.cycle_pool]
    impact = felt.structure % len(IMPACTS)
    rows = [
        jnp.clip(features.buffer_s / _FULL_BUFFER_S, 0.0, 2.0),
        jnp.clip(0.5 * pools.mhz_per_rate, 0.0, 2.0),
        standing_of(felt).lacking,
        jnp.clip(felt.stall_s / 10.0, 0.0, 2.0),
        felt.quality,
        felt.version / max(felt.version_bps.shape[0] - 1, 1),
        felt.agreed - 4.0,
        jnp.clip(10.0 * felt.models.stall_weight, 0.0, 2.0),
        jnp.clip(felt.models.quality_weight, 0.0, 2.0),
        felt.factor,
        (impact % 2).astype(jnp.float32),
        (impact // 2).astype(jnp.float32),
        jnp.clip(options.mhz[:, 1] / held, 0.0, 2.0),
        jnp.clip(options.mhz[:, -1] / held, 0.0, 2.0),
        jnp.clip(jnp.max(options.mcycles, axis=1) / computed, 0.0, 2.0),
    ]
    return jnp.where(pools.served[:, None], jnp.stack(rows, axis=1), 0.0)


def means_of_pools(
    columns: Float[Array, "flows columns"], member: Bool[Array, " flows"], pool: Int[Array, " flows"], count: int
) -> tuple[Float[Array, "pools columns"], Float[Array, " pools"]]:
    """Mean of every column over the members of a pool, and their number over 8."""
    here = member.astype(jnp.float32)
    members = pool_sum(here, pool, count)
    sums = jax.ops.segment_sum(columns * here[:, None], pool, count)
    return sums / jnp.maximum(members, 1.0)[:, None], members / _MANY_USERS


def situation_of(
    features: Features, felt: Felt, pools: FlowPools, options: Options
) -> Float[Array, "bandwidth_pools columns"]:
    """What is common to a slice in a cell: its users, elapsed parts of period and agreement, and what all its users
    would take in the lowest and the top version, over what it holds.
    """
    count = pools.bandwidth.shape[0]
    standing = standing_of(felt)
    times = jnp.stack([standing.passed, standing.over], axis=1)
    when, users = means_of_pools(times, pools.served, pools.bandwidth_pool, count)
    slices = features.slice_users.shape[1]
    at = jnp.arange(count)
    cycle_pool = features.cell_server[at // slices] * slices + at % slices
    computed = pool_sum(jnp.max(options.mcycles, axis=1), pools.cycle_pool, pools.cycles.shape[0])
    return jnp.stack(
        [
            users,
            when[:, 0],
            when[:, 1],
            _part(pool_sum(options.mhz[:, 1], pools.bandwidth_pool, count), pools.bandwidth),
            _part(pool_sum(options.mhz[:, -1], pools.bandwidth_pool, count), pools.bandwidth),
            _part(computed, pools.cycles)[cycle_pool],
        ],
        axis=1,
    )


def _part(use: Float[Array, " pools"], held: Float[Array, " pools"]) -> Float[Array, " pools"]:
    return jnp.clip(0.5 * use / jnp.maximum(held, 1e-9), 0.0, 2.0)
