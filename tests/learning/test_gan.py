"""Adversaries learn what they are shown: levels by class, memory in time, places of sets."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twinloop.learning import SequenceCritic, SequenceGenerator, SetCritic, SetGenerator, train_gan

STEPS, CLASSES = 32, 2


@pytest.fixture(scope="module")
def trained():
    """Two classes that differ in level, each with noise that remembers: z_t = .9 z_{t-1} + e_t."""
    draw = np.random.default_rng(0)
    label = np.arange(400) % CLASSES
    series = np.zeros((400, STEPS))
    now = draw.normal(size=400)
    for step in range(STEPS):
        now = 0.9 * now + np.sqrt(1 - 0.81) * draw.normal(size=400)
        series[:, step] = 0.5 * now + 2.0 * label - 1.0
    k_g, k_d, k_train, k_draw = jax.random.split(jax.random.key(0), 4)
    generator = SequenceGenerator(k_g, classes=CLASSES, steps=STEPS, channels=1, hidden=16, noise=4)
    critic = SequenceCritic(k_d, classes=CLASSES, steps=STEPS, channels=1, hidden=16)
    examples, labels = jnp.asarray(series[:, :, None], jnp.float32), jnp.asarray(label, jnp.int32)
    found = train_gan(k_train, generator, critic, examples, labels, steps=800, batch=32, learning_rate=2e-3, checks=4)
    made = jax.jit(jax.vmap(found.generator.generate))(jax.random.split(k_draw, 400), labels)
    return series, label, np.asarray(made)[:, :, 0], found


def test_classes_have_their_own_levels(trained):
    series, label, made, _ = trained
    for kind in range(CLASSES):
        assert abs(made[label == kind].mean() - series[label == kind].mean()) < 0.35


def test_drawn_series_remember_as_the_shown_ones_do(trained):
    series, label, made, found = trained

    def memory(values: np.ndarray) -> float:
        centred = values - np.array([values[label == kind].mean() for kind in range(CLASSES)])[label][:, None]
        return float((centred[:, 1:] * centred[:, :-1]).mean() / (centred**2).mean())

    assert abs(memory(made) - memory(series)) < 0.2
    assert made.std(axis=1).mean() > 0.1
    assert np.isfinite(np.asarray(found.lead)).all() and found.lead.shape == (4,)


def test_the_same_key_draws_the_same_and_another_does_not(trained):
    generator, label = trained[3].generator, jnp.int32(1)
    first, again, other = (generator.generate(jax.random.key(seed), label) for seed in (3, 3, 4))
    assert np.array_equal(first, again) and not np.allclose(first, other)
    assert first.shape == (STEPS, 1)


def test_sets_of_points_come_to_lie_where_they_were_shown():
    draw = np.random.default_rng(1)
    centre = np.array([[-0.6, -0.6], [0.6, 0.6]])
    label = np.arange(300) % 2
    place = centre[label][:, None, :] + 0.05 * draw.normal(size=(300, 4, 2))
    shown = np.concatenate([place, np.ones((300, 4, 1))], axis=2)
    k_g, k_d, k_train, k_draw = jax.random.split(jax.random.key(0), 4)
    generator = SetGenerator(k_g, classes=2, members=4, dimensions=2, hidden=16, noise=4)
    critic = SetCritic(k_d, classes=2, dimensions=2, hidden=16)
    labels = jnp.asarray(label, jnp.int32)
    found = train_gan(
        k_train, generator, critic, jnp.asarray(shown, jnp.float32), labels,
        steps=1200, batch=32, learning_rate=2e-3, checks=4,
    )  # fmt: skip
    made = np.asarray(jax.jit(jax.vmap(found.generator.generate))(jax.random.split(k_draw, 200), labels[:200]))
    assert made.shape == (200, 4, 3)
    for kind in (0, 1):
        middle = made[label[:200] == kind][:, :, :2].mean(axis=(0, 1))
        assert np.linalg.norm(middle - centre[kind]) < 0.35
    assert made[:, :, 2].mean() > 0.8


def test_a_critic_of_sets_ignores_their_order():
    critic = SetCritic(jax.random.key(0), classes=2, dimensions=2)
    shown = jax.random.normal(jax.random.key(1), (5, 3))
    label = jnp.int32(1)
    assert float(critic.judge(shown, label)) == pytest.approx(float(critic.judge(shown[::-1], label)), abs=1e-5)


def test_series_too_short_for_the_critic_are_refused():
    with pytest.raises(ValueError, match=r"at least 29 steps, not 28"):
        SequenceCritic(jax.random.key(0), classes=1, steps=28, channels=1)
