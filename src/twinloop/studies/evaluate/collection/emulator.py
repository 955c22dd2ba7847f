"""The emulator that every periodic schedule is given: a damped level or a trend with noise, fitted for each attribute.

R. E. Kalman, 1960; A. C. Harvey, Forecasting, Structural Time Series Models and the Kalman Filter, 1989, chapter 2.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float64

from twinloop.studies.evaluate.collection.records import Record

Table = Float[Array, "entities attributes"]
CANDIDATES = (
    *((damping, ratio, False) for damping in (1.0, 0.99, 0.97, 0.9, 0.8, 0.6) for ratio in (0.0, 0.5, 2.0, 8.0, 30.0)),
    *((1.0, ratio, True) for ratio in (0.003, 0.03, 0.3)),
)
"""Damping a slot, transient over level variance (level) or trend over step variance (trend), and whether it trends."""


class Filter(eqx.Module):
    """Status x = level + transient, reported with noise; level' = mean + damping (level - mean) + trend + wandering.

    Labels are kept as they are. Variances in the attribute's unit squared, a slot apart.
    """

    mean: Float[Array, " attributes"]
    damping: Float[Array, " attributes"]
    level: Float[Array, " attributes"]
    trend: Float[Array, " attributes"]
    first_trend: Float[Array, " attributes"]
    transient: Float[Array, " attributes"]
    sensor: Float[Array, " attributes"]
    label: Bool[Array, " attributes"]


class Belief(eqx.Module):
    """Level and trend with their covariance [[level, cross], [cross, trend]]."""

    level: Table
    trend: Table
    level_var: Table
    cross_var: Table
    trend_var: Table


def candidate(record: Record, damping: float, ratio: float, *, trends: bool) -> Filter:
    """The filter of one candidate for all attributes, its variances from the attributes' steps in `record`."""
    step = np.diff(record.measured.astype(np.float64), axis=0)[record.present[1:]]
    spread, sensor = record.spread, np.maximum(record.noise**2, 1e-9 * record.spread**2)
    square = np.maximum((step**2).mean(axis=0), 1e-6 * spread**2)
    core = np.maximum(square - 2 * sensor, 0.02 * square)
    zero = np.zeros_like(core)
    level = 1e-3 * core if trends else core / (1 + 2 * ratio)

    def of_each(values: Float64[np.ndarray, " attributes"]) -> Float[Array, " attributes"]:
        return jnp.asarray(values, jnp.float32)

    return Filter(
        mean=of_each(record.truth[record.present].astype(np.float64).mean(axis=0)),
        damping=of_each(zero + damping),
        level=of_each(level),
        trend=of_each(core * ratio if trends else zero),
        first_trend=of_each(core if trends else zero),
        transient=of_each(zero if trends else ratio * level),
        sensor=of_each(sensor),
        label=jnp.asarray([entry.kind == "label" for entry in record.table]),
    )


def predicted(rule: Filter, belief: Belief) -> Belief:
    """The belief one slot later."""
    level = rule.mean[None, :] + rule.damping[None, :] * (belief.level - rule.mean[None, :]) + belief.trend
    trend = rule.trend[None, :]
    return Belief(
        jnp.where(rule.label[None, :], belief.level, level),
        belief.trend,
        rule.damping[None, :] ** 2 * belief.level_var
        + 2 * belief.cross_var
        + belief.trend_var
        + rule.level[None, :]
        + trend / 3,
        belief.cross_var + belief.trend_var + trend / 2,
        belief.trend_var + trend,
    )


def informed(
    rule: Filter, belief: Belief, value: Table, sent: Bool[Array, "entities attributes"]
) -> tuple[Belief, Table]:
    """The belief after what was `sent`, and the status believed now, transient included."""
    total = belief.level_var + (rule.transient + rule.sensor)[None, :]
    gain = jnp.where(rule.label[None, :], 1.0, belief.level_var / total)
    tilt = belief.cross_var / total
    miss = jnp.where(sent, value - belief.level, 0.0)
    share = jnp.where(rule.label[None, :], 1.0, (belief.level_var + rule.transient[None, :]) / total)
    updated = Belief(
        belief.level + gain * miss,
        belief.trend + jnp.where(rule.label[None, :], 0.0, tilt) * miss,
        jnp.where(sent, (1 - gain) * belief.level_var, belief.level_var),
        jnp.where(sent, (1 - gain) * belief.cross_var, belief.cross_var),
        jnp.where(sent, belief.trend_var - tilt * belief.cross_var, belief.trend_var),
    )
    return updated, belief.level + share * miss


def first_belief(rule: Filter, value: Table) -> Belief:
    """The belief after a complete first report."""
    nothing = jnp.zeros_like(value)
    return Belief(
        value,
        nothing,
        nothing + (rule.transient + rule.sensor)[None, :],
        nothing,
        nothing + rule.first_trend[None, :],
    )
