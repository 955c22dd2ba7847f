"""Counting swipes: how many viewers reached, and how many left in, every second of the videos of a class."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from twinloop.entities import USER_ATTRIBUTES, column

_SWIPES = column(USER_ATTRIBUTES, "swipes")
_LAST_WATCH = column(USER_ATTRIBUTES, "last_watch_s")
_LAST_CLASS = column(USER_ATTRIBUTES, "last_class")
_WATCH = USER_ATTRIBUTES[_LAST_WATCH]
_HALF_QUANTUM_S = (_WATCH.high - _WATCH.low) / (2**_WATCH.bits - 1) / 2


class SwipeCounts(eqx.Module):
    """Viewings by hazard class and second of the video, counted from reports.

    `left[c, t]` viewers swiped in second t; `reached[c, t]` viewers got to watch second t, those who then left in it
    included. Videos of class c last `length_s[c]`.
    """

    left: Float[Array, "classes seconds"]
    reached: Float[Array, "classes seconds"]
    length_s: Float[Array, " classes"]


def empty_swipes(class_length_s: Float[Array, " classes"]) -> SwipeCounts:
    """No viewings yet; as many seconds as the longest class lasts. Raises ValueError for a length not above 0."""
    length_s = np.asarray(class_length_s)
    if not np.all(np.isfinite(length_s) & (length_s > 0)):
        raise ValueError("the videos of every class must last longer than 0 s")
    shape = (length_s.size, int(np.ceil(length_s.max(initial=1.0))))
    return SwipeCounts(jnp.zeros(shape), jnp.zeros(shape), jnp.asarray(length_s, jnp.float32))


def count_swipes(
    counts: SwipeCounts,
    before: Float[Array, "users attributes"],
    after: Float[Array, "users attributes"],
    known: Bool[Array, "users attributes"],
) -> SwipeCounts:
    """Counts with the viewings that ended between two states of the user twins, `before` and `after` a write.

    An increase of `swipes` marks one viewing of class `last_class` that ended at `last_watch_s`, counted in second
    floor(last_watch_s); one that got to the end of the video, to within half a step of the report's precision, is
    watched to the end: it reached every second and left in none (censored). `known` is what has ever been reported
    after the write; an attribute unknown before it must be 0 in `before`.

    Left out: if several viewings ended between two reports, only the last is known and counted.
    """
    classes, seconds = counts.left.shape
    watched_s, last_class = after[:, _LAST_WATCH], after[:, _LAST_CLASS]
    told = known[:, _LAST_WATCH] & known[:, _LAST_CLASS] & (watched_s >= 0) & (last_class >= 0)
    ended = told & (after[:, _SWIPES] > before[:, _SWIPES])
    in_class = jnp.where(ended, last_class, classes).astype(jnp.int32)
    length_s = counts.length_s.at[in_class].get(mode="fill", fill_value=0.0)
    complete = watched_s >= length_s - _HALF_QUANTUM_S
    second = jnp.where(complete, seconds, jnp.floor(watched_s)).astype(jnp.int32)

    ends = jnp.zeros((classes, seconds + 1)).at[in_class, second].add(1.0, mode="drop")
    reached = jnp.cumsum(ends[:, ::-1], axis=1)[:, ::-1][:, :seconds]
    inside = jnp.arange(seconds, dtype=jnp.float32)[None, :] < counts.length_s[:, None]
    return SwipeCounts(
        left=counts.left + ends[:, :seconds],
        reached=counts.reached + jnp.where(inside, reached, 0.0),
        length_s=counts.length_s,
    )
