"""Several emulators as one: for every attribute those weigh most that foretold it best of late.

J. M. Bates, C. W. J. Granger, The Combination of Forecasts, 1969 (weights by past errors, theirs squared);
I. Gibbs, E. Candès, Adaptive Conformal Inference Under Distribution Shift, 2021 (intervals that widen after misses).
"""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from twinloop.emulation.forecast import Z90, AbstractEmulator, KindForecast, news
from twinloop.twins import ATTRIBUTES, Current, Kind

_WIDEST = 2.0
_LEAST_LOSS = 1e-10


class Combination(eqx.Module):
    """What the members remember and foretold last, how well each one does, and how far the intervals are widened.

    `loss` is a member's running mean absolute error by attribute (-1: never compared); `log_width` the logarithm of the
    factor on the standard deviation.
    """

    members: tuple[PyTree, ...]
    emulated: Float[Array, "members entities attributes"]
    mean: Float[Array, "entities attributes"]
    std: Float[Array, "entities attributes"]
    slot: Int[Array, "entities attributes"]
    loss: Float[Array, "members attributes"]
    log_width: Float[Array, " attributes"]


class Combined(AbstractEmulator[Combination]):
    """Emulates sum_k w_k m_k with w_k ~ loss_k^-`sharpness`, the weights of an attribute shared by all entities.

    The variance is that of the mixture, sum_k w_k (s_k^2 + (m_k - m)^2), times exp(2 w): at every slot with reports
    w <- w + `pace` (share of reports outside the 90 % interval - .1), so that in the long run nine of ten reports fall
    into it, whatever the members believe. `memory` is the weight of the old loss at a slot with reports. Labels and
    counts are the first member's, exactly: all have their last value, but shares of it do not sum to it in float32.
    Left out: weights of a single entity.
    """

    members: tuple[AbstractEmulator[Any], ...]
    memory: float = 0.98
    sharpness: float = 8.0
    pace: float = 0.1

    def start(self, kind: Kind, current: Current) -> Combination:
        """Nothing reported."""
        nothing = jnp.zeros_like(current.value)
        count = len(self.members)
        return Combination(
            members=tuple(member.start(kind, current) for member in self.members),
            emulated=jnp.zeros((count, *nothing.shape)),
            mean=nothing,
            std=nothing,
            slot=jnp.full_like(current.slot, -1),
            loss=jnp.full((count, nothing.shape[1]), -1.0, jnp.float32),
            log_width=jnp.zeros(nothing.shape[1]),
        )

    def advance(
        self, kind: Kind, state: Combination, current: Current, slot: Int[Array, ""]
    ) -> tuple[Combination, KindForecast]:
        """Memory after `slot` and the forecast for the next one."""
        loss, log_width = self._held_to(state, current)
        advanced = [
            member.advance(kind, memory, current, slot)
            for member, memory in zip(self.members, state.members, strict=True)
        ]
        emulated = jnp.stack([forecast.emulated for _, forecast in advanced])
        std = jnp.stack([forecast.std for _, forecast in advanced])
        weight = _weights(loss, self.sharpness)[:, None, :]
        is_level = np.array([attribute.kind == "level" for attribute in ATTRIBUTES[kind]])
        mean = jnp.where(is_level[None, :], jnp.sum(weight * emulated, axis=0), emulated[0])
        variance = jnp.sum(weight * (std**2 + (emulated - mean[None]) ** 2), axis=0)
        factor = jnp.where(current.slot >= 0, jnp.exp(log_width)[None, :], 1.0)
        wide = jnp.sqrt(variance) * factor
        members = tuple(memory for memory, _ in advanced)
        after = Combination(members, emulated, mean, wide, current.slot, loss, log_width)
        return after, KindForecast(mean, wide)

    def _held_to(
        self, state: Combination, current: Current
    ) -> tuple[Float[Array, "members attributes"], Float[Array, " attributes"]]:
        """Losses and widths after what was reported since the last forecast."""
        _, further = news(state.slot, current)
        count = jnp.sum(further, axis=0).astype(jnp.float32)
        some, count = count > 0, jnp.maximum(count, 1.0)
        miss = jnp.where(further[None], jnp.abs(current.value[None] - state.emulated), 0.0)
        fresh = jnp.sum(miss, axis=1) / count[None, :]
        running = jnp.where(state.loss < 0, fresh, self.memory * state.loss + (1 - self.memory) * fresh)
        missed = further & (jnp.abs(current.value - state.mean) > Z90 * state.std)
        rate = jnp.sum(missed, axis=0) / count
        moved = jnp.clip(state.log_width + self.pace * (rate - 0.1), -_WIDEST, _WIDEST)
        return jnp.where(some[None, :], running, state.loss), jnp.where(some, moved, state.log_width)


def _weights(loss: Float[Array, "members attributes"], sharpness: float) -> Float[Array, "members attributes"]:
    """Shares of the members by attribute; equal where nothing was compared yet."""
    least = jnp.maximum(jnp.min(loss, axis=0), _LEAST_LOSS)[None, :]
    share = (least / jnp.maximum(loss, least)) ** sharpness
    return share / jnp.sum(share, axis=0)[None, :]
