import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from twinloop.learning import LEVELS, Distribution, quantile_score
from twinloop.learning.forecasting.distribution import (
    Mixture,
    draw,
    gaps_of,
    mixture_quantiles,
    mixture_score,
    monotone_quantiles,
    pinball_loss,
)


def test_quantiles_never_cross_and_come_back_from_their_gaps() -> None:
    steps = jax.random.normal(jax.random.key(0), (5, len(LEVELS) - 1)) * 4
    made = monotone_quantiles(jnp.arange(5.0), steps)
    assert (jnp.diff(made, axis=1) > 0).all() and np.allclose(made[:, 9], jnp.arange(5.0))
    again = monotone_quantiles(made[:, 9], gaps_of(made))
    np.testing.assert_allclose(again, made, atol=2e-3)


def test_the_pinball_loss_is_least_at_the_quantile_it_is_named_after() -> None:
    sample = jax.random.normal(jax.random.key(1), (4000,))
    true = jnp.quantile(sample, jnp.asarray(LEVELS))
    best = pinball_loss(jnp.broadcast_to(true, (4000, len(LEVELS))), sample).mean(axis=0)
    for shift in (-0.2, 0.2):
        other = pinball_loss(jnp.broadcast_to(true + shift, (4000, len(LEVELS))), sample).mean(axis=0)
        assert (other > best).all()


def test_a_mixture_of_one_has_the_normal_quantiles_and_score() -> None:
    one = Mixture(jnp.array([[1.0]]), jnp.array([[2.0]]), jnp.array([[3.0]]))
    wanted = 2.0 + 3.0 * jax.scipy.stats.norm.ppf(jnp.asarray(LEVELS))
    np.testing.assert_allclose(mixture_quantiles(one)[0], wanted, atol=1e-5)
    z = (4.0 - 2.0) / 3.0
    normal = jax.scipy.stats.norm
    closed = 3.0 * (z * (2 * normal.cdf(z) - 1) + 2 * normal.pdf(z) - 1 / np.sqrt(np.pi))
    assert float(mixture_score(one, jnp.array([4.0]))[0]) == pytest.approx(float(closed), rel=1e-5)


@pytest.mark.parametrize("std", [1e-3, 0.05, 2.0])
def test_as_much_of_a_mixture_lies_below_a_quantile_as_its_level_says(std: float) -> None:
    weight, mean = np.array([0.2, 0.5, 0.3]), np.array([-3.0, 0.0, 2.5])
    stds = np.array([std, 1.0, 0.4])
    mixture = Mixture(*(jnp.asarray(part[None], jnp.float32) for part in (weight, mean, stds)))
    found = np.asarray(mixture_quantiles(mixture)[0], np.float64)
    assert (np.diff(found) >= 0).all()
    for shift, sign in ((-2e-3, -1.0), (2e-3, 1.0)):
        below = (weight * scipy.stats.norm.cdf((found[:, None] + shift - mean) / stds)).sum(axis=1)
        assert (sign * (below - np.asarray(LEVELS)) > 0).all()


def test_both_scores_agree_on_a_mixture() -> None:
    two = Mixture(jnp.array([[0.3, 0.7]]), jnp.array([[-2.0, 1.0]]), jnp.array([[0.5, 1.5]]))
    for truth in (-2.0, 0.0, 3.0):
        exact = float(mixture_score(two, jnp.array([truth]))[0])
        assert float(quantile_score(mixture_quantiles(two), jnp.array([truth]))[0]) == pytest.approx(exact, rel=0.06)


def test_draws_follow_the_quantiles() -> None:
    quantiles = jnp.broadcast_to(jnp.asarray(LEVELS), (2000, len(LEVELS))) * 10
    values = draw(quantiles, jax.random.uniform(jax.random.key(2), (2000,)))
    np.testing.assert_allclose(jnp.quantile(values, jnp.array([0.1, 0.5, 0.9])), [1.0, 5.0, 9.0], atol=0.3)
    assert float(values.min()) < 0.5 and float(values.max()) > 9.5


def test_a_distribution_is_placed_and_kept_within_limits() -> None:
    plain = Distribution(jnp.zeros((2, 1)), jnp.broadcast_to(jnp.asarray(LEVELS) - 0.5, (2, 1, len(LEVELS))))
    there = plain.placed(jnp.array([[1.0], [0.1]]), jnp.array([[2.0], [1.0]]))
    np.testing.assert_allclose(there.median[:, 0], [1.0, 0.1], atol=1e-6)
    low, high = there.within(0.0, 1.5).interval
    np.testing.assert_allclose(low[:, 0], [0.1, 0.0], atol=1e-6)
    np.testing.assert_allclose(high[:, 0], [1.5, 0.55], atol=1e-6)
