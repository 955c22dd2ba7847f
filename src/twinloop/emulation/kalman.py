"""Kalman filter of every attribute of every twin at once, exact for missing and unevenly spaced reports.

R. E. Kalman, A New Approach to Linear Filtering and Prediction Problems, 1960; the local level and local linear trend
models as in A. C. Harvey, Forecasting, Structural Time Series Models and the Kalman Filter, 1989, chapter 2.
"""

from collections.abc import Mapping

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from twinloop.emulation.forecast import AbstractEmulator, KindForecast, complete, news, rounding_std
from twinloop.twins import ATTRIBUTES, Current, Kind

# Ours: by how much each level wanders in 1 s (standard deviation, in the attribute's unit).
_LEVEL_STD: dict[Kind, dict[str, float]] = {
    "users": {
        "speed_mps": 0.3,
        "rsrp_dbm": 1.0,
        "sinr_db": 1.0,
        "rate_bps": 5e5,
        "delay_s": 0.05,
        "jitter_s": 0.02,
        "loss_ratio": 0.02,
        "buffer_s": 1.0,
        "quality": 0.1,
        "watch_s": 1.0,
        "last_watch_s": 3.0,
        "transcode_share": 0.2,
    },
    "cells": {"load": 0.05, "used_bandwidth_hz": 5e5, "throughput_bps": 2e6, "users": 0.5, "power_w": 2.0},
    "servers": {"utilisation": 0.05, "queue_cycles": 1e8, "cache_hit_ratio": 0.05, "power_w": 2.0},
}
# Ours: attributes with a constant velocity, the spread of that velocity (unit/s) and of its change in 1 s.
_TREND_STD: dict[Kind, dict[str, tuple[float, float]]] = {
    "users": {"position_x_m": (2.0, 0.3), "position_y_m": (2.0, 0.3)},
}


class Noise(eqx.Module):
    """Variances that define the filter of one kind of entity, by attribute, in the attribute's unit squared.

    `measurement`: of a report; `level_per_s`: by which the level wanders in 1 s; `trend`: of the velocity (per s^2)
    before anything is known of it, 0 for a local level; `trend_per_s`: by which the velocity wanders in 1 s.
    """

    measurement: Float[Array, " attributes"]
    level_per_s: Float[Array, " attributes"]
    trend: Float[Array, " attributes"]
    trend_per_s: Float[Array, " attributes"]


class Belief(eqx.Module):
    """Filtered level and trend as of the last report, with the covariance [[level, cross], [cross, trend]]."""

    slot: Int[Array, "entities attributes"]
    level: Float[Array, "entities attributes"]
    trend: Float[Array, "entities attributes"]
    level_var: Float[Array, "entities attributes"]
    cross_var: Float[Array, "entities attributes"]
    trend_var: Float[Array, "entities attributes"]


class Kalman(AbstractEmulator[Belief]):
    """Filters x = (level, trend), dx = (trend dt + dw_level, dw_trend), from reports y = level + noise.

    Over dt seconds, with F = [[1, dt], [0, 1]], P <- F P F' + [[q_l dt + q_t dt^3/3, q_t dt^2/2], [q_t dt^2/2, q_t
    dt]], so a missing report is a longer dt and no more. Positions have a trend (constant velocity), the other levels
    none (q_t and the trend's variance are 0). The forecast's variance is that of the next report: level + measurement.
    `slot_s` seconds a slot. Left out: correlation between attributes; the speed a user reports.
    """

    users: Noise
    cells: Noise
    servers: Noise
    slot_s: float = 1.0

    def start(self, kind: Kind, current: Current) -> Belief:
        """Nothing reported."""
        del kind
        nothing = jnp.zeros_like(current.value)
        return Belief(jnp.full_like(current.slot, -1), nothing, nothing, nothing, nothing, nothing)

    def advance(self, kind: Kind, state: Belief, current: Current, slot: Int[Array, ""]) -> tuple[Belief, KindForecast]:
        """Memory after `slot` and the forecast for the next one."""
        noise: Noise = {"users": self.users, "cells": self.cells, "servers": self.servers}[kind]
        first, further = news(state.slot, current)
        updated = _updated(noise, self._predicted(noise, state, current.slot), current)
        started = _started(noise, current)
        belief = Belief(
            current.slot,
            *(
                jnp.where(first, new, jnp.where(further, next_, old))
                for new, next_, old in zip(_moments(started), _moments(updated), _moments(state), strict=True)
            ),
        )
        ahead = self._predicted(noise, belief, slot + 1)
        return belief, complete(kind, current, ahead.level, ahead.level_var + noise.measurement[None, :])

    def _predicted(self, noise: Noise, belief: Belief, slot: Int[Array, "*#shape"]) -> Belief:
        dt = jnp.maximum(slot - belief.slot, 0).astype(jnp.float32) * self.slot_s
        level_per_s, trend_per_s = noise.level_per_s[None, :], noise.trend_per_s[None, :]
        return Belief(
            slot=belief.slot,
            level=belief.level + belief.trend * dt,
            trend=belief.trend,
            level_var=belief.level_var
            + dt * (2 * belief.cross_var + dt * belief.trend_var + level_per_s + trend_per_s * dt**2 / 3),
            cross_var=belief.cross_var + dt * (belief.trend_var + trend_per_s * dt / 2),
            trend_var=belief.trend_var + dt * trend_per_s,
        )


def kalman(
    *,
    measurement_std: Mapping[Kind, Mapping[str, float]] | None = None,
    level_std: Mapping[Kind, Mapping[str, float]] | None = None,
    slot_s: float = 1.0,
) -> Kalman:
    """Kalman emulator with the default noises, changed where given, by kind and attribute, as standard deviations.

    `measurement_std` is added to the rounding of the attribute's precision; `level_std` is how far a level wanders in
    1 s. Raises ValueError for an attribute that the kind does not have.
    """
    measured, wandering = measurement_std or {}, level_std or {}

    def noise(kind: Kind) -> Noise:
        rounding = rounding_std(kind)
        sensor = _by_attribute(kind, measured.get(kind, {}))
        level = _by_attribute(kind, {**_LEVEL_STD[kind], **wandering.get(kind, {})})
        trend = _by_attribute(kind, {name: std[0] for name, std in _TREND_STD.get(kind, {}).items()})
        trend_change = _by_attribute(kind, {name: std[1] for name, std in _TREND_STD.get(kind, {}).items()})
        squares = (rounding**2 + sensor**2, level**2, trend**2, trend_change**2)
        return Noise(*(jnp.asarray(square, jnp.float32) for square in squares))

    return Kalman(noise("users"), noise("cells"), noise("servers"), slot_s)


def _by_attribute(kind: Kind, by_name: Mapping[str, float]) -> np.ndarray:
    names = [attribute.name for attribute in ATTRIBUTES[kind]]
    unknown = set(by_name) - set(names)
    if unknown:
        raise ValueError(f"{kind} have no attribute {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    return np.array([by_name.get(name, 0.0) for name in names])


def _moments(belief: Belief) -> tuple[Float[Array, "entities attributes"], ...]:
    return (belief.level, belief.trend, belief.level_var, belief.cross_var, belief.trend_var)


def _started(noise: Noise, current: Current) -> Belief:
    nothing = jnp.zeros_like(current.value)
    return Belief(
        slot=current.slot,
        level=current.value,
        trend=nothing,
        level_var=nothing + noise.measurement[None, :],
        cross_var=nothing,
        trend_var=nothing + noise.trend[None, :],
    )


def _updated(noise: Noise, prior: Belief, current: Current) -> Belief:
    measurement = noise.measurement[None, :]
    total = prior.level_var + measurement
    kept = measurement / total
    miss = current.value - prior.level
    return Belief(
        slot=current.slot,
        level=prior.level + (1 - kept) * miss,
        trend=prior.trend + prior.cross_var / total * miss,
        level_var=kept * prior.level_var,
        cross_var=kept * prior.cross_var,
        trend_var=jnp.maximum(prior.trend_var - prior.cross_var**2 / total, 0.0),
    )
