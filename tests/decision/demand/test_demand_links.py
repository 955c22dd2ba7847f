import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twinloop.decision.demand import LinkModel, believe_links, fit_links, sample_links

TRUE = LinkModel(
    levels_db=jnp.linspace(-5.0, 25.0, 65), share=jnp.array([0.45, 0.4]), memory_s=jnp.array([300.0, 12.0])
)


def draw(users: int, slots: int, seed: int = 0) -> jax.Array:
    """Levels [users, slots] of the true process, drawn slot by slot in NumPy."""
    rng = np.random.default_rng(seed)
    share, fade = np.asarray(TRUE.share), np.exp(-1.0 / np.asarray(TRUE.memory_s))
    x = rng.normal(size=(users, 2)) * np.sqrt(share)
    scores = np.empty((users, slots))
    for t in range(slots):
        x = x * fade + rng.normal(size=x.shape) * np.sqrt(share * (1 - fade**2))
        scores[:, t] = x.sum(1) + rng.normal(size=users) * np.sqrt(1 - share.sum())
    return TRUE.level_db(jnp.asarray(scores, jnp.float32))


@pytest.fixture(scope="module")
def belief():
    return jax.jit(lambda seen: believe_links(TRUE, seen, 1.0, jnp.ones(400)))(draw(400, 500))


def test_a_level_and_its_score_are_inverse():
    level = jnp.array([-3.0, 8.0, 24.0])
    np.testing.assert_allclose(TRUE.level_db(TRUE.score(level)), level, atol=0.02)


def test_fit_recovers_shares_and_memories():
    found = jax.jit(lambda seen: fit_links(seen, 1.0))(draw(600, 900, seed=1))
    np.testing.assert_allclose(found.share, TRUE.share, atol=0.08)
    np.testing.assert_allclose(found.memory_s, TRUE.memory_s, rtol=0.4)
    np.testing.assert_allclose(found.level_db(jnp.zeros(1)), TRUE.level_db(jnp.zeros(1)), atol=0.7)


def test_too_few_reports_are_refused():
    with pytest.raises(ValueError, match="more than 180 s"):
        fit_links(jnp.zeros((3, 100)), 1.0)


def test_samples_spread_as_the_truth_does_about_what_is_believed(belief):
    seen = draw(400, 560)
    sinr_db = jax.jit(lambda b: sample_links(jax.random.key(3), b, 64, 60))(belief)
    score = TRUE.score(sinr_db[:, :, 29])
    truth = np.asarray(TRUE.score(seen[:, 529]))
    standard = (truth - np.asarray(score.mean(axis=0))) / np.asarray(score.std(axis=0))
    assert np.mean(standard) == pytest.approx(0.0, abs=0.15)
    assert np.std(standard) == pytest.approx(1.0, abs=0.12)
