"""A new user's or a new cell's model: begun from the twin that is most like it, not from nothing."""

from collections.abc import Sequence
from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64, PRNGKeyArray

from twinloop.learning import fit
from twinloop.training.small_forecasters import (
    Examples,
    GruForecaster,
    LinearForecaster,
    gru_forecaster,
    mean_squared_error,
)

_LAGS = (1, 2, 5, 10)


def series_features(value: Float64[np.ndarray, " steps"]) -> Float64[np.ndarray, " features"]:
    """What the first minutes of a series say of its kind, free of its unit.

    Coefficient of variation, autocorrelation at 1, 2, 5 and 10 steps, deviation of the steps over that of the values,
    share of zeros, skewness.
    """
    middle, spread = float(np.mean(value)), float(np.std(value))
    if spread <= 1e-12 * max(abs(middle), 1.0):
        return np.array([0.0, *(1.0 for _ in _LAGS), 0.0, float(np.mean(value == 0)), 0.0])
    z = (value - middle) / spread
    correlation = [float(np.mean(z[lag:] * z[:-lag])) if len(z) > lag else 0.0 for lag in _LAGS]
    rough = float(np.std(np.diff(z))) if len(z) > 1 else 0.0
    skew = float(np.clip(np.mean(z**3), -5, 5))
    variation = min(spread / max(abs(middle), 1e-9), 5.0)
    return np.array([variation, *correlation, rough, float(np.mean(value == 0)), skew])


@dataclass(frozen=True)
class KnownTwins:
    """Features of twins that have models, in rows; distances are in their standard deviations."""

    features: Float64[np.ndarray, "twins features"]

    def nearest(self, features: Float64[np.ndarray, " features"], barred: Sequence[int] = ()) -> int:
        """Row of the twin most like `features`, none of `barred`. Raises ValueError where no twin is left."""
        if len(set(barred)) >= len(self.features):
            raise ValueError("no twin to start from: every one is barred")
        spread = self.features.std(axis=0) + 1e-9
        apart = np.sum(((self.features - features[None, :]) / spread[None, :]) ** 2, axis=1)
        apart[list(barred)] = np.inf
        return int(np.argmin(apart))


def _many(models: Sequence[GruForecaster]) -> GruForecaster:
    """Models of one structure as one whose arrays have a leading axis of models."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves) if eqx.is_array(leaves[0]) else leaves[0], *models)


def chosen(models: GruForecaster, rows: Sequence[int]) -> GruForecaster:
    """The models of those rows."""
    pick = jnp.asarray(list(rows))
    return jax.tree.map(lambda leaf: leaf[pick] if eqx.is_array(leaf) else leaf, models)


def untrained(key: PRNGKeyArray, count: int, hidden: int, inputs: int, horizons: int, lags: int) -> GruForecaster:
    """Models that know nothing: their linear part holds the running level (every weight 0)."""
    blank = LinearForecaster(jnp.zeros((lags, horizons)), jnp.zeros(horizons))
    return _many([gru_forecaster(k, hidden, inputs, blank) for k in jax.random.split(key, count)])


@eqx.filter_jit
def train_each(
    key: PRNGKeyArray,
    models: GruForecaster,
    examples: Examples,
    held_out: Examples,
    *,
    steps: int,
    batch: int = 32,
    learning_rate: float = 3e-3,
) -> GruForecaster:
    """Each model (leading axis) trained on its own examples and chosen on its own held-out ones, all at once."""
    count = held_out.weight.shape[0]
    arrays, rest = eqx.partition(models, eqx.is_array)

    def one(k: Array, leaves: GruForecaster, some: Examples, held: Examples) -> GruForecaster:
        model = eqx.combine(leaves, rest)
        fitted = fit(
            k, model, mean_squared_error, some, held,
            steps=steps, batch=batch, learning_rate=learning_rate, checks=10,
        )  # fmt: skip
        return eqx.filter(fitted.model, eqx.is_array)

    trained = jax.vmap(one)(jax.random.split(key, count), arrays, examples, held_out)
    return eqx.combine(trained, rest)


@eqx.filter_jit
def errors_of_each(models: GruForecaster, examples: Examples) -> Float[Array, " models"]:
    """Mean squared error of each model on its own examples, as a share of the entity's variance."""
    arrays, rest = eqx.partition(models, eqx.is_array)

    def one(leaves: GruForecaster, some: Examples) -> Float[Array, ""]:
        return mean_squared_error(eqx.combine(leaves, rest), jax.random.key(0), some)

    return jax.vmap(one)(arrays, examples)
