"""Forecasters of three sizes over a short past: linear, GRU with 8 units, GRU with 48; and their examples.

They read the last steps of a twin's history and keep no state of their own, so that an entity may change its model from
slot to slot. What they see and say is relative to that past, so that level and scale of an entity do not matter.
"""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64, PRNGKeyArray

LAGS = 20
HORIZONS = (1, 5, 10)
_EWMA = 0.3
_LEAST_SPREAD = 0.05


class Examples(eqx.Module):
    """What forecasters are trained on and tried with.

    `past` is (value - EWMA of the past) / spread of the past, and behind it the covariates; `truth` the values at the
    horizons likewise; `weight` the spread over the entity's own standard deviation, so that (`weight` x error)^2 is a
    share of its variance.
    """

    past: Float[Array, "examples lags inputs"]
    truth: Float[Array, "examples horizons"]
    weight: Float[Array, " examples"]


def examples_of(
    value: Float64[np.ndarray, " steps"],
    covariates: Float64[np.ndarray, "steps covariates"] | None = None,
    *,
    deviation: float | None = None,
    horizons: Sequence[int] = HORIZONS,
) -> Examples:
    """Every window of a series: `LAGS` steps of past, the truth at `horizons`. NaN counts as the last value.

    `covariates` (already near mean 0, variance 1) join the inputs, `deviation` replaces the standard deviation of the
    series as the unit of the weights. A series shorter than a window gives no example.
    """
    count = max(len(value) - LAGS - max(horizons) + 1, 0)
    spread_all = float(np.std(value)) if deviation is None else deviation
    window = np.lib.stride_tricks.sliding_window_view(value, LAGS)[:count] if count else np.zeros((0, LAGS))
    share = _EWMA * (1 - _EWMA) ** np.arange(LAGS)[::-1]
    centre = window @ (share / share.sum())
    spread = np.std(window, axis=1) + _LEAST_SPREAD * max(spread_all, 1e-9)
    ahead = LAGS - 1 + np.arange(count)[:, None] + np.asarray(horizons)[None, :]
    past = ((window - centre[:, None]) / spread[:, None])[:, :, None]
    if covariates is not None:
        beside = np.lib.stride_tricks.sliding_window_view(covariates, LAGS, axis=0)[:count]
        past = np.concatenate([past, np.moveaxis(beside, 1, 2)], axis=2)
    truth = (value[ahead] - centre[:, None]) / spread[:, None]
    return Examples(
        jnp.asarray(past, jnp.float32),
        jnp.asarray(truth, jnp.float32),
        jnp.asarray(spread / max(spread_all, 1e-9), jnp.float32),
    )


class LinearForecaster(eqx.Module):
    """Every horizon as a weighted sum of the past's values (covariates are not used)."""

    weight: Float[Array, "lags horizons"]
    bias: Float[Array, " horizons"]

    def __call__(self, past: Float[Array, "examples lags inputs"]) -> Float[Array, "examples horizons"]:
        """Forecasts by horizon, relative as the examples are."""
        return past[:, :, 0] @ self.weight + self.bias[None, :]

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds for one entity."""
        return int(self.weight.size)


class GruForecaster(eqx.Module):
    """A gated recurrent unit over the past, and a linear map of its last state (Cho et al. 2014), beside a linear
    forecast of the values.
    """

    cell: eqx.nn.GRUCell
    head: Float[Array, "hidden horizons"]
    linear: LinearForecaster

    def __call__(self, past: Float[Array, "examples lags inputs"]) -> Float[Array, "examples horizons"]:
        """Forecasts by horizon, relative as the examples are."""

        def one(hidden: Array, inputs: Array) -> tuple[Array, None]:
            return jax.vmap(self.cell)(inputs, hidden), None

        start = jnp.zeros((past.shape[0], self.cell.hidden_size))
        hidden = jax.lax.scan(one, start, jnp.moveaxis(past, 1, 0))[0]
        return self.linear(past) + hidden @ self.head

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds for one entity: every step of the past through the gates, then both heads."""
        hidden, inputs = self.cell.hidden_size, self.cell.input_size
        return LAGS * 3 * hidden * (hidden + inputs) + int(self.head.size) + self.linear.multiply_adds


Forecaster = LinearForecaster | GruForecaster


def linear_forecaster(examples: Examples, ridge: float = 1.0) -> LinearForecaster:
    """The ridge regression of the examples, each with its weight, solved at once."""
    weight = np.asarray(examples.weight, np.float64)[:, None]
    x = np.asarray(examples.past[:, :, 0], np.float64)
    x = np.concatenate([x, np.ones((len(x), 1))], axis=1) * weight
    y = np.asarray(examples.truth, np.float64) * weight
    solved = np.linalg.solve(x.T @ x + ridge * np.eye(x.shape[1]), x.T @ y)
    return LinearForecaster(jnp.asarray(solved[:-1], jnp.float32), jnp.asarray(solved[-1], jnp.float32))


def gru_forecaster(key: PRNGKeyArray, hidden: int, inputs: int, linear: LinearForecaster) -> GruForecaster:
    """An untrained one that says what `linear` says."""
    return GruForecaster(eqx.nn.GRUCell(inputs, hidden, key=key), jnp.zeros((hidden, linear.bias.shape[0])), linear)


def squared_error(model: Forecaster, examples: Examples) -> Float[Array, " examples"]:
    """Squared error as a share of the entity's variance, mean over the horizons."""
    return jnp.mean(horizon_errors(model, examples), axis=1)


def horizon_errors(model: Forecaster, examples: Examples) -> Float[Array, "examples horizons"]:
    """Squared error of each horizon as a share of the entity's variance."""
    return (examples.weight[:, None] * (model(examples.past) - examples.truth)) ** 2


def mean_squared_error(model: Forecaster, key: PRNGKeyArray, batch: Examples) -> Float[Array, ""]:
    """The loss of training: mean of `squared_error`; `key` is not used."""
    return jnp.mean(squared_error(model, batch))


def joined(parts: Sequence[Examples]) -> Examples:
    """Examples of several series as one."""
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)
