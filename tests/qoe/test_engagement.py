import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rated import minutes

from twinloop.qoe import (
    Engagement,
    draw_scores,
    estimated_opinion,
    fit_engagement,
    fit_users,
    vague_prior,
    weak_ratings,
)

TRUTH = jnp.array([-1.0, 3.0, -1.0, -0.6])


def behaved(seed, users, periods):
    keys = jax.random.split(jax.random.key(seed), 4)
    watched = jax.random.uniform(keys[0], (users, periods))
    early = jax.random.uniform(keys[1], (users, periods)) * (1 - watched)
    stalls = 5 * jax.random.exponential(keys[2], (users, periods))
    mean = 1 + 4 * jax.nn.sigmoid(TRUTH[0] + TRUTH[1] * watched + TRUTH[2] * early + TRUTH[3] * jnp.log1p(stalls))
    return Engagement(watched, early, stalls), draw_scores(keys[3], mean, jnp.full_like(mean, 1.2))


@pytest.fixture(scope="module")
def model():
    return fit_engagement(*behaved(0, 60, 25), jnp.ones((60, 25)))


def test_the_model_is_recovered_within_its_own_uncertainty(model):
    truth = jnp.concatenate([TRUTH, jnp.log(jnp.array([1.2]))])
    deviation = jnp.sqrt(jnp.diagonal(model.covariance))
    assert bool(jnp.all(jnp.abs(model.parameters - truth) < 3.5 * deviation)) and float(deviation.max()) < 0.6


def test_opinions_of_people_not_fitted_lie_where_the_uncertainty_says(model):
    engagement, score = behaved(1, 40, 20)
    mean, deviation = estimated_opinion(model, engagement)
    error = score - mean
    assert float(jnp.mean(error)) == pytest.approx(0.0, abs=0.1)
    assert float(jnp.sqrt(jnp.mean((error / deviation) ** 2))) == pytest.approx(1.0, abs=0.1)
    assert float(jnp.std(error)) < 0.85 * float(jnp.std(score))


def test_unrated_periods_do_not_count_and_watching_speaks_for_a_good_experience(model):
    engagement, score = behaved(0, 60, 25)
    weight = jnp.ones((60, 25)).at[:, 20:].set(0.0)
    wrong = score.at[:, 20:].set(1.0)
    kept = fit_engagement(engagement, wrong, weight)
    assert kept.parameters == pytest.approx(np.asarray(model.parameters), abs=0.4)
    used = ((0.1, 0.9, 9.0), (1.0, 0.0, 0.0))
    low, high = (estimated_opinion(kept, Engagement(*map(jnp.asarray, one)))[0] for one in used)
    assert float(low) + 1 < float(high)


def test_weak_ratings_count_less_than_scores_and_carry_a_fit(model):
    engagement, _ = behaved(2, 4, 20)
    present = jnp.ones((4, 20)).at[0].set(0.0)
    weak = weak_ratings(model, minutes(jax.random.key(0), (4, 20)), engagement, present, 0.8)
    assert weak.count[0] == 0 and 0 < float(weak.weight[1:].max()) < 1
    assert bool(jnp.all((weak.score >= 1) & (weak.score <= 5)))
    assert bool(jnp.all(jnp.isfinite(fit_users(weak, vague_prior()).parameters)))
