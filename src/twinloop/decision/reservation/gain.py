"""Reservation by marginal gain in experience: the low-complexity greedy, with the relaxed bound beside it."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from twinloop.abstraction import Features
from twinloop.decision.game.clearing import Objective, clear_pools
from twinloop.decision.game.gains import AbstractGain, MajorantGain, SigmoidGain, majorant_gain
from twinloop.decision.game.resource_game import ResourceGame, resource_game
from twinloop.decision.proposal import Reservation
from twinloop.decision.reservation.groups import Groups, group_demands, reserved_at
from twinloop.decision.reservation.interface import AbstractReservation, Appraisal, resource_demands
from twinloop.qoe import SigmoidSatisfaction
from twinloop.slicing import SliceTable

_FREE = (0.0, 0.0, 0.0)


class GainSteps(eqx.Module):
    """A group's gain as straight steps between levels: concave, and the gain itself at every level listed.

    Levels rise along a row; a step of no width counts for nothing.
    """

    level: Float[Array, "groups points"]
    value: Float[Array, "groups points"]


class Greedy(eqx.Module):
    """What the greedy reserved: level z of every group, its worth, and the most that any levels are worth."""

    z: Float[Array, " groups"]
    value: Float[Array, ""]
    bound: Float[Array, ""]


class GreedyGain(AbstractReservation):
    """Reserves by demand where it suffices, else first for whoever gains most experience by a unit of what is short.

    Paper 000: demand that fits is sliced directly; otherwise resources go to the groups of the highest QoE gain
    (III-D.1), after a convex reformulation, by a low-complexity greedy (IV). Gain is the sigmoid satisfaction of
    `steepness` and `threshold` times users and the slice's weight. What is left over is divided by demand.
    """

    steepness: float = eqx.field(static=True, default=10.0)
    threshold: float = eqx.field(static=True, default=0.7)
    points: int = eqx.field(static=True, default=12)

    def reserve(self, features: Features, slices: SliceTable) -> Reservation:
        """The greedy reservation."""
        return self.appraised(features, slices)[0]

    def appraised(self, features: Features, slices: SliceTable) -> tuple[Reservation, Appraisal]:
        """The greedy reservation, its true value and the relaxed bound."""
        groups = group_demands(features, slices, resource_demands(features, slices), _FREE)
        shape = SigmoidSatisfaction(self.steepness, self.threshold)
        surrogate = majorant_gain(shape, groups.low, groups.high)
        found = reserve_by_gain(groups, sigmoid_steps(surrogate, self.points), SigmoidGain(shape), surrogate)
        return _reserved(found, groups, features, slices)


def _reserved(found: Greedy, groups: Groups, features: Features, slices: SliceTable) -> tuple[Reservation, Appraisal]:
    reservation = reserved_at(groups, found.z, resource_demands(features, slices), slices)
    return reservation, Appraisal(found.bound, found.value)


def sigmoid_steps(gain: MajorantGain, points: int) -> GainSteps:
    """The majorant of a sigmoid as one step to where its tangent touches and `points` - 1 beyond."""
    majorant = gain.majorant
    beyond = jnp.linspace(0.0, 1.0, points)[None] * (majorant.high - majorant.touch)[:, None]
    level = jnp.concatenate([majorant.low[:, None], majorant.touch[:, None] + beyond], axis=1)
    return GainSteps(level, majorant.shape.value(level))


def reserve_by_gain(groups: Groups, steps: GainSteps, gain: AbstractGain, surrogate: AbstractGain) -> Greedy:
    """Levels by greedy: the steps of all groups in order of worth gained per use, each taken where it fits.

    Two orders are followed: use counted in parts of the pools, each weighted by how far demand exceeds it, (1 -
    capacity / demand)+, or at the prices of the relaxed problem. The better one is kept, or the relaxed problem's own
    levels where those are worth more. Pools with enough for all cost nothing, and where all have enough every group
    gets its demand. In a second round what is left goes to
    parts of steps. Value and bound are sums of weight x gain; the bound is the dual of the problem with the concave
    `surrogate` (at least the gain), floors of single resources relaxed. Cost: two sorts and four passes over groups x
    steps, and some tens of small linear systems for the prices.
    """
    game = game_of(groups)
    nothing = Objective(jnp.zeros_like(game.worth), jnp.zeros_like(game.slope))
    cleared = clear_pools(game, surrogate, nothing)
    scarce = jnp.maximum(1.0 - 1.0 / jnp.maximum(game.use(groups.high), 1e-12), 0.0)
    width, gained = jnp.diff(steps.level, axis=1), jnp.diff(steps.value, axis=1)

    def follow(price: Float[Array, " pools"]) -> tuple[Float[Array, " groups"], Float[Array, ""]]:
        cost = game.charged(price) + 1e-6 * game.charged(jnp.full_like(price, jnp.max(price))) + 1e-12
        rate = groups.weight[:, None] * gained / (jnp.maximum(width, 1e-12) * cost[:, None])
        rate = jnp.where((width > 1e-9) & (groups.weight[:, None] > 0), rate, -1.0)
        order = jnp.argsort(-rate.reshape(-1), stable=True)
        z = _take_in_order(groups, game, steps, order, steps.level[:, 0])
        return z, jnp.sum(groups.weight * gain.value(z))

    levels, values = jax.lax.map(follow, jnp.stack([scarce, cleared.shadow]))
    relaxed = beside_floors(groups, game, cleared.level)
    levels = jnp.concatenate([levels, relaxed[None]])
    values = jnp.append(values, jnp.sum(groups.weight * gain.value(relaxed)))
    best = jnp.argmax(values)
    return Greedy(levels[best], values[best], cleared.bound)


def game_of(groups: Groups, toll: float = 0.0) -> ResourceGame:
    """The groups of a reservation as players; floors count by the level that they give."""
    present = groups.weight > 0
    return resource_game(
        groups.weight, groups.per_z, groups.pool, groups.capacity, present, toll, groups.low, groups.high
    )


def beside_floors(groups: Groups, game: ResourceGame, z: Float[Array, " groups"]) -> Float[Array, " groups"]:
    """Levels cut, above `low`, until they fit with every floor held."""
    held = game.pooled(game.claim * jnp.maximum(groups.low[None], groups.least))
    over = jnp.maximum(game.pooled(game.claim * jnp.maximum(z[None], groups.least)) - held, 0.0)
    part = jnp.clip((1.0 - held) / jnp.maximum(over, 1e-30), 0.0, 1.0)
    least = jnp.min(jnp.where(game.claim > 0, part[game.pool], 1.0), axis=0)
    return groups.low + least * (z - groups.low)


def _take_in_order(
    groups: Groups, game: ResourceGame, steps: GainSteps, order: Int[Array, " steps"], start: Float[Array, " groups"]
) -> Float[Array, " groups"]:
    """First whole steps, then parts of them; a group's steps only one after another."""
    each = steps.level.shape[1] - 1
    claim, pool, least = game.claim.T, game.pool.T, groups.least.T
    held = game.pooled(game.claim * jnp.maximum(start[None], groups.least))

    def take(
        state: tuple[Array, Array, Array], item: tuple[Int[Array, ""], Bool[Array, ""]]
    ) -> tuple[tuple[Array, Array, Array], None]:
        free, z, taken = state
        group, step = item[0] // each, item[0] % each
        end = steps.level[group, step + 1]
        use = claim[group] * (jnp.maximum(end, least[group]) - jnp.maximum(z[group], least[group]))
        fits = jnp.min(jnp.where(use > 0, free[pool[group]] / jnp.maximum(use, 1e-30), jnp.inf))
        whole = fits >= 1.0 - 1e-6
        part = jnp.where(whole, 1.0, jnp.where(item[1], jnp.clip(fits, 0.0, 1.0), 0.0))
        part = jnp.where(taken[group] == step, part, 0.0)
        moved = z[group] + part * (end - z[group])
        drawn = claim[group] * (jnp.maximum(moved, least[group]) - jnp.maximum(z[group], least[group]))
        free = free.at[pool[group]].add(-drawn)
        taken = taken.at[group].add(((taken[group] == step) & whole).astype(jnp.int32))
        return (free, z.at[group].set(moved), taken), None

    twice = (jnp.concatenate([order, order]), jnp.arange(2 * order.shape[0]) >= order.shape[0])
    first = (jnp.maximum(1.0 - held, 0.0), start, jnp.zeros(start.shape[0], jnp.int32))
    return jax.lax.scan(take, first, twice)[0][1]
