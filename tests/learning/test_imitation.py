import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twinloop.learning import (
    Adversarial,
    Choice,
    Recorded,
    World,
    critic_of,
    fit,
    imitate,
    log_stop,
    observed,
    rolled_out,
    stopping_policy,
    surprise,
)

POSITIONS = 6
PLACE = jnp.eye(POSITIONS)
HABIT = np.array([0.05, 0.1, 0.9, 0.2, 0.1, 50.0], np.float32)
BASE = np.array([0.3, 0.3, 0.3, 0.3, 0.3, 50.0], np.float32)


def observe(state, visit) -> Choice:
    people = visit.shape[0]
    given = jnp.stack([visit, state], axis=1)
    return Choice(jnp.tile(PLACE[None], (people, 1, 1)), given, jnp.tile(jnp.asarray(BASE)[None], (people, 1)))


WORLD = World(lambda start: start, observe, lambda state, visit, stop: stop / POSITIONS)


def habit(kind, last):
    """Intensities of people: one kind is more patient, and who stayed long before does so again."""
    return HABIT[None, :] * np.exp(np.array([-0.7, 0.7])[kind] - last)[:, None]


def people(count: int, visits: int = 5, seed: int = 0) -> Recorded:
    draw = np.random.default_rng(seed)
    kind = draw.integers(2, size=(count, visits))
    last, stops = np.zeros(count), []
    for visit in range(visits):
        reached = np.cumsum(habit(kind[:, visit], last), axis=1)
        stop = (reached < draw.exponential(size=(count, 1))).sum(axis=1)
        stops.append(np.minimum(stop, POSITIONS - 1))
        last = stops[-1] / POSITIONS
    return Recorded(
        jnp.zeros(count),
        jnp.asarray(kind, jnp.float32),
        jnp.asarray(np.stack(stops, axis=1), jnp.int32),
        jnp.ones((count, visits)),
    )


def test_the_chances_of_all_stops_sum_to_one() -> None:
    chance = np.exp(np.asarray(log_stop(jnp.asarray(HABIT)[None])))[0]
    stay = np.exp(-HABIT)
    np.testing.assert_allclose(chance, (1 - stay) * np.concatenate([[1], np.cumprod(stay)[:-1]]), rtol=1e-4, atol=1e-7)
    assert chance.sum() == pytest.approx(1, abs=1e-5)


def test_an_untrained_policy_does_as_its_base() -> None:
    policy = stopping_policy(jax.random.key(0), POSITIONS, 2, 8)
    choice = observe(jnp.zeros(3), jnp.ones(3))
    np.testing.assert_array_equal(policy.intensity(choice), choice.base)


def test_people_are_seen_with_the_state_their_own_stops_led_to() -> None:
    recorded = people(4)
    stops = observed(WORLD, recorded)
    given = np.asarray(stops.choice.given).reshape(5, 4, 2)
    np.testing.assert_allclose(given[:, :, 0], np.asarray(recorded.visit).T)
    np.testing.assert_allclose(given[1:, :, 1], np.asarray(recorded.stop).T[:-1] / POSITIONS, rtol=1e-6)
    np.testing.assert_array_equal(np.asarray(stops.stop).reshape(5, 4), np.asarray(recorded.stop).T)


def test_a_policy_lives_through_visits_by_its_own_chances() -> None:
    policy = stopping_policy(jax.random.key(0), POSITIONS, 2, 8)
    own = rolled_out(jax.random.key(1), policy, WORLD, people(2000))
    share = np.bincount(np.asarray(own.stop), minlength=POSITIONS) / 10_000
    np.testing.assert_allclose(share, np.exp(np.asarray(log_stop(jnp.asarray(BASE)[None])))[0], atol=0.015)
    given = np.asarray(own.choice.given).reshape(5, 2000, 2)
    np.testing.assert_allclose(given[1:, :, 1], np.asarray(own.stop).reshape(5, 2000)[:-1] / POSITIONS, rtol=1e-6)


def excess(policy, recorded: Recorded) -> float:
    """Surprise above that of the intensities the people have."""
    stops = observed(WORLD, recorded)
    given = np.asarray(stops.choice.given)
    true = log_stop(jnp.asarray(habit(given[:, 0].astype(int), given[:, 1]), jnp.float32))
    least = -float(jnp.mean(jnp.take_along_axis(true, stops.stop[:, None], axis=1)))
    return float(surprise(policy, jax.random.key(0), stops)) - least


def test_cloning_finds_habits_and_what_they_depend_on() -> None:
    blank = stopping_policy(jax.random.key(0), POSITIONS, 2, 16)
    seen, held, fresh = (people(600, seed=seed) for seed in (0, 1, 2))
    stops = (observed(WORLD, recorded) for recorded in (seen, held))
    fitted = fit(jax.random.key(1), blank, surprise, *stops, steps=400, batch=256, learning_rate=1e-2, checks=5)
    assert excess(blank, fresh) > 0.15
    assert excess(fitted.model, fresh) < 0.02


def test_the_critic_alone_draws_a_policy_to_people() -> None:
    blank = stopping_policy(jax.random.key(0), POSITIONS, 2, 16)
    critic = critic_of(jax.random.key(2), POSITIONS, 2, 16)
    schedule = Adversarial(steps=400, people=64, learning_rate=3e-3, critic_rate=1e-2, likelihood=0.0, memory=0.97)
    trained = imitate(jax.random.key(3), blank, critic, WORLD, people(600), schedule, 5)
    fresh = people(600, seed=2)
    assert excess(trained.policy, fresh) < 0.35 * excess(blank, fresh)
    assert trained.critic_loss[-1] > trained.critic_loss[0] - 0.05
    again = imitate(jax.random.key(3), blank, critic, WORLD, people(600), schedule, 5)
    assert eqx.tree_equal(trained.policy, again.policy)
