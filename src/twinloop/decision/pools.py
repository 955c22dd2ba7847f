"""Prices that clear nested pools of resources: the dual of a concave allocation problem, by bracketed search."""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

_MOST_STEPS = 60
_OVERFULL = 1e-6

Costs = tuple[Float[Array, " items"], ...]
Respond = Callable[[Costs], Float[Array, " items"]]


class Resource(eqx.Module):
    """One resource: what each item uses of it, in which pool, and how much each pool holds.

    Use of item i at level x_i is per_unit_i max(x_i, least_i): `least` is held for the item whether it uses it or
    not. At the price `ceiling` alone a pool is not overfull; `scale` is a price of the order of the lowest that can
    clear it.
    """

    per_unit: Float[Array, " items"]
    least: Float[Array, " items"]
    pool: Int[Array, " items"]
    capacity: Float[Array, " pools"]
    ceiling: Float[Array, " pools"]
    scale: Float[Array, " pools"]

    def use(self, level: Float[Array, " items"]) -> Float[Array, " pools"]:
        """Use of every pool at the items' levels."""
        return pool_sum(self.per_unit * jnp.maximum(level, self.least), self.pool, self.capacity.shape[0])


class Cleared(NamedTuple):
    """Levels that respect every pool, and for every resource (innermost first) the price its items pay."""

    level: Float[Array, " items"]
    prices: tuple[Float[Array, " items"], ...]


class _End(NamedTuple):
    """One end of the bracket of a pool's price: the position, the use there, and what the items did."""

    position: Float[Array, " pools"]
    use: Float[Array, " pools"]
    cleared: Cleared


def pool_sum(value: Float[Array, " items"], pool: Int[Array, " items"], count: int) -> Float[Array, " pools"]:
    """Sum of `value` over the items of every pool."""
    return jax.ops.segment_sum(value, pool, count)


def pool_max(value: Float[Array, " items"], pool: Int[Array, " items"], count: int) -> Float[Array, " pools"]:
    """Largest `value` among the items of every pool, 0 for a pool without items; values are not negative."""
    return jnp.maximum(jax.ops.segment_max(value, pool, count), 0.0)


def clear(respond: Respond, resources: tuple[Resource, ...], tolerance: float = 1e-6) -> Cleared:
    """Levels x maximising sum_i U_i(x_i) subject to sum over a pool's items of use <= capacity, for every pool.

    `respond(costs)` returns each item's best level at the given cost per unit of level, one array a resource in
    order; it must not rise with any cost. `resources` go from the innermost pools outwards, and each pool must lie
    inside one pool of the next resource (a cell's slice inside its server's slice): then at given outer prices the
    inner pools clear independently, and a pool's use does not rise with its own price, so nested searches find the
    dual optimum.

    A pool that is not full at price 0 stays there. Otherwise its price is bracketed between 0 and `ceiling` in y =
    ln(1 + price / scale), by secants of ln use, doubled secants and halvings in turn, until (the use above capacity
    at one end) x (the price width) is below `tolerance` of price x capacity, which bounds the loss of objective; the
    levels are then the mix of both ends that just fills the pool: feasible by concavity, also where levels jump at a
    price.

    Left out: pools that overlap without nesting.
    """
    return _clear(respond, resources, (), tolerance)


def _clear(respond: Respond, resources: tuple[Resource, ...], outer: Costs, tolerance: float) -> Cleared:
    if not resources:
        return Cleared(respond(outer), ())
    resource = resources[-1]
    count = resource.capacity.shape[0]

    def at(position: Float[Array, " pools"]) -> _End:
        price = (resource.scale * jnp.expm1(position))[resource.pool]
        level, prices = _clear(respond, resources[:-1], (price * resource.per_unit, *outer), tolerance)
        return _End(position, resource.use(level), Cleared(level, (*prices, price)))

    capacity = resource.capacity
    nowhere = _End(jnp.zeros(count), jnp.zeros(count), _nothing(resource, len(resources)))

    def unsettled(state: tuple[Int[Array, ""], _End, _End]) -> Bool[Array, ""]:
        step, low, high = state
        overfull = low.use > capacity * (1.0 + _OVERFULL)
        return (step == 0) | (step < _MOST_STEPS) & jnp.any(
            overfull & ((step == 1) | ~_settled(low, high, resource, tolerance))
        )

    def narrow(state: tuple[Int[Array, ""], _End, _End]) -> tuple[Int[Array, ""], _End, _End]:
        step, low, high = state
        middle = at(_next_position(step, low, high, resource))
        above = jnp.where(step < 2, step == 0, middle.use > capacity)
        return step + 1, _choose(above, middle, low, resource), _choose(above, high, middle, resource)

    _, low, high = jax.lax.while_loop(unsettled, narrow, (jnp.int32(0), nowhere, nowhere))
    return _mix(low, high, resource)


def _nothing(resource: Resource, count: int) -> Cleared:
    zeros = jnp.zeros_like(resource.per_unit)
    return Cleared(zeros, (zeros,) * count)


def _settled(low: _End, high: _End, resource: Resource, tolerance: float) -> Bool[Array, " pools"]:
    over = low.use - resource.capacity
    under = resource.capacity - high.use
    loss = over * under / jnp.maximum(over + under, 1e-30)
    price_low, price_high = jnp.expm1(low.position), jnp.expm1(high.position)
    narrow = high.position - low.position <= 2e-7 * high.position
    return narrow | (loss * (price_high - price_low) <= tolerance * price_high * resource.capacity)


def _next_position(step: Int[Array, ""], low: _End, high: _End, resource: Resource) -> Float[Array, " pools"]:
    """Price 0, then the ceiling, then in turn a secant, twice the secant's step, and half of the bracket."""
    capacity = jnp.maximum(resource.capacity, 1e-30)
    above = jnp.log(jnp.maximum(low.use, 1e-30) / capacity)
    below = jnp.log(jnp.maximum(high.use, 1e-6 * low.use + 1e-30) / capacity)
    secant = jnp.clip(above / jnp.maximum(above - below, 1e-12), 1e-3, 1.0 - 1e-3)
    beyond = jnp.where(secant < 0.5, jnp.minimum(2.0 * secant, 0.5), jnp.maximum(2.0 * secant - 1.0, 0.5))
    part = jnp.where(step % 3 == 2, secant, jnp.where(step % 3 == 0, beyond, 0.5))
    inside = low.position + (high.position - low.position) * part
    overfull = low.use > resource.capacity * (1.0 + _OVERFULL)
    top = jnp.where(overfull, jnp.log1p(resource.ceiling / resource.scale), 0.0)
    return jnp.where(step < 2, jnp.where(step == 0, 0.0, top), inside)


def _choose(first: Bool[Array, " pools"], yes: _End, no: _End, resource: Resource) -> _End:
    item = first[resource.pool]
    cleared = jax.tree.map(lambda a, b: jnp.where(item, a, b), yes.cleared, no.cleared)
    return _End(jnp.where(first, yes.position, no.position), jnp.where(first, yes.use, no.use), cleared)


def _mix(low: _End, high: _End, resource: Resource) -> Cleared:
    overfull = low.use > resource.capacity * (1.0 + _OVERFULL)
    over = jnp.maximum(low.use - resource.capacity, 0.0)
    under = jnp.maximum(resource.capacity - high.use, 0.0)
    share = jnp.where(overfull, under / jnp.maximum(over + under, 1e-30), 1.0)[resource.pool]
    return jax.tree.map(lambda a, b: b + share * (a - b), low.cleared, high.cleared)
