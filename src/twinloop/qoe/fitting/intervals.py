"""Intervals of a user's parameters: from the user's own ratings alone, and from the posterior."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from twinloop.qoe.experience import IMPACTS
from twinloop.qoe.fitting.fit import FittedUsers
from twinloop.qoe.fitting.likelihood import Ratings
from twinloop.qoe.fitting.newton import Belief, Optimum, eliminate, minimise, restricted, with_belief
from twinloop.qoe.fitting.population import MOST_STEPS
from twinloop.qoe.fitting.structures import free_parameters, vague_prior

_WIDTH = 10.0


class Intervals(eqx.Module):
    """Two-sided intervals in the order of `PARAMETERS`, the variance as ln s; `free` where a parameter is fitted.

    Weights and kappas end at 0: an estimate at the bound has an interval that begins there.
    """

    low: Float[Array, "users parameters"]
    high: Float[Array, "users parameters"]
    free: Bool[Array, "users parameters"]


def _bounded(centre: Array, deviation: Array, free: Array, level: float) -> Intervals:
    reach = jax.scipy.stats.norm.ppf(0.5 + 0.5 * level) * deviation
    least = jnp.where(jnp.arange(centre.shape[1]) < 5, 0.0, -jnp.inf)[None, :]
    return Intervals(jnp.maximum(centre - reach, least), jnp.maximum(centre + reach, least), free)


def _alone(ratings: Ratings, rule: Int[Array, " users"]) -> tuple[Optimum, Belief, Bool[Array, "users 1 6"]]:
    """The fit with `rule` and both impacts free, and hardly any prior: ten times as wide as the vague one."""
    vague = vague_prior()
    free = jnp.asarray(free_parameters())[len(IMPACTS) * rule + 3][:, None, :]
    precision = jnp.linalg.inv(vague.covariance[:1])[:, None] / _WIDTH**2
    belief = Belief(jnp.where(free, vague.mean[:1][:, None], 0.0), jnp.broadcast_to(precision, (1, 1, 6, 6)))
    return minimise(belief.mean, free, ratings, belief, 2 * MOST_STEPS), belief, free


def own_intervals(ratings: Ratings, rule: Int[Array, " users"], level: float = 0.95) -> Intervals:
    """Intervals from each user's own ratings by Fisher's information, given the rule, both kappas free.

    Around the unbounded optimum of the quadratic approximation, then cut at 0, so that coverage stays as named at a
    bound. The choice of impact plays no part: a kappa that may be 0 has an interval that holds 0.
    """
    optimum, belief, free = _alone(ratings, rule)
    fit = with_belief(optimum.likelihood, optimum.parameters, belief)
    matrix = restricted(fit.information, free)
    inverse, _ = eliminate(matrix, jnp.broadcast_to(jnp.eye(6), matrix.shape))
    step = jnp.einsum("ukpq,ukq->ukp", inverse, jnp.where(free, fit.slope, 0.0))
    deviation = jnp.sqrt(jnp.diagonal(inverse, axis1=-2, axis2=-1))
    return _bounded((optimum.parameters - step)[:, 0], deviation[:, 0], free[:, 0], level)


def posterior_intervals(fitted: FittedUsers, level: float = 0.95) -> Intervals:
    """Intervals of the chosen structure's parameters under the population's prior: narrower than a user's own.

    Right on average over users who differ as the prior says; conditional on the structure.
    """
    structure = fitted.structure
    centre = jnp.take_along_axis(fitted.parameters, structure[:, None, None], axis=1)[:, 0]
    matrix = jnp.take_along_axis(fitted.covariance, structure[:, None, None, None], axis=1)[:, 0]
    deviation = jnp.sqrt(jnp.maximum(jnp.diagonal(matrix, axis1=-2, axis2=-1), 0.0))
    return _bounded(centre, deviation, jnp.asarray(free_parameters())[structure], level)
