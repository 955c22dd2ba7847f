import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rated import experiences, minutes, rated

from twinloop.qoe import (
    Conditions,
    Ratings,
    draw_scores,
    fit_users,
    has_moved,
    relevant_factors,
    revise,
    surroundings,
    told,
    vague_prior,
)

USERS, RATINGS = 30, 40


@pytest.fixture(scope="module")
def life():
    models, ratings, _ = rated(4, USERS, RATINGS)
    calm = eqx.tree_at(lambda c: c.behaviour, minutes(jax.random.key(9), (USERS, 30)), jnp.full((USERS, 30), 1.2))
    busy = eqx.tree_at(lambda c: c.behaviour, calm, calm.behaviour.at[:5].set(1.9))
    there = jnp.ones((USERS, 30))
    return models, ratings, surroundings(calm, there), surroundings(busy, there)


def test_only_who_moved_is_examined(life):
    _, _, calm, busy = life
    assert np.flatnonzero(has_moved(calm, busy)).tolist() == [0, 1, 2, 3, 4]
    assert not has_moved(calm, calm).any()


def test_chance_and_few_periods_are_no_movement():
    there = jnp.ones((200, 12))
    one, other = (surroundings(minutes(jax.random.key(k), (200, 12)), there) for k in (1, 2))
    assert float(has_moved(one, other).mean()) < 0.06
    few = surroundings(minutes(jax.random.key(3), (200, 12)), there.at[:, 4:].set(0.0))
    assert not has_moved(one, few).any()


def test_a_revision_changes_weights_of_who_moved_and_says_so(life):
    _, ratings, calm, busy = life
    older = eqx.tree_at(lambda r: r.weight, ratings, ratings.weight.at[:, 10:].set(0.0))
    fitted = fit_users(older, vague_prior())
    none = jnp.zeros((USERS, 4), bool)
    kept, change = revise(jax.random.key(0), fitted, none, ratings, calm, busy)
    assert not np.allclose(change.weights_after[:5], change.weights_before[:5], atol=1e-3)
    assert np.array_equal(change.weights_after[5:], change.weights_before[5:])
    assert np.array_equal(kept.parameters[5:], fitted.parameters[5:])
    assert kept.count[0] == RATINGS and kept.count[6] == 10
    assert change.entered[:5].any() and not change.entered[5:].any() and not change.left.any()
    lines = told(change)
    assert len(lines) == 5
    assert lines[0].startswith("user 0: behaviour moved by") and "entered" in lines[0] and "->" in lines[0]


def test_factors_that_a_user_minds_are_found_and_others_leave(life):
    models, ratings, calm, busy = life
    found = relevant_factors(jax.random.key(0), ratings)
    rule = np.asarray(models.rule)
    assert found[rule == 1, 1].mean() > 0.9 and found[rule == 0, 0].mean() > 0.8
    assert found[rule == 0, 1].mean() < 0.2 and found[rule == 1, 0].mean() < 0.2
    every = jnp.ones((USERS, 4), bool)
    _, change = revise(jax.random.key(0), fit_users(ratings, vague_prior()), every, ratings, calm, busy)
    assert change.left[:5].any() and not change.left[5:].any() and "left" in " ".join(told(change))


def test_a_user_whose_taste_changed_is_fitted_anew(life):
    _, ratings, calm, busy = life
    conditions: Conditions = ratings.conditions
    models, _, _ = rated(4, USERS, 1)
    other = eqx.tree_at(lambda m: m.rule, models, (models.rule + 1) % 3)
    other = eqx.tree_at(
        lambda m: (m.level, m.quality_weight, m.stall_weight),
        other,
        (1.0 * (other.rule == 0), 1.0 * (other.rule > 0), 0.1 * (other.rule != 1)),
    )
    experience = experiences(other, conditions)
    score = draw_scores(jax.random.key(5), experience, jnp.full_like(experience, 0.8))
    newer = Ratings(conditions, score, ratings.weight)
    fitted = fit_users(ratings, vague_prior())
    kept, _ = revise(jax.random.key(0), fitted, jnp.zeros((USERS, 4), bool), newer, calm, busy)
    assert (kept.models.rule[:5] == other.rule[:5]).mean() >= 0.8
    assert (kept.models.rule[5:] == fitted.models.rule[5:]).all()
