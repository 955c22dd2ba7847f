"""Exponentially weighted moving average, with the weight of a report set by the time since the one before."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from twinloop.emulation.forecast import AbstractEmulator, KindForecast, complete, news
from twinloop.twins import Current, Kind


class Average(eqx.Module):
    """Moving average of every attribute, when it was last updated, and the running variance of its misses."""

    level: Float[Array, "entities attributes"]
    slot: Int[Array, "entities attributes"]
    variance: Float[Array, "entities attributes"]


class Ewma(AbstractEmulator[Average]):
    """Emulates x(t + 1) = m, with m <- m + (1 - (1 - a)^gap) (y - m) at a report y that comes `gap` seconds after the
    last.

    `weight` is a, the weight of a report after 1 s; a missing report makes the next one weigh as much as the reports
    that it stands for would have weighed together. The variance is the running mean of (y - m)^2 with the same weights.
    """

    weight: float = 0.5
    slot_s: float = 1.0

    def start(self, kind: Kind, current: Current) -> Average:
        """Nothing reported."""
        del kind
        nothing = jnp.zeros_like(current.value)
        return Average(nothing, jnp.full_like(current.slot, -1), nothing)

    def advance(
        self, kind: Kind, state: Average, current: Current, slot: Int[Array, ""]
    ) -> tuple[Average, KindForecast]:
        """Memory after `slot` and the forecast for the next one."""
        del slot
        first, further = news(state.slot, current)
        gap_s = jnp.maximum(current.slot - state.slot, 0).astype(jnp.float32) * self.slot_s
        weight = 1.0 - (1.0 - self.weight) ** gap_s
        miss = current.value - state.level
        level = jnp.where(further, state.level + weight * miss, jnp.where(first, current.value, state.level))
        running = state.variance + jnp.where(state.variance > 0, weight, 1.0) * (miss**2 - state.variance)
        variance = jnp.where(further, running, jnp.where(first | (current.slot < 0), 0.0, state.variance))
        return Average(level, current.slot, variance), complete(kind, current, level, variance)
