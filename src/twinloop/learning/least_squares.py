"""Nonlinear least squares by Levenberg and Marquardt, of fixed length and so batched by `jax.vmap`."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

_FIRST_DAMPING = 0.1
_LEAST_DAMPING, _MOST_DAMPING = 1e-6, 1e6


def least_squares(
    residual: Callable[[Float[Array, " n"]], Float[Array, " m"]], start: Float[Array, " n"], rounds: int
) -> Float[Array, " n"]:
    """argmin over theta of |r(theta)|^2, near `start`.

    A round solves (J'J + mu diag J'J) step = -J'r; the step is taken where it lowers the sum (mu falls by 3), else mu
    rises by 4. Every round costs the same whether its step is taken or not. Source: Marquardt, SIAM 11(2), 1963. Left
    out: a test of convergence; more unknowns than residuals need residuals of a prior.
    """
    jacobian = jax.jacfwd(residual)

    def loss(theta: Float[Array, " n"]) -> Float[Array, ""]:
        return jnp.sum(residual(theta) ** 2)

    def body(
        now: tuple[Float[Array, " n"], Float[Array, ""], Float[Array, ""]], _: None
    ) -> tuple[tuple[Float[Array, " n"], Float[Array, ""], Float[Array, ""]], None]:
        theta, damping, lowest = now
        slope = jacobian(theta)
        curvature = slope.T @ slope
        damped = curvature + damping * jnp.diag(jnp.diag(curvature))
        tried = theta - jnp.linalg.solve(damped, slope.T @ residual(theta))
        reached = loss(tried)
        better = reached < lowest
        softer = jnp.clip(jnp.where(better, damping / 3.0, damping * 4.0), _LEAST_DAMPING, _MOST_DAMPING)
        return (jnp.where(better, tried, theta), softer, jnp.where(better, reached, lowest)), None

    (theta, _, _), _ = jax.lax.scan(body, (start, jnp.asarray(_FIRST_DAMPING), loss(start)), None, length=rounds)
    return theta
