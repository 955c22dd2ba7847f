"""Users drawn as models.md says, and what they rated: shared by the tests of fits."""

import jax
import jax.numpy as jnp

from twinloop.qoe import Conditions, Ratings, draw_models, draw_scores


def minutes(key, shape):
    """Minutes of all kinds."""
    keys = jax.random.split(key, 5)
    stalls = 5.0 * jax.random.exponential(keys[0], shape)
    return Conditions(
        stall_s=jnp.where(jax.random.uniform(keys[1], shape) < 0.5, 0.0, stalls),
        quality=jax.random.uniform(keys[2], shape),
        behaviour=1.0 + jax.random.uniform(keys[3], shape),
        environment=1.0 + jax.random.uniform(keys[4], shape),
    )


def experiences(models, conditions):
    """True E of every minute."""
    return jax.vmap(models.experience, in_axes=1, out_axes=1)(conditions)


def rated(seed, users, ratings, variance=0.8):
    """True models, ratings, and true E."""
    k_models, k_minutes, k_scores = jax.random.split(jax.random.key(seed), 3)
    models, conditions = draw_models(k_models, users), minutes(k_minutes, (users, ratings))
    experience = experiences(models, conditions)
    score = draw_scores(k_scores, experience, jnp.full_like(experience, variance))
    return models, Ratings(conditions, score, jnp.ones_like(score)), experience
