"""Training of a branching Q-network: rounds of acting and learning between two checks are one compiled function."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Key, PRNGKeyArray, PyTree

from twinloop.errors import ModelError
from twinloop.learning.bdqn.acting import Scene, advance, begin, blurred, explore, greedy_returns
from twinloop.learning.bdqn.checkpoint import load_checkpoint, save_checkpoint
from twinloop.learning.bdqn.environment import AbstractEnvironment
from twinloop.learning.bdqn.network import QNetwork, q_network
from twinloop.learning.bdqn.replay import Drawn, Replay, draw, empty_replay, put, reprioritised
from twinloop.learning.bdqn.settings import BdqnSettings
from twinloop.learning.bdqn.targets import (
    Transition,
    Window,
    empty_window,
    folded,
    one_step,
    pushed,
    td_loss,
    td_target,
)


class LearningCurve(eqx.Module):
    """How training went, by check: steps of environments taken, what greedy episodes returned, mean loss, exploration.

    Checks that have not been reached hold 0. `best` is the check of the highest mean return.
    """

    steps: Int[Array, " checks"]
    returns: Float[Array, "checks episodes"]
    loss: Float[Array, " checks"]
    exploration: Float[Array, " checks"]
    best: Int[Array, ""]

    def interval(self) -> tuple[Float[Array, " checks"], Float[Array, " checks"], Float[Array, " checks"]]:
        """Mean return of the episodes and its 95 % interval: mean, low, high. Normal approximation."""
        mean = jnp.mean(self.returns, axis=1)
        count = self.returns.shape[1]
        half = 1.96 * jnp.std(self.returns, axis=1, ddof=1 if count > 1 else 0) / count**0.5
        return mean, mean - half, mean + half


class Learner(eqx.Module):
    """Everything of a training that evolves. `check` counts the checks that are over."""

    network: QNetwork
    target: QNetwork
    memory: PyTree
    best: QNetwork
    replay: Replay[Transition]
    window: Window
    scene: Scene
    curve: LearningCurve
    check: Int[Array, ""]


def train_bdqn(
    key: PRNGKeyArray,
    environment: AbstractEnvironment,
    settings: BdqnSettings,
    *,
    checkpoint: Path | None = None,
    progress: Callable[[str], None] | None = None,
) -> tuple[QNetwork, LearningCurve]:
    """The network whose greedy episodes returned most, and how training went. The same key trains the same network.

    With a `checkpoint`, everything is saved there after each check, and training goes on from what is there already.
    Raises ModelError where losses stop being finite, and where the checkpoint is damaged or of another training;
    OutputError where it cannot be written.
    """
    k_begin, k_rounds, k_judge = jax.random.split(key, 3)
    card = {"settings": asdict(settings), "key": np.asarray(jax.random.key_data(key)).tolist()}
    if checkpoint is not None and checkpoint.exists():
        shapes: Any = eqx.filter_eval_shape(_begin, k_begin, environment, settings)
        learner = load_checkpoint(checkpoint, shapes, card)
    else:
        learner = _begin(k_begin, environment, settings)
    for check in range(int(learner.check), settings.checks):
        learner = _until_check(jax.random.fold_in(k_rounds, check), k_judge, environment, learner, settings)
        told = _told(learner.curve, check)
        if not np.isfinite(told["loss"]):
            where = checkpoint if checkpoint is not None else "training of a Q-network"
            problem = f"the loss is no longer finite at step {told['steps']:,.0f}"
            raise ModelError(where, problem, "a lower learning rate, or rewards of the order of 1")
        if checkpoint is not None:
            save_checkpoint(checkpoint, learner, card)
        if progress is not None:
            progress(
                f"step {told['steps']:,.0f} of {settings.rounds * settings.environments:,}: "
                f"return {told['mean']:.4g} ({told['low']:.4g} to {told['high']:.4g}), "
                f"loss {told['loss']:.3g}, explores {told['exploration']:.0%}"
            )
    return learner.best, learner.curve


def _told(curve: LearningCurve, check: int) -> dict[str, float]:
    mean, low, high = curve.interval()
    columns = {"steps": curve.steps, "mean": mean, "low": low, "high": high}
    columns |= {"loss": curve.loss, "exploration": curve.exploration}
    return {name: float(values[check]) for name, values in columns.items()}


def _rule(settings: BdqnSettings) -> optax.GradientTransformation:
    rate = optax.cosine_decay_schedule(settings.learning_rate, settings.rounds * settings.updates, settings.final_rate)
    return optax.flatten(optax.chain(optax.clip_by_global_norm(settings.clip), optax.adam(rate)))


@eqx.filter_jit
def _begin(key: PRNGKeyArray, environment: AbstractEnvironment, settings: BdqnSettings) -> Learner:
    """An untrained network, and a replay that holds `start` steps of random actions."""
    k_network, k_scene, k_rounds = jax.random.split(key, 3)
    scene = begin(jax.random.split(k_scene, settings.environments), environment)
    agents, features = scene.observed.features.shape[1:]
    network = q_network(
        k_network,
        features,
        environment.levels,
        layers=settings.layers,
        width=settings.width,
        head_width=settings.head_width,
    )
    action = jnp.zeros((settings.environments, agents, len(environment.levels)), jnp.int32)
    none = jnp.zeros((settings.environments, agents))
    like = one_step(scene.observed, action, none, none > 0, scene.observed, settings.gamma)
    replay = empty_replay(jax.tree.map(lambda leaf: leaf[0], like), settings.capacity)
    window = empty_window(like, settings.n_step)

    def one(carry: PyTree, keys: RoundKeys) -> tuple[PyTree, None]:
        drawn = blurred(keys.choose, action, environment.levels, jnp.float32(1.0))
        return _lived(keys.live, environment, carry, drawn, settings), None

    rounds = -(-settings.start // settings.environments) + settings.n_step - 1
    keys = _round_keys(k_rounds, rounds, settings)
    (replay, window, scene), _ = jax.lax.scan(one, (replay, window, scene), keys)
    nothing = jnp.zeros(settings.checks)
    curve = LearningCurve(
        nothing.astype(jnp.int32),
        jnp.zeros((settings.checks, settings.evaluation_episodes)),
        nothing,
        nothing,
        jnp.int32(0),
    )
    memory = _rule(settings).init(eqx.filter(network, eqx.is_array))
    return Learner(network, network, memory, network, replay, window, scene, curve, jnp.int32(0))


class RoundKeys(eqx.Module):
    """Keys of rounds: to choose actions, to draw from the replay, to step and to begin every environment."""

    choose: Key[Array, "*rounds"]
    draw: Key[Array, "*rounds"]
    live: Key[Array, "*rounds 2 envs"]


def _round_keys(key: PRNGKeyArray, rounds: int, settings: BdqnSettings) -> RoundKeys:
    """All of them at once: drawn one by one they would cost more than most environments."""
    keys = jax.random.split(key, (rounds, 2 + 2 * settings.environments))
    return RoundKeys(keys[:, 0], keys[:, 1], keys[:, 2:].reshape(rounds, 2, -1))


def _lived(
    keys: Key[Array, "2 envs"],
    environment: AbstractEnvironment,
    carry: tuple[Replay[Transition], Window, Scene],
    action: Int[Array, "envs agents branches"],
    settings: BdqnSettings,
) -> tuple[Replay[Transition], Window, Scene]:
    """One step of every environment, remembered."""
    replay, window, scene = carry
    after, observed, brought = advance(keys, environment, scene, action)
    step = one_step(scene.observed, action, brought.reward, brought.ended, observed, settings.gamma)
    window = pushed(window, step, brought.over)
    item = folded(window)
    return put(replay, item, window.valid[0] & jnp.any(item.present, axis=1)), window, after


@eqx.filter_jit
def _until_check(
    key: PRNGKeyArray, k_judge: PRNGKeyArray, environment: AbstractEnvironment, learner: Learner, settings: BdqnSettings
) -> Learner:
    """The rounds up to the next check, and the check."""
    rule, span = _rule(settings), settings.rounds_per_check
    first = learner.check * span

    def one_round(carry: PyTree, now: tuple[Array, RoundKeys]) -> tuple[PyTree, Array]:
        learned, lived = carry
        number, keys = now
        network = learned[0]
        action = explore(keys.choose, network, lived[2].observed, _exploration(number, settings))
        replay, window, scene = _lived(keys.live, environment, lived, action, settings)
        drawn = draw(keys.draw, replay, settings.updates * settings.batch, _importance(number, settings))
        learned, (losses, errors) = _updated(rule, learned, drawn, settings)
        replay = reprioritised(replay, drawn.place, errors, settings.priority)
        return (learned, (replay, window, scene)), jnp.mean(losses)

    carry = ((learner.network, learner.target, learner.memory), (learner.replay, learner.window, learner.scene))
    numbers = first + jnp.arange(span)
    (learned, lived), losses = jax.lax.scan(one_round, carry, (numbers, _round_keys(key, span, settings)))
    network, target, memory = learned
    returns = greedy_returns(k_judge, environment, network, settings.evaluation_episodes, settings.evaluation_steps)
    curve, better = _entered(learner, returns, jnp.mean(losses), settings)
    best = jax.tree.map(lambda new, old: jnp.where(better, new, old), network, learner.best)
    return Learner(network, target, memory, best, *lived, curve, learner.check + 1)


def _updated(
    rule: optax.GradientTransformation, learned: PyTree, drawn: Drawn[Transition], settings: BdqnSettings
) -> tuple[PyTree, tuple[Array, Array]]:
    """The updates of a round: update j takes draws j, j + updates, ..., so each spans all parts of the priorities."""
    updates = settings.updates

    def batched(leaf: Array) -> Array:
        return jnp.swapaxes(leaf.reshape(-1, updates, *leaf.shape[1:]), 0, 1)

    def one(carry: PyTree, some: tuple[Transition, Array]) -> tuple[PyTree, tuple[Array, Array]]:
        network, target, memory = carry
        step, weight = some
        y = td_target(network, target, step)
        (loss, error), slope = eqx.filter_value_and_grad(td_loss, has_aux=True)(
            network, y, step, weight, settings.huber
        )
        change, memory = rule.update(slope, memory, network)
        network = eqx.apply_updates(network, change)
        target = jax.tree.map(lambda old, new: old + settings.target_rate * (new - old), target, network)
        return (network, target, memory), (loss, error)

    learned, (losses, errors) = jax.lax.scan(one, learned, jax.tree.map(batched, (drawn.items, drawn.weight)))
    return learned, (losses, errors.T.reshape(-1))


def _exploration(number: Int[Array, ""], settings: BdqnSettings) -> Float[Array, ""]:
    along = number / max(settings.exploration_span * settings.rounds, 1.0)
    return 1.0 - (1.0 - settings.exploration) * jnp.minimum(along, 1.0)


def _importance(number: Int[Array, ""], settings: BdqnSettings) -> Float[Array, ""]:
    return settings.importance + (1.0 - settings.importance) * number / settings.rounds


def _entered(
    learner: Learner, returns: Float[Array, " episodes"], loss: Float[Array, ""], settings: BdqnSettings
) -> tuple[LearningCurve, Any]:
    """The curve with this check entered, and whether it is the best so far."""
    curve, check = learner.curve, learner.check
    done = (check + 1) * settings.rounds_per_check
    mean = jnp.mean(returns)
    better = (check == 0) | (mean > jnp.mean(curve.returns[curve.best]))
    entered = LearningCurve(
        curve.steps.at[check].set(done * settings.environments),
        curve.returns.at[check].set(returns),
        curve.loss.at[check].set(loss),
        curve.exploration.at[check].set(_exploration(done - 1, settings)),
        jnp.where(better, check, curve.best),
    )
    return entered, better
