import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rated import rated

from twinloop.qoe import (
    Conditions,
    begin_watch,
    behaviour_of,
    environment_of,
    examined,
    fit_users,
    movement,
    relevant_factors,
    told,
    vague_prior,
    watched,
)

USERS, RATINGS = 30, 40
see = eqx.filter_jit(watched)


@pytest.fixture(scope="module")
def life():
    models, ratings, _ = rated(4, USERS, RATINGS)
    few = eqx.tree_at(lambda r: r.weight, ratings, ratings.weight.at[:, 10:].set(0.0))
    fit = eqx.filter_jit(fit_users)
    found = eqx.filter_jit(relevant_factors)(jax.random.key(0), ratings)
    return models, fit(few, vague_prior()), fit(ratings, vague_prior()), found


def lived(watch, minutes, seed, *, swipes=5.0, moving=(), faster=()):
    """A watch after so many minutes; who is `moving` swipes three times as much, who is `faster` takes the bus."""
    users = watch.count.shape[0]
    draw = np.random.default_rng(seed)
    rate, speed = np.full(users, swipes), np.full(users, 1.2)
    rate[list(moving)] *= 3.0
    speed[list(faster)] = 8.0
    for _ in range(minutes):
        minute = Conditions(
            jnp.asarray(draw.exponential(3.0, users), jnp.float32),
            jnp.asarray(draw.random(users), jnp.float32),
            behaviour_of(jnp.asarray(draw.poisson(rate), jnp.float32)),
            environment_of(jnp.asarray(speed + 0.1 * draw.normal(size=users), jnp.float32)),
        )
        watch = see(watch, minute, jnp.ones(users, bool))
    return watch


@pytest.fixture(scope="module")
def fresh(life):
    _, early, _, _ = life
    return begin_watch(early, jnp.zeros((USERS, 4), bool))


def test_who_swipes_more_or_moves_faster_is_found_and_nobody_else(fresh):
    before = lived(fresh, 20, 0)
    assert not movement(before)[0].any()
    moved, shift = movement(lived(before, 5, 1, moving=(0, 1, 2, 3), faster=(4, 5)))
    assert np.flatnonzero(moved).tolist() == [0, 1, 2, 3, 4, 5]
    assert float(shift[:4, 0].min()) > 1.5 and float(shift[4:6, 1].min()) > 2.0


def test_chance_is_rarely_taken_for_movement_and_few_minutes_never(fresh):
    many = jax.tree.map(lambda leaf: jnp.repeat(leaf, 20, axis=0), fresh)
    short = lived(many, 9, 2)
    assert not movement(short)[0].any()
    found = [float(movement(short := lived(short, 3, seed))[0].mean()) for seed in (3, 4, 5)]
    assert 0.0 <= np.mean(found) < 0.02


def test_minutes_of_absence_do_not_count(fresh):
    away = lived(fresh, 10, 0)
    nobody = jnp.zeros(USERS, bool)
    minute = Conditions(*(jnp.zeros(USERS) for _ in range(2)), jnp.full(USERS, 2.0), jnp.ones(USERS))
    for _ in range(6):
        away = see(away, minute, nobody)
    assert not movement(away)[0].any() and float(away.count[0]) == 5.0


def test_a_revision_says_what_became_of_who_moved(life, fresh):
    _, early, late, found = life
    watch = lived(lived(fresh, 20, 0), 5, 1, moving=range(5))
    moved, _ = movement(watch)
    after, change = examined(watch, moved, found, late)
    assert np.flatnonzero(change.moved).tolist() == [0, 1, 2, 3, 4]
    assert not np.allclose(change.weights_after[:5], change.weights_before[:5], atol=1e-3)
    assert np.array_equal(change.weights_after[5:], change.weights_before[5:])
    assert np.array_equal(change.structure_after[:5], late.structure[:5])
    assert np.array_equal(change.structure_before, early.structure)
    assert change.entered[:5].any() and not change.entered[5:].any() and not change.left.any()
    lines = told(change)
    assert sorted(lines) == [0, 1, 2, 3, 4]
    assert lines[0].startswith("behaviour moved by") and "entered" in lines[0] and "->" in lines[0]
    assert not movement(lived(after, 5, 9, moving=range(5)))[0].any(), "the new habit is the old one now"
    assert movement(lived(after, 5, 10))[0][:5].mean() > 0.5, "and leaving it is found again"


def test_factors_that_a_user_minds_are_found_and_others_leave(life, fresh):
    models, _, late, found = life
    rule = np.asarray(models.rule)
    assert found[rule == 1, 1].mean() > 0.9 and found[rule == 0, 0].mean() > 0.8
    assert found[rule == 0, 1].mean() < 0.2 and found[rule == 1, 0].mean() < 0.2
    every = eqx.tree_at(lambda w: w.relevant, fresh, jnp.ones((USERS, 4), bool))
    _, change = examined(every, jnp.arange(USERS) < 5, found, late)
    assert change.left[:5].any() and not change.left[5:].any() and "left" in " ".join(told(change).values())
