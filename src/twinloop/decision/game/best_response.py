"""Best-response dynamics: groups move one after another, or all at once and damped."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from twinloop.decision.game.gains import AbstractGain
from twinloop.decision.game.resource_game import ResourceGame

_SMALLEST_STEP = 1e-4


class Convergence(eqx.Module):
    """A path of best responses: where it ends, and the potential and the gap after every step, NaN after the last.

    A step is a sweep over all groups (asynchronous) or one damped move of all (synchronous).
    """

    level: Float[Array, " groups"]
    potential: Float[Array, " steps"]
    gap: Float[Array, " steps"]
    steps: Int[Array, ""]


class _Path(NamedTuple):
    level: Float[Array, " groups"]
    size: Float[Array, ""]
    potential: Float[Array, " steps"]
    gap: Float[Array, " steps"]
    now: Float[Array, ""]
    step: Int[Array, ""]


_Step = Callable[[Float[Array, " groups"], Float[Array, ""]], tuple[Float[Array, " groups"], Float[Array, ""]]]


def asynchronous(
    game: ResourceGame,
    gain: AbstractGain,
    start: Float[Array, " groups"],
    price: Float[Array, " pools"],
    tolerance: float = 1e-5,
    most: int = 50,
    *,
    within: bool = False,
    order: Int[Array, " groups"] | None = None,
) -> Convergence:
    """Groups take their best levels one after another, until no group gains more than `tolerance` of its worth.

    The potential rises with every move, so the path ends at an equilibrium of the game at these prices, for any gain
    (Monderer and Shapley, Potential games, 1996). `price` is charged on top of congestion. Capacity binds by it alone,
    or with `within` by itself: a group takes no more than the others leave, from a `start` that fits. They move in
    `order`, else as they are numbered.
    """
    charge = game.base + price
    rows: AbstractGain = jax.tree.map(lambda leaf: leaf[:, None], gain)
    turn = jnp.arange(start.shape[0], dtype=jnp.int32) if order is None else order
    groups = (game.worth, game.low, game.high, game.claim.T, game.own, game.pool.T, rows)
    groups = jax.tree.map(lambda leaf: leaf[turn], groups)

    def move(use: Float[Array, " pools"], one: tuple[Array, Any]) -> tuple[Array, Array]:
        z, (worth, low, high, claim, own, pool, its) = one
        others = use[pool] - claim * z
        if within:
            reach = jnp.where(claim > 0, (1.0 - others) / jnp.maximum(claim, 1e-30), jnp.inf)
            high = jnp.clip(jnp.min(reach), jnp.minimum(jnp.maximum(low, z), high), high)
        linear = jnp.sum(claim * (charge[pool] + game.slope[pool] * others))
        best = its.best(worth[None], linear[None], own[None], low[None], high[None])[0]
        return use.at[pool].add(claim * (best - z)), best

    def sweep(z: Float[Array, " groups"], size: Float[Array, ""]) -> tuple[Float[Array, " groups"], Float[Array, ""]]:
        moved = jax.lax.scan(move, game.use(z), (z[turn], groups))[1]
        return z.at[turn].set(moved), size

    return _iterate(game, gain, start, price, sweep, tolerance, most, within=within)


def synchronous(
    game: ResourceGame,
    gain: AbstractGain,
    start: Float[Array, " groups"],
    price: Float[Array, " pools"],
    tolerance: float = 1e-5,
    most: int = 2000,
) -> Convergence:
    """All groups move at once, the part `size` of the way to their best responses: z + size (best - z).

    All at once overshoot by as much as there are groups; a move that would lower the potential is halved until it does
    not, one that does not is made longer by half the next time. Certain to converge for concave gains only: on the
    sigmoid groups that jump together may find no move that helps, and the path stops where it is.
    """

    def climb(z: Float[Array, " groups"], size: Float[Array, ""]) -> tuple[Float[Array, " groups"], Float[Array, ""]]:
        towards = gain.best(game.worth, game.linear(z, price), game.own, game.low, game.high) - z
        now = game.potential(gain, z, price)

        def falls(tried: Float[Array, ""]) -> Bool[Array, ""]:
            return (game.potential(gain, z + tried * towards, price) < now) & (tried > _SMALLEST_STEP)

        taken = jax.lax.while_loop(falls, lambda tried: 0.5 * tried, size)
        return z + taken * towards, jnp.minimum(1.5 * taken, 1.0)

    return _iterate(game, gain, start, price, climb, tolerance, most)


def _iterate(
    game: ResourceGame,
    gain: AbstractGain,
    start: Float[Array, " groups"],
    price: Float[Array, " pools"],
    step: _Step,
    tolerance: float,
    most: int,
    *,
    within: bool = False,
) -> Convergence:
    def unfinished(path: _Path) -> Bool[Array, ""]:
        return (path.step < most) & (path.now > tolerance)

    def advance(path: _Path) -> _Path:
        level, size = step(path.level, path.size)
        gap = game.gap(gain, level, price, within=within)
        potential = path.potential.at[path.step].set(game.potential(gain, level, price))
        return _Path(level, size, potential, path.gap.at[path.step].set(gap), gap, path.step + 1)

    unknown = jnp.full(most, jnp.nan, jnp.float32)
    gap = game.gap(gain, start, price, within=within)
    first = _Path(start, jnp.float32(1.0), unknown, unknown, gap, jnp.int32(0))
    end = jax.lax.while_loop(unfinished, advance, first)
    return Convergence(end.level, end.potential, end.gap, end.step)
