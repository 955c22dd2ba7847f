import jax
import jax.numpy as jnp
import numpy as np

from twinloop.abstraction import swipe_hazard, watching_probability
from twinloop.twins import SwipeCounts

hazard_of = jax.jit(swipe_hazard)


def counts(hazard: np.ndarray, viewers: float) -> SwipeCounts:
    """Counts as expected of so many viewers of two classes of 4 s and 2.5 s."""
    reached = viewers * np.cumprod(np.concatenate([np.ones((2, 1)), 1 - hazard[:, :-1]], axis=1), axis=1)
    reached[1, 3:] = 0.0
    return SwipeCounts(
        jnp.asarray(hazard * reached, jnp.float32), jnp.asarray(reached, jnp.float32), jnp.array([4.0, 2.5])
    )


TRUE = np.array([[0.5, 0.2, 0.1, 0.1], [0.1, 0.1, 0.3, 0.0]])


def test_many_viewings_give_their_hazard():
    np.testing.assert_allclose(hazard_of(counts(TRUE, 1e6)), TRUE, atol=1e-4)


def test_no_viewing_gives_the_starting_hazard_while_the_video_lasts():
    hazard = np.asarray(hazard_of(counts(TRUE, 0.0)))
    np.testing.assert_allclose(hazard, [[0.05] * 4, [0.05] * 3 + [0.0]], rtol=1e-5)


def test_a_class_seldom_seen_borrows_the_pooled_hazard():
    seen = counts(TRUE, 1000.0)
    one = SwipeCounts(seen.left.at[1].set(0.0), seen.reached.at[1].set(0.0), seen.length_s)
    hazard = np.asarray(hazard_of(one, 5.0))
    np.testing.assert_allclose(hazard[1, :3], TRUE[0, :3], atol=0.01)
    assert hazard[1, 3] == 0.0


def test_a_second_is_watched_when_none_before_it_was_left():
    watching = jax.jit(watching_probability, static_argnums=3)(
        jnp.asarray(TRUE, jnp.float32), jnp.array([0, 0, 1]), jnp.array([0.0, 2.7, 1.0]), 4
    )
    expected = [[1, 0.5, 0.4, 0.36], [1, 0.9, 0, 0], [1, 0.9, 0.63, 0]]
    np.testing.assert_allclose(watching, expected, rtol=1e-5)
