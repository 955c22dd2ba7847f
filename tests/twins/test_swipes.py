import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from twin_cases import LENGTH_S, forecast, observations, twins

from twinloop.entities import USER_ATTRIBUTES, column
from twinloop.twins import SwipeCounts, assimilate, begun_anew, empty_swipes, empty_twins, swipe_hazard, viewer_factor

SWIPES, WATCH, CLASS, X = (
    column(USER_ATTRIBUTES, name) for name in ("swipes", "last_watch_s", "last_class", "position_x_m")
)
step = jax.jit(assimilate)
hazard_of = jax.jit(swipe_hazard)
TRUE = np.array([[0.5, 0.2, 0.1, 0.1], [0.1, 0.1, 0.3, 0.0]])


def watched(hazard: np.ndarray, viewers: float) -> SwipeCounts:
    """Counts as expected of so many viewers of two classes of 4 s and 2.5 s, on a prior of .05."""
    reached = viewers * np.cumprod(np.concatenate([np.ones((2, 1)), 1 - hazard[:, :-1]], axis=1), axis=1)
    reached[1, 3:] = 0.0
    counts = empty_swipes(jnp.ones(3, bool), jnp.array([4.0, 2.5]), jnp.full((2, 4), 0.05), 0.42)
    counted = (jnp.asarray(hazard * reached, jnp.float32), jnp.asarray(reached, jnp.float32))
    return eqx.tree_at(lambda c: (c.left, c.reached), counts, counted)


def counted(*stream):
    state = twins()
    for now, reported in enumerate(stream):
        told = {place: (level, now) for place, level in reported.items()}
        state = step(state, observations(now, told), forecast(), jnp.int32(now))
    return np.asarray(state.swipes.left), np.asarray(state.swipes.reached)


def test_a_leave_is_counted_in_its_second_and_every_second_before_is_reached():
    left, reached = counted({(0, SWIPES): 1.0, (0, WATCH): 2.9, (0, CLASS): 1.0})
    assert left[1].tolist() == [0, 0, 1, 0, 0, 0, 0, 0, 0]
    assert reached[1].tolist() == [1, 1, 1, 0, 0, 0, 0, 0, 0]
    assert not left[0].any() and not reached[0].any()


@pytest.mark.parametrize("watched_s", [5.0, 5.4, 4.996])
def test_watched_to_the_end_is_no_leave(watched_s):
    left, reached = counted({(0, SWIPES): 1.0, (0, WATCH): watched_s, (0, CLASS): 0.0})
    assert not left.any()
    assert reached[0].tolist() == [1] * 5 + [0] * 4
    assert LENGTH_S[0] == 5.0


def test_only_an_increase_counts_and_what_is_not_sent_again_stays_as_it_was():
    viewing = {(0, SWIPES): 1.0, (0, WATCH): 1.5, (0, CLASS): 0.0}
    left, _ = counted(viewing, {(0, X): 3.0}, viewing, {(0, SWIPES): 2.0})
    assert left[0].tolist() == [0, 2, 0, 0, 0, 0, 0, 0, 0]


def test_viewers_of_one_slot_add_up():
    viewing = {(user, what): level for user in range(3) for what, level in ((SWIPES, 4.0), (WATCH, 0.5), (CLASS, 1.0))}
    left, reached = counted(viewing)
    assert left[1, 0] == reached[1, 0] == 3


@pytest.mark.parametrize("video_class", [2.0, -1.0])
def test_an_unknown_class_is_not_counted(video_class):
    left, reached = counted({(0, SWIPES): 1.0, (0, WATCH): 2.9, (0, CLASS): video_class})
    assert not left.any() and not reached.any()


def test_a_swipe_without_its_watch_time_is_not_counted():
    left, reached = counted({(0, SWIPES): 1.0, (0, CLASS): 1.0})
    assert not left.any() and not reached.any()


def test_a_class_without_length_is_refused():
    with pytest.raises(ValueError, match="longer than 0 s"):
        empty_twins(users=1, cells=1, servers=1, slices=1, history=1, class_length_s=jnp.array([5.0, 0.0]))


def test_a_prior_that_does_not_fit_the_classes_is_refused():
    with pytest.raises(ValueError, match=r"give probabilities of shape \(1, 5\)"):
        empty_swipes(jnp.ones(1, bool), jnp.array([5.0]), jnp.full((1, 3), 0.1), 0.4)


def test_many_viewings_give_their_hazard():
    np.testing.assert_allclose(hazard_of(watched(TRUE, 1e6)), TRUE, atol=1e-4)


def test_before_any_viewing_the_prior_holds_while_the_video_lasts():
    np.testing.assert_allclose(hazard_of(watched(TRUE, 0.0)), [[0.05] * 4, [0.05] * 3 + [0.0]], rtol=1e-5)


def test_a_class_never_seen_borrows_what_the_others_showed_against_the_prior():
    seen = watched(np.full((2, 4), 1 - 0.95**3), 10_000.0)
    one = eqx.tree_at(lambda c: (c.left, c.reached), seen, (seen.left.at[1].set(0.0), seen.reached.at[1].set(0.0)))
    np.testing.assert_allclose(hazard_of(one)[1, :3], 1 - 0.95**3, rtol=0.03)


def test_counting_anew_keeps_the_prior_and_what_is_known_of_users():
    seen = eqx.tree_at(lambda c: c.own_left, watched(TRUE, 1000.0), jnp.array([0.0, 3.0, 9.0]))
    begun = begun_anew(seen)
    np.testing.assert_allclose(hazard_of(begun)[0], 0.05, rtol=1e-5)
    np.testing.assert_array_equal(viewer_factor(begun), viewer_factor(seen))


def test_viewings_of_those_who_are_moved_on_with_a_group_are_not_counted():
    alone = jnp.arange(twins().swipes.counted.shape[0]) != 0
    state = eqx.tree_at(lambda t: t.swipes.counted, twins(), alone)
    told = {(user, what): (level, 0) for user in (0, 1) for what, level in ((SWIPES, 1.0), (WATCH, 0.5), (CLASS, 1.0))}
    counts = step(state, observations(0, told), forecast(), jnp.int32(0)).swipes
    assert float(counts.left.sum()) == 1.0
    assert counts.latest.video_class[:2].tolist() == [-1, 1]


def test_factors_are_learned_from_who_leaves_sooner():
    early, late = {(0, WATCH): 0.5, (0, CLASS): 1.0}, {(1, WATCH): 8.9, (1, CLASS): 1.0}
    state = eqx.tree_at(lambda t: t.swipes.factor_shape, twins(), jnp.float32(5.0))
    for now in range(40):
        told = early | {(0, SWIPES): now + 1.0} | late | {(1, SWIPES): now + 1.0}
        told = {place: (level, now) for place, level in told.items()}
        state = step(state, observations(now, told), forecast(), jnp.int32(now))
    factor = np.asarray(viewer_factor(state.swipes))
    assert factor[0] > 1.5 > 1.0 > factor[1]
    assert factor[2] == 1.0


def test_surprise_is_the_chance_that_was_given_to_what_happened():
    def latest(second_s: float):
        told = {(0, SWIPES): (1.0, 0), (0, WATCH): (second_s, 0), (0, CLASS): (0.0, 0)}
        return step(twins(), observations(0, told), forecast(), jnp.int32(0)).swipes.latest

    left, end = latest(2.5), latest(5.0)
    assert (int(left.video_class[0]), int(left.second[0]), int(left.video_class[1])) == (0, 2, -1)
    np.testing.assert_allclose(left.surprise[0], -np.log(0.95**2 * 0.05), rtol=1e-3)
    np.testing.assert_allclose(end.surprise[0], -np.log(0.95**5), rtol=1e-3)
    assert left.surprise[1] == 0.0
