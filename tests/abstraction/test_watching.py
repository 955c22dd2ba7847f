import jax
import jax.numpy as jnp
import numpy as np

from twinloop.abstraction import watching_probability

HAZARD = jnp.array([[0.5, 0.2, 0.1, 0.1], [0.1, 0.1, 0.3, 0.0]])
watching = jax.jit(watching_probability, static_argnums=4)


def test_a_second_is_watched_when_none_before_it_was_left():
    found = watching(HAZARD, jnp.array([0, 0, 1]), jnp.array([0.0, 2.7, 1.0]), jnp.ones(3), 4)
    expected = [[1, 0.5, 0.4, 0.36], [1, 0.9, 0, 0], [1, 0.9, 0.63, 0]]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_who_swipes_sooner_than_others_watches_less_of_what_is_ahead():
    found = watching(HAZARD, jnp.zeros(3, jnp.int32), jnp.zeros(3), jnp.array([0.5, 1.0, 2.0]), 3)
    np.testing.assert_allclose(found[:, 2], [0.4**0.5, 0.4, 0.4**2], rtol=1e-5)
    assert np.all(np.asarray(found[:, 0]) == 1.0)
