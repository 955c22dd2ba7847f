"""Concave utilities of one flow's rate, each with its slope and the inverse of its slope. Rates in Mbit/s."""

import abc

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

_LEAST_MBPS = 1e-6


class AbstractUtility(eqx.Module):
    """A strictly concave utility U of the rate r [Mbit/s] of every flow; flows may differ by the fields' rows."""

    @abc.abstractmethod
    def value(self, rate: Float[Array, " flows"]) -> Float[Array, " flows"]:
        """U(r)."""

    @abc.abstractmethod
    def slope(self, rate: Float[Array, " flows"]) -> Float[Array, " flows"]:
        """U'(r)."""

    @abc.abstractmethod
    def rate(self, slope: Float[Array, " flows"]) -> Float[Array, " flows"]:
        """The r with U'(r) = slope, not clipped: below zero where even the first bit is not worth it."""


class AlphaFair(AbstractUtility):
    """U(r) = r^(1 - alpha) / (1 - alpha), ln r for alpha = 1 (Mo and Walrand, 2000).

    alpha -> 0 is throughput, 1 proportional fairness, 2 potential delay, large max-min. Rates under 1 bit/s count as
    1 bit/s.
    """

    alpha: float = eqx.field(static=True, default=1.0)

    def value(self, rate: Float[Array, " flows"]) -> Float[Array, " flows"]:
        """U(r)."""
        positive = jnp.maximum(rate, _LEAST_MBPS)
        if self.alpha == 1.0:
            return jnp.log(positive)
        return positive ** (1.0 - self.alpha) / (1.0 - self.alpha)

    def slope(self, rate: Float[Array, " flows"]) -> Float[Array, " flows"]:
        """U'(r)."""
        return jnp.maximum(rate, _LEAST_MBPS) ** -self.alpha

    def rate(self, slope: Float[Array, " flows"]) -> Float[Array, " flows"]:
        """The r with U'(r) = slope, not clipped."""
        return jnp.maximum(slope, 1e-30) ** (-1.0 / self.alpha)


class OffsetLog(AbstractUtility):
    """U(r) = ln(offset + r): worth of a slot's rate to a long-run average that already holds `offset` [Mbit/s]."""

    offset: Float[Array, " flows"]

    def value(self, rate: Float[Array, " flows"]) -> Float[Array, " flows"]:
        """U(r)."""
        return jnp.log(jnp.maximum(self.offset + rate, _LEAST_MBPS))

    def slope(self, rate: Float[Array, " flows"]) -> Float[Array, " flows"]:
        """U'(r)."""
        return 1.0 / jnp.maximum(self.offset + rate, _LEAST_MBPS)

    def rate(self, slope: Float[Array, " flows"]) -> Float[Array, " flows"]:
        """The r with U'(r) = slope, not clipped."""
        return 1.0 / jnp.maximum(slope, 1e-30) - self.offset


class LogQuality(AbstractUtility):
    """U(r) = ln(1 + (ratio - 1) r / need) / ln ratio on [0, need]: 0 at no rate, 1 at the need.

    The log quality ln(r / r_min) / ln(r_max / r_min) of paper 000 (IV), shifted so that no rate is worth 0 and not
    minus infinity; `ratio` = r_max / r_min (6 for .5 and 3 Mbit/s), `need` [Mbit/s]. The caller caps rates at the
    need.
    """

    need: Float[Array, " flows"]
    ratio: float = eqx.field(static=True, default=6.0)

    def value(self, rate: Float[Array, " flows"]) -> Float[Array, " flows"]:
        """U(r)."""
        return jnp.log1p((self.ratio - 1.0) * rate / self.need) / jnp.log(self.ratio)

    def slope(self, rate: Float[Array, " flows"]) -> Float[Array, " flows"]:
        """U'(r)."""
        return 1.0 / (jnp.log(self.ratio) * (self.need / (self.ratio - 1.0) + rate))

    def rate(self, slope: Float[Array, " flows"]) -> Float[Array, " flows"]:
        """The r with U'(r) = slope, not clipped."""
        return 1.0 / (jnp.log(self.ratio) * jnp.maximum(slope, 1e-30)) - self.need / (self.ratio - 1.0)


class QuadraticSatisfaction(AbstractUtility):
    """U(r) = (1 + e/2) x - e x^2 / 2, x = r / need in [0, 1]: 0 at no rate, 1 at the need; e is `curvature`.

    e -> 0 is min(r / need, 1), the satisfaction that runs are scored by, whose maximum starves whoever is dear; e = 2
    is 1 - (1 - x)^2. `need` [Mbit/s]; 0 < e <= 2. Ours. The caller caps rates at the need.
    """

    need: Float[Array, " flows"]
    curvature: float = eqx.field(static=True, default=0.1)

    def value(self, rate: Float[Array, " flows"]) -> Float[Array, " flows"]:
        """U(r)."""
        x = rate / self.need
        return (1.0 + 0.5 * self.curvature) * x - 0.5 * self.curvature * x * x

    def slope(self, rate: Float[Array, " flows"]) -> Float[Array, " flows"]:
        """U'(r)."""
        return (1.0 + 0.5 * self.curvature - self.curvature * rate / self.need) / self.need

    def rate(self, slope: Float[Array, " flows"]) -> Float[Array, " flows"]:
        """The r with U'(r) = slope, not clipped."""
        return self.need * (1.0 + 0.5 * self.curvature - slope * self.need) / self.curvature


def log_quality(
    rate_bps: Float[Array, "*shape"], low_bps: Float[Array, "*shape"], high_bps: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    """Q = ln(r / r_min) / ln(r_max / r_min), clipped to [0, 1] (paper 000, IV); rates [bit/s], r_min < r_max."""
    ratio = jnp.log(jnp.maximum(rate_bps, 1.0) / low_bps) / jnp.log(high_bps / low_bps)
    return jnp.clip(ratio, 0.0, 1.0)
