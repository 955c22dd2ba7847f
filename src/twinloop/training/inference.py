"""Adaptive inference: a small network says, entity by entity, which of several models is worth its energy now."""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int, Int64, PRNGKeyArray

from twinloop.learning import fit
from twinloop.training.small_forecasters import Examples, Forecaster

JOULE_PER_MULTIPLY_ADD = 4.6e-12
"""One multiply-add in 32-bit floating point: 3.7 + .9 pJ at 45 nm (Horowitz, ISSCC 2014). Memory is left out."""
BUCKETS = (2048, 256)
_RECENT = 5
_HIDDEN = 16
_WORST = 10.0


def context_of(
    examples: Examples, task: Int[Array, " examples"], past_error: Float[Array, " examples"]
) -> Float[Array, "examples features"]:
    """What the choice is made from: network status, task, past error.

    Status is the spread of the last 5 values over that of the past, the last step, the last value, the weight of the
    past (its spread over the entity's own) and the newest covariates; `task` is the row of the horizon that is asked
    for; `past_error` a running mean of squared errors as shares of the variance.
    """
    value = examples.past[:, :, 0]
    status = [
        jnp.std(value[:, -_RECENT:], axis=1),
        jnp.abs(value[:, -1] - value[:, -2]),
        value[:, -1],
        jnp.log(examples.weight + 1e-3),
        jnp.log(past_error + 1e-3),
    ]
    asked = jax.nn.one_hot(task, examples.truth.shape[1])
    return jnp.concatenate([jnp.stack(status, axis=1), examples.past[:, -1, 1:], asked], axis=1)


class Choices(eqx.Module):
    """What a chooser is trained on: the context, and the error that each model would have made."""

    context: Float[Array, "examples features"]
    error: Float[Array, "examples models"]


class SizeChooser(eqx.Module):
    """A network of one hidden layer from a context and the price of energy to a score of each model.

    It is trained to make sum_k softmax(score)_k (error_k + price cost_k) small, over prices drawn between 0 and the
    greatest; cost_k is the energy of model k over that of the dearest. The best score is chosen.
    """

    network: eqx.nn.MLP
    shift: Float[Array, " features"]
    spread: Float[Array, " features"]
    cost: Float[Array, " models"]
    highest_price: float = eqx.field(static=True)

    def scores(
        self, context: Float[Array, "examples features"], price: Float[Array, " examples"]
    ) -> Float[Array, "examples models"]:
        """Scores of the models at a price of energy."""
        shift, spread = jax.lax.stop_gradient((self.shift, self.spread))
        seen = jnp.clip((context - shift[None, :]) / spread[None, :], -5.0, 5.0)
        asked = jnp.log(price / self.highest_price + 1e-4)[:, None]
        return jax.vmap(self.network)(jnp.concatenate([seen, asked], axis=1))

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of one choice."""
        return sum(int(layer.weight.size) for layer in self.network.layers)


@eqx.filter_jit
def choose(
    chooser: SizeChooser, context: Float[Array, "examples features"], price: float | Float[Array, ""]
) -> Int[Array, " examples"]:
    """Row of the chosen model of each example."""
    prices = jnp.full(context.shape[0], price)
    return jnp.argmax(chooser.scores(context, prices), axis=1).astype(jnp.int32)


def _expected_cost(chooser: SizeChooser, key: PRNGKeyArray, batch: Choices) -> Float[Array, ""]:
    price = chooser.highest_price * jax.random.uniform(key, (batch.error.shape[0],)) ** 3
    chance = jax.nn.softmax(chooser.scores(batch.context, price), axis=1)
    cost = price[:, None] * jax.lax.stop_gradient(chooser.cost)[None, :]
    return jnp.mean(jnp.sum(chance * (jnp.minimum(batch.error, _WORST) + cost), axis=1))


def train_chooser(
    key: PRNGKeyArray,
    choices: Choices,
    held_out: Choices,
    multiply_adds: Sequence[int],
    *,
    highest_price: float = 0.3,
    steps: int = 1500,
) -> SizeChooser:
    """A chooser among models of those costs. `highest_price` is in units of error, for the dearest model."""
    cost = np.asarray(multiply_adds, np.float64)
    k_start, k_fit = jax.random.split(key)
    features = choices.context.shape[1]
    chooser = SizeChooser(
        eqx.nn.MLP(features + 1, len(cost), _HIDDEN, 1, key=k_start),
        jnp.mean(choices.context, axis=0),
        jnp.std(choices.context, axis=0) + 1e-3,
        jnp.asarray(cost / cost.max(), jnp.float32),
        highest_price,
    )
    fitted = fit(k_fit, chooser, _expected_cost, choices, held_out, steps=steps, batch=256)
    return fitted.model


@eqx.filter_jit
def _forecast_rows(
    model: Forecaster, past: Float[Array, "entities lags inputs"], rows: Int[Array, " bucket"]
) -> Float[Array, "bucket horizons"]:
    return model(past[rows])


def forecast_in_groups(
    models: Sequence[Forecaster], past: Float[Array, "entities lags inputs"], choice: Int64[np.ndarray, " entities"]
) -> Float32[np.ndarray, "entities horizons"]:
    """Forecasts of all entities, each by its chosen model, so that what is not chosen is not computed.

    Entities are gathered by model into buckets of fixed sizes, the last of which is filled up with its first row: one
    compiled program for each model and size, whatever is chosen.
    """
    parts: list[tuple[Int64[np.ndarray, " rows"], Array]] = []
    for number, model in enumerate(models):
        mine = np.flatnonzero(choice == number)
        while len(mine):
            size = next((bucket for bucket in BUCKETS if len(mine) >= bucket), BUCKETS[-1])
            now, mine = mine[:size], mine[size:]
            rows = np.concatenate([now, np.repeat(now[:1], size - len(now))])
            parts.append((now, _forecast_rows(model, past, jnp.asarray(rows, jnp.int32))))
    out: Float32[np.ndarray, "entities horizons"] | None = None
    for now, forecast in parts:
        if out is None:
            out = np.zeros((past.shape[0], forecast.shape[1]), np.float32)
        out[now] = np.asarray(forecast)[: len(now)]
    return np.zeros((past.shape[0], 0), np.float32) if out is None else out
