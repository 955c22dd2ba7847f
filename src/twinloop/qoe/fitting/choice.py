"""Structure by cross-validation: how well each foretells ratings left out. The alternative to Laplace's evidence."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from twinloop.qoe.experience import IMPACTS, RULES
from twinloop.qoe.fitting.likelihood import Ratings, evaluate
from twinloop.qoe.fitting.population import fit_given
from twinloop.qoe.fitting.structures import Prior


def held_out_likelihood(ratings: Ratings, prior: Prior, folds: int = 5) -> Float[Array, "users structures"]:
    """ln likelihood of every user's ratings, each foretold from the other folds, by structure.

    Every `folds`-th rating makes a fold. Parameters are posterior means under `prior`; shares of structures do not
    enter, so add their logarithm to weigh structures as the population does.
    """
    width = ratings.score.shape[1]

    def one(fold: Array) -> Float[Array, "users structures"]:
        out = (jnp.arange(width) % folds == fold).astype(ratings.weight.dtype)[None, :]
        kept = Ratings(ratings.conditions, ratings.score, ratings.weight * (1.0 - out))
        left_out = Ratings(ratings.conditions, ratings.score, ratings.weight * out)
        return -evaluate(fit_given(kept, prior).posterior.mean, left_out).loss

    return jnp.sum(jax.lax.map(one, jnp.arange(folds)), axis=0)


def likeliest(log_weight: Float[Array, "users structures"]) -> Int[Array, " users"]:
    """Structure (4 rule + impact): the likeliest rule over its impacts, then whether B or C matters at all under it,
    then the likeliest way in which they do.
    """
    by_rule = jax.nn.softmax(log_weight, axis=-1).reshape(-1, len(RULES), len(IMPACTS))
    rule = jnp.argmax(jnp.sum(by_rule, axis=-1), axis=-1)
    of_rule = jnp.take_along_axis(by_rule, rule[:, None, None], axis=1)[:, 0]
    matters = jnp.sum(of_rule[:, 1:], axis=-1) > of_rule[:, 0]
    impact = jnp.where(matters, 1 + jnp.argmax(of_rule[:, 1:], axis=-1), 0)
    return len(IMPACTS) * rule + impact
