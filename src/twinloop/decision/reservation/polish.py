"""Local search on the true satisfaction: pairs of groups exchange what they hold."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from twinloop.decision.pools import pool_sum
from twinloop.decision.reservation.groups import Groups
from twinloop.qoe import SigmoidSatisfaction

_ALL_PAIRS = 64
_GRID = 33


def polish(
    groups: Groups, shape: SigmoidSatisfaction, z: Float[Array, " groups"], slices: int, sweeps: int
) -> Float[Array, " groups"]:
    """Levels worth at least as much as `z` under `shape`, feasible when `z` is.

    The surrogate leaves groups on the straight part of the majorant, where the sigmoid is worth less: two groups at
    half are worth less than one served and one not. In every round disjoint pairs of groups try each other's levels:
    one of the pair at 33 levels between its bounds, the other at the most that then fits, at its own level, or at its
    best price; the best pair of levels is kept. A pair may use what it holds and its part of what is free. Up to 64
    groups all pairs meet in a sweep, beyond that the slices of each cell do. A local optimum, no more: the gap to the
    bound says how far.
    """
    rounds = jnp.asarray(_pairings(z.shape[0], slices))
    padded = _with_nobody(groups)
    start = jnp.concatenate([jnp.clip(z, groups.low, groups.high), jnp.zeros(1)])

    def exchange(now: Float[Array, " padded"], pairs: Int[Array, "pairs 2"]) -> tuple[Float[Array, " padded"], None]:
        return _exchange(padded, shape, now, pairs), None

    def sweep(_: Int[Array, ""], now: Float[Array, " padded"]) -> Float[Array, " padded"]:
        return jax.lax.scan(exchange, now, rounds)[0]

    return jax.lax.fori_loop(0, sweeps, sweep, start)[:-1]


def _pairings(groups: int, slices: int) -> Int[np.ndarray, "rounds pairs 2"]:
    """Rounds of disjoint pairs by the circle method; row `groups` stands for nobody where a number is odd."""
    size = groups if groups <= _ALL_PAIRS else slices
    even = size + size % 2
    rounds: list[list[tuple[int, int]]] = []
    order = list(range(even))
    for _ in range(max(even - 1, 1)):
        rounds.append([(order[k], order[even - 1 - k]) for k in range(even // 2)])
        order = [order[0], order[-1], *order[1:-1]]
    local = np.array(rounds, np.int32)
    starts = np.arange(0, groups, size, dtype=np.int32)
    pairs = np.where(local[:, None] < size, local[:, None] + starts[None, :, None, None], groups)
    return pairs.reshape(len(rounds), -1, 2).astype(np.int32)


def _with_nobody(groups: Groups) -> Groups:
    def pad(rows: Array) -> Array:
        return jnp.concatenate([rows, jnp.zeros((*rows.shape[:-1], 1), rows.dtype)], axis=-1)

    return Groups(
        weight=pad(groups.weight),
        per_z=pad(groups.per_z),
        least=pad(groups.least),
        pool=pad(groups.pool),
        capacity=groups.capacity,
        price=groups.price,
        low=pad(groups.low),
        high=pad(groups.high),
    )


def _exchange(
    groups: Groups, shape: SigmoidSatisfaction, z: Float[Array, " padded"], pairs: Int[Array, "pairs 2"]
) -> Float[Array, " padded"]:
    spare = _spare_parts(groups, z, pairs)
    first, second = pairs[:, 0], pairs[:, 1]
    ahead = _best_levels(groups, shape, z, spare, first, second)
    back = _best_levels(groups, shape, z, spare, second, first)
    better = ahead[2] >= back[2]
    one = jnp.where(better, ahead[0], back[1])
    other = jnp.where(better, ahead[1], back[0])
    return z.at[first].set(one).at[second].set(other).at[-1].set(0.0)


def _spare_parts(
    groups: Groups, z: Float[Array, " padded"], pairs: Int[Array, "pairs 2"]
) -> Float[Array, "resources padded"]:
    """Each paired group's part of what is free in its pools."""
    use = groups.use(z)
    meets = jnp.zeros_like(z).at[pairs.reshape(-1)].set(1.0).at[-1].set(0.0)
    parts: list[Float[Array, " padded"]] = []
    for m, capacity in enumerate(groups.capacity):
        pool, count = groups.pool[m], capacity.shape[0]
        free = jnp.maximum(capacity - pool_sum(use[m], pool, count), 0.0)
        parts.append((free / jnp.maximum(pool_sum(meets, pool, count), 1.0))[pool] * meets)
    return jnp.stack(parts)


def _best_levels(
    groups: Groups,
    shape: SigmoidSatisfaction,
    z: Float[Array, " padded"],
    spare: Float[Array, "resources padded"],
    leader: Int[Array, " pairs"],
    follower: Int[Array, " pairs"],
) -> tuple[Float[Array, " pairs"], Float[Array, " pairs"], Float[Array, " pairs"]]:
    """Levels of leader and follower that are worth most together, and their gain over the present ones."""
    use = groups.use(z)
    part = jnp.linspace(0.0, 1.0, _GRID)[:, None]
    low, high = groups.low[leader][None, :], groups.high[leader][None, :]
    present = jnp.broadcast_to(z[leader][None, :], (1, leader.shape[0]))
    lead = jnp.concatenate([present, low + part * (high - low)])
    lead_use = groups.per_z[:, None, leader] * jnp.maximum(lead[None], groups.least[:, None, leader])
    growth = lead_use - use[:, None, leader]
    same = (groups.pool[:, leader] == groups.pool[:, follower])[:, None, :]
    spare_lead, spare_follow = spare[:, None, leader], spare[:, None, follower]
    budget = use[:, None, follower] + spare_follow + jnp.where(same, spare_lead - growth, 0.0)
    per_z = groups.per_z[:, None, follower]
    asks = per_z > 0
    reach = jnp.min(jnp.where(asks, budget / jnp.maximum(per_z, 1e-30), jnp.inf), axis=0)
    fits = jnp.all(~asks | (budget >= per_z * groups.least[:, None, follower]), axis=0)
    fits &= jnp.all(same & asks | (growth <= spare_lead), axis=0) & (reach >= groups.low[follower][None, :])
    fits = fits.at[0].set(True)
    most = jnp.clip(reach, groups.low[follower][None, :], groups.high[follower][None, :])
    marginal = jnp.sum(groups.price[:, None] * groups.per_z, axis=0) / jnp.maximum(groups.weight, 1e-12)
    aims = jnp.stack([jnp.full_like(z, jnp.inf), z, shape.concave_z(marginal), groups.low])[:, follower]
    follow = jnp.minimum(most[None], jnp.maximum(aims[:, None, :], groups.low[follower][None, None, :]))

    def worth(level: Float[Array, "aims levels pairs"], who: Int[Array, " pairs"]) -> Float[Array, "aims levels pairs"]:
        held = groups.per_z[:, None, None, who] * jnp.maximum(level[None], groups.least[:, None, None, who])
        value = groups.weight[None, None, who] * shape.value(level)
        return value - jnp.sum(groups.price[:, None, None, None] * held, axis=0)

    total = jnp.where(fits[None], worth(follow, follower) + worth(lead[None], leader), -jnp.inf)
    now = worth(z[leader][None, None, :], leader) + worth(z[follower][None, None, :], follower)
    flat = total.reshape(-1, leader.shape[0])
    best = jnp.argmax(flat, axis=0)[None, :]
    gain = jnp.take_along_axis(flat, best, axis=0)[0] - now[0, 0]
    led = jnp.take_along_axis(jnp.broadcast_to(lead[None], total.shape).reshape(flat.shape), best, axis=0)[0]
    followed = jnp.take_along_axis(follow.reshape(flat.shape), best, axis=0)[0]
    keep = gain > 0
    return jnp.where(keep, led, z[leader]), jnp.where(keep, followed, z[follower]), gain
