import jax
import jax.numpy as jnp
import numpy as np
import pytest
from twin_cases import LENGTH_S, forecast, observations, twins

from twinloop.entities import USER_ATTRIBUTES, column
from twinloop.twins import assimilate, empty_twins

SWIPES, WATCH, CLASS, X = (
    column(USER_ATTRIBUTES, name) for name in ("swipes", "last_watch_s", "last_class", "position_x_m")
)
step = jax.jit(assimilate)


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
