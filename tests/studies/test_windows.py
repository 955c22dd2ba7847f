import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twinloop.decision import DynamicsScale, fixed_window
from twinloop.studies.evaluate.windows import judging
from twinloop.studies.evaluate.windows.worlds import draw_worlds, live


@pytest.fixture(scope="module")
def worlds():
    return jax.jit(draw_worlds, static_argnums=(1, 2, 3))(jax.random.key(0), 3, 30, 1.0)


def test_reserved_fits_and_frozen_slots_cost_experience(worlds):
    assert np.all(np.asarray(worlds.reserved).sum(axis=-1) <= 1.0 + 1e-4)
    scale = DynamicsScale(jnp.ones(5), jnp.full(5, 0.2))
    run = jax.jit(jax.vmap(live, in_axes=(0, None, None, None)))
    free, frozen = (run(worlds, scale, fixed_window(1), jnp.float32(s)) for s in (0.0, 10.0))
    lost = np.asarray(free.by_block - frozen.by_block)
    assert lost == pytest.approx((np.asarray(free.by_block) - 1.0) * 10.0 / 180.0, rel=1e-3)
    rare = run(worlds, scale, fixed_window(5), jnp.float32(0.0))
    assert np.asarray(rare.per_hour) == pytest.approx(5 / 1.5)
    assert np.mean(rare.experience) < np.mean(free.experience)


def test_the_evaluation_says_what_holds(monkeypatch):
    monkeypatch.setattr(judging, "HOURS", 1.5)
    monkeypatch.setattr(judging, "TRAINING", 3)
    monkeypatch.setattr(judging, "_GAMES", 20)
    found = judging.evaluate_windows(0, seeds=3)
    assert found.numbers["largest_equilibrium_gap"] < 1e-3
    assert found.claims[-1].holds
    assert len(found.rows) == 20
    fixed = [found.estimate(judging.PER_HOUR, "1 s", f"fixed, {m} min").value for m in (15, 12, 9, 6, 3)]
    assert fixed == sorted(fixed)
    for draw in found.figures.values():
        assert draw().axes
