"""From counted swipes to the probability that a segment of a video will be watched, and wanted by a group."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from twinloop.twins import SwipeCounts


def swipe_hazard(
    counts: SwipeCounts, prior: float | Float[Array, ""] = 10.0, *, start: float = 0.05
) -> Float[Array, "classes seconds"]:
    """Probability h_ct of leaving in second t of a video of class c, having reached it.

    h_ct = (left_ct + m p_t) / (reached_ct + m): the mean under a Beta prior of weight m = `prior` viewings at the
    pooled hazard p_t = (sum_c left_ct + m q) / (sum_c reached_ct + m), itself drawn towards the overall hazard
    q = (sum left + m `start`) / (sum reached + m), so that seconds and classes seldom seen borrow from the others and
    `start` is used before any viewing. 0 where videos of the class have ended.
    """
    left, reached = jnp.sum(counts.left, axis=0), jnp.sum(counts.reached, axis=0)
    overall = (jnp.sum(left) + prior * start) / (jnp.sum(reached) + prior)
    pooled = (left + prior * overall) / (reached + prior)
    hazard = (counts.left + prior * pooled[None, :]) / (counts.reached + prior)
    seconds = jnp.arange(hazard.shape[1], dtype=jnp.float32)
    return jnp.where(seconds[None, :] < counts.length_s[:, None], hazard, 0.0)


def watching_probability(
    hazard: Float[Array, "classes seconds"],
    video_class: Int[Array, " users"],
    position_s: Float[Array, " users"],
    horizon: int,
) -> Float[Array, "users {horizon}"]:
    """P(segment n is watched) = prod_{n0 <= t < n} (1 - h_t) for the `horizon` segments from n0 = floor(position_s) on.

    Segments last 1 s; column k is segment n0 + k and column 0 is 1: it is being watched. A segment beyond the seconds
    of `hazard` does not exist and has probability 0. Left out: a viewer's own factor; where one is known, raise
    1 - `hazard` to it first.
    """
    seconds = hazard.shape[1]
    segment = jnp.floor(position_s).astype(jnp.int32)[:, None] + jnp.arange(horizon)[None, :]
    stay = 1.0 - hazard.at[video_class[:, None], segment].get(mode="fill", fill_value=0.0)
    reached = jnp.cumprod(stay, axis=1)
    first = jnp.ones((segment.shape[0], 1))
    return jnp.where(segment < seconds, jnp.concatenate([first, reached[:, :-1]], axis=1), 0.0)
