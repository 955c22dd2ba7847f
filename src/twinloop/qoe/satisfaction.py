"""Satisfaction of a group of users with what is reserved for it, and its least concave majorant."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

_BISECTIONS = 30


class SigmoidSatisfaction(eqx.Module):
    """Sigmoid satisfaction s(z) = [sig(k (z - th)) - sig(-k th)] / [1 - sig(-k th)], z = reserved / demanded.

    z: the least over resources of what is reserved per what is demanded [1], s in [0, 1); k `steepness` [1], th
    `threshold` [1]. s(0) = 0; with k = 10 and th = .7, s(1) = .95. Paper 004 (case study) reserves for the satisfaction
    of multicast groups without printing the function; the sigmoid and its constants are ours (models.md, Slicing). Left
    out: satisfaction of single users, and delay.
    """

    steepness: float = eqx.field(static=True, default=10.0)
    threshold: float = eqx.field(static=True, default=0.7)

    def value(self, z: Float[Array, "..."]) -> Float[Array, "..."]:
        """s(z)."""
        start = jax.nn.sigmoid(-self.steepness * self.threshold)
        return (jax.nn.sigmoid(self.steepness * (z - self.threshold)) - start) / (1.0 - start)

    def slope(self, z: Float[Array, "..."]) -> Float[Array, "..."]:
        """ds/dz = k sig (1 - sig) / [1 - sig(-k th)]."""
        y = self.steepness * (z - self.threshold)
        return self.steepness * jax.nn.sigmoid(y) * jax.nn.sigmoid(-y) / self._range

    def concave_z(self, slope: Float[Array, "..."]) -> Float[Array, "..."]:
        """The z >= th where s has `slope`; th where `slope` is above the steepest one, far out where it is <= 0."""
        product = jnp.clip(slope * self._range / self.steepness, 1e-7, 0.25)
        upper = 0.5 * (1.0 + jnp.sqrt(1.0 - 4.0 * product))
        return self.threshold + jnp.log(upper * upper / product) / self.steepness

    @property
    def _range(self) -> Float[Array, ""]:
        return 1.0 - jax.nn.sigmoid(jnp.asarray(-self.steepness * self.threshold))


class ConcaveMajorant(eqx.Module):
    """Least concave function above s on [low, high]: a straight line from (low, s(low)) to `touch`, then s itself.

    `touch` is where the tangent through (low, s(low)) touches s: s(t) - s(low) = s'(t) (t - low); `high` where that
    lies beyond `high` (the chord); `low` where s is already concave from there on. All [1]; touch = .91 from low = 0
    with the default constants. It is above s everywhere on [low, high], so a maximum over it bounds the maximum over
    s.
    """

    shape: SigmoidSatisfaction
    low: Float[Array, "*groups"]
    high: Float[Array, "*groups"]
    touch: Float[Array, "*groups"]
    line_slope: Float[Array, "*groups"]

    def value(self, z: Float[Array, "*groups"]) -> Float[Array, "*groups"]:
        """The majorant at z in [low, high]."""
        line = self.shape.value(self.low) + self.line_slope * (z - self.low)
        return jnp.where(z < self.touch, line, self.shape.value(z))

    def best_z(self, slope: Float[Array, "*groups"]) -> Float[Array, "*groups"]:
        """The z in [low, high] that maximises majorant(z) - slope z; `low` where the line is not worth its cost."""
        curve = jnp.clip(self.shape.concave_z(slope), self.touch, self.high)
        return jnp.where(slope >= self.line_slope, self.low, curve)


def concave_majorant(
    shape: SigmoidSatisfaction, low: Float[Array, "*groups"], high: Float[Array, "*groups"]
) -> ConcaveMajorant:
    """Majorant of `shape` on [low, high] for each group; the tangent point by bisection (30 halvings).

    t -> s(t) - s(low) - s'(t) (t - low) rises on t >= th from at most 0, so its zero beyond max(low, th) is unique.
    """
    base = shape.value(low)

    def halve(_: Int[Array, ""], ends: tuple[Array, Array]) -> tuple[Array, Array]:
        left, right = ends
        middle = 0.5 * (left + right)
        below = shape.value(middle) - base < shape.slope(middle) * (middle - low)
        return jnp.where(below, middle, left), jnp.where(below, right, middle)

    start = jnp.maximum(low, shape.threshold)
    beyond = jnp.full_like(start, shape.threshold + 20.0 / shape.steepness)
    _, tangent = jax.lax.fori_loop(0, _BISECTIONS, halve, (start, jnp.maximum(beyond, start)))
    touch = jnp.clip(jnp.where(low >= shape.threshold, low, tangent), low, high)
    run = touch - low
    line = jnp.where(run > 1e-6, (shape.value(touch) - base) / jnp.maximum(run, 1e-6), shape.slope(low))
    return ConcaveMajorant(shape, low, high, touch, line)
