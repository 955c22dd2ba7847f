"""A small network that tries to tell emulated statuses from reported ones: where it can, emulation is not enough."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

WIDTH = 16
LEARNING_RATE = 0.05
MEMORY = 0.98


class Discriminator(eqx.Module):
    """p(reported | x) of a status x [attributes], one hidden layer; and how well each group was told apart lately."""

    first: Float[Array, "attributes hidden"]
    bias: Float[Array, " hidden"]
    second: Float[Array, " hidden"]
    told_apart: Float[Array, " groups"]


def untrained(key: PRNGKeyArray, attributes: int, groups: int) -> Discriminator:
    """A network that knows nothing: it answers 1/2 to everything."""
    first = jax.random.normal(key, (attributes, WIDTH)) / jnp.sqrt(float(attributes))
    return Discriminator(first, jnp.zeros(WIDTH), jnp.zeros(WIDTH), jnp.zeros(groups))


def logit(network: Discriminator, status: Float[Array, "sample attributes"]) -> Float[Array, " sample"]:
    """log p / (1 - p) that a standardised status was reported."""
    return jnp.tanh(status @ network.first + network.bias[None, :]) @ network.second


def learn(
    network: Discriminator,
    emulated: Float[Array, "sample attributes"],
    reported: Float[Array, "sample attributes"],
    weight: Float[Array, " sample"],
    groups: Int[Array, " sample"],
) -> Discriminator:
    """Scores a mini-batch, then takes one step of gradient descent on its cross-entropy.

    `told_apart` is the running share of pairs (emulated, reported) in which the reported one scored higher, beyond
    chance: max(2 share - 1, 0) in [0, 1]. It is measured before the step, on pairs the network has not learned from.
    """
    right = (logit(network, reported) > logit(network, emulated)).astype(jnp.float32)
    tie = logit(network, reported) == logit(network, emulated)
    right = jnp.where(tie, 0.5, right)
    count = network.told_apart.shape[0]
    pairs = jax.ops.segment_sum(weight, groups, count)
    share = jax.ops.segment_sum(weight * right, groups, count) / jnp.maximum(pairs, 1e-9)
    beyond = 2.0 * share - 1.0
    told_apart = jnp.where(pairs > 0, MEMORY * network.told_apart + (1 - MEMORY) * beyond, network.told_apart)

    def loss(trial: tuple[Array, Array, Array]) -> Float[Array, ""]:
        first, bias, second = trial
        tried = Discriminator(first, bias, second, network.told_apart)
        cost = jax.nn.softplus(-logit(tried, reported)) + jax.nn.softplus(logit(tried, emulated))
        return jnp.sum(weight * cost) / jnp.maximum(jnp.sum(weight), 1.0)

    parts = (network.first, network.bias, network.second)
    first, bias, second = (
        part - LEARNING_RATE * slope for part, slope in zip(parts, jax.grad(loss)(parts), strict=True)
    )
    return Discriminator(first, bias, second, told_apart)
