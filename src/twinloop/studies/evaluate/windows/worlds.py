"""A light world of slices alone: demand that is calm and busy in turn, what twins see of it, and what slices give."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from twinloop.decision import (
    BLOCK_S,
    AdaptiveWindow,
    DynamicsScale,
    GreedyGain,
    Groups,
    SigmoidGain,
    Surroundings,
    WindowMemory,
    dynamics_score,
    efficiency,
    game_of,
    majorant_gain,
    reserve_by_gain,
    shared_equilibrium,
    sigmoid_steps,
    variation,
)
from twinloop.qoe import BEST, WORST, SigmoidSatisfaction

CELLS, SLICES, USERS = 2, 5, 24
TICK_S = 10.0
TICKS = int(BLOCK_S / TICK_S)
_SOJOURN_S = (1200.0, 1800.0)
_MEMORY_S = 1200.0
_DRIFT = 0.3
_PACE = (0.1, 1.0)
_SEEN = 0.1
_SWIPES = (0.3, 1.5)
_FADING_DB = (1.0, 4.0)
_SPEED = (0.8, 5.0)
_TOLL = 0.1


class World(eqx.Module):
    """One seed: true demand by tick, in parts of a cell's capacity; by block what twins saw before it (`seen`), what
    would then be reserved, and whether it was busy.
    """

    demand: Float[Array, "*worlds blocks ticks cells slices"]
    seen: Surroundings
    reserved: Float[Array, "*worlds blocks cells slices"]
    busy: Bool[Array, "*worlds blocks"]


class Played(eqx.Module):
    """How a game ended: its gap, a bound on the price of anarchy, Jain's index."""

    gap: Float[Array, "*games"]
    price_of_anarchy: Float[Array, "*games"]
    jain: Float[Array, "*games"]


class Lived(eqx.Module):
    """Mean experience over people and time, reconfigurations an hour; by block whether one came, the mean experience,
    and what had changed since the last one.
    """

    experience: Float[Array, ""]
    per_hour: Float[Array, ""]
    due: Bool[Array, " blocks"]
    by_block: Float[Array, " blocks"]
    changed: Float[Array, "blocks signals"]


class _Standing(NamedTuple):
    memory: WindowMemory
    decided: Surroundings
    reserved: Float[Array, "cells slices"]
    experience: Float[Array, ""]


def draw_worlds(key: PRNGKeyArray, worlds: int, blocks: int, load: float) -> World:
    """Worlds of `blocks` blocks.

    ln demand of every slice in every cell is an Ornstein-Uhlenbeck process that moves by a standard deviation of .3 in
    3 minutes and forgets within 20 min when busy; when calm its clock runs at a tenth of that pace. People's swipes,
    channels and speeds vary more or less with it; a regime lasts 20-30 min. Twins see demand at a block's end with an
    error of 10 %. Demand is `load` times capacity where its logarithm is at its mean. Left out: channels, players,
    computing, single users.
    """
    keys = jax.random.split(key, worlds)
    demand, seen, busy = jax.vmap(lambda k: _draw(k, blocks, load))(keys)
    planned = jax.lax.map(_reserve, seen.demand.reshape(-1, CELLS, SLICES))
    return World(demand, seen, planned.reshape(seen.demand.shape), busy)


def _draw(key: PRNGKeyArray, blocks: int, load: float) -> tuple[Array, Surroundings, Array]:
    k_regime, k_demand, k_seen, k_people = jax.random.split(key, 4)
    busy = _regimes(k_regime, blocks * TICKS)
    demand = _demand(k_demand, busy, load).reshape(blocks, TICKS, CELLS, SLICES)
    busy_block = busy.reshape(blocks, TICKS)[:, -1]
    before = jnp.concatenate([demand[:1, 0], demand[:-1, -1]])
    seen = before * jnp.exp(_SEEN * jax.random.normal(k_seen, before.shape))
    return demand, _people(k_people, jnp.concatenate([busy[:1], busy_block[:-1]]), seen), busy_block


def live(world: World, scale: DynamicsScale, policy: AdaptiveWindow, frozen_s: Float[Array, ""]) -> Lived:
    """The world under one choice of windows. A reconfiguration freezes the slices: nobody is served for `frozen_s`."""
    frozen = frozen_s / BLOCK_S

    def block(before: _Standing, now: tuple[Array, Surroundings, Array]) -> tuple[_Standing, tuple[Array, ...]]:
        demand, seen, planned = now
        changed = variation(before.decided, seen)
        due, memory = policy.decide(before.memory, dynamics_score(scale, changed), before.experience)
        decided = jax.tree.map(lambda new, old: jnp.where(due, new, old), seen, before.decided)
        held = jnp.where(due, planned, before.reserved)
        served = jnp.mean(experience_at(held[None] / demand))
        mean = served - jnp.where(due, frozen * (served - WORST), 0.0)
        return _Standing(memory, decided, held, mean), (due, mean, changed)

    opening = jax.tree.map(lambda leaf: leaf[0], world.seen)
    first = _Standing(policy.init(), opening, world.reserved[0], jnp.float32(BEST))
    _, (due, mean, changed) = jax.lax.scan(block, first, (world.demand, world.seen, world.reserved))
    hours = world.demand.shape[0] * BLOCK_S / 3600.0
    return Lived(jnp.mean(mean), (jnp.sum(due) - 1) / hours, due, mean, changed)


def play(seen: Float[Array, "games cells slices"]) -> Played:
    """The game of the groups for every demand seen: its equilibrium under the sigmoid, certified."""

    def one(demand: Float[Array, "cells slices"]) -> Played:
        groups, shape = _groups(demand), SigmoidSatisfaction()
        surrogate, game = majorant_gain(shape, groups.low, groups.high), game_of(groups, _TOLL)
        found = shared_equilibrium(game, SigmoidGain(shape), surrogate)
        shared = efficiency(game, SigmoidGain(shape), surrogate, found.level)
        return Played(found.gap, shared.price_of_anarchy, shared.jain)

    return jax.lax.map(one, seen)


def experience_at(z: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Experience at reserved / demanded z: 1 + 4 s(z), the sigmoid satisfaction."""
    return WORST + (BEST - WORST) * SigmoidSatisfaction().value(z)


def _regimes(key: PRNGKeyArray, ticks: int) -> Bool[Array, " ticks"]:
    k_first, k_stay = jax.random.split(key)
    count = int(ticks * TICK_S / _SOJOURN_S[0]) + 2
    stay = jax.random.uniform(k_stay, (count,), minval=_SOJOURN_S[0], maxval=_SOJOURN_S[1])
    ends = jnp.cumsum(stay) - stay[0] * jax.random.uniform(k_first)
    passed = jnp.sum(ends[None, :] <= (jnp.arange(ticks) * TICK_S)[:, None], axis=1)
    return (passed + jax.random.bernoulli(jax.random.fold_in(k_first, 1)).astype(jnp.int32)) % 2 == 1


def _demand(key: PRNGKeyArray, busy: Bool[Array, " ticks"], load: float) -> Float[Array, "ticks cells slices"]:
    pace = jnp.where(busy, _PACE[1], _PACE[0])[:, None, None]
    noise = _DRIFT * (pace * TICK_S / BLOCK_S) ** 0.5 * jax.random.normal(key, (busy.shape[0], CELLS, SLICES))
    keep = 1.0 - pace * TICK_S / _MEMORY_S

    def move(level: Float[Array, "cells slices"], now: tuple[Array, Array]) -> tuple[Array, Array]:
        after = now[0] * level + now[1]
        return after, after

    _, path = jax.lax.scan(move, jnp.zeros((CELLS, SLICES)), (keep, noise))
    return jnp.exp(path) * load / SLICES


def _people(key: PRNGKeyArray, busy: Bool[Array, " blocks"], seen: Float[Array, "blocks cells slices"]) -> Surroundings:
    """What twins emulate of people in every block."""
    keys = jax.random.split(key, 4)
    shape = (busy.shape[0], USERS)

    def spread(of: tuple[float, float]) -> Float[Array, "blocks one"]:
        return jnp.where(busy, of[1], of[0])[:, None]

    speed = spread(_SPEED) * jax.random.uniform(keys[2], shape, minval=0.5, maxval=1.5)
    angle = jax.random.uniform(keys[3], shape, maxval=2.0 * jnp.pi)
    moved = BLOCK_S * speed[..., None] * jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=-1)
    return Surroundings(
        swipes_per_min=5.0 + spread(_SWIPES) * jax.random.normal(keys[0], shape),
        sinr_db=15.0 + spread(_FADING_DB) * jax.random.normal(keys[1], shape),
        speed_mps=speed,
        position_m=jnp.cumsum(moved, axis=0),
        demand=seen,
        present=jnp.ones(shape, bool),
    )


def _reserve(seen: Float[Array, "cells slices"]) -> Float[Array, "cells slices"]:
    """The greedy by gain for the demand seen, and what it leaves over by demand."""
    groups, shape = _groups(seen), SigmoidSatisfaction()
    surrogate = majorant_gain(shape, groups.low, groups.high)
    found = reserve_by_gain(groups, sigmoid_steps(surrogate, GreedyGain().points), SigmoidGain(shape), surrogate)
    used = found.z.reshape(seen.shape) * seen
    left = jnp.maximum(1.0 - jnp.sum(used, axis=1, keepdims=True), 0.0)
    return used + left * seen / jnp.sum(seen, axis=1, keepdims=True)


def _groups(seen: Float[Array, "cells slices"]) -> Groups:
    count = CELLS * SLICES
    pool: Int[Array, "resources groups"] = (
        jnp.zeros((3, count), jnp.int32).at[0].set(jnp.repeat(jnp.arange(CELLS, dtype=jnp.int32), SLICES))
    )
    return Groups(
        weight=jnp.ones(count),
        per_z=jnp.zeros((3, count)).at[0].set(seen.reshape(-1)),
        least=jnp.zeros((3, count)),
        pool=pool,
        capacity=(jnp.ones(CELLS), jnp.ones(1), jnp.ones(1)),
        price=jnp.zeros(3),
        low=jnp.zeros(count),
        high=jnp.ones(count),
    )
