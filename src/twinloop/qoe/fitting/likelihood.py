"""Likelihood of truncated scores for many users and candidate structures at once, with its slope and information."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from twinloop.qoe.experience import BEST, WORST, Conditions

_ROOT_HALF = 0.7071067811865476
_ROOT_TWO_PI = 2.5066282746310002


class Ratings(eqx.Module):
    """Scores in [1, 5] of rated periods and what those were like, a row a user.

    `weight` is 1 for a rating, 0 where there is none (any finite values may stand there), and between for one that
    counts less, such as an opinion estimated from behaviour.
    """

    conditions: Conditions
    score: Float[Array, "users ratings"]
    weight: Float[Array, "users ratings"]

    @property
    def count(self) -> Float[Array, " users"]:
        """Ratings of each user, weak ones counted by weight."""
        return jnp.sum(self.weight, axis=1)


class Fit(eqx.Module):
    """Minus log likelihood, its slope, and the Fisher information of the parameters, by user and structure."""

    loss: Float[Array, "users structures"]
    slope: Float[Array, "users structures parameters"]
    information: Float[Array, "users structures parameters parameters"]


def truncated_moments(
    low: Float[Array, "*shape"], high: Float[Array, "*shape"]
) -> tuple[Float[Array, "*shape"], tuple[Float[Array, "*shape"], ...]]:
    """ln Z and the raw moments M1..M4 of a standard normal z truncated to [low, high], low <= 0 <= high.

    Z = Phi(high) - Phi(low); M_j = (j - 1) M_{j-2} + [low^(j-1) phi(low) - high^(j-1) phi(high)] / Z. As 0 is inside,
    Z never lies in one tail and needs no care in float32.
    """
    mass = 0.5 * (jax.lax.erf(high * _ROOT_HALF) - jax.lax.erf(low * _ROOT_HALF))
    at_low = jnp.exp(-0.5 * low * low) / (_ROOT_TWO_PI * mass)
    at_high = jnp.exp(-0.5 * high * high) / (_ROOT_TWO_PI * mass)
    first = at_low - at_high
    at_low, at_high = low * at_low, high * at_high
    second = 1.0 + at_low - at_high
    at_low, at_high = low * at_low, high * at_high
    third = 2.0 * first + at_low - at_high
    fourth = 3.0 * second + low * at_low - high * at_high
    return jnp.log(mass), (first, second, third, fourth)


def mean_and_slope(
    parameters: Float[Array, "users structures 6"], conditions: Conditions
) -> tuple[Float[Array, "users structures ratings"], Float[Array, "users structures 5 ratings"]]:
    """E in [1, 5] of every structure in every period (`conditions` are users x ratings), and dE/dp of the first five.

    Where S I is outside [0, 1] E is clipped and has no slope.
    """
    level, quality, stall, kappa_b, kappa_c = (parameters[:, :, i, None] for i in range(5))
    q, r = conditions.quality[:, None, :], conditions.stall_s[:, None, :]
    ln_b, ln_c = jnp.log(conditions.behaviour)[:, None, :], jnp.log(conditions.environment)[:, None, :]
    factor = jnp.exp(-kappa_b * ln_b - kappa_c * ln_c)
    share = (level + quality * q - stall * r) * factor
    inside = jnp.where((share >= 0.0) & (share <= 1.0), BEST - WORST, 0.0)
    turn = inside * factor
    slope = jnp.stack([turn, turn * q, -turn * r, -inside * share * ln_b, -inside * share * ln_c], axis=-2)
    return WORST + (BEST - WORST) * jnp.clip(share, 0.0, 1.0), slope


def evaluate(parameters: Float[Array, "users structures 6"], ratings: Ratings) -> Fit:
    """The weighted likelihood of `ratings` under N(E, s) truncated to [1, 5], for every user and structure.

    Parameters (s0, w_q, w_r, kappa_b, kappa_c, ln s) as in `UserModels`, s in score^2. With z = (y - E)/sqrt(s):
    d(ln p)/dE = (z - M1)/sqrt(s), d(ln p)/d(ln s) = (z^2 - M2)/2; their covariance under the model, from M1..M4, is
    the information, chained to the parameters by dE/dp.
    """
    mean, turns = mean_and_slope(parameters, ratings.conditions)
    spread = parameters[:, :, 5, None]
    inverse = jnp.exp(-0.5 * spread)
    log_mass, (m1, m2, m3, m4) = truncated_moments((WORST - mean) * inverse, (BEST - mean) * inverse)
    z = (ratings.score[:, None, :] - mean) * inverse
    weight = ratings.weight[:, None, :]
    loss = jnp.sum(weight * (0.5 * z * z + log_mass + 0.5 * spread), axis=-1)
    by_mean = weight * (z - m1) * inverse
    by_spread = jnp.sum(weight * 0.5 * (z * z - m2), axis=-1)
    slope = jnp.concatenate([jnp.einsum("ukpn,ukn->ukp", turns, by_mean), by_spread[:, :, None]], axis=-1)
    mean_mean = weight * (m2 - m1 * m1) * inverse * inverse
    mean_spread = weight * 0.5 * (m3 - m1 * m2) * inverse
    spread_spread = jnp.sum(weight * 0.25 * (m4 - m2 * m2), axis=-1)
    block = jnp.einsum("ukpn,ukqn->ukpq", turns, turns * mean_mean[:, :, None, :])
    cross = jnp.einsum("ukpn,ukn->ukp", turns, mean_spread)[:, :, :, None]
    last = jnp.concatenate([jnp.swapaxes(cross, -1, -2), spread_spread[:, :, None, None]], axis=-1)
    return Fit(loss, -slope, jnp.concatenate([jnp.concatenate([block, cross], axis=-1), last], axis=-2))
