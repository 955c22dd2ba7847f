import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twinloop.entities import USER_ATTRIBUTES, column
from twinloop.qoe import Conditions, Ratings, vague_prior
from twinloop.twins import begin_experience
from twinloop.twins.experience import lived, relearned, so_far

USERS, ROOM = 2, 4


@pytest.fixture(scope="module")
def nothing_known():
    none = jnp.zeros((USERS, ROOM))
    ratings = Ratings(Conditions(none, none, none + 1, none + 1), none + 1, none)
    return jax.jit(begin_experience)(ratings, jnp.zeros(USERS, jnp.int32), vague_prior(), jnp.array([3.0, 4.0]))


def reported(**values):
    table = np.zeros((USERS, len(USER_ATTRIBUTES)), np.float32)
    for name, value in values.items():
        table[:, column(USER_ATTRIBUTES, name)] = value
    return jnp.asarray(table)


def minutes(twins, told, first=0):
    """One call of `told(slot)` a slot, from slot `first` to the end of its minute; swipes in the first three."""
    advance = jax.jit(lived)
    for slot in range(first, 60 * (first // 60 + 1)):
        swiped = jnp.full(USERS, slot % 60 < 3)
        twins = advance(twins, told(slot), jnp.ones(USERS, bool), swiped, jnp.int32(slot))
    return twins


def smooth(slot):
    return reported(quality=0.5, speed_mps=5.0, rebuffer_s=min(slot, 4))


def test_a_minute_is_summed_up_from_what_was_reported(nothing_known):
    after = minutes(nothing_known, smooth)
    assert np.asarray(after.last.stall_s) == pytest.approx([4.0, 4.0])
    assert np.asarray(after.last.quality) == pytest.approx([0.5, 0.5])
    assert np.asarray(after.last.behaviour) == pytest.approx([1.25, 1.25])
    assert np.asarray(after.last.environment) == pytest.approx([1 + 22 / 38] * 2)
    assert float(after.grid_periods) == 1
    assert np.asarray(so_far(after, smooth(60), 1.0).stall_s) == pytest.approx([0.0, 0.0])


def test_a_score_is_filed_under_the_minute_before_it_once(nothing_known):
    def rated(slot):
        late = slot >= 62
        return reported(quality=0.9, rebuffer_s=4.0, opinion=np.where(late, [4.5, 0.0], 0.0), opinions=[late, 0.0])

    after = minutes(minutes(nothing_known, smooth), rated, first=60)
    weight = np.asarray(after.ratings.weight)
    assert weight.sum(axis=1).tolist() == [1.0, 0.0]
    assert float(after.ratings.score[0, 0]) == 4.5
    assert float(after.ratings.conditions.quality[0, 0]) == pytest.approx(0.5)
    assert after.rated.tolist() == [1, 0]


def test_the_ring_keeps_the_newest_scores(nothing_known):
    def every_slot(slot):
        return reported(quality=0.5, opinion=1.0 + (slot % 4), opinions=slot + 1)

    after = minutes(nothing_known, every_slot)
    assert after.rated.tolist() == [60, 60]
    assert sorted(np.asarray(after.ratings.score)[0].tolist()) == [1.0, 2.0, 3.0, 4.0]


def test_experience_is_summed_over_three_minutes_and_then_anew(nothing_known):
    twins = nothing_known
    for minute in range(4):
        twins = minutes(twins, smooth, first=60 * minute)
    assert float(twins.grid_periods) == 1
    felt = twins.fitted.blend.experience(twins.last)
    assert np.asarray(twins.grid_experience) == pytest.approx(np.asarray(felt))


def test_a_minute_that_a_user_was_hardly_there_for_is_not_held_against_anybody(nothing_known):
    before, advance = minutes(nothing_known, smooth), jax.jit(lived)
    after, nobody = before, jnp.zeros(USERS, bool)
    for slot in range(60, 120):
        there = jnp.array([True, slot < 70])
        after = advance(after, reported(quality=0.1, rebuffer_s=4.0), there, nobody, jnp.int32(slot))
    gained = np.asarray(after.grid_experience - before.grid_experience)
    assert gained[1] == pytest.approx(float(after.agreed[1]))
    assert gained[0] == pytest.approx(float(after.fitted.blend.experience(after.last)[0]))
    assert np.asarray(after.last.quality) == pytest.approx([0.1, 0.5])


def test_models_learn_from_the_scores_that_are_there(nothing_known):
    conditions = Conditions(
        jnp.zeros((USERS, ROOM)), jnp.tile(jnp.linspace(0, 1, ROOM)[None], (USERS, 1)),
        jnp.ones((USERS, ROOM)), jnp.ones((USERS, ROOM)),
    )  # fmt: skip
    score = jnp.stack([1 + 4 * jnp.linspace(0, 1, ROOM), jnp.full(ROOM, 4.9)])
    twins = jax.tree.map(lambda leaf: leaf, nothing_known)
    taught = type(twins)(**(vars(twins) | {"ratings": Ratings(conditions, score, jnp.ones((USERS, ROOM)))}))
    fitted = jax.jit(relearned)(taught).fitted
    assert int(fitted.models.rule[0]) in (1, 2)
    assert int(fitted.models.rule[1]) == 0
