"""Many environments side by side: actions that explore, episodes that begin anew, and greedy episodes to judge by."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, PRNGKeyArray

from twinloop.learning.bdqn.environment import AbstractEnvironment, Consequence, Observation
from twinloop.learning.bdqn.network import QNetwork


class Scene(eqx.Module):
    """States of all environments and what their agents see."""

    states: Any
    observed: Observation


def begin(keys: Key[Array, " envs"], environment: AbstractEnvironment) -> Scene:
    """The first step of an episode in every environment."""
    return Scene(*jax.vmap(environment.init)(keys))


def explore(
    key: PRNGKeyArray, network: QNetwork, observed: Observation, share: Float[Array, ""]
) -> Int[Array, "envs agents branches"]:
    """Greedy levels, but each branch of each agent drawn evenly with probability `share`."""
    return blurred(key, network.greedy(observed.features), network.levels, share)


def blurred(
    key: PRNGKeyArray, action: Int[Array, "*rows branches"], levels: tuple[int, ...], share: Float[Array, ""]
) -> Int[Array, "*rows branches"]:
    """Actions of which a share of branches is drawn evenly anew."""
    uniform = jax.random.uniform(key, (2, *action.shape))
    count = np.broadcast_to(np.array(levels, np.float32), action.shape)
    drawn = jnp.minimum(uniform[0] * count, count - 1).astype(jnp.int32)
    return jnp.where(uniform[1] < share, drawn, action)


def advance(
    keys: Key[Array, "2 envs"],
    environment: AbstractEnvironment,
    scene: Scene,
    action: Int[Array, "envs agents branches"],
) -> tuple[Scene, Observation, Consequence]:
    """One step everywhere. The scene has new episodes where one is over, the observation still shows the last one."""
    states, observed, brought = jax.vmap(environment.step)(keys[0], scene.states, action)
    after = Scene(states, observed)

    def renewed() -> Scene:
        fresh = begin(keys[1], environment)
        return jax.tree.map(
            lambda new, old: jnp.where(brought.over.reshape(-1, *(1,) * (new.ndim - 1)), new, old), fresh, after
        )

    return jax.lax.cond(jnp.any(brought.over), renewed, lambda: after), observed, brought


def greedy_returns(
    key: PRNGKeyArray, environment: AbstractEnvironment, network: QNetwork, episodes: int, steps: int
) -> Float[Array, " episodes"]:
    """Sum over the steps of an episode (the first `steps` of it) of the mean reward of the agents present."""
    keys = jax.random.split(key, (1 + steps, episodes))

    def one(carry: tuple[Scene, Array], now: Key[Array, " episodes"]) -> tuple[tuple[Scene, Array], Array]:
        scene, lives = carry
        there = scene.observed.present
        action = network.greedy(scene.observed.features)
        states, observed, brought = jax.vmap(environment.step)(now, scene.states, action)
        mean = jnp.sum(jnp.where(there, brought.reward, 0.0), axis=1) / jnp.maximum(jnp.sum(there, axis=1), 1)
        return (Scene(states, observed), lives & ~brought.over), jnp.where(lives, mean, 0.0)

    start = (begin(keys[0], environment), jnp.ones(episodes, bool))
    _, rewards = jax.lax.scan(one, start, keys[1:])
    return jnp.sum(rewards, axis=0)
