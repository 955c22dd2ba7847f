import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twinloop.learning import fit
from twinloop.training import (
    LAGS,
    Choices,
    choose,
    context_of,
    examples_of,
    forecast_in_groups,
    gru_forecaster,
    horizon_errors,
    linear_forecaster,
    mean_squared_error,
    squared_error,
    train_chooser,
)

KEY = jax.random.key(0)


def wave(steps: int, period: int, seed: int, noise: float = 0.1) -> np.ndarray:
    draw = np.random.default_rng(seed)
    return 10 + 2 * np.sin(2 * np.pi * np.arange(steps) / period) + noise * draw.standard_normal(steps)


def test_examples_are_relative_to_their_past_whatever_the_level_and_scale() -> None:
    value = wave(120, 12, 0)
    small, large = examples_of(value), examples_of(1e6 * value + 5e6)
    assert small.past.shape == (120 - LAGS - 9, LAGS, 1) and small.truth.shape[1] == 3
    np.testing.assert_allclose(small.past, large.past, atol=1e-3)
    np.testing.assert_allclose(small.weight, large.weight, rtol=1e-4)
    assert examples_of(value[:25]).weight.shape == (0,)
    flat = examples_of(np.full(60, 7.0))
    assert np.isfinite(flat.past).all() and not np.asarray(flat.truth).any()


def test_truth_is_the_value_at_the_horizon() -> None:
    value = np.arange(60.0)
    one = examples_of(value, deviation=1.0, horizons=(1, 5))
    ahead = np.asarray(one.truth) * np.asarray(one.weight)[:, None]
    np.testing.assert_allclose(ahead[:, 1] - ahead[:, 0], 4.0, rtol=1e-4)


def test_covariates_join_the_inputs() -> None:
    value, radio = wave(80, 9, 1), np.arange(80.0)[:, None]
    one = examples_of(value, radio)
    assert one.past.shape[2] == 2 and one.past[3, -1, 1] == 3 + LAGS - 1


def test_a_linear_forecaster_learns_a_wave_and_a_gru_starts_from_it() -> None:
    train, test = examples_of(wave(400, 12, 0)), examples_of(wave(200, 12, 1))
    linear = linear_forecaster(train)
    assert float(jnp.mean(squared_error(linear, test))) < 0.05
    gru = gru_forecaster(KEY, 8, 1, linear)
    np.testing.assert_allclose(gru(test.past), linear(test.past), rtol=1e-5)
    assert gru.multiply_adds > 50 * linear.multiply_adds and linear.multiply_adds == 3 * LAGS
    trained = fit(KEY, gru, mean_squared_error, train, test, steps=40, batch=32, checks=2).model
    assert float(jnp.mean(squared_error(trained, test))) <= float(jnp.mean(squared_error(linear, test)))
    assert horizon_errors(linear, test).shape == (test.weight.shape[0], 3)


def choices(count: int, seed: int) -> Choices:
    """Feature 0 says whether the second model halves the error."""
    draw = np.random.default_rng(seed)
    context = draw.standard_normal((count, 4)).astype(np.float32)
    second = np.where(context[:, 0] > 0, 0.5, 1.0)
    return Choices(jnp.asarray(context), jnp.asarray(np.stack([np.ones(count), second], axis=1), jnp.float32))


def test_the_chooser_spends_where_it_helps_and_less_as_energy_grows_dear() -> None:
    chooser = train_chooser(KEY, choices(2000, 0), choices(500, 1), (100, 10_000), highest_price=1.0, steps=400)
    test = choices(1000, 2)
    cheap, dear = (np.asarray(choose(chooser, test.context, price)) for price in (0.1, 1.0))
    helps = np.asarray(test.context[:, 0] > 0)
    assert np.mean(cheap[helps] == 1) > 0.9 and np.mean(cheap[~helps] == 1) < 0.3
    assert dear.mean() < 0.1
    assert 0 < chooser.multiply_adds < 300


def test_a_context_holds_status_task_and_past_error() -> None:
    one = examples_of(wave(100, 12, 0), np.ones((100, 2)))
    count = one.weight.shape[0]
    context = context_of(one, jnp.full(count, 2, jnp.int32), jnp.full(count, 0.5))
    assert context.shape == (count, 5 + 2 + 3) and np.isfinite(context).all()
    assert (context[:, -1] == 1).all() and not context[:, -3:-1].any()


@pytest.mark.parametrize("entities", [5, 300, 2500])
def test_groups_forecast_what_each_chosen_model_says(entities: int) -> None:
    draw = np.random.default_rng(entities)
    past = jnp.asarray(draw.standard_normal((entities, LAGS, 1)), jnp.float32)
    linear = linear_forecaster(examples_of(wave(200, 12, 0)))
    models = (linear, gru_forecaster(KEY, 4, 1, linear_forecaster(examples_of(wave(200, 7, 3)))))
    choice = draw.integers(2, size=entities)
    wanted = np.where((choice == 0)[:, None], np.asarray(models[0](past)), np.asarray(models[1](past)))
    np.testing.assert_allclose(forecast_in_groups(models, past, choice), wanted, rtol=1e-4, atol=1e-5)


def test_what_is_not_chosen_costs_no_time() -> None:
    past = jnp.zeros((4096, LAGS, 1))
    linear = linear_forecaster(examples_of(wave(200, 12, 0)))
    models = (linear, gru_forecaster(KEY, 48, 1, linear))

    def taken(large: int) -> float:
        choice = np.zeros(4096, np.int64)
        choice[:large] = 1
        times = []
        for _ in range(4):
            begun = time.perf_counter()
            forecast_in_groups(models, past, choice)
            times.append(time.perf_counter() - begun)
        return min(times)

    assert taken(0) < 0.5 * taken(4096)


def test_nobody_to_forecast_is_no_error() -> None:
    linear = linear_forecaster(examples_of(wave(200, 12, 0)))
    assert forecast_in_groups((linear,), jnp.zeros((0, LAGS, 1)), np.zeros(0, np.int64)).shape[0] == 0
