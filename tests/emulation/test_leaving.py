import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twinloop.emulation import EndedViews, leaving_model, leaving_surprise, swipe_signals
from twinloop.learning import fit

FIRST = jnp.array([[0.3, 0.1, 0.1, 0.1, 0.1], [0.05, 0.05, 0.05, 0.0, 0.0]])
LENGTH = np.array([5, 3])


def views(hazard: np.ndarray, count: int, seed: int = 0) -> EndedViews:
    """Viewers of both classes with factor 1 who leave by `hazard`; the number of seconds, 5, marks the end."""
    draw = np.random.default_rng(seed)
    kind = draw.integers(2, size=count)
    leaves = draw.random((count, 5)) < hazard[kind]
    second = np.where(leaves.any(axis=1), leaves.argmax(axis=1), 5)
    return EndedViews(jnp.asarray(kind, jnp.int32), jnp.asarray(second, jnp.int32), jnp.ones(count))


def test_the_first_belief_is_the_first_hazard():
    np.testing.assert_allclose(leaving_model(FIRST).hazard(), FIRST, atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "second", "factor", "chance"),
    [(0, 0, 1.0, 0.3), (0, 2, 1.0, 0.7 * 0.9 * 0.1), (0, 5, 1.0, 0.7 * 0.9**4), (1, 5, 2.0, 0.95**6)],
)
def test_surprise_is_minus_the_logarithm_of_the_chance(kind, second, factor, chance):
    one = EndedViews(jnp.array([kind]), jnp.array([second]), jnp.array([factor]))
    np.testing.assert_allclose(leaving_surprise(leaving_model(FIRST), one)[0], -np.log(chance), rtol=1e-3)


def test_a_changed_world_is_learned_and_the_first_belief_stays():
    changed = 1 - (1 - np.asarray(FIRST)) ** np.array([[0.4], [3.0]])
    train, held = views(changed, 3000), views(changed, 1000, seed=1)

    def mean(model, key, batch):
        return jnp.mean(leaving_surprise(model, batch))

    model = leaving_model(FIRST)
    found = fit(jax.random.key(0), model, mean, train, held, steps=400, batch=128, learning_rate=1e-2).model
    np.testing.assert_allclose(found.hazard(), changed, atol=0.04)
    np.testing.assert_array_equal(found.first, FIRST)


def test_signals_are_about_one_while_the_model_holds_and_rise_when_it_does_not():
    score = eqx.filter_jit(swipe_signals)
    model = leaving_model(FIRST)
    calm = np.mean([score(model, views(np.asarray(FIRST), 64, seed)) for seed in range(200)], axis=0)
    np.testing.assert_allclose(calm, [0.8, 1.0], atol=0.15)
    twice = 1 - (1 - np.asarray(FIRST)) ** 2
    swapped = 1 - (1 - np.asarray(FIRST)) ** np.array([[0.3], [4.0]])
    assert np.mean([score(model, views(twice, 64, seed))[0] for seed in range(50)]) > 2.5
    assert np.mean([score(model, views(swapped, 64, seed))[1] for seed in range(50)]) > 2.5
