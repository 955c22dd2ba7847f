"""What ratings say of each structure: Laplace's evidence and moments, cut where parameters may not be negative."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from twinloop.qoe.fitting.newton import Belief, Optimum, eliminate, restricted
from twinloop.qoe.fitting.structures import Prior, free_parameters

_BOUNDED = 5
_LOG_ROOT_TWO_PI = 0.9189385332046727


class Posterior(eqx.Module):
    """Moments of the parameters given ratings and structure, and ln of the structure's evidence, shares included."""

    mean: Float[Array, "users structures parameters"]
    covariance: Float[Array, "users structures parameters parameters"]
    evidence: Float[Array, "users structures"]


def belief_of(prior: Prior) -> Belief:
    """The prior of each of the 12 structures; parameters that a structure does not set free are 0."""
    free = jnp.asarray(free_parameters())
    mean = jnp.where(free, jnp.repeat(prior.mean, 4, axis=0), 0.0)
    both = free[:, :, None] & free[:, None, :]
    matrix = restricted(jnp.repeat(prior.covariance, 4, axis=0), free)
    precision, _ = eliminate(matrix, jnp.broadcast_to(jnp.eye(6), matrix.shape))
    return Belief(mean[None], jnp.where(both, precision, 0.0)[None])


def cut_at_zero(
    mean: Float[Array, "*shape n"], covariance: Float[Array, "*shape n n"], free: Bool[Array, "*shape n"]
) -> tuple[Float[Array, "*shape"], Float[Array, "*shape n"], Float[Array, "*shape n n"]]:
    """ln P(first five >= 0), mean and covariance of a normal cut there, one parameter after the other.

    Each cut is exact for its parameter and normal for the rest (Mendell and Elston, 1974); exact where the parameters
    are independent.
    """

    def cut(i: Array, state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        log_mass, mean, covariance = state
        column = jnp.take(covariance, i, axis=-1)
        deviation = jnp.sqrt(jnp.maximum(jnp.take(column, i, axis=-1), 1e-12))
        alpha = jnp.where(jnp.take(free, i, axis=-1), jnp.take(mean, i, axis=-1) / deviation, 10.0)
        log_above = jax.scipy.stats.norm.logcdf(alpha)
        hazard = jnp.exp(-0.5 * alpha * alpha - _LOG_ROOT_TWO_PI - log_above)
        along = column / deviation[..., None]
        shrink = jnp.clip(hazard * (hazard + alpha), 0.0, 1.0 - 1e-4)
        narrowed = covariance - shrink[..., None, None] * along[..., :, None] * along[..., None, :]
        return log_mass + log_above, mean + along * hazard[..., None], narrowed

    start = (jnp.zeros(mean.shape[:-1], mean.dtype), mean, covariance)
    return jax.lax.fori_loop(0, _BOUNDED, cut, start)


def posterior_of(optimum: Optimum, prior: Prior) -> Posterior:
    """Posterior under `prior` from the normal approximation of the likelihood at the optimum, kept to values >= 0.

    In whitened coordinates, theta = mu + A z with A A' the prior's covariance: the likelihood's loss is
    L + s'z + z'Hz/2, so z ~ N(-(I + H)^-1 s, (I + H)^-1) and ln evidence = -L + s'(I + H)^-1 s/2 - ln|I + H|/2, to
    which come ln of the masses above 0 of posterior over prior, and ln share. Nothing is lost in float32 where the
    prior is narrow. `prior` may differ from the one that the optimum was found with.
    """
    free = jnp.asarray(free_parameters())
    mean = jnp.where(free, jnp.repeat(prior.mean, 4, axis=0), 0.0)
    spread = restricted(jnp.repeat(prior.covariance, 4, axis=0), free)
    root = jnp.where(free[:, :, None] & free[:, None, :], jnp.linalg.cholesky(spread), 0.0)
    fit = optimum.likelihood
    away = mean[None] - optimum.parameters
    bent = jnp.einsum("ukpq,ukq->ukp", fit.information, away)
    loss = fit.loss + jnp.sum(away * (fit.slope + 0.5 * bent), axis=-1)
    slope = jnp.einsum("kpq,ukp->ukq", root, fit.slope + bent)
    white = jnp.einsum("kpi,ukpq,kqj->ukij", root, fit.information, root) + jnp.eye(6)[None, None]
    solved, log_determinant = eliminate(
        white, jnp.concatenate([slope[..., None], jnp.broadcast_to(jnp.swapaxes(root, -1, -2), white.shape)], axis=-1)
    )
    centre = mean[None] - jnp.einsum("kpq,ukq->ukp", root, solved[..., 0])
    covariance = jnp.einsum("kpi,ukiq->ukpq", root, solved[..., 1:])
    evidence = -loss + 0.5 * jnp.sum(slope * solved[..., 0], axis=-1) - 0.5 * log_determinant
    log_mass, centre, covariance = cut_at_zero(centre, covariance, jnp.broadcast_to(free[None], centre.shape))
    before, _, _ = cut_at_zero(mean[None], spread[None], free[None])
    share = jnp.log(prior.shares.reshape(1, -1) + 1e-9)
    return Posterior(centre, covariance, evidence + log_mass - before + share)
