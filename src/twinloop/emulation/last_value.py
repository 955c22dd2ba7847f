"""The trivial emulator, which every other one must beat: what was last reported stays."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from twinloop.emulation.forecast import AbstractEmulator, KindForecast, complete, news
from twinloop.twins import Current, Kind


class LastReport(eqx.Module):
    """Last report of every attribute, and the running variance of its change per slot."""

    value: Float[Array, "entities attributes"]
    slot: Int[Array, "entities attributes"]
    variance: Float[Array, "entities attributes"]


class LastValue(AbstractEmulator[LastReport]):
    """Emulates x(t + 1) = the last reported value; its variance grows with age as that of a random walk.

    The variance per slot is the running mean of (change)^2 / gap between reports, `memory` the weight of the old mean.
    """

    memory: float = 0.9

    def start(self, kind: Kind, current: Current) -> LastReport:
        """Nothing reported."""
        del kind
        nothing = jnp.zeros_like(current.value)
        return LastReport(nothing, jnp.full_like(current.slot, -1), nothing)

    def advance(
        self, kind: Kind, state: LastReport, current: Current, slot: Int[Array, ""]
    ) -> tuple[LastReport, KindForecast]:
        """Memory after `slot` and the forecast for the next one."""
        first, further = news(state.slot, current)
        gap = jnp.maximum(current.slot - state.slot, 1).astype(jnp.float32)
        change = (current.value - state.value) ** 2 / gap
        weight = jnp.where(state.variance > 0, 1.0 - self.memory, 1.0)
        variance = jnp.where(further, state.variance + weight * (change - state.variance), state.variance)
        variance = jnp.where(first | (current.slot < 0), 0.0, variance)
        ahead = (slot + 1 - current.slot).astype(jnp.float32)
        after = LastReport(current.value, current.slot, variance)
        return after, complete(kind, current, current.value, variance * ahead)
