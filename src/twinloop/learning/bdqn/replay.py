"""Prioritised replay (Schaul et al., ICLR 2016) in flat arrays: new items in the oldest places, draws by priority."""

from typing import Generic, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

Item = TypeVar("Item")
_BLOCK = 32
_UP_TO = np.triu(np.ones((_BLOCK, _BLOCK), np.float32))
_LEAST = 1e-6
_TINY = 1e-30


class Replay(eqx.Module, Generic[Item]):
    """Items in a tree of arrays [capacity, ...]; an empty place has priority 0. `greatest` priority so far."""

    items: Item
    priority: Float[Array, " capacity"]
    greatest: Float[Array, ""]
    position: Int[Array, ""]


class Drawn(eqx.Module, Generic[Item]):
    """Items drawn with probability P(i), their places, and weights P(i)^-beta over the greatest of them."""

    items: Item
    place: Int[Array, " draws"]
    weight: Float[Array, " draws"]


def empty_replay(like: Item, capacity: int) -> Replay[Item]:
    """Room for `capacity` items, a multiple of 32, that are as `like` is. Raises ValueError for another capacity."""
    if capacity < _BLOCK or capacity % _BLOCK:
        raise ValueError(f"a replay of {capacity} items; its capacity is a positive multiple of {_BLOCK}")
    items = jax.tree.map(lambda leaf: jnp.zeros((capacity, *leaf.shape), leaf.dtype), like)
    return Replay(items, jnp.zeros(capacity), jnp.float32(1.0), jnp.int32(0))


def put(replay: Replay[Item], items: Item, valid: Bool[Array, " new"]) -> Replay[Item]:
    """With new items in the oldest places, at the greatest priority so far; invalid ones are never drawn.

    Their number must divide the capacity.
    """
    at, capacity = replay.position, replay.priority.shape[0]

    def written(old: Array, new: Array) -> Array:
        return jax.lax.dynamic_update_slice_in_dim(old, new, at, axis=0)

    priority = written(replay.priority, jnp.where(valid, replay.greatest, 0.0))
    following = (at + valid.shape[0]) % capacity
    return Replay(jax.tree.map(written, replay.items, items), priority, replay.greatest, following)


def draw(key: PRNGKeyArray, replay: Replay[Item], draws: int, importance: Float[Array, ""]) -> Drawn[Item]:
    """Stratified draws with P(i) = p_i / sum p: one from each of `draws` equal parts of the sum, shuffled in place.

    Priorities are added up in blocks of 32 at every call; a draw finds its block by the running sum over blocks, then
    its place within. Draw k is from part k: take every n-th for n batches that each span all parts. A draw that
    rounding has led to an empty place has weight 0.
    """
    blocks = replay.priority.reshape(-1, _BLOCK)
    until = jnp.cumsum(jnp.sum(blocks, axis=1))
    total = until[-1]
    at = (jnp.arange(draws) + jax.random.uniform(key, (draws,))) / draws * total
    block = jnp.minimum(jnp.searchsorted(until, at, side="right"), blocks.shape[0] - 1)
    left = at - jnp.where(block > 0, until[block - 1], 0.0)
    running = jnp.matmul(blocks[block], jnp.asarray(_UP_TO), precision="highest")
    within = jnp.sum(running <= left[:, None], axis=1)
    place = block * _BLOCK + jnp.minimum(within, _BLOCK - 1)
    chosen = replay.priority[place]
    rarity = jnp.where(chosen > 0, jnp.maximum(chosen, _TINY) ** -importance, 0.0)
    items = jax.tree.map(lambda leaf: leaf[place], replay.items)
    return Drawn(items, place, rarity / jnp.maximum(jnp.max(rarity), _TINY))


def reprioritised(
    replay: Replay[Item], place: Int[Array, " draws"], error: Float[Array, " draws"], exponent: float
) -> Replay[Item]:
    """With priorities p = (|error| + 1e-6)^exponent at `place`, except where a place is empty."""
    new = (jnp.abs(error) + _LEAST) ** exponent
    kept = jnp.where(replay.priority[place] > 0, new, 0.0)
    greatest = jnp.maximum(replay.greatest, jnp.max(new))
    return Replay(replay.items, replay.priority.at[place].set(kept), greatest, replay.position)
