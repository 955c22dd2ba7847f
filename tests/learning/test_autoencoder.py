"""An autoencoder's code is worth its bits: it finds a curve in the plane and survives rounding."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twinloop.learning import autoencoder, fit, rebuilding_loss


def test_one_dimension_holds_a_curve_that_no_line_holds():
    draw = np.random.default_rng(0)
    angle = draw.uniform(-2.2, 2.2, 3000)
    points = jnp.asarray(np.stack([np.cos(angle), np.sin(angle)], axis=1), jnp.float32)
    seen, held, new = points[:2000], points[2000:2500], points[2500:]
    model = autoencoder(jax.random.key(0), 2, 1, bits=6)
    fitted = fit(jax.random.key(1), model, rebuilding_loss, seen, held, steps=1500, batch=128, checks=5).model
    off = {bits: float(jnp.mean((fitted.rebuilt(new, bits) - new) ** 2)) for bits in (1, 6, 10)}
    centred = np.asarray(new) - np.asarray(seen).mean(axis=0)
    line = np.linalg.eigvalsh(centred.T @ centred / len(centred))[0] / 2
    assert off[6] < 0.5 * line, "better than the best line, rounding included"
    assert off[6] < 0.3 * off[1], "fewer bits rebuild worse"
    assert off[10] < 1.1 * off[6], "more bits than it was trained for do no harm"


def test_nothing_is_no_autoencoder():
    with pytest.raises(ValueError, match="at least one"):
        autoencoder(jax.random.key(0), 3, 0, bits=4)
