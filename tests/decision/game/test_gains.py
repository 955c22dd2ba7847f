import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twinloop.decision import LogGain, SigmoidGain, majorant_gain
from twinloop.qoe import SigmoidSatisfaction

COUNT = 400


def forms():
    low, high = jnp.zeros(COUNT), jnp.ones(COUNT)
    return {
        "sigmoid": SigmoidGain(),
        "majorant": majorant_gain(SigmoidSatisfaction(), low, high),
        "log": LogGain(),
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
