"""Prices of all pools at once, for concave gains: the dual of the potential or of welfare, by Newton's method."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from twinloop.decision.game.gains import AbstractGain
from twinloop.decision.game.resource_game import ResourceGame

_MOST_STEPS = 60
_ARMIJO = 1e-4
_BACKTRACKS = 12
_MOST_DAMPING = 1e3


class Cleared(eqx.Module):
    """Levels within every pool, the price of each pool's capacity, and how good they are.

    `shadow` is what a little more of the pool is worth, 0 where it is not full; `value` the objective at `level`,
    `bound` the dual value that no levels exceed; `unsettled` the largest part of a pool by which demand and supply
    still differ; `steps` of Newton's method.
    """

    level: Float[Array, " groups"]
    shadow: Float[Array, " pools"]
    value: Float[Array, ""]
    bound: Float[Array, ""]
    unsettled: Float[Array, ""]
    steps: Int[Array, ""]


class _Dual(NamedTuple):
    """The dual at prices: its value, its slope (supply less demand), and the levels that groups answer with."""

    value: Float[Array, ""]
    excess: Float[Array, " pools"]
    level: Float[Array, " groups"]


class _State(NamedTuple):
    price: Float[Array, " pools"]
    dual: _Dual
    damping: Float[Array, ""]
    step: Int[Array, ""]
    stuck: Bool[Array, ""]


class _Search(NamedTuple):
    size: Float[Array, ""]
    tries: Int[Array, ""]
    price: Float[Array, " pools"]
    dual: _Dual


class Objective(NamedTuple):
    """maximise sum_g [worth U(z) - (own/2) z^2] - sum_p [a X + (crowding/2) X^2] subject to X <= 1.

    With own = sum_m b d^2 and crowding = b it is the potential, whose maximum under capacity is the variational
    equilibrium; with own = 0 and crowding = 2 b the groups' payoffs together; with neither, their gains alone.
    """

    own: Float[Array, " groups"]
    crowding: Float[Array, " pools"]


def clear_pools(game: ResourceGame, gain: AbstractGain, objective: Objective, tolerance: float = 1e-5) -> Cleared:
    """The objective's maximum, by its dual in the pools' prices pi >= 0.

    At pi a group answers with argmax worth U(z) - z d.(a + pi) - (own/2) z^2 and a pool supplies clip(pi / crowding, 0,
    1); the dual is convex, its slope supply - demand. Damped Newton steps on its generalised Hessian, sum of d d' /
    (own - worth U'') over groups between bounds + supply's slope, projected on 0 <= pi <= what nobody pays, with
    halvings until the dual falls. Groups without curvature (own = 0 on a straight gain) are given a little, 1e-3 of
    their worth, in the search alone: `bound` is the true dual, valid at any price. `gain` must be concave.
    """
    ceiling = _ceiling(game, gain)
    searched = Objective(jnp.maximum(objective.own, 1e-3 * game.worth), objective.crowding)

    def at(price: Float[Array, " pools"]) -> _Dual:
        return _dual(game, gain, searched, price)

    def unfinished(state: _State) -> Bool[Array, ""]:
        return (state.step < _MOST_STEPS) & ~state.stuck & (_unsettled(state.price, state.dual) > tolerance)

    def advance(state: _State) -> _State:
        return _newton(game, gain, searched, ceiling, state)

    start = jnp.minimum(objective.crowding * jnp.minimum(game.use(game.high), 1.0), ceiling)
    first = _State(start, at(start), jnp.float32(1e-3), jnp.int32(0), jnp.zeros((), bool))
    end = jax.lax.while_loop(unfinished, advance, first)
    level = fit(game, end.dual.level)
    return Cleared(
        level=level,
        shadow=jnp.maximum(end.price - objective.crowding, 0.0),
        value=worth_of(game, gain, objective, level),
        bound=_dual(game, gain, objective, end.price).value,
        unsettled=_unsettled(end.price, end.dual),
        steps=end.step,
    )


def fit(game: ResourceGame, z: Float[Array, " groups"]) -> Float[Array, " groups"]:
    """Levels cut, above `low`, by as much as the fullest pool of each group is overfull."""
    held = game.use(game.low)
    over = jnp.maximum(game.use(z) - held, 0.0)
    part = jnp.clip((1.0 - held) / jnp.maximum(over, 1e-30), 0.0, 1.0)
    least = jnp.min(jnp.where(game.claim > 0, part[game.pool], 1.0), axis=0)
    return game.low + least * (z - game.low)


def worth_of(
    game: ResourceGame, gain: AbstractGain, objective: Objective, z: Float[Array, " groups"]
) -> Float[Array, ""]:
    """The objective at levels z."""
    use = game.use(z)
    paid = jnp.sum(game.base * use + 0.5 * objective.crowding * use**2)
    return jnp.sum(game.worth * gain.value(z) - 0.5 * objective.own * z**2) - paid


def _ceiling(game: ResourceGame, gain: AbstractGain) -> Float[Array, " pools"]:
    """A price of each pool above which none of its groups wants any of it: worth x (steepest gain) / claim."""
    levels = game.low[None] + jnp.linspace(0.0, 1.0, 33)[:, None] * (game.high - game.low)[None]
    values = jax.vmap(gain.value)(levels)
    width = jnp.maximum(jnp.diff(levels, axis=0), 1e-9)
    steepest = jnp.max(jnp.where(jnp.diff(levels, axis=0) > 1e-9, jnp.diff(values, axis=0) / width, 0.0), axis=0)
    pays = jnp.where(game.claim > 0, (game.worth * 2.0 * steepest)[None] / jnp.maximum(game.claim, 1e-30), 0.0)
    count = game.base.shape[0]
    return jnp.maximum(jax.ops.segment_max(pays.reshape(-1), game.pool.reshape(-1), count), 0.0) + 1e-12


def _dual(game: ResourceGame, gain: AbstractGain, objective: Objective, price: Float[Array, " pools"]) -> _Dual:
    cost = game.charged(game.base + price)
    level = gain.best(game.worth, cost, 0.5 * objective.own, game.low, game.high)
    surplus = game.worth * gain.value(level) - (cost + 0.5 * objective.own * level) * level
    supply = _supply(objective, price)
    value = jnp.sum(surplus) + jnp.sum((price - 0.5 * objective.crowding * supply) * supply)
    return _Dual(value, supply - game.use(level), level)


def _supply(objective: Objective, price: Float[Array, " pools"]) -> Float[Array, " pools"]:
    bent = objective.crowding > 0
    return jnp.where(bent, jnp.clip(price / jnp.maximum(objective.crowding, 1e-30), 0.0, 1.0), 1.0)


def _unsettled(price: Float[Array, " pools"], dual: _Dual) -> Float[Array, ""]:
    """Largest gap between supply and demand; supply above demand is no gap where the price is 0."""
    return jnp.max(jnp.where((price <= 0) & (dual.excess > 0), 0.0, jnp.abs(dual.excess)), initial=0.0)


def _newton(
    game: ResourceGame, gain: AbstractGain, objective: Objective, ceiling: Float[Array, " pools"], state: _State
) -> _State:
    price, dual = state.price, state.dual
    excess = dual.excess
    floor = jnp.maximum(game.use(game.high), 1.0) / ceiling
    hessian = _hessian(game, gain, objective, price, dual.level) + jnp.diag(state.damping * floor)
    still = ((price <= 0) & (excess > 0)) | ((price >= ceiling) & (excess < 0))
    free = ~still
    both = free[:, None] & free[None, :]
    system = jnp.where(both, hessian, 0.0) + jnp.diag(jnp.where(still, 1.0, 0.0))
    scale = jax.lax.rsqrt(jnp.maximum(jnp.diag(system), 1e-30))
    right = jnp.where(free, -excess, 0.0) * scale
    factor = jax.scipy.linalg.cho_factor(system * scale[:, None] * scale[None, :] + 1e-6 * jnp.eye(price.shape[0]))
    newton = jax.scipy.linalg.cho_solve(factor, right) * scale
    steepest = jnp.where(free, -excess, 0.0) / floor
    direction = jnp.where(jnp.all(jnp.isfinite(newton)), newton, steepest)

    def trial(size: Float[Array, ""], tries: Int[Array, ""]) -> _Search:
        moved = jnp.clip(price + size * direction, 0.0, ceiling)
        return _Search(size, tries, moved, _dual(game, gain, objective, moved))

    def too_long(search: _Search) -> Bool[Array, ""]:
        _, tries, moved, found = search
        enough = found.value <= dual.value + _ARMIJO * jnp.sum(excess * (moved - price))
        calmer = _unsettled(moved, found) < 0.9 * _unsettled(price, dual)
        flat = found.value <= dual.value + 1e-6 * jnp.abs(dual.value)
        return (tries < _BACKTRACKS) & ~(enough | (calmer & flat))

    def halve(search: _Search) -> _Search:
        return trial(0.5 * search.size, search.tries + 1)

    end = jax.lax.while_loop(too_long, halve, trial(jnp.float32(1.0), jnp.int32(0)))
    tries, moved, found = end.tries, end.price, end.dual
    failed = tries >= _BACKTRACKS
    damping = jnp.where(tries == 0, 0.3 * state.damping, jnp.where(tries > 2, 10.0 * state.damping, state.damping))
    price, dual = jax.tree.map(lambda new, old: jnp.where(failed, old, new), (moved, found), (price, dual))
    stuck = failed & (state.damping >= _MOST_DAMPING)
    return _State(price, dual, jnp.clip(damping, 1e-5, _MOST_DAMPING), state.step + 1, stuck)


def _hessian(
    game: ResourceGame,
    gain: AbstractGain,
    objective: Objective,
    price: Float[Array, " pools"],
    level: Float[Array, " groups"],
) -> Float[Array, "pools pools"]:
    pools = price.shape[0]
    inside = (level > game.low + 1e-6) & (level < game.high - 1e-6) & (game.worth > 0)
    curvature = objective.own - game.worth * jnp.minimum(gain.bend(level), 0.0)
    answer = jnp.where(inside, 1.0 / jnp.maximum(curvature, 1e-12), 0.0)
    rows = game.pool[:, None, :] * pools + game.pool[None, :, :]
    values = game.claim[:, None, :] * game.claim[None, :, :] * answer[None, None, :]
    demand = jax.ops.segment_sum(values.reshape(-1), rows.reshape(-1), pools * pools).reshape(pools, pools)
    rising = (objective.crowding > 0) & (price < objective.crowding)
    return demand + jnp.diag(jnp.where(rising, 1.0 / jnp.maximum(objective.crowding, 1e-30), 0.0))
