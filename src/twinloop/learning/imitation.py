"""Imitating people who stop: behaviour cloning, and generative adversarial imitation (Ho and Ermon, NeurIPS 2016).

The problem is a row of visits. In a visit one goes from position to position until one stops; nothing but stopping is
left to choose, and between positions nothing is left to chance. So the visits are what a world steps through, and the
whole distribution of a visit's stop is known in closed form.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

State = TypeVar("State")
Visit = TypeVar("Visit")
_NEVER = 1e-12
_MOST_CHANGE = 6.0
_MOST_ODDS = 4.0


class Choice(eqx.Module):
    """What a policy sees of every visit: `where` its positions are, what is `given` throughout, and the intensity of
    stopping, `base`, that it starts from; 0 where a position does not exist.
    """

    where: Float[Array, "visits positions places"]
    given: Float[Array, "visits givens"]
    base: Float[Array, "visits positions"]


@dataclass(frozen=True)
class World(Generic[State, Visit]):
    """Visits as functions, all people at once: `init` from how people start, `observe` what a policy sees, `step` to
    the state after a stop at a position.
    """

    init: Callable[[PyTree], State]
    observe: Callable[[State, Visit], Choice]
    step: Callable[[State, Visit, Int[Array, " people"]], State]


class Recorded(eqx.Module, Generic[Visit]):
    """What people did: how they `start`, trees of visits [people, visits, ...], the position of each stop, and 1 where
    a visit exists.
    """

    start: PyTree
    visit: Visit
    stop: Int[Array, "people visits"]
    exists: Float[Array, "people visits"]


class PlaceNetwork(eqx.Module):
    """A number for every position of every visit: two hidden layers over (where, given)."""

    where: Float[Array, "places width"]
    given: Float[Array, "givens width"]
    where_bias: Float[Array, " width"]
    hidden: Float[Array, "width width"]
    hidden_bias: Float[Array, " width"]
    out: Float[Array, "width 1"]
    out_bias: Float[Array, "1"]
    activation: Callable[[Array], Array] = eqx.field(static=True)

    def __call__(
        self, where: Float[Array, "visits positions places"], given: Float[Array, "visits givens"]
    ) -> Float[Array, "visits positions"]:
        """The last layer's output."""
        first = where @ self.where + (given @ self.given)[:, None, :] + self.where_bias[None, None, :]
        second = self.activation(first) @ self.hidden + self.hidden_bias[None, None, :]
        return (self.activation(second) @ self.out)[:, :, 0] + self.out_bias[None, :]


def place_network(
    key: PRNGKeyArray,
    places: int,
    givens: int,
    width: int,
    activation: Callable[[Array], Array],
    *,
    silent: bool = False,
) -> PlaceNetwork:
    """Weights drawn evenly within 1 / sqrt(inputs), biases 0; the last layer of a `silent` network is 0."""
    k_where, k_given, k_hidden, k_out = jax.random.split(key, 4)

    def drawn(k: PRNGKeyArray, inputs: int, outputs: int) -> Array:
        return jax.random.uniform(k, (inputs, outputs), minval=-1.0, maxval=1.0) / inputs**0.5

    return PlaceNetwork(
        where=drawn(k_where, places, width),
        given=drawn(k_given, givens, width),
        where_bias=jnp.zeros(width),
        hidden=drawn(k_hidden, width, width),
        hidden_bias=jnp.zeros(width),
        out=jnp.zeros((width, 1)) if silent else drawn(k_out, width, 1),
        out_bias=jnp.zeros(1),
        activation=activation,
    )


class StoppingPolicy(eqx.Module):
    """Intensity base x exp(net(where, given)); a position is passed with probability exp(-intensity)."""

    net: PlaceNetwork

    def intensity(self, choice: Choice) -> Float[Array, "visits positions"]:
        """Intensity of stopping at every position of every visit."""
        change = self.net(choice.where, choice.given)
        return choice.base * jnp.exp(jnp.clip(change, -_MOST_CHANGE, _MOST_CHANGE))


class Critic(eqx.Module):
    """Logarithm of how much more often people than the policy stop there."""

    net: PlaceNetwork

    def odds(
        self, where: Float[Array, "visits positions places"], given: Float[Array, "visits givens"]
    ) -> Float[Array, "visits positions"]:
        """Log odds that a stop at each position of each visit is a person's."""
        return self.net(where, given)


def stopping_policy(key: PRNGKeyArray, places: int, givens: int, width: int = 32) -> StoppingPolicy:
    """An untrained policy: it does as its base does."""
    return StoppingPolicy(place_network(key, places, givens, width, jnp.tanh, silent=True))


def critic_of(key: PRNGKeyArray, places: int, givens: int, width: int = 32) -> Critic:
    """An untrained critic."""
    return Critic(place_network(key, places, givens, width, jax.nn.leaky_relu))


def log_stop(intensity: Float[Array, "visits positions"]) -> Float[Array, "visits positions"]:
    """ln P(stop at k) = ln(1 - exp(-l_k)) - sum_{j < k} l_j."""
    before = jnp.cumsum(intensity, axis=1) - intensity
    return jnp.log(-jnp.expm1(-jnp.maximum(intensity, _NEVER))) - before


class Stops(eqx.Module):
    """Visits apart from one another: what was seen of each and where it stopped, weighed by `exists`."""

    choice: Choice
    stop: Int[Array, " visits"]
    exists: Float[Array, " visits"]


def surprise(policy: StoppingPolicy, key: PRNGKeyArray, stops: Stops) -> Float[Array, ""]:
    """Mean of -ln P(recorded stop), in nats a visit: the loss of behaviour cloning. `key` is not used."""
    del key
    chance = jnp.take_along_axis(log_stop(policy.intensity(stops.choice)), stops.stop[:, None], axis=1)[:, 0]
    return -jnp.sum(chance * stops.exists) / jnp.maximum(jnp.sum(stops.exists), 1.0)


def observed(world: World[State, Visit], recorded: Recorded[Visit]) -> Stops:
    """Everything that people saw on their way and where they stopped, flat over people and visits."""

    def one(state: State, now: tuple[Visit, Array]) -> tuple[State, Choice]:
        visit, stop = now
        return world.step(state, visit, stop), world.observe(state, visit)

    visits, stops, exists = _by_visit(recorded)
    _, choices = jax.lax.scan(one, world.init(recorded.start), (visits, stops))
    return Stops(*_flat((choices, stops, exists)))


def rolled_out(
    key: PRNGKeyArray, policy: StoppingPolicy, world: World[State, Visit], recorded: Recorded[Visit]
) -> Stops:
    """What the policy sees and where it stops when it lives through the visits itself, flat over people and visits."""
    visits, _, exists = _by_visit(recorded)
    keys = jax.random.split(key, recorded.stop.shape[1])

    def one(state: State, now: tuple[Visit, PRNGKeyArray]) -> tuple[State, tuple[Choice, Array]]:
        visit, k = now
        choice = world.observe(state, visit)
        stop = jax.random.categorical(k, log_stop(policy.intensity(choice)), axis=1).astype(jnp.int32)
        return world.step(state, visit, stop), (choice, stop)

    _, (choices, stops) = jax.lax.scan(one, world.init(recorded.start), (visits, keys))
    return Stops(*_flat((choices, stops, exists)))


def _by_visit(recorded: Recorded[Visit]) -> tuple[Visit, Array, Array]:
    """Visits, stops and what exists with the visits in front."""
    parts = (recorded.visit, recorded.stop, recorded.exists)
    return jax.tree.map(lambda leaf: jnp.swapaxes(leaf, 0, 1), parts)


def _flat(parts: tuple[Choice, Array, Array]) -> tuple[Choice, Array, Array]:
    """Parts with visits and people, in front, as one axis."""
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), parts)


class Imitation(eqx.Module):
    """A policy after adversarial training (mean of its weights over the last steps), and how it went."""

    policy: StoppingPolicy
    critic: Critic
    critic_loss: Float[Array, " checks"]
    surprise: Float[Array, " checks"]


@dataclass(frozen=True)
class Adversarial:
    """How adversarial training goes: steps, people a step, learning rates of policy and critic.

    `likelihood` weighs the surprise at recorded stops beside the critic's verdict; `foresight` discounts what a stop
    does to later visits; `memory` weighs the past in the mean of weights; `decay` is the critic's weight decay.
    """

    steps: int = 400
    people: int = 24
    learning_rate: float = 5e-4
    critic_rate: float = 2e-3
    likelihood: float = 1.0
    foresight: float = 0.8
    memory: float = 0.99
    decay: float = 1e-3


@eqx.filter_jit
def imitate(
    key: PRNGKeyArray,
    policy: StoppingPolicy,
    critic: Critic,
    world: World[State, Visit],
    recorded: Recorded[Visit],
    schedule: Adversarial,
    checks: int = 20,
) -> Imitation:
    """Generative adversarial imitation in one compiled function.

    A step draws people, lets the policy live through their visits, moves the critic D (log odds of people against
    policy) down its cross entropy, and the policy up E[D + foresight x later D] - likelihood x surprise. Where D is
    right it is ln(people's / policy's occupancy), so the policy descends KL(policy | people); its entropy is part of
    that. The expectation over a visit's own stop is exact, only the effect on later visits is sampled (score function).
    """
    count = recorded.stop.shape[0]
    policy_rule = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule.learning_rate))
    critic_rule = optax.chain(
        optax.clip_by_global_norm(1.0), optax.adamw(schedule.critic_rate, b1=0.5, weight_decay=schedule.decay)
    )
    leaves, fixed = eqx.partition(policy, eqx.is_inexact_array)
    weights, frame = eqx.partition(critic, eqx.is_inexact_array)

    def one_step(carry: PyTree, k: PRNGKeyArray) -> tuple[PyTree, tuple[Array, Array]]:
        leaves, weights, mean, policy_memory, critic_memory = carry
        k_pick, k_roll = jax.random.split(k)
        pick = jax.random.randint(k_pick, (schedule.people,), 0, count)
        some = jax.tree.map(lambda leaf: leaf[pick], recorded)
        people = observed(world, some)
        own = rolled_out(k_roll, eqx.combine(leaves, fixed), world, some)
        doubt, slope = jax.value_and_grad(lambda w: _doubt(eqx.combine(w, frame), people, own))(weights)
        change, critic_memory = critic_rule.update(slope, critic_memory, weights)
        moved: PyTree = optax.apply_updates(weights, change)
        verdict = _verdict(eqx.combine(moved, frame), own)

        def regret(some_leaves: PyTree) -> tuple[Array, Array]:
            imitator = eqx.combine(some_leaves, fixed)
            miss = surprise(imitator, k, people)
            return _regret(imitator, own, verdict, schedule) + schedule.likelihood * miss, miss

        (_, miss), slope = jax.value_and_grad(regret, has_aux=True)(leaves)
        change, policy_memory = policy_rule.update(slope, policy_memory, leaves)
        leaves = optax.apply_updates(leaves, change)
        mean = jax.tree.map(lambda m, n: schedule.memory * m + (1.0 - schedule.memory) * n, mean, leaves)
        return (leaves, moved, mean, policy_memory, critic_memory), (doubt, miss)

    start = (leaves, weights, leaves, policy_rule.init(leaves), critic_rule.init(weights))
    span = max(schedule.steps // checks, 1)
    (_, weights, mean, _, _), (doubt, miss) = jax.lax.scan(one_step, start, jax.random.split(key, checks * span))
    doubt, miss = (jnp.mean(values.reshape(checks, span), axis=1) for values in (doubt, miss))
    return Imitation(eqx.combine(mean, fixed), eqx.combine(weights, frame), doubt, miss)


def _verdict(critic: Critic, stops: Stops) -> Float[Array, "visits positions"]:
    return critic.odds(stops.choice.where, stops.choice.given)


def _doubt(critic: Critic, people: Stops, own: Stops) -> Float[Array, ""]:
    """Cross entropy of telling people's stops from the policy's own."""

    def mean(stops: Stops, sign: float) -> Float[Array, ""]:
        where = jnp.take_along_axis(stops.choice.where, stops.stop[:, None, None], axis=1)
        loss = jax.nn.softplus(-sign * critic.odds(where, stops.choice.given)[:, 0])
        return jnp.sum(loss * stops.exists) / jnp.maximum(jnp.sum(stops.exists), 1.0)

    return mean(people, 1.0) + mean(own, -1.0)


def _regret(
    policy: StoppingPolicy, own: Stops, verdict: Float[Array, "visits positions"], schedule: Adversarial
) -> Float[Array, ""]:
    """Minus the critic's verdict that the policy can expect: of each visit exactly, of later visits by their score."""
    log_chance = log_stop(policy.intensity(own.choice))
    expected = jnp.sum(jnp.exp(log_chance) * jnp.clip(verdict, -_MOST_ODDS, _MOST_ODDS), axis=1)
    people = schedule.people
    reward = jax.lax.stop_gradient(expected * own.exists).reshape(-1, people)

    def back(later: Array, now: Array) -> tuple[Array, Array]:
        return now + schedule.foresight * later, later

    _, later = jax.lax.scan(back, jnp.zeros(people), reward, reverse=True)
    later = schedule.foresight * (later - jnp.mean(later, axis=1, keepdims=True)).reshape(-1)
    own_log = jnp.take_along_axis(log_chance, own.stop[:, None], axis=1)[:, 0]
    total = jnp.sum((expected + later * own_log) * own.exists)
    return -total / jnp.maximum(jnp.sum(own.exists), 1.0)
