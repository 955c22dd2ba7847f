"""Utility of a rate to a user who needs so much and has little use for more."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from twinloop.qoe import AbstractUtility


class Reach(AbstractUtility):
    """U(r) = (1 + e/2) x - e x^2 / 2 with x = r / need up to the need, and 1 + t ln(r / need) beyond.

    `need` [Mbit/s] is the rate that is wanted; e `curvature` and t `beyond` are small: nearly min(r / need, 1), whose
    maximum under one budget is the fractional knapsack that serves most users. Strictly concave for 0 < e <= 2,
    t <= 1 - e/2. Ours.
    """

    need: Float[Array, " flows"]
    curvature: float = eqx.field(static=True, default=0.2)
    beyond: float = eqx.field(static=True, default=0.1)

    def value(self, rate: Float[Array, " flows"]) -> Float[Array, " flows"]:
        """U(r)."""
        x = rate / self.need
        inside = (1.0 + 0.5 * self.curvature) * x - 0.5 * self.curvature * x * x
        return jnp.where(x <= 1.0, inside, 1.0 + self.beyond * jnp.log(jnp.maximum(x, 1.0)))

    def slope(self, rate: Float[Array, " flows"]) -> Float[Array, " flows"]:
        """U'(r)."""
        x = rate / self.need
        inside = 1.0 + 0.5 * self.curvature - self.curvature * x
        return jnp.where(x <= 1.0, inside, self.beyond / jnp.maximum(x, 1.0)) / self.need

    def rate(self, slope: Float[Array, " flows"]) -> Float[Array, " flows"]:
        """The r with U'(r) = slope, not clipped; the need where the slope lies between both sides of its kink."""
        s = slope * self.need
        inside = (1.0 + 0.5 * self.curvature - s) / self.curvature
        outside = self.beyond / jnp.maximum(s, 1e-30)
        x = jnp.where(s >= 1.0 - 0.5 * self.curvature, inside, jnp.where(s <= self.beyond, outside, 1.0))
        return self.need * x
