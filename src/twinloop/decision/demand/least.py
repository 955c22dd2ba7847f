"""The least amount at which a user is served well enough, when more never hurts much: a coarse scan, then bisection."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

_SPAN = 1024.0
_GRID = 9
_HALVINGS = 7
_NEAR_BEST = 0.02

Worth = Callable[[Float[Array, " users"]], tuple[Float[Array, " users"], Float[Array, "facts users"]]]
"""Of an amount: what it is worth, and other facts about it that the answer should carry."""


class Least(NamedTuple):
    """The amount, what it is worth, the facts about it, and the most that any amount tried is worth."""

    amount: Float[Array, " users"]
    worth: Float[Array, " users"]
    facts: Float[Array, "facts users"]
    best: Float[Array, " users"]


class _Search(NamedTuple):
    """Worth of the amounts tried, facts about them, and the bracket with what its upper end is worth."""

    seen: Array
    facts: Array
    low: Array
    high: Array
    at_high: Array
    facts_high: Array


def least_amount(worth: Worth, enough: Float[Array, " users"], most: Float[Array, " users"]) -> Least:
    """The first amount in (most / 1024, most] at which `worth` reaches `enough`, to within 1 %.

    Nine amounts, each 2.4 times the one before, are tried in order; the first that suffices and the one before it are
    the bracket of seven halvings. Where worth rises with the amount this is its inverse; where it does not (a player
    that stalls because it dared a higher version), it is the first crossing that the scan sees. Who cannot reach
    `enough` gets the least amount that comes within .02 of the best.
    """
    ratio = _SPAN ** (1.0 / (_GRID - 1))
    tried = most[None] * (ratio ** jnp.arange(1.0 - _GRID, 1.0))[:, None]
    users = most.shape[0]
    facts = jax.eval_shape(worth, most)[1].shape[0]
    none = jnp.zeros(users)
    unseen = jnp.full((_GRID, users), -jnp.inf)
    start = _Search(unseen, jnp.zeros((_GRID, facts, users)), none, most, none, jnp.zeros((facts, users)))

    def step(number: Int[Array, ""], found: _Search) -> _Search:
        scanning = number < _GRID
        at = jnp.minimum(number, _GRID - 1)
        amount = jnp.where(scanning, tried[at], jnp.sqrt(found.low * found.high))
        value, about = worth(amount)
        halved = _halved(found, amount, value, about, _goal(found.seen, enough))
        noted = found._replace(seen=found.seen.at[at].set(value), facts=found.facts.at[at].set(about))
        scanned = _bracketed(noted, tried, ratio, _goal(noted.seen, enough))
        return jax.tree.map(lambda a, b: jnp.where(scanning, a, b), scanned, halved)

    found = jax.lax.fori_loop(0, _GRID + _HALVINGS, step, start)
    return Least(found.high, found.at_high, found.facts_high, jnp.max(found.seen, axis=0))


def _goal(seen: Float[Array, "tried users"], enough: Float[Array, " users"]) -> Float[Array, " users"]:
    best = jnp.max(seen, axis=0)
    return jnp.where(best >= enough, enough, best - _NEAR_BEST)


def _bracketed(
    found: _Search, tried: Float[Array, "tried users"], ratio: float, goal: Float[Array, " users"]
) -> _Search:
    first = jnp.argmax(found.seen >= goal[None], axis=0)
    users = jnp.arange(first.shape[0])
    high = tried[first, users]
    return found._replace(
        low=high / ratio,
        high=high,
        at_high=found.seen[first, users],
        facts_high=found.facts[first, :, users].T,
    )


def _halved(found: _Search, amount: Array, value: Array, about: Array, goal: Float[Array, " users"]) -> _Search:
    reached = value >= goal
    return found._replace(
        low=jnp.where(reached, found.low, amount),
        high=jnp.where(reached, amount, found.high),
        at_high=jnp.where(reached, value, found.at_high),
        facts_high=jnp.where(reached[None], about, found.facts_high),
    )
