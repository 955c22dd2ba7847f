"""What is kept of one quantity's past between reports: lags, levels, scales; the inputs of every learned forecaster.

It knows no parameters that are trained, so that it is computed once for all models, and costs the same at every step.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

RATES = (0.7, 0.45, 0.3, 0.15, 0.07, 0.03, 0.0)
"""Forgetting of the running levels; 0 is the mean of everything so far."""
_SURPRISE_LEVEL = 1
_SPREAD_LEVEL = 5
_CHANGE_RATE, _SPREAD_RATE, _SURPRISE_RATE, _BIAS_RATE = 0.15, 0.04, 0.15, 0.1
_NEAR = 6


class Memory(eqx.Module):
    """Past of one quantity, by entity.

    `lags` are the values of the last steps, newest first, held where none was reported; `levels` running means at
    `RATES`; `change` is the running mean of |y - y before|, `spread` of |y - slow level|, `surprise` and `bias` of the
    absolute and the signed error of a fast level; `reports` counts, `age` is steps since the last one.
    """

    lags: Float[Array, "entities lags"]
    levels: Float[Array, "entities rates"]
    change: Float[Array, " entities"]
    spread: Float[Array, " entities"]
    surprise: Float[Array, " entities"]
    bias: Float[Array, " entities"]
    reports: Float[Array, " entities"]
    age: Float[Array, " entities"]

    @property
    def last(self) -> Float[Array, " entities"]:
        """The last reported value."""
        return self.lags[:, 0]


class Quantity(eqx.Module):
    """What must be told of a quantity: `lags` kept, `resolution` (the smallest difference that means anything).

    `wanders` is True where it has no mean to return to (positions); `periods` are the lags of its seasons in steps.
    """

    resolution: float = eqx.field(static=True)
    lags: int = eqx.field(static=True, default=12)
    wanders: bool = eqx.field(static=True, default=False)
    periods: tuple[int, ...] = eqx.field(static=True, default=())

    @property
    def kept(self) -> int:
        """Steps of the past that a memory holds."""
        return max((self.lags, *self.periods))


def blank_memory(quantity: Quantity, entities: int) -> Memory:
    """Nothing reported yet."""
    zero = jnp.zeros(entities)
    return Memory(
        jnp.zeros((entities, quantity.kept)), jnp.zeros((entities, len(RATES))), zero, zero, zero, zero, zero, zero
    )


def remember(memory: Memory, value: Float[Array, " entities"], measured: Bool[Array, " entities"]) -> Memory:
    """Memory one step later, in which `value` was reported where `measured`."""
    count = memory.reports + measured
    first = measured & (memory.reports == 0)
    share = 1.0 / jnp.maximum(count, 1.0)
    later = jnp.maximum(1.0 / jnp.maximum(count - 1.0, 1.0), 0.0)
    rate = jnp.maximum(jnp.asarray(RATES)[None, :], share[:, None])
    levels = jnp.where(measured[:, None], memory.levels + rate * (value[:, None] - memory.levels), memory.levels)
    miss = value - memory.levels[:, _SURPRISE_LEVEL]
    news = measured & ~first

    def running(old: Array, new: Array, rate: float) -> Array:
        return jnp.where(news, old + jnp.maximum(rate, later) * (new - old), old)

    held = jnp.where(measured, value, memory.lags[:, 0])
    lags = jnp.where(first[:, None], value[:, None], jnp.concatenate([held[:, None], memory.lags[:, :-1]], axis=1))
    return Memory(
        lags=lags,
        levels=levels,
        change=running(memory.change, jnp.abs(value - memory.lags[:, 0]), _CHANGE_RATE),
        spread=running(memory.spread, jnp.abs(value - memory.levels[:, _SPREAD_LEVEL]), _SPREAD_RATE),
        surprise=running(memory.surprise, jnp.abs(miss), _SURPRISE_RATE),
        bias=running(memory.bias, miss, _BIAS_RATE),
        reports=count,
        age=jnp.where(measured, 0.0, memory.age + 1.0),
    )


def running_scale(quantity: Quantity, memory: Memory) -> Float[Array, " entities"]:
    """How much the quantity moves of late: geometric mean of change and spread, never below the resolution."""
    least = quantity.resolution
    return jnp.sqrt((memory.change + least) * (memory.spread + least))


def linear_features(quantity: Quantity, memory: Memory, horizon: int) -> Float[Array, "entities features"]:
    """What a linear forecast of (value at `horizon` - last value) is made of, in the unit of the quantity.

    Lags and levels as differences to the last value; where there is a mean to return to, 1 and the last value itself;
    the values one season before the horizon.
    """
    last = memory.last[:, None]
    parts = [memory.lags[:, 1 : quantity.lags] - last, memory.levels - last]
    if not quantity.wanders:
        parts += [jnp.full_like(last, 1.0), last]
    parts += [memory.lags[:, period - horizon, None] - last for period in quantity.periods]
    return jnp.concatenate(parts, axis=1)


def levels_among(quantity: Quantity) -> tuple[int, ...]:
    """Which of the linear features are running levels: weight 1 on one of them forecasts that level."""
    return tuple(range(quantity.lags - 1, quantity.lags - 1 + len(RATES)))


def network_features(
    quantity: Quantity, memory: Memory, covariates: Float[Array, "entities covariates"]
) -> Float[Array, "entities inputs"]:
    """Inputs of a network: what moved of late in running scales, those scales, and `covariates` in their units."""
    least = quantity.resolution
    scale = running_scale(quantity, memory)
    last = memory.last
    relative = jnp.concatenate(
        [
            memory.lags[:, 1 : min(_NEAR, quantity.lags)] - last[:, None],
            memory.levels - last[:, None],
            memory.bias[:, None],
            jnp.zeros_like(last)[:, None] if quantity.wanders else last[:, None],
        ],
        axis=1,
    )
    sizes = [scale, memory.change + least, memory.spread + least, memory.surprise + least]
    logs = [jnp.log(sizes[0] / least), *(jnp.log(size / scale) for size in sizes[1:])]
    counts = [jnp.log1p(memory.age), 1.0 / jnp.maximum(memory.reports, 1.0)]
    return jnp.concatenate(
        [jnp.arcsinh(relative / scale[:, None]), jnp.stack([*logs, *counts], axis=1), covariates], axis=1
    )
