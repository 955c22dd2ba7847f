import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twinloop.decision import CurveGain, LogGain, SigmoidGain, concave_hull, majorant_gain
from twinloop.qoe import SigmoidSatisfaction

COUNT = 400
AT = jnp.linspace(0.0, 1.0, 9)


def forms():
    low, high = jnp.zeros(COUNT), jnp.ones(COUNT)
    bumps = jnp.cumsum(jax.random.uniform(jax.random.key(0), (COUNT, 9)) ** 4, axis=1)
    curve = CurveGain(jnp.broadcast_to(AT, (COUNT, 9)), bumps - bumps[:, :1])
    return {
        "sigmoid": SigmoidGain(),
        "majorant": majorant_gain(SigmoidSatisfaction(), low, high),
        "log": LogGain(),
        "curve": curve,
    }


@pytest.mark.parametrize("name", sorted(forms()))
def test_the_best_level_is_the_best_of_all(name):
    gain = forms()[name]
    keys = jax.random.split(jax.random.key(1), 4)
    worth = jnp.exp(jax.random.normal(keys[0], (COUNT,)))
    linear = worth * 2.0 * jax.random.uniform(keys[1], (COUNT,)) ** 3
    quadratic = worth * 3.0 * jax.random.uniform(keys[2], (COUNT,)) ** 4
    low = 0.3 * jax.random.uniform(keys[3], (COUNT,)) ** 2
    high = jnp.minimum(low + 0.2 + jax.random.uniform(keys[0], (COUNT,)), 1.0)

    def value(z):
        return worth * gain.value(z) - linear * z - quadratic * z**2

    best = gain.best(worth, linear, quadratic, low, high)
    assert jnp.all((best >= low - 1e-6) & (best <= high + 1e-6))
    grid = jax.vmap(lambda part: value(low + part * (high - low)))(jnp.linspace(0.0, 1.0, 1001))
    assert np.all(np.asarray(value(best)) >= np.asarray(grid.max(axis=0)) - 2e-6 * np.asarray(worth))


def test_the_hull_is_the_least_concave_curve_above():
    rng = np.random.default_rng(2)
    gain = np.sort(rng.random((20, 9)), axis=1)
    hull = np.asarray(concave_hull(jnp.broadcast_to(AT, gain.shape), jnp.asarray(gain, jnp.float32)))
    assert np.all(hull >= gain - 1e-6)
    assert np.all(np.diff(hull, 2, axis=1) <= 1e-5)
    free = hull[:, 1:-1] > gain[:, 1:-1] + 1e-5
    assert free.any()
    assert np.diff(hull, 2, axis=1)[free] == pytest.approx(0.0, abs=1e-5)
    assert hull[:, [0, -1]] == pytest.approx(gain[:, [0, -1]], abs=1e-6)
