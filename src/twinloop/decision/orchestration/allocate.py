"""Rates for the next slot inside the groups' budgets: prices where the problem is convex, versions by a knapsack."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from twinloop.decision.allocation.interface import MEGA, FlowPools
from twinloop.decision.allocation.utility import maximise
from twinloop.decision.orchestration.knapsack import pack
from twinloop.decision.orchestration.reach import Reach
from twinloop.decision.orchestration.track import Ladder, Track, minds_quality, minds_stalls, required
from twinloop.qoe import UserModels

GUARD_S = 3.0
"""Seconds of buffer below which a user who minds stalling is kept at the lowest version's rate; *ours*."""

_LEAST_WEIGHT = 0.05
_STEADY = 1.95


class Claim(NamedTuple):
    """What every user claims: the rate that keeps on track, its weight, the least and the most rate [Mbit/s]."""

    need: Float[Array, " flows"]
    weight: Float[Array, " flows"]
    least: Float[Array, " flows"]
    most: Float[Array, " flows"]


def claims(
    models: UserModels, track: Track, ladder: Ladder, buffer_s: Float[Array, " flows"], spare: float = 0.05
) -> Claim:
    """Claims of users by their group's problem.

    Rule "quality" and "both": the rate of the quality still required. Rule "stall": the lowest version's rate while the
    buffer lasts less than `GUARD_S` beyond a slot, nothing of worth above. Who cannot reach the agreement any more
    keeps a weight of .05, so that left-overs find a use. Floors guard the buffers of all who mind stalling.
    """
    wanted = required(models, track, spare)
    lowest = ladder.hold * ladder.version_bps[0] / MEGA
    steady = jnp.broadcast_to(
        jnp.minimum(_STEADY * ladder.version_bps[0], ladder.version_bps[1]) / MEGA, track.ela.shape
    )
    guard = jnp.clip((GUARD_S - buffer_s) / (GUARD_S - 1.0), 0.0, 1.0) * lowest
    by_stalls, by_quality = minds_stalls(models), minds_quality(models)
    top = jnp.broadcast_to(ladder.hold * ladder.version_bps[-1] / MEGA, track.ela.shape)
    return Claim(
        need=jnp.where(by_quality, ladder.rate_bps(wanted.quality) / MEGA, steady),
        weight=jnp.maximum(wanted.reachable, _LEAST_WEIGHT),
        least=jnp.where(by_stalls, guard, 0.0),
        most=jnp.where(by_quality, top, steady),
    )


def allocate_users(
    models: UserModels,
    track: Track,
    ladder: Ladder,
    pools: FlowPools,
    buffer_s: Float[Array, " flows"],
    spare: float = 0.05,
) -> Float[Array, " flows"]:
    """Rates [Mbit/s] that maximise sum_u w_u U_u(r_u) inside every pool of bandwidth and cycles; see `Reach`, `claims`.

    Dual prices (decision.pools.clear). Flow u is user u's; multicast bearers have no single user and are not for this.
    """
    claim = claims(models, track, ladder, buffer_s, spare)
    return maximise(Reach(claim.need), pools, claim.weight, claim.least, claim.most).rate


def allocate_versions(
    models: UserModels,
    track: Track,
    ladder: Ladder,
    pools: FlowPools,
    buffer_s: Float[Array, " flows"],
    spare: float = 0.05,
    cells: int = 512,
) -> Float[Array, " flows"]:
    """The same problem over whole versions: each user is given the rate that holds one version, or nothing.

    One knapsack a bandwidth pool, exact for budgets in `cells` parts (`pack`); the buffer's guard is worth as much as
    being on track. Cycles are not looked at: where a pool of them is overdrawn, `finish` scales its flows down.
    """
    claim = claims(models, track, ladder, buffer_s, spare)
    count = pools.bandwidth.shape[0]
    rungs = ladder.hold * ladder.version_bps / MEGA
    rate = jnp.concatenate([jnp.zeros(1), rungs])
    offered = jnp.minimum(rate[None, :], jnp.maximum(claim.most, claim.least)[:, None])
    utility = jax.vmap(Reach(claim.need).value, in_axes=1, out_axes=1)(offered)
    kept = jnp.where(
        claim.least[:, None] > 0, jnp.clip(offered / jnp.maximum(claim.least, 1e-9)[:, None], 0.0, 1.0), 0.0
    )
    served = pools.served[:, None]
    value = jnp.where(served, claim.weight[:, None] * utility + kept, 0.0)
    cost = jnp.where(served, offered * pools.mhz_per_rate[:, None], 0.0)

    def of_pool(pool: Int[Array, ""], budget: Float[Array, ""]) -> Int[Array, " flows"]:
        mine = (pools.bandwidth_pool == pool)[:, None]
        return pack(jnp.where(mine, value, 0.0), jnp.where(mine, cost, 0.0), budget, cells).option

    options = jax.vmap(of_pool)(jnp.arange(count), pools.bandwidth)
    flows = jnp.arange(offered.shape[0])
    return offered[flows, options[pools.bandwidth_pool, flows]]
