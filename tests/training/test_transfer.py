import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twinloop.training import (
    HORIZONS,
    LAGS,
    KnownTwins,
    chosen,
    errors_of_each,
    examples_of,
    series_features,
    train_each,
    untrained,
)

KEY = jax.random.key(0)


def wave(period: float, seed: int, steps: int = 200) -> np.ndarray:
    draw = np.random.default_rng(seed)
    return 5 + np.sin(2 * np.pi * np.arange(steps) / period) + 0.1 * draw.standard_normal(steps)


def test_features_know_the_kind_and_not_the_unit() -> None:
    slow, same, fast = (series_features(wave(period, seed)) for period, seed in ((20, 0), (20, 1), (3, 2)))
    assert np.linalg.norm(slow - same) < 0.3 * np.linalg.norm(slow - fast)
    np.testing.assert_allclose(series_features(1e6 * wave(20, 0)), slow, rtol=1e-6)


@pytest.mark.parametrize("odd", [np.full(30, 3.0), np.zeros(30), np.array([1.0]), np.array([1.0, 2.0])])
def test_features_of_short_and_constant_series_are_numbers(odd: np.ndarray) -> None:
    assert np.isfinite(series_features(odd)).all()


def test_the_nearest_twin_is_of_the_same_kind_unless_barred() -> None:
    known = KnownTwins(np.stack([series_features(wave(period, seed)) for seed, period in enumerate((20, 3, 7))]))
    assert known.nearest(series_features(wave(3, 9)[:60])) == 1
    assert known.nearest(series_features(wave(3, 9)[:60]), barred=[1]) != 1
    with pytest.raises(ValueError, match="no twin to start from"):
        known.nearest(series_features(wave(3, 9)), barred=[0, 1, 2])


def test_each_model_is_trained_on_its_own_examples_and_can_be_handed_on() -> None:
    train, held = (
        jax.tree.map(lambda *parts: jnp.stack(parts), *[examples_of(wave(period, seed + at)) for seed, period in both])
        for at, both in ((0, ((0, 20), (1, 5))), (10, ((0, 20), (1, 5))))
    )
    begun = untrained(KEY, 2, 6, 1, len(HORIZONS), LAGS)
    before = errors_of_each(begun, held)
    models = train_each(KEY, begun, train, held, steps=120, learning_rate=1e-2)
    after = errors_of_each(models, held)
    assert (after < 0.6 * before).all()
    crossed = errors_of_each(chosen(models, [1, 0]), held)
    assert (crossed > after).all()
