import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rated import experiences, rated
from scipy.optimize import minimize
from scipy.stats import truncnorm

from twinloop.qoe import (
    UserModels,
    fit_on,
    fit_users,
    general_model,
    held_out_likelihood,
    learn_prior,
    likeliest,
    own_intervals,
    posterior_intervals,
    predict,
    vague_prior,
)
from twinloop.qoe.fitting.likelihood import evaluate
from twinloop.qoe.fitting.population import fit_given
from twinloop.qoe.fitting.structures import free_parameters

USERS, RATINGS = 30, 40
fit = eqx.filter_jit(fit_users)


@pytest.fixture(scope="module")
def world():
    return rated(4, USERS, RATINGS)


@pytest.fixture(scope="module")
def prior(world):
    return eqx.filter_jit(learn_prior)(world[1])


@pytest.fixture(scope="module")
def fitted(world, prior):
    return fit(world[1], prior)


def rmse(experience, truth):
    return float(jnp.sqrt(jnp.mean((experience - truth) ** 2)))


def scipy_loss(parameters, ratings, user):
    """Minus log likelihood by scipy.stats, float64."""
    level, quality, stall, kappa_b, kappa_c, spread = parameters
    about = jax.tree.map(lambda leaf: np.asarray(leaf[user], np.float64), ratings)
    q, r, b, c = (getattr(about.conditions, n) for n in ("quality", "stall_s", "behaviour", "environment"))
    share = (level + quality * q - stall * r) * b**-kappa_b * c**-kappa_c
    mean, deviation = 1 + 4 * np.clip(share, 0, 1), np.exp(0.5 * spread)
    return -truncnorm.logpdf(about.score, (1 - mean) / deviation, (5 - mean) / deviation, mean, deviation).sum()


def test_the_likelihood_its_slope_and_information_are_right(world):
    ratings = world[1]
    at = jnp.array([0.3, 0.5, 0.05, 0.1, 0.2, -0.3])
    found = evaluate(jnp.tile(at[None, None], (USERS, 1, 1)), ratings)
    constant = 0.5 * np.log(2 * np.pi) * RATINGS
    for user in (0, 1):
        assert float(found.loss[user, 0]) + constant == pytest.approx(scipy_loss(at, ratings, user), rel=1e-5)

    def loss(x):
        return evaluate(x, ratings).loss[0, 0]

    slope = jax.grad(loss)(jnp.tile(at[None, None], (USERS, 1, 1)))[0, 0]
    assert found.slope[0, 0] == pytest.approx(np.asarray(slope), rel=1e-3, abs=1e-3)
    assert np.linalg.eigvalsh(np.asarray(found.information[0, 0])).min() > 0


def test_optima_are_those_of_scipy_on_the_same_likelihood(world):
    models, ratings, _ = world
    wide = vague_prior()
    fits = eqx.filter_jit(fit_given)(ratings, wide)
    deviation = np.sqrt(np.diagonal(np.asarray(wide.covariance[0])))
    for user in range(3):
        true = 4 * int(models.rule[user])
        for structure in (true, true + 3, (true + 4) % 12):
            kept = free_parameters()[structure]
            middle = np.asarray(wide.mean[0])[kept]

            def posterior(x, user=user, kept=kept, middle=middle):
                full = np.zeros(6)
                full[kept] = x
                return scipy_loss(full, ratings, user) + 0.5 * np.sum(((x - middle) / deviation[kept]) ** 2)

            ours = np.asarray(fits.parameters[user, structure], np.float64)[kept]
            bounds = [(0, 2)] * (kept.sum() - 1) + [(-3, 3)]
            from_ours = minimize(posterior, ours, bounds=bounds, method="L-BFGS-B").fun
            assert posterior(ours) <= from_ours + 0.3
            if structure // 4 == models.rule[user]:
                assert posterior(ours) <= from_ours + 0.02
                from_the_middle = minimize(posterior, middle, bounds=bounds, method="L-BFGS-B").fun
                assert posterior(ours) <= from_the_middle + 0.05


def test_rules_are_found_and_models_beat_one_for_all(world, fitted):
    models, ratings, experience = world
    assert float(jnp.mean(fitted.models.rule == models.rule)) >= 0.9
    mean, deviation = predict(fitted, ratings.conditions)
    general = rmse(experiences(general_model(ratings)[0], ratings.conditions), experience)
    assert rmse(mean, experience) < 0.4 * general
    assert rmse(experiences(fitted.blend, ratings.conditions), experience) < 0.4 * general
    assert 0.8 < float(jnp.mean(jnp.abs(mean - experience) <= 2 * deviation)) <= 1.0
    assert fitted.probability.sum(axis=1) == pytest.approx(1.0, abs=1e-4)


def test_who_never_rated_has_the_model_of_the_population(world, prior):
    _, ratings, _ = world
    silent = eqx.tree_at(lambda r: r.weight, ratings, ratings.weight.at[0].set(0.0).at[1, 1:].set(0.0))
    fitted = fit(silent, prior)
    assert fitted.probability[0].reshape(3, 4) == pytest.approx(np.asarray(prior.shares), abs=0.02)
    assert fitted.count[:2] == pytest.approx([0.0, 1.0])
    assert all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(fitted))
    _, deviation = predict(fitted, ratings.conditions)
    assert float(deviation[0].mean()) > float(deviation[2:].mean())


def test_what_stands_in_empty_places_does_not_matter(world, prior, fitted):
    ratings = eqx.tree_at(lambda r: r.weight, world[1], world[1].weight.at[:, 20:].set(0.0))
    other = eqx.tree_at(lambda r: r.score, ratings, ratings.score.at[:, 20:].set(1.0))
    assert fit(other, prior).parameters == pytest.approx(np.asarray(fit(ratings, prior).parameters), abs=1e-5)
    assert not np.allclose(fit(ratings, prior).parameters, fitted.parameters, atol=1e-3)


def test_users_beyond_one_block_are_fitted_alike(world, prior, fitted):
    twice = jax.tree.map(lambda leaf: jnp.concatenate([leaf, leaf]), world[1])
    many = fit(twice, prior)
    near = np.isclose(many.parameters[USERS:], fitted.parameters, atol=2e-3)
    assert near.mean() > 0.99, "but for flat likelihoods, where rounding decides when a fit stops"


def test_fits_that_go_on_from_fewer_ratings_are_as_good_as_fits_from_nothing(world):
    _, ratings, truth = world
    before = vague_prior()

    def told(count):
        return eqx.tree_at(
            lambda r: r.weight, ratings, jnp.tile(jnp.arange(RATINGS) < count, (USERS, 1)).astype(jnp.float32)
        )

    known = start = fit(told(10), before=before)
    for count in (20, 30, RATINGS):
        known = eqx.filter_jit(fit_on)(known, told(count), before)
    anew = fit(told(RATINGS), before=before)
    wrong = [rmse(experiences(one.blend, ratings.conditions), truth) for one in (start, known, anew)]
    assert wrong[1] < 0.75 * wrong[0]
    assert wrong[1] == pytest.approx(wrong[2], rel=0.1), "of thirty people one in another valley is 5 %"
    assert np.mean(np.asarray(known.models.rule) == np.asarray(anew.models.rule)) >= 0.95
    np.testing.assert_allclose(known.prior.shares.sum(axis=1), anew.prior.shares.sum(axis=1), atol=0.05)


def test_three_ratings_do_better_with_a_learnt_prior_than_without(world, prior):
    _, ratings, experience = world
    few = eqx.tree_at(lambda r: r.weight, ratings, ratings.weight.at[:, 3:].set(0.0))
    learnt, vague = (predict(fit(few, one), ratings.conditions)[0] for one in (prior, vague_prior()))
    assert rmse(learnt, experience) < rmse(vague, experience)


def test_the_prior_learns_the_shares_of_rules_and_ignores_who_is_silent(world, prior):
    models, ratings, _ = world
    shares = np.bincount(np.asarray(models.rule), minlength=3) / USERS
    assert prior.shares.sum(axis=1) == pytest.approx(shares, abs=0.1)
    silent = jax.tree.map(lambda leaf: leaf, ratings)
    silent = eqx.tree_at(lambda r: r.weight, silent, jnp.zeros_like(silent.weight))
    kept = eqx.filter_jit(learn_prior)(silent)
    assert kept.mean == pytest.approx(np.asarray(vague_prior().mean), abs=1e-4)
    assert float(kept.users) == pytest.approx(float(vague_prior().users))


def test_intervals_hold_the_truth_about_as_often_as_they_say(world, fitted):
    models, ratings, _ = world
    truth = [models.level, models.quality_weight, models.stall_weight, models.kappa_b, models.kappa_c]
    truth = jnp.stack([*truth, jnp.full(USERS, jnp.log(0.8))], axis=1)
    right = (fitted.models.rule == models.rule)[:, None]
    own = own_intervals(ratings, fitted.models.rule)
    inside = (own.low <= truth) & (truth <= own.high)
    assert 0.85 < float(inside[own.free & right].mean()) <= 1.0
    assert bool(jnp.all(own.low[:, :5] >= 0.0))
    narrow = posterior_intervals(fitted)
    both = own.free & narrow.free
    assert float((narrow.high - narrow.low)[both].mean()) < float((own.high - own.low)[both].mean())


def test_cross_validation_finds_the_rules_too(world, prior):
    models, ratings, _ = world
    found = likeliest(eqx.filter_jit(held_out_likelihood)(ratings, prior))
    assert float(jnp.mean(found // 4 == models.rule)) >= 0.85


def test_the_general_model_finds_a_population_that_is_all_alike():
    models, ratings, experience = rated(9, USERS, RATINGS)
    one = UserModels(*(jnp.broadcast_to(leaf[0], leaf.shape) for leaf in jax.tree.leaves(models)))
    alike = eqx.tree_at(lambda r: r.score, ratings, experiences(one, ratings.conditions))
    assert rmse(experiences(general_model(alike)[0], alike.conditions), alike.score) < 0.02
    assert rmse(experiences(general_model(ratings)[0], ratings.conditions), experience) > 0.3
