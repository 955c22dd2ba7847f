"""Predictive distributions as a mean and quantiles at fixed levels: made, read off a Gaussian mixture, and scored."""

from functools import reduce
from math import pi, sqrt
from statistics import NormalDist

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

LEVELS: tuple[float, ...] = tuple(round(0.05 * k, 2) for k in range(1, 20))
"""Levels of the quantiles, .05 to .95: the outer two bound the central 90 % interval."""
MIDDLE = len(LEVELS) // 2
_NORMAL = tuple(NormalDist().inv_cdf(level) for level in LEVELS)
_BISECTIONS, _NEWTON_STEPS = 10, 2


class Distribution(eqx.Module):
    """What may come, by entity and horizon: mean and quantiles at `LEVELS`, in the unit of the attribute."""

    mean: Float[Array, "*batch horizons"]
    quantiles: Float[Array, "*batch horizons levels"]

    @property
    def median(self) -> Float[Array, "*batch horizons"]:
        """The middle quantile."""
        return self.quantiles[..., MIDDLE]

    @property
    def interval(self) -> tuple[Float[Array, "*batch horizons"], Float[Array, "*batch horizons"]]:
        """Ends of the central 90 % interval."""
        return self.quantiles[..., 0], self.quantiles[..., -1]

    def placed(
        self, base: Float[Array, "*#batch horizons"], scale: Float[Array, "*#batch #horizons"]
    ) -> "Distribution":
        """base + scale x this."""
        return Distribution(base + scale * self.mean, base[..., None] + scale[..., None] * self.quantiles)

    def within(self, low: float, high: float) -> "Distribution":
        """The same for a quantity that cannot leave [low, high]."""
        return Distribution(jnp.clip(self.mean, low, high), jnp.clip(self.quantiles, low, high))


class Mixture(eqx.Module):
    """Normal mixture sum_k w_k N(m_k, s_k^2); the last axis counts components."""

    weight: Float[Array, "*batch components"]
    mean: Float[Array, "*batch components"]
    std: Float[Array, "*batch components"]


def monotone_quantiles(
    middle: Float[Array, "*batch"], steps: Float[Array, "*batch gaps"]
) -> Float[Array, "*batch levels"]:
    """Quantiles around `middle` from the gaps between neighbours, each above 0 by softplus."""
    gaps = jax.nn.softplus(steps)
    below, above = gaps[..., :MIDDLE], gaps[..., MIDDLE:]
    down = -jnp.cumsum(below[..., ::-1], axis=-1)[..., ::-1]
    zero = jnp.zeros_like(middle)[..., None]
    return middle[..., None] + jnp.concatenate([down, zero, jnp.cumsum(above, axis=-1)], axis=-1)


def gaps_of(quantiles: Float[Array, "*batch levels"]) -> Float[Array, "*batch gaps"]:
    """What `monotone_quantiles` must be given for these quantiles."""
    gaps = jnp.maximum(jnp.diff(quantiles, axis=-1), 1e-4)
    return gaps + jnp.log(-jnp.expm1(-gaps))


def pinball_loss(
    quantiles: Float[Array, "*batch levels"], truth: Float[Array, "*batch"]
) -> Float[Array, "*batch levels"]:
    """Pinball loss by level, (tau - 1[y < q]) (y - q)."""
    miss = truth[..., None] - quantiles
    levels = jnp.asarray(LEVELS).reshape((1,) * (quantiles.ndim - 1) + (-1,))
    return jnp.maximum(levels * miss, (levels - 1.0) * miss)


def quantile_score(quantiles: Float[Array, "*batch levels"], truth: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    """CRPS = 2 int_0^1 pinball_tau dtau by the trapezoid rule over `LEVELS`; the tails beyond .05 and .95 count 0."""
    return 2.0 * jnp.sum(pinball_loss(quantiles, truth), axis=-1) / (len(LEVELS) + 1)


def mixture_score(mixture: Mixture, truth: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    """CRPS of a normal mixture in closed form (Grimit, Gneiting, Berrocal and Johnson 2006, eq. 3).

    sum_k w_k A(y - m_k, s_k^2) - 1/2 sum_kl w_k w_l A(m_k - m_l, s_k^2 + s_l^2), A(d, v) = 2 sqrt(v) phi(d / sqrt(v)) +
    d (2 Phi(d / sqrt(v)) - 1).
    """
    first = jnp.sum(mixture.weight * _spread(truth[..., None] - mixture.mean, mixture.std**2), axis=-1)
    apart = mixture.mean[..., :, None] - mixture.mean[..., None, :]
    variance = mixture.std[..., :, None] ** 2 + mixture.std[..., None, :] ** 2
    pairs = mixture.weight[..., :, None] * mixture.weight[..., None, :] * _spread(apart, variance)
    return first - 0.5 * jnp.sum(pairs, axis=(-2, -1))


def _spread(difference: Float[Array, "*batch"], variance: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    std = jnp.sqrt(variance)
    z = difference / std
    return 2.0 * std * jax.scipy.stats.norm.pdf(z) + difference * (2.0 * jax.scipy.stats.norm.cdf(z) - 1.0)


def mixture_quantiles(mixture: Mixture) -> Float[Array, "*batch levels"]:
    """Quantiles of a normal mixture at `LEVELS`.

    Each lies between the least and the greatest of the components' own; ten bisections of that bracket and two steps
    of Newton's method, kept within what is left of it, follow.
    """
    weight, mean, std = (jnp.unstack(part[..., None], axis=-2) for part in (mixture.weight, mixture.mean, mixture.std))
    levels, normal = (jnp.asarray(row).reshape((1,) * (mixture.mean.ndim - 1) + (-1,)) for row in (LEVELS, _NORMAL))
    own = [m + s * normal for m, s in zip(mean, std, strict=True)]
    low, high = reduce(jnp.minimum, own), reduce(jnp.maximum, own)
    value, step = 0.5 * (low + high), 0.25 * (high - low)
    components = [(w, m, 1.0 / s) for w, m, s in zip(weight, mean, std, strict=True)]

    def excess(at: Array) -> Array:
        below = [w * jax.lax.erf((at - m) * (p * sqrt(0.5))) for w, m, p in components]
        return 0.5 + 0.5 * sum(below) - levels

    for _ in range(_BISECTIONS):
        value, step = jnp.where(excess(value) < 0, value + step, value - step), 0.5 * step
    low, high = value - 2.0 * step, value + 2.0 * step
    for _ in range(_NEWTON_STEPS):
        density = sum(w * p * jnp.exp(-0.5 * ((value - m) * p) ** 2) for w, m, p in components) / sqrt(2.0 * pi)
        value = jnp.clip(value - excess(value) / jnp.maximum(density, 1e-9), low, high)
    return value


def draw(quantiles: Float[Array, "*batch levels"], uniform: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    """The value at probability `uniform`, linear between levels and beyond them at the slope of the outer gap."""
    place = uniform * (len(LEVELS) + 1) - 1.0
    lower = jnp.clip(jnp.floor(place), 0, len(LEVELS) - 2).astype(jnp.int32)
    left = jnp.take_along_axis(quantiles, lower[..., None], axis=-1)[..., 0]
    right = jnp.take_along_axis(quantiles, lower[..., None] + 1, axis=-1)[..., 0]
    return left + (place - lower) * (right - left)
