import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array, Float

from twinloop.learning import fit

KEY = jax.random.key(0)


class Line(eqx.Module):
    slope: Float[Array, ""]
    name: str = eqx.field(static=True)


def squared(model, key, batch):
    x, y = batch
    return jnp.mean((model.slope * x - y) ** 2)


def line(slope: float) -> Line:
    return Line(jnp.float32(slope), "line")


def examples(count: int, slope: float, seed: int = 0):
    x = jax.random.normal(jax.random.key(seed), (count,))
    return x, slope * x


def test_training_finds_the_slope_and_reports_falling_losses() -> None:
    fitted = fit(
        KEY, line(0.0), squared, examples(64, 2.0), examples(32, 2.0, 1), steps=400, batch=16, learning_rate=0.1
    )
    assert float(fitted.model.slope) == pytest.approx(2.0, abs=0.02)
    assert float(fitted.held_out_loss[-1]) < 1e-4
    assert float(fitted.loss[0]) > 100 * float(fitted.loss[-1])
    assert fitted.model.name == "line"


def test_the_best_model_on_held_out_examples_is_kept_the_untrained_one_included() -> None:
    fitted = fit(KEY, line(2.0), squared, examples(64, -1.0), examples(32, 2.0, 1), steps=100, batch=16)
    assert float(fitted.model.slope) == 2.0
    assert float(fitted.held_out_loss.min()) > 0


def test_the_same_key_trains_the_same_model() -> None:
    def slope(seed: int) -> float:
        made = fit(jax.random.key(seed), line(0.0), squared, examples(64, 2.0), examples(8, 2.0), steps=20, batch=4)
        return float(made.model.slope)

    assert slope(1) == slope(1) != slope(2)
    assert np.isfinite(slope(1))
