"""What a branching Q-network learns from: transitions over n steps, and the double estimator's target."""

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from twinloop.learning.bdqn.environment import Observation
from twinloop.learning.bdqn.network import QNetwork


class Transition(eqx.Module):
    """What every agent saw and did, the discounted rewards that followed, and what it saw then.

    `present` agents count; `discount` is what the value of what was `seen` at the end counts for, 0 after an end.
    """

    features: Float[Array, "*batch agents features"]
    present: Bool[Array, "*batch agents"]
    action: Int[Array, "*batch agents branches"]
    reward: Float[Array, "*batch agents"]
    discount: Float[Array, "*batch agents"]
    seen: Float[Array, "*batch agents features"]


class Window(eqx.Module):
    """The last n steps of every environment, oldest first: transitions of one step, whether each was its episode's
    last (`over`), and whether there was a step at all (`valid`).
    """

    steps: Transition
    over: Bool[Array, "n envs"]
    valid: Bool[Array, "n envs"]


def empty_window(like: Transition, n: int) -> Window:
    """Room for n steps that are as `like`, a step of all environments."""
    envs = like.present.shape[0]
    steps = jax.tree.map(lambda leaf: jnp.zeros((n, *leaf.shape), leaf.dtype), like)
    return Window(steps, jnp.zeros((n, envs), bool), jnp.zeros((n, envs), bool))


def pushed(window: Window, step: Transition, over: Bool[Array, " envs"]) -> Window:
    """The window one step later."""

    def after(old: Array, new: Array) -> Array:
        return jnp.concatenate([old[1:], new[None]])

    steps = jax.tree.map(after, window.steps, step)
    return Window(steps, after(window.over, over), after(window.valid, jnp.ones_like(over)))


def folded(window: Window) -> Transition:
    """The oldest step with all that followed it up to n steps, or to the end of its episode or of the agent:

        R = sum_{k < m} G_k r_k,   G_{k+1} = G_k g_k,   then G_m and what was seen after m steps

    g is the discount of a step, gamma or 0 (Sutton and Barto, Reinforcement Learning, 2018, 7.1).
    """
    steps, n = window.steps, window.over.shape[0]
    first = jax.tree.map(lambda leaf: leaf[0], steps)
    reward, discount, seen, more = first.reward, first.discount, first.seen, ~window.over[0]
    for k in range(1, n):
        going = more[:, None] & (discount > 0)
        reward = reward + jnp.where(going, discount * steps.reward[k], 0.0)
        seen = jnp.where(going[:, :, None], steps.seen[k], seen)
        discount = jnp.where(going, discount * steps.discount[k], discount)
        more = more & ~window.over[k]
    return Transition(first.features, first.present, first.action, reward, discount, seen)


def one_step(
    before: Observation,
    action: Int[Array, "envs agents branches"],
    reward: Float[Array, "envs agents"],
    ended: Bool[Array, "envs agents"],
    after: Observation,
    gamma: float,
) -> Transition:
    """A step as a transition; an agent that is gone afterwards has ended."""
    discount = jnp.where(ended | ~after.present, 0.0, gamma)
    return Transition(before.features, before.present, action, reward, discount, after.features)


def td_target(network: QNetwork, target: QNetwork, step: Transition) -> Float[Array, "*batch agents"]:
    """y = R + G mean_d Q'_d(s', argmax_a Q_d(s', a)): the network chooses, the target network tells what it is worth.

    One target for all D branches, the mean over them (Tavakoli et al., 2018, equation 6); the double estimator is that
    of van Hasselt, Guez and Silver, AAAI 2016.
    """
    worth = _at(target(step.seen), network.greedy(step.seen))
    return step.reward + step.discount * jnp.mean(worth, axis=-1)


def td_loss(
    network: QNetwork, y: Float[Array, "draws agents"], step: Transition, weight: Float[Array, " draws"], huber: float
) -> tuple[Float[Array, ""], Float[Array, " draws"]]:
    """Mean over draws, present agents and branches of w H(y - Q_d(s, a_d)), H Huber's loss; and each draw's error.

    The error, which becomes the draw's priority, is the mean of |y - Q_d| over its present agents and branches.
    """
    apart = _at(network(step.features), step.action) - y[..., None]
    there = step.present.astype(jnp.float32)
    agents = jnp.maximum(jnp.sum(there, axis=1), 1.0)
    loss = jnp.mean(optax.losses.huber_loss(apart, delta=huber), axis=-1) * there * weight[:, None]
    error = jnp.sum(jnp.mean(jnp.abs(apart), axis=-1) * there, axis=1) / agents
    return jnp.sum(loss) / jnp.maximum(jnp.sum(there), 1.0), error


def _at(q: Float[Array, "*batch branches levels"], level: Int[Array, "*batch branches"]) -> Array:
    """Values at one level of every branch: a masked sum, whose gradient needs no scatter."""
    levels = jax.lax.broadcasted_iota(jnp.int32, q.shape, q.ndim - 1)
    return jnp.sum(jnp.where(level[..., None] == levels, q, 0.0), axis=-1)
