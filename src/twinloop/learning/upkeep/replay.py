"""Old examples kept for replay, so that learning the new does not wipe out the old."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree


class Reservoir(eqx.Module):
    """A uniform sample of every example ever shown to it.

    Each example draws a number in 0 .. 1 and the `capacity` highest stay, which is reservoir sampling (Vitter, ACM TOMS
    11, 1985) in batches. `rank` is the number drawn, -1 in empty places.
    """

    examples: PyTree
    rank: Float[Array, " capacity"]

    @property
    def filled(self) -> Int[Array, ""]:
        """Places that hold an example."""
        return jnp.sum(self.rank >= 0)


def empty_reservoir(like: PyTree, capacity: int) -> Reservoir:
    """Room for `capacity` examples of the kind in `like` (a tree of arrays whose first axis counts examples)."""
    room = jax.tree.map(lambda leaf: jnp.zeros((capacity, *leaf.shape[1:]), leaf.dtype), like)
    return Reservoir(room, jnp.full(capacity, -1.0))


@eqx.filter_jit
def keep_examples(key: PRNGKeyArray, reservoir: Reservoir, examples: PyTree) -> Reservoir:
    """The reservoir after it was shown `examples`."""
    capacity = reservoir.rank.shape[0]
    rank = jax.random.uniform(key, (jax.tree.leaves(examples)[0].shape[0],))
    ranks, place = jax.lax.top_k(jnp.concatenate([reservoir.rank, rank]), capacity)
    joined = jax.tree.map(lambda old, new: jnp.concatenate([old, new])[place], reservoir.examples, examples)
    return Reservoir(joined, ranks)


@eqx.filter_jit
def with_replay(key: PRNGKeyArray, fresh: PyTree, reservoir: Reservoir, share: float) -> PyTree:
    """As many examples as `fresh` has, for training: each is an old one with chance `share`, in place of a fresh one.

    An empty reservoir gives back `fresh`.
    """
    k_old, k_pick = jax.random.split(key)
    count = jax.tree.leaves(fresh)[0].shape[0]
    old = jax.random.uniform(k_old, (count,)) < jnp.where(reservoir.filled > 0, share, 0.0)
    pick = jax.random.categorical(k_pick, jnp.where(reservoir.rank >= 0, 0.0, -jnp.inf), shape=(count,))

    def mixed(new: Array, kept: Array) -> Array:
        return jnp.where(old.reshape(-1, *[1] * (new.ndim - 1)), kept[pick], new)

    return jax.tree.map(mixed, fresh, reservoir.examples)
