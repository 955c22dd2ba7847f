"""What a group gains in experience by the part of its demand that is reserved for it, with the exact best part."""

import abc
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from twinloop.qoe import ConcaveMajorant, SigmoidSatisfaction, concave_majorant

Levels = Float[Array, " groups"]
_HALVINGS = 26


class AbstractGain(eqx.Module):
    """Gain U(z) of every group at level z = min over resources of reserved / demanded, U(0) = 0, U not falling.

    Every array in it has a row a group.
    """

    @abc.abstractmethod
    def value(self, z: Levels) -> Levels:
        """U(z)."""

    @abc.abstractmethod
    def bend(self, z: Levels) -> Levels:
        """U''(z); very negative at a kink."""

    @abc.abstractmethod
    def best(self, worth: Levels, linear: Levels, quadratic: Levels, low: Levels, high: Levels) -> Levels:
        """The z in [low, high] that maximises worth U(z) - linear z - quadratic z^2, over all of it; quadratic >= 0."""


class SigmoidGain(AbstractGain):
    """U = s, the sigmoid satisfaction itself: not concave, so groups may jump between little and nearly all."""

    shape: SigmoidSatisfaction = SigmoidSatisfaction()

    def value(self, z: Levels) -> Levels:
        """s(z)."""
        return self.shape.value(z)

    def bend(self, z: Levels) -> Levels:
        """s''(z) = k s'(z) (1 - 2 sig)."""
        k = self.shape.steepness
        return k * self.shape.slope(z) * (1.0 - 2.0 * jax.nn.sigmoid(k * (z - self.shape.threshold)))

    def best(self, worth: Levels, linear: Levels, quadratic: Levels, low: Levels, high: Levels) -> Levels:
        """Exact: the objective's slope falls, rises and falls again, so its maxima are ends or roots in falling parts.

        The turns are where worth s'' = 2 quadratic: with t = 1 - 2 sig, t^3 - t + 4 rho = 0, rho = s'' over its unit.
        """
        k = self.shape.steepness
        unit = worth * k * self.shape.slope(jnp.full_like(low, self.shape.threshold)) * 4.0
        ratio = jnp.clip(2.0 * quadratic / jnp.maximum(unit, 1e-30), 0.0, 1.0 / (6.0 * 3.0**0.5))
        angle = jnp.arccos(jnp.clip(-6.0 * 3.0**0.5 * ratio, -1.0, 0.0)) / 3.0
        turns = [2.0 / 3.0**0.5 * jnp.cos(angle - shift) for shift in (0.0, 2.0 * jnp.pi / 3.0)]
        parts = [jnp.clip(0.5 * (1.0 - t), 1e-7, 0.5) for t in turns]
        lower, upper = (jnp.clip(self.shape.threshold + jnp.log(p / (1.0 - p)) / k, low, high) for p in parts)

        def slope(z: Float[Array, "two groups"]) -> Float[Array, "two groups"]:
            return worth[None] * self.shape.slope(z) - linear[None] - 2.0 * quadratic[None] * z

        roots = _falling_root(slope, jnp.stack([low, upper]), jnp.stack([lower, high]))
        candidates = jnp.stack([low, high, roots[0], roots[1]])
        value = worth[None] * self.shape.value(candidates) - (linear[None] + quadratic[None] * candidates) * candidates
        pick = jnp.argmax(value, axis=0)[None]
        return jnp.take_along_axis(candidates, pick, axis=0)[0]


class MajorantGain(AbstractGain):
    """U = the least concave majorant of the sigmoid on [low, high]: the surrogate whose equilibrium is unique."""

    majorant: ConcaveMajorant

    def value(self, z: Levels) -> Levels:
        """The majorant."""
        return self.majorant.value(z)

    def bend(self, z: Levels) -> Levels:
        """0 on the straight part, s'' beyond."""
        return jnp.where(z < self.majorant.touch, 0.0, SigmoidGain(self.majorant.shape).bend(z))

    def best(self, worth: Levels, linear: Levels, quadratic: Levels, low: Levels, high: Levels) -> Levels:
        """Exact, by bisection of the falling slope."""

        def slope(z: Levels) -> Levels:
            own = jnp.where(z < self.majorant.touch, self.majorant.line_slope, self.majorant.shape.slope(z))
            return worth * own - linear - 2.0 * quadratic * z

        return _falling_root(slope, low, high)


def majorant_gain(shape: SigmoidSatisfaction, low: Levels, high: Levels) -> MajorantGain:
    """The concave majorant of `shape` between each group's bounds."""
    return MajorantGain(concave_majorant(shape, low, high))


class LogGain(AbstractGain):
    """U = ln(1 + c z) / ln(1 + c), c = `ratio` - 1: smooth and concave; the log quality of paper 000 (IV), shifted."""

    ratio: float = eqx.field(static=True, default=6.0)

    def value(self, z: Levels) -> Levels:
        """U(z)."""
        return jnp.log1p((self.ratio - 1.0) * z) / jnp.log(self.ratio)

    def bend(self, z: Levels) -> Levels:
        """U''(z)."""
        c = self.ratio - 1.0
        return -(c * c) / (jnp.log(self.ratio) * (1.0 + c * z) ** 2)

    def best(self, worth: Levels, linear: Levels, quadratic: Levels, low: Levels, high: Levels) -> Levels:
        """Exact, by bisection of the falling slope."""
        c = self.ratio - 1.0

        def slope(z: Levels) -> Levels:
            return worth * c / (jnp.log(self.ratio) * (1.0 + c * z)) - linear - 2.0 * quadratic * z

        return _falling_root(slope, low, high)


def _falling_root(slope: Callable[[Array], Array], low: Array, high: Array) -> Array:
    """Where a falling slope crosses 0 in [low, high]; the end where it does not."""

    def halve(_: Int[Array, ""], ends: tuple[Array, Array]) -> tuple[Array, Array]:
        left, right = ends
        middle = 0.5 * (left + right)
        rises = slope(middle) > 0
        return jnp.where(rises, middle, left), jnp.where(rises, right, middle)

    left, right = jax.lax.fori_loop(0, _HALVINGS, halve, (low, high))
    return jnp.where(slope(high) >= 0, high, jnp.where(slope(low) <= 0, low, 0.5 * (left + right)))
