"""The equilibrium of a resource game within capacity: variational for concave gains, settled for the sigmoid."""

from dataclasses import replace
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from twinloop.decision.game.best_response import asynchronous
from twinloop.decision.game.clearing import Cleared, Objective, clear_pools, fit
from twinloop.decision.game.gains import AbstractGain
from twinloop.decision.game.resource_game import ResourceGame

TOLERANCE = 1e-4
"""Gain alone, as a part of its worth, below which a group stays where it is."""

_OVERFULL = 1e-5
_MOST_RAISES = 80


class Equilibrium(eqx.Module):
    """Levels that no group changes alone, within the capacity of every pool.

    `price` is charged on top of a + b X in every pool, the same for all its groups; `gap` is the most that a group
    could gain alone at these prices, as a part of its worth, by any level at all and under the gain itself (never a
    surrogate). Where capacity binds groups by itself (`shared_equilibrium`), prices are 0 and the levels are those that
    fit; as nearly every allocation that fills a pool passes that, `gap` is then no less than that of the settled
    equilibrium it was reached from, by any level at all at its prices. `unsold` is what is left of pools that have a
    price, price (1 - X), as a part of all worth: 0 for concave gains, and where groups jump what no price sells.
    `fullest` is the largest X; `rounds` counts sweeps of best responses, `raises` those of prices.
    """

    level: Float[Array, " groups"]
    price: Float[Array, " pools"]
    gap: Float[Array, ""]
    unsold: Float[Array, ""]
    fullest: Float[Array, ""]
    rounds: Int[Array, ""]
    raises: Int[Array, ""]


class _Settling(NamedTuple):
    level: Float[Array, " groups"]
    price: Float[Array, " pools"]
    rounds: Int[Array, ""]
    raises: Int[Array, ""]


def potential_objective(game: ResourceGame) -> Objective:
    """The exact potential, as what `clear_pools` maximises."""
    return Objective(game.own, game.slope)


def variational_equilibrium(game: ResourceGame, gain: AbstractGain) -> Equilibrium:
    """The variational equilibrium of a game with concave gains: the maximum of the potential under capacity.

    All groups pay the same price for a pool's capacity (Facchinei and Kanzow, Generalized Nash equilibrium problems,
    2010); with b > 0 it is unique.
    """
    cleared = clear_pools(game, gain, potential_objective(game))
    return _certified(game, gain, _Settling(cleared.level, cleared.shadow, jnp.int32(0), jnp.int32(0)))


def settled_equilibrium(
    game: ResourceGame, gain: AbstractGain, surrogate: AbstractGain, tolerance: float = TOLERANCE
) -> Equilibrium:
    """An equilibrium of the game with a gain that is not concave, from the one of its concave `surrogate`.

    At the surrogate's prices groups best respond on `gain` one after another until nobody gains: the exact potential
    makes this end. Where a pool is overfull its price rises by a small part, between .2 % and 5 % of what it costs, and
    they go on. Prices only rise, so it ends within capacity; what a jump leaves free is told as `unsold`.
    """
    cleared = clear_pools(game, surrogate, potential_objective(game))
    scale = _price_scale(game, cleared)

    def respond(state: _Settling) -> _Settling:
        path = asynchronous(game, gain, state.level, state.price, tolerance)
        return _Settling(path.level, state.price, state.rounds + path.steps, state.raises)

    def overfull(state: _Settling) -> Bool[Array, ""]:
        return jnp.any(game.use(state.level) > 1.0 + _OVERFULL) & (state.raises < _MOST_RAISES)

    def raise_prices(state: _Settling) -> _Settling:
        over = jnp.maximum(game.use(state.level) - 1.0, 0.0)
        late = 1.05 ** jnp.maximum(state.raises - 20, 0)
        part = jnp.where(over > _OVERFULL, jnp.clip(2.0 * over, 2e-3, 5e-2) * late, 0.0)
        price = state.price + part * (state.price + scale)
        return respond(_Settling(state.level, price, state.rounds, state.raises + 1))

    first = respond(_Settling(cleared.level, cleared.shadow, jnp.int32(0), jnp.int32(0)))
    return _certified(game, gain, jax.lax.while_loop(overfull, raise_prices, first))


def _price_scale(game: ResourceGame, cleared: Cleared) -> Float[Array, " pools"]:
    """What a pool costs: congestion at its use, at least a hundredth of its groups' worth a claim."""
    worth = game.pooled(jnp.where(game.claim > 0, game.worth[None], 0.0))
    claims = game.pooled(game.claim)
    return game.base + game.slope * game.use(cleared.level) + 0.01 * worth / jnp.maximum(claims, 1e-12)


def shared_equilibrium(
    game: ResourceGame, gain: AbstractGain, surrogate: AbstractGain, tolerance: float = TOLERANCE
) -> Equilibrium:
    """An equilibrium in which groups take what others leave, with nothing charged but congestion.

    A generalized Nash equilibrium: nobody gains alone by any level that fits. There are many; the potential rises along
    every path of best responses, so the best of three paths by potential is returned: from the settled equilibrium,
    from the surrogate's levels, and from nothing with groups in order of worth by what their claims cost at the
    surrogate's prices. Pools are used up as far as anybody gains.
    """
    settled = settled_equilibrium(game, gain, surrogate, tolerance)
    cleared = clear_pools(game, surrogate, potential_objective(game))
    cost = game.charged(game.base + cleared.shadow + game.slope * game.use(cleared.level))
    order = jnp.argsort(-game.worth / jnp.maximum(cost, 1e-12)).astype(jnp.int32)
    free = jnp.zeros_like(settled.price)

    def follow(start: Float[Array, " groups"]) -> tuple[Float[Array, " groups"], Float[Array, ""], Int[Array, ""]]:
        path = asynchronous(game, gain, start, free, tolerance, within=True, order=order)
        return path.level, game.potential(gain, path.level, free), path.steps

    starts = jnp.stack([settled.level, cleared.level, fit(game, game.low)])
    level, potential, steps = jax.lax.map(follow, starts)
    found = _Settling(level[jnp.argmax(potential)], free, settled.rounds + jnp.sum(steps), settled.raises)
    shared = _certified(game, gain, found, within=True)
    return replace(shared, gap=jnp.maximum(shared.gap, settled.gap))


def _certified(game: ResourceGame, gain: AbstractGain, found: _Settling, *, within: bool = False) -> Equilibrium:
    fits = jnp.all(game.use(found.level) <= 1.0 + _OVERFULL)
    level = jnp.where(fits, found.level, fit(game, found.level))
    use = game.use(level)
    return Equilibrium(
        level=level,
        price=found.price,
        gap=game.gap(gain, level, found.price, within=within),
        unsold=jnp.sum(found.price * jnp.maximum(1.0 - use, 0.0)) / jnp.maximum(jnp.sum(game.worth), 1e-12),
        fullest=jnp.max(use, initial=0.0),
        rounds=found.rounds,
        raises=found.raises,
    )
