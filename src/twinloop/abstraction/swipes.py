"""From the chance to leave to the probability that a segment of a video will be watched."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int


def watching_probability(
    hazard: Float[Array, "classes seconds"],
    video_class: Int[Array, " users"],
    position_s: Float[Array, " users"],
    factor: Float[Array, " users"],
    horizon: int,
) -> Float[Array, "users {horizon}"]:
    """P(segment n is watched) = prod_{n0 <= t < n} (1 - h_t)^f for the `horizon` segments from n0 = floor(position_s).

    f is the viewer's own `factor`. Segments last 1 s; column k is segment n0 + k and column 0 is 1: it is being
    watched. A segment beyond the seconds of `hazard` does not exist and has probability 0.
    """
    seconds = hazard.shape[1]
    segment = jnp.floor(position_s).astype(jnp.int32)[:, None] + jnp.arange(horizon)[None, :]
    stay = 1.0 - hazard.at[video_class[:, None], segment].get(mode="fill", fill_value=0.0)
    reached = jnp.cumprod(stay, axis=1) ** factor[:, None]
    first = jnp.ones((segment.shape[0], 1))
    return jnp.where(segment < seconds, jnp.concatenate([first, reached[:, :-1]], axis=1), 0.0)
