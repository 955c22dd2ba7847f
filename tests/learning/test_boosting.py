"""Boosted trees as arrays: the same values as the trees that were grown, monotone where told, saved and loaded."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twinloop.errors import ModelError
from twinloop.learning import BoostingSettings, blank_trees, boost, least_squares, load_model, save_model

SETTINGS = BoostingSettings(rounds=40, leaves=5, learning_rate=0.2, seeds=2)


@pytest.fixture(scope="module")
def rows() -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(0)
    x = draw.normal(size=(300, 3))
    return x, 3.0 * np.tanh(x[:, 0]) - x[:, 1] ** 2 + 0.3 * draw.normal(size=300)


@pytest.fixture(scope="module")
def trees(rows):
    return boost(*rows, [1, 0, -1], SETTINGS, 3)


def test_what_varies_is_learned_on_unseen_rows(rows, trees) -> None:
    draw = np.random.default_rng(1)
    x = draw.normal(size=(300, 3))
    y = 3.0 * np.tanh(x[:, 0]) - x[:, 1] ** 2
    assert np.corrcoef(np.asarray(trees(jnp.asarray(x, jnp.float32))), y)[0, 1] > 0.9


def test_values_rise_and_fall_as_told(rows, trees) -> None:
    x, _ = rows
    along = np.linspace(-3, 3, 30)
    for column, sign in ((0, 1), (2, -1)):
        line = np.repeat(x[:40], 30, axis=0)
        line[:, column] = np.tile(along, 40)
        said = np.asarray(trees(jnp.asarray(line, jnp.float32))).reshape(40, 30)
        assert (sign * np.diff(said, axis=1) > -1e-4).all()
    line = np.repeat(x[:40], 30, axis=0)
    line[:, 1] = np.tile(along, 40)
    free = np.diff(np.asarray(trees(jnp.asarray(line, jnp.float32))).reshape(40, 30), axis=1)
    assert (free > 0.1).any() and (free < -0.1).any()


def test_the_arrays_say_what_the_trees_say(rows) -> None:
    from sklearn.tree import DecisionTreeRegressor

    x, y = rows
    settings = BoostingSettings(rounds=1, leaves=6, learning_rate=1.0, share_rows=1.0, share_features=1.0, seeds=1)
    ours = boost(x, y, [0, 0, 0], settings, 0)
    theirs = DecisionTreeRegressor(max_leaf_nodes=6, min_samples_leaf=settings.least_rows, random_state=0)
    theirs.fit(x.astype(np.float32), y - y.mean())
    wanted = y.mean() + theirs.predict(x.astype(np.float32))
    np.testing.assert_allclose(np.asarray(ours(jnp.asarray(x, jnp.float32))), wanted, rtol=1e-4, atol=1e-4)


def test_saved_trees_are_the_same_and_others_are_refused(rows, trees, tmp_path) -> None:
    path = tmp_path / "trees.safetensors"
    save_model(path, trees, {})
    x = jnp.asarray(rows[0], jnp.float32)
    np.testing.assert_array_equal(load_model(path, blank_trees(80, 9))(x), trees(x))
    with pytest.raises(ModelError, match="shape"):
        load_model(path, blank_trees(81, 9))


def test_least_squares_finds_a_nonlinear_curve() -> None:
    t = jnp.linspace(0.0, 4.0, 40)
    truth = jnp.asarray([2.0, 0.7, 0.5])

    def curve(theta):
        return theta[0] * jnp.exp(-theta[1] * t) + theta[2]

    def residual(theta):
        return curve(theta) - curve(truth)

    found = jax.jit(jax.vmap(lambda start: least_squares(residual, start, 30)))(
        jnp.asarray([[1.0, 0.1, 0.0], [4.0, 2.0, 1.0]])
    )
    np.testing.assert_allclose(found, jnp.stack([truth, truth]), atol=1e-3)
