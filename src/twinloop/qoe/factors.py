"""What may move a person's experience: a table of factors, and their values in a rated period from those of slots."""

from typing import Final, Literal, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from twinloop.qoe.experience import behaviour_of, environment_of


class Factor(NamedTuple):
    """A factor: its unit and range in a rated period, `direction` of experience as it grows (+1, -1; 0: no order).

    `gather` says how slots make a period: their mean, sum, or the last.
    """

    name: str
    unit: str
    low: float
    high: float
    direction: Literal[-1, 0, 1]
    gather: Literal["mean", "sum", "last"]


FACTORS: Final = (
    Factor("throughput", "bit/s", 0.0, 1e9, 1, "mean"),
    Factor("rebuffer_time", "s", 0.0, 60.0, -1, "sum"),
    Factor("rebuffer_count", "1", 0.0, 60.0, -1, "sum"),
    Factor("startup", "s", 0.0, 60.0, -1, "sum"),
    Factor("quality", "1", 0.0, 1.0, 1, "mean"),
    Factor("quality_change", "1", 0.0, 60.0, -1, "sum"),
    Factor("jitter", "s", 0.0, 1.0, -1, "mean"),
    Factor("loss", "1", 0.0, 1.0, -1, "mean"),
    Factor("behaviour", "1", 1.0, 2.0, -1, "sum"),
    Factor("environment", "1", 1.0, 2.0, -1, "mean"),
    Factor("device", "code", 0.0, 255.0, 0, "last"),
    Factor("content", "code", 0.0, 255.0, 0, "last"),
    Factor("hour", "h", 0.0, 24.0, 0, "last"),
)
"""Factors of experience (paper 000, Table I, as far as a network sees them), columns of factor arrays in this order.

In a slot `behaviour` is the number of swipes and `environment` the speed [m/s]; in a period they are B and C of
`behaviour_of` and `environment_of`. Left out: emotion, which no report carries.
"""

FACTOR_NAMES: Final = tuple(factor.name for factor in FACTORS)
_BEHAVIOUR, _ENVIRONMENT = FACTOR_NAMES.index("behaviour"), FACTOR_NAMES.index("environment")


def gather_factors(
    slots: Float[Array, "users slots factors"], present: Bool[Array, "users slots"], period_slots: int, slot_s: float
) -> tuple[Float[Array, "users periods factors"], Bool[Array, "users periods"]]:
    """Factors of each period of `period_slots` slots, in the order of `FACTORS`, and whether the user was there at all.

    Means are over slots the user was there for, sums are scaled up to a whole period, the last value is that of the
    last slot present. A last period that is not full is left out; values of periods without the user are 0 (1 for B
    and C).
    """
    periods = slots.shape[1] // period_slots
    shape = (slots.shape[0], periods, period_slots)
    there = present[:, : periods * period_slots].reshape(shape)
    value = slots[:, : periods * period_slots].reshape(*shape, slots.shape[2])
    value = jnp.where(there[..., None], value, 0.0)
    count = jnp.sum(there, axis=2)
    mean = jnp.sum(value, axis=2) / jnp.maximum(count, 1)[:, :, None]
    newest = period_slots - 1 - jnp.argmax(there[:, :, ::-1], axis=2)
    last = jnp.take_along_axis(value, newest[:, :, None, None], axis=2)[:, :, 0]
    kinds = jnp.array([("mean", "sum", "last").index(factor.gather) for factor in FACTORS])[None, None, :]
    gathered = jnp.where(kinds == 0, mean, jnp.where(kinds == 1, mean * period_slots, last))
    per_min = gathered[:, :, _BEHAVIOUR] * 60.0 / (period_slots * slot_s)
    gathered = gathered.at[:, :, _BEHAVIOUR].set(behaviour_of(per_min))
    there_at_all = count > 0
    complexity = jnp.where(there_at_all, environment_of(mean[:, :, _ENVIRONMENT]), 1.0)
    return gathered.at[:, :, _ENVIRONMENT].set(complexity), there_at_all
