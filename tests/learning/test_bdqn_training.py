"""Training on a task whose optimum is known: queues that only bandwidth and cycles together can serve."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array, Float

from twinloop.errors import ModelError
from twinloop.learning import AbstractEnvironment, BdqnSettings, Consequence, Observation, train_bdqn

LONGEST, KINDS, STEPS, STAYS = 6, 3, 48, 0.7
PRICES = (0.1, 0.05)
LEVELS = (4, 4, 2)
SETTINGS = BdqnSettings(
    steps=24_000,
    layers=3,
    width=48,
    head_width=0,
    n_step=2,
    gamma=0.95,
    learning_rate=2e-3,
    target_rate=0.01,
    capacity=8_192,
    start=512,
    checks=4,
    evaluation_episodes=64,
    evaluation_steps=STEPS,
)
KEY = jax.random.key(0)
traced = []


def served(bandwidth, cycles, cached):
    """Work done needs bandwidth and cycles, of which what is cached spares one."""
    return jnp.minimum(bandwidth, cycles + cached)


class Queues(AbstractEnvironment):
    """Two agents with a queue and a price each, and a row for one that is never there. A queue waits at a cost of
    its share; kind k brings k + 1 pieces of work a step.
    """

    scale: Float[Array, ""]

    @property
    def levels(self) -> tuple[int, ...]:
        return LEVELS

    def init(self, key):
        state = (jnp.zeros(2), jax.random.randint(key, (2,), 0, KINDS), jnp.int32(0))
        return state, self._seen(state)

    def step(self, key, state, action):
        traced.append(1)
        queue, kind, step = state
        stays, other = jax.random.uniform(key, (2, 2))
        queue = jnp.clip(queue + kind + 1 - served(*action[:2].T), 0, LONGEST)
        reward = self.scale * -(queue / LONGEST + jnp.asarray(PRICES) * jnp.sum(action[:2], axis=1))
        kind = jnp.where(stays < STAYS, kind, (other * KINDS).astype(jnp.int32))
        state = (queue, kind, step + 1)
        return state, self._seen(state), Consequence(jnp.append(reward, 1e3), jnp.zeros(3, bool), step + 1 >= STEPS)

    def _seen(self, state) -> Observation:
        queue, kind, _ = state
        own = jnp.concatenate([queue[:, None] / LONGEST, jax.nn.one_hot(kind, KINDS), jnp.eye(2)], axis=1)
        return Observation(jnp.concatenate([own, jnp.full((1, own.shape[1]), 1e3)]), jnp.arange(3) < 2)


ACTIONS = np.array(list(itertools.product(*map(range, LEVELS))))
STATES = np.array(list(itertools.product(range(LONGEST + 1), range(KINDS))))


def model(price: float) -> tuple[np.ndarray, np.ndarray]:
    """Rewards [states, actions] and probabilities [states, actions, states] of one agent."""
    work = np.minimum(ACTIONS[:, 0], ACTIONS[:, 1] + ACTIONS[:, 2])
    queue = np.clip(STATES[:, :1] + STATES[:, 1:] + 1 - work[None], 0, LONGEST)
    reward = -(queue / LONGEST + price * ACTIONS.sum(axis=1)[None])
    kinds = STAYS * np.eye(KINDS) + (1 - STAYS) / KINDS
    chance = np.zeros((len(STATES), len(ACTIONS), len(STATES)))
    for state, action in np.ndindex(reward.shape):
        chance[state, action, queue[state, action] * KINDS + np.arange(KINDS)] = kinds[STATES[state, 1]]
    return reward, chance


def optimum(price: float) -> np.ndarray:
    """The action of every state that is best in the long run, by value iteration over all actions."""
    reward, chance = model(price)
    value = np.zeros(len(STATES))
    for _ in range(600):
        value = (reward + 0.98 * chance @ value).max(axis=1)
    return (reward + 0.98 * chance @ value).argmax(axis=1)


def expected(policy: np.ndarray, price: float) -> float:
    """Expected return of an episode under probabilities of actions [states, actions]."""
    reward, chance = model(price)
    value = np.zeros(len(STATES))
    for _ in range(STEPS):
        value = (policy * (reward + chance @ value)).sum(axis=1)
    return float(value[:KINDS].mean())


def returns(actions: list[np.ndarray]) -> float:
    """Expected return of the two agents' mean under the action of every state."""
    return float(np.mean([expected(np.eye(len(ACTIONS))[a], p) for a, p in zip(actions, PRICES, strict=True)]))


def branch_by_branch(price: float) -> np.ndarray:
    """Each branch at the level that pays at once while the others are at their lowest."""
    reward, _ = model(price)
    chosen = []
    for branch, count in enumerate(LEVELS):
        alone = [int(np.ravel_multi_index(level * np.eye(3, dtype=int)[branch], LEVELS)) for level in range(count)]
        chosen.append(reward[:, alone].argmax(axis=1))
    return np.ravel_multi_index(tuple(chosen), LEVELS)


def learned(network) -> list[np.ndarray]:
    """The greedy action of every state for each agent."""
    own = np.concatenate([STATES[:, :1] / LONGEST, np.eye(KINDS)[STATES[:, 1]]], axis=1)
    seen = np.stack([np.concatenate([own, np.tile(np.eye(2)[agent], (len(own), 1))], axis=1) for agent in range(2)])
    greedy = np.asarray(network.greedy(jnp.asarray(seen, jnp.float32)))
    return [np.ravel_multi_index(tuple(of.T), LEVELS) for of in greedy]


def weights(network) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves(eqx.filter(network, eqx.is_array))]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A training that was never stopped, its curve, what it told, how often it was traced, and its checkpoint."""
    path, told = tmp_path_factory.mktemp("bdqn") / "whole.safetensors", []
    network, curve = train_bdqn(KEY, Queues(jnp.float32(1.0)), SETTINGS, checkpoint=path, progress=told.append)
    return network, curve, told, len(traced), path


def test_training_reaches_the_optimum_that_enumeration_finds(trained):
    network, curve, _, _, _ = trained
    best = returns([optimum(price) for price in PRICES])
    even = np.full((len(STATES), len(ACTIONS)), 1 / len(ACTIONS))
    random = float(np.mean([expected(even, price) for price in PRICES]))
    apart = returns([branch_by_branch(price) for price in PRICES])
    got = returns(learned(network))
    assert apart < best - 5
    assert got > max(random, apart)
    assert (got - random) / (best - random) >= 0.95
    assert (got - apart) / (best - apart) >= 0.95
    mean, low, high = (np.asarray(values, np.float64) for values in curve.interval())
    assert mean[int(curve.best)] == mean.max()
    half = high[int(curve.best)] - low[int(curve.best)]
    assert mean.max() == pytest.approx(got, abs=1.5 * float(half))


def test_the_curve_tells_steps_loss_and_exploration(trained):
    _, curve, told, _, _ = trained
    assert np.array_equal(curve.steps, [6_000, 12_000, 18_000, 24_000])
    assert np.all(np.isfinite(curve.loss)) and np.all(np.asarray(curve.loss) > 0)
    np.testing.assert_allclose(curve.exploration[-3:], 0.05, atol=1e-6)
    assert curve.returns.shape == (4, 64)
    assert len(told) == 4
    assert told[-1].startswith("step 24,000 of 24,000: return -")


def test_stopped_and_gone_on_it_is_the_same_training(trained, tmp_path):
    whole, curve, _, traces, _ = trained
    path, told = tmp_path / "part.safetensors", []

    def stops(line: str) -> None:
        told.append(line)
        if len(told) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_bdqn(KEY, Queues(jnp.float32(1.0)), SETTINGS, checkpoint=path, progress=stops)
    network, again = train_bdqn(KEY, Queues(jnp.float32(1.0)), SETTINGS, checkpoint=path, progress=told.append)
    assert len(told) == 4
    assert all(np.array_equal(a, b) for a, b in zip(weights(network), weights(whole), strict=True))
    assert np.array_equal(again.returns, curve.returns)
    assert len(list(tmp_path.iterdir())) == 2
    after = len(traced)
    other, _ = train_bdqn(jax.random.key(1), Queues(jnp.float32(0.5)), SETTINGS)
    assert any(not np.array_equal(a, b) for a, b in zip(weights(other), weights(whole), strict=True))
    assert len(traced) == after  # other keys and other environments of the same shapes run what was compiled
    assert after - traces <= 4  # shapes of the checkpoint are told without compiling


def test_a_finished_training_is_read_from_its_checkpoint(trained):
    whole, curve, told, _, path = trained
    network, again = train_bdqn(KEY, Queues(jnp.float32(1.0)), SETTINGS, checkpoint=path, progress=told.append)
    assert len(told) == 4
    assert all(np.array_equal(a, b) for a, b in zip(weights(network), weights(whole), strict=True))
    assert np.array_equal(again.loss, curve.loss)


def test_checkpoints_of_other_trainings_and_damaged_ones_are_refused(trained, tmp_path):
    path = trained[-1]
    environment = Queues(jnp.float32(1.0))
    with pytest.raises(ModelError, match=r"its key is .*expected the checkpoint of this training"):
        train_bdqn(jax.random.key(2), environment, SETTINGS, checkpoint=path)
    copy = tmp_path / "damaged.safetensors"
    copy.write_bytes(path.read_bytes()[:4_000])
    copy.with_suffix(".json").write_text(path.with_suffix(".json").read_text())
    with pytest.raises(ModelError, match="no safetensors file"):
        train_bdqn(KEY, environment, SETTINGS, checkpoint=copy)


def test_losses_that_are_not_finite_are_told(trained):
    with pytest.raises(ModelError, match=r"no longer finite at step 6,000; expected a lower learning rate"):
        train_bdqn(KEY, Queues(jnp.float32(jnp.inf)), SETTINGS)
