"""Which attributes are worth their bits: principal components of what is reported, regressed on key indicators.

Principal component regression: I. T. Jolliffe, Principal Component Analysis, 2nd ed. 2002, chapter 8.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

MEMORY = 0.995
LEAST, MOST = 0.25, 4.0


class Moments(eqx.Module):
    """Running second moments of standardised attributes; a slot ago weighs 0.995 of now."""

    weight: Float[Array, ""]
    mean: Float[Array, " attributes"]
    product: Float[Array, "attributes attributes"]


def no_moments(attributes: int) -> Moments:
    """Nothing seen."""
    return Moments(jnp.zeros(()), jnp.zeros(attributes), jnp.zeros((attributes, attributes)))


def count_moments(
    moments: Moments, status: Float[Array, "sample attributes"], weight: Float[Array, " sample"]
) -> Moments:
    """Moments after a sample of statuses, each with its weight."""
    weighted = status * weight[:, None]
    return Moments(
        MEMORY * moments.weight + jnp.sum(weight),
        MEMORY * moments.mean + jnp.sum(weighted, axis=0),
        MEMORY * moments.product + weighted.T @ status,
    )


def importance(moments: Moments, indicator: Float[Array, " attributes"]) -> Float[Array, " attributes"]:
    """Importance of every attribute for the indicators, mean 1, within [1/4, 4]; 1 for all before anything is known.

    With components v_k of the correlation matrix and the share r2_k of the indicators' variance that component k
    explains, attribute a is worth sum_k r2_k v_ka^2. `indicator` is 1 for an attribute that is an indicator, else 0.
    """
    total = jnp.maximum(moments.weight, 1.0)
    mean = moments.mean / total
    covariance = moments.product / total - mean[:, None] * mean[None, :]
    spread = jnp.sqrt(jnp.maximum(jnp.diagonal(covariance), 1e-12))
    constant = spread < 1e-4
    scale = jnp.where(constant, 1.0, spread)
    correlation = jnp.where(constant[:, None] | constant[None, :], 0.0, covariance / (scale[:, None] * scale[None, :]))
    strength, component = jnp.linalg.eigh(correlation)
    kept = strength > 1e-3
    explained = jnp.where(kept[:, None], (component.T @ correlation) ** 2 / jnp.maximum(strength, 1e-3)[:, None], 0.0)
    share = explained @ indicator
    worth = (component**2) @ share
    worth = worth / jnp.maximum(jnp.mean(worth), 1e-9)
    known = (moments.weight > 2.0 * mean.shape[0]) & (jnp.sum(indicator) > 0)
    return jnp.where(known, jnp.clip(worth, LEAST, MOST), 1.0)
