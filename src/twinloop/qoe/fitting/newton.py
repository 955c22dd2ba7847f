"""Damped Fisher scoring (Levenberg-Marquardt) within bounds, for many users and structures at once."""

from typing import Final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from twinloop.qoe.fitting.likelihood import Fit, Ratings, evaluate
from twinloop.qoe.fitting.structures import LEAST, MOST

_FIRST_DAMPING: Final = 1e-2
_LESS, _MORE = 0.2, 8.0
_LEAST_GAIN: Final = 3e-4
_MOST_DAMPING: Final = 1e6


class Belief(eqx.Module):
    """Normal prior of every user's and structure's parameters; a precision of 0 is no prior."""

    mean: Float[Array, "#users structures parameters"]
    precision: Float[Array, "#users structures parameters parameters"]


class Optimum(eqx.Module):
    """Parameters of least minus log posterior, and the likelihood there, prior left out."""

    parameters: Float[Array, "users structures parameters"]
    likelihood: Fit


def eliminate(
    matrix: Float[Array, "*shape n n"], right: Float[Array, "*shape n m"]
) -> tuple[Float[Array, "*shape n m"], Float[Array, "*shape"]]:
    """X of matrix X = right and ln |matrix| by Gauss-Jordan, matrix positive definite: all small systems at once."""
    table = jnp.concatenate([matrix, right], axis=-1)
    size = matrix.shape[-1]
    log_determinant = jnp.zeros(matrix.shape[:-2], matrix.dtype)
    for i in range(size):
        pivot = jnp.maximum(table[..., i, i], 1e-12)
        log_determinant = log_determinant + jnp.log(pivot)
        row = table[..., i, :] / pivot[..., None]
        column = table[..., :, i] - jnp.eye(size)[i].reshape((1,) * (table.ndim - 2) + (size,))
        table = table - column[..., :, None] * row[..., None, :]
    return table[..., size:], log_determinant


def restricted(matrix: Float[Array, "*shape n n"], free: Bool[Array, "*shape n"]) -> Float[Array, "*shape n n"]:
    """The matrix with rows and columns of parameters that are not free replaced by those of the identity."""
    both = free[..., :, None] & free[..., None, :]
    return jnp.where(both, matrix, jnp.eye(matrix.shape[-1]).reshape((1,) * (matrix.ndim - 2) + matrix.shape[-2:]))


def with_belief(fit: Fit, parameters: Float[Array, "users structures parameters"], belief: Belief) -> Fit:
    """The fit with minus the log density of the normal prior (its constant aside) added."""
    away = parameters - belief.mean
    pull = jnp.einsum("ukpq,ukq->ukp", jnp.broadcast_to(belief.precision, fit.information.shape), away)
    return Fit(fit.loss + 0.5 * jnp.sum(away * pull, -1), fit.slope + pull, fit.information + belief.precision)


def minimise(
    start: Float[Array, "users structures parameters"],
    free: Bool[Array, "#users structures parameters"],
    ratings: Ratings,
    belief: Belief,
    steps: int,
) -> Optimum:
    """Least minus log posterior from `start`, at most `steps` evaluations after the first.

    A step solves (H + d diag H) x = -slope over parameters that are free and not held at a bound that the slope pushes
    against, is cut at the bounds, and taken where the loss falls; d is then divided by 5, else multiplied by 8. Ends
    early when a step changes no loss by more than 3e-4.
    """
    least, most = jnp.array(LEAST)[None, None, :], jnp.array(MOST)[None, None, :]

    def propose(at: Array, fit: Fit, damping: Array) -> Array:
        held = ((at <= least) & (fit.slope > 0.0)) | ((at >= most) & (fit.slope < 0.0))
        moving = free & ~held
        matrix = restricted(fit.information, moving)
        diagonal = jnp.diagonal(matrix, axis1=-2, axis2=-1)
        matrix = matrix + (damping[:, :, None] * diagonal + 1e-6)[..., None] * jnp.eye(at.shape[-1])[None, None]
        step, _ = eliminate(matrix, jnp.where(moving, -fit.slope, 0.0)[..., None])
        return jnp.clip(at + step[..., 0], least, most)

    def go_on(state: tuple[Array, Array, Fit, Array, Array]) -> Array:
        count, _, _, _, waiting = state
        return (count < steps) & jnp.any(waiting)

    def advance(state: tuple[Array, Array, Fit, Array, Array]) -> tuple[Array, Array, Fit, Array, Array]:
        count, at, likelihood, damping, waiting = state
        here = with_belief(likelihood, at, belief)
        tried = propose(at, here, damping)
        found = evaluate(tried, ratings)
        gain = here.loss - with_belief(found, tried, belief).loss
        better = gain > 0.0
        at, likelihood = jax.tree.map(
            lambda new, old: jnp.where(better.reshape(better.shape + (1,) * (new.ndim - 2)), new, old),
            (tried, found),
            (at, likelihood),
        )
        damping = jnp.clip(jnp.where(better, damping * _LESS, damping * _MORE), 1e-6, 1e8)
        return count + 1, at, likelihood, damping, waiting & (jnp.abs(gain) > _LEAST_GAIN) & (damping < _MOST_DAMPING)

    fit = evaluate(start, ratings)
    waiting = jnp.ones(fit.loss.shape, bool)
    state = (jnp.asarray(0), start, fit, jnp.full_like(fit.loss, _FIRST_DAMPING), waiting)
    _, at, fit, _, _ = jax.lax.while_loop(go_on, advance, state)
    return Optimum(at, fit)
