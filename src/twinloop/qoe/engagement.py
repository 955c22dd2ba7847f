"""What somebody who gives no score would have said, from watching, early swipes and stalls; fitted to those who do."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from twinloop.qoe.experience import BEST, WORST, Conditions
from twinloop.qoe.fitting import Ratings
from twinloop.qoe.fitting.likelihood import truncated_moments

_STEPS = 40
_SIZE = 5


class Engagement(eqx.Module):
    """How a rated period was used: `watch_ratio` of videos in [0, 1], share of `early_swipes` in [0, 1], `stall_s`."""

    watch_ratio: Float[Array, "*shape"]
    early_swipes: Float[Array, "*shape"]
    stall_s: Float[Array, "*shape"]


class EngagementModel(eqx.Module):
    """E = 1 + 4 sig(b0 + b1 watched + b2 early + b3 ln(1 + stalls)), scores ~ N(E, v) truncated to [1, 5].

    `parameters` (b0..b3, ln v) and their `covariance`. v [score^2] holds both how people score and what behaviour
    does not tell.
    """

    parameters: Float[Array, " parameters"]
    covariance: Float[Array, "parameters parameters"]


def _columns(engagement: Engagement) -> Float[Array, "*shape 4"]:
    ones = jnp.ones_like(engagement.watch_ratio)
    return jnp.stack(
        [ones, engagement.watch_ratio, engagement.early_swipes, jnp.log1p(jnp.maximum(engagement.stall_s, 0.0))],
        axis=-1,
    )


def fit_engagement(
    engagement: Engagement, score: Float[Array, "users periods"], weight: Float[Array, "users periods"]
) -> EngagementModel:
    """The model of least minus log likelihood over all rated periods (weight 1; 0 where there is no score).

    Damped Newton, with a weak normal prior (sd 3) on every parameter, so that factors that never vary stay near 0.
    Covariance is the inverse of the observed information.
    """
    x, y, w = _columns(engagement).reshape(-1, _SIZE - 1), score.reshape(-1), weight.reshape(-1)

    def loss(at: Float[Array, " parameters"]) -> Float[Array, ""]:
        inverse = jnp.exp(-0.5 * at[-1])
        mean = WORST + (BEST - WORST) * jax.nn.sigmoid(x @ at[:-1])
        log_mass, _ = truncated_moments((WORST - mean) * inverse, (BEST - mean) * inverse)
        z = (y - mean) * inverse
        return jnp.sum(w * (0.5 * z * z + log_mass + 0.5 * at[-1])) + 0.5 * jnp.sum(at * at) / 9.0

    def advance(_: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        at, damping = state
        value, vector = jnp.linalg.eigh(jax.hessian(loss)(at))
        step = vector @ ((vector.T @ jax.grad(loss)(at)) / (jnp.abs(value) + damping))
        tried = (at - step).at[-1].set(jnp.clip(at[-1] - step[-1], -3.0, 3.0))
        better = loss(tried) < loss(at)
        return jnp.where(better, tried, at), jnp.clip(jnp.where(better, 0.2, 8.0) * damping, 1e-4, 1e6)

    at, _ = jax.lax.fori_loop(0, _STEPS, advance, (jnp.zeros(_SIZE), jnp.asarray(1.0)))
    value, vector = jnp.linalg.eigh(jax.hessian(loss)(at))
    return EngagementModel(at, (vector / jnp.maximum(value, 1e-6)[None, :]) @ vector.T)


def estimated_opinion(
    model: EngagementModel, engagement: Engagement
) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
    """The opinion that behaviour speaks for, in [1, 5], and its standard deviation.

    The deviation is that of the truncated scores around it, and of the model's own parameters on top.
    """
    mean, doubt = _centre(model, engagement)
    inverse = jnp.exp(-0.5 * model.parameters[-1])
    _, (first, second, _, _) = truncated_moments((WORST - mean) * inverse, (BEST - mean) * inverse)
    return mean + first / inverse, jnp.sqrt((second - first**2) / inverse**2 + doubt)


def _centre(model: EngagementModel, engagement: Engagement) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
    """E, and its variance from the doubt about the parameters."""
    x = _columns(engagement)
    share = jax.nn.sigmoid(x @ model.parameters[:-1])
    turn = (BEST - WORST) * share * (1.0 - share)
    doubt = turn**2 * jnp.einsum("...p,pq,...q->...", x, model.covariance[:-1, :-1], x)
    return WORST + (BEST - WORST) * share, doubt


def weak_ratings(
    model: EngagementModel,
    conditions: Conditions,
    engagement: Engagement,
    present: Float[Array, "users periods"],
    variance: float | Float[Array, ""],
) -> Ratings:
    """Estimated opinions as ratings that count less: weight = `variance` of a given score over v + the doubt of E.

    At most 1; `present` is 1 for periods to be counted. A score given beats its estimate: put 0 there.
    """
    opinion, _ = estimated_opinion(model, engagement)
    _, doubt = _centre(model, engagement)
    weight = jnp.minimum(variance / (jnp.exp(model.parameters[-1]) + doubt), 1.0)
    return Ratings(conditions, jnp.clip(opinion, WORST, BEST), present * weight)
