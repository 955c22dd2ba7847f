"""What is compiled of what-ifs and forecasts: each once a server, whatever the horizon and the number of samples."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from twinloop.abstraction import Features
from twinloop.decision import Reservation, assemble_action, reserved_by
from twinloop.emulation import AbstractEmulator, Forecast, sample_states
from twinloop.entities import Action
from twinloop.loop import Loop
from twinloop.runs import compiler_options
from twinloop.simulator import Outcome, Overhead, State, step
from twinloop.twins import Current, Kind, Twins

BATCH = 4
"""Samples that are lived side by side."""
BLOCK = 10
"""Slots that one call lives: between calls a what-if can be given up."""
AHEAD = 30
"""Steps that one call of a forecast goes ahead."""


class Known(eqx.Module):
    """What a what-if starts from: twins without histories, what they expect next, and what policies remember."""

    twins: Twins
    forecast: Forecast
    memory: PyTree


class Lives(eqx.Module):
    """The standing decision and the proposal, each in `BATCH` sampled worlds: led by [2, BATCH]."""

    state: State
    doing: Action


class Told(eqx.Module):
    """What slots brought, led by [slots, 2, BATCH]. Of slices, sums over their users: `users` present, of which so many
    `satisfied` (a share each), `stalled_s` of waiting, `rate_bps` granted, `buffer_s`.
    """

    users: Float[Array, "*lead slices"]
    satisfied: Float[Array, "*lead slices"]
    stalled_s: Float[Array, "*lead slices"]
    rate_bps: Float[Array, "*lead slices"]
    buffer_s: Float[Array, "*lead slices"]
    load: Float[Array, "*lead cells"]
    utilisation: Float[Array, "*lead servers"]


class Begun(eqx.Module):
    """Lives before their first slot, and what slices need of cells and servers: what floors are held against."""

    lives: Lives
    demand_hz: Float[Array, "cells slices"]
    demand_cycles_per_s: Float[Array, "servers slices"]


def begin(key: PRNGKeyArray, loop: Loop[Any], known: Known, standing: Reservation, proposed: Reservation) -> Begun:
    """Worlds drawn from what the twins know, the same for both decisions."""
    features = loop.abstractor.abstract(known.twins, known.forecast, loop.slices)
    actions = [_filled(loop, known, reservation, features) for reservation in (standing, proposed)]
    states = sample_states(key, loop.window_judge.model, known.twins, known.forecast, BATCH)
    doing = jax.tree.map(lambda *leaves: _repeated(jnp.stack(leaves), BATCH, 1), *actions)
    lives = Lives(jax.tree.map(lambda leaf: _repeated(leaf, 2, 0), states), doing)
    return Begun(lives, features.slice_demand_hz, features.slice_demand_cycles_per_s)


def advance(key: PRNGKeyArray, loop: Loop[Any], known: Known, lives: Lives) -> tuple[Lives, Told]:
    """`BLOCK` slots in the judge's twin; after each the standing flows' policy fills what is reserved anew, as in
    `loop.window`. Both decisions meet the same random numbers.
    """
    model = loop.window_judge.model
    params = model.params
    users, servers = params.user_slice.shape[0], params.topology.server_cycles_per_s.shape[0]
    nothing = Overhead(jnp.zeros(users), jnp.zeros(servers))

    def live(k: PRNGKeyArray, life: Lives) -> tuple[Lives, Told]:
        state, outcome = step(k, params, model.environment, life.state, life.doing, nothing)
        features = loop.abstractor.foresee(known.twins, outcome, loop.slices)
        return Lives(state, _filled(loop, known, reserved_by(life.doing), features)), _told(loop, outcome)

    def slot(before: Lives, k: PRNGKeyArray) -> tuple[Lives, Told]:
        samples = jax.vmap(live)
        return jax.vmap(samples, in_axes=(None, 0))(jax.random.split(k, BATCH), before)

    return jax.lax.scan(slot, lives, jax.random.split(key, BLOCK))


def foresee(
    emulator: AbstractEmulator[Any],
    kind: Kind,
    memory: PyTree,
    current: Current,
    slot: Int[Array, ""],
    attribute: Int[Array, ""],
) -> tuple[PyTree, Float[Array, "steps entities"], Float[Array, "steps entities"]]:
    """One attribute `AHEAD` slots on, if nothing more is reported after `slot`: memory, mean, standard deviation."""

    def ahead(before: PyTree, number: Int[Array, ""]) -> tuple[PyTree, tuple[Array, Array]]:
        after, forecast = emulator.advance(kind, before, current, slot + number)
        return after, (forecast.emulated[:, attribute], forecast.std[:, attribute])

    memory, (mean, std) = jax.lax.scan(ahead, memory, jnp.arange(AHEAD, dtype=jnp.int32))
    return memory, mean, std


def foresee_some(
    emulator: AbstractEmulator[Any],
    kind: Kind,
    memory: PyTree,
    current: Current,
    slot: Int[Array, ""],
    rows: Int[Array, " chosen"],
    steps: tuple[int, ...],
) -> tuple[Float[Array, "steps chosen attributes"], Float[Array, "steps chosen attributes"]]:
    """Every attribute of some entities, so many `steps` ahead each, if nothing more is reported after `slot`."""

    def ahead(before: PyTree, number: Int[Array, ""]) -> tuple[PyTree, tuple[Array, Array]]:
        after, forecast = emulator.advance(kind, before, current, slot + number)
        return after, (forecast.emulated[rows], forecast.std[rows])

    _, (mean, std) = jax.lax.scan(ahead, memory, jnp.arange(max(steps), dtype=jnp.int32))
    at = jnp.asarray(steps) - 1
    return mean[at], std[at]


class Programs:
    """The functions above, compiled at their first call."""

    def __init__(self) -> None:
        jit: Any = eqx.filter_jit
        options = compiler_options()
        self.begin: Any = jit(begin, compiler_options=options)
        self.advance: Any = jit(advance, compiler_options=options)
        self.foresee: Any = jit(foresee, compiler_options=options)
        self.foresee_some: Any = jit(foresee_some, compiler_options=options)


def _told(loop: Loop[Any], outcome: Outcome) -> Told:
    slices, row = loop.slices.active.shape[0], loop.abstractor.params.user_slice
    share = jnp.minimum(outcome.delivered_bits / jnp.maximum(outcome.needed_bits, 1.0), 1.0)

    def total(value: Float[Array, " users"]) -> Float[Array, " slices"]:
        return jax.ops.segment_sum(jnp.where(outcome.active, value, 0.0), row, slices)

    return Told(
        users=total(jnp.ones_like(share)),
        satisfied=total(share),
        stalled_s=total(outcome.rebuffer_s),
        rate_bps=total(outcome.rate_bps),
        buffer_s=total(outcome.buffer_s),
        load=outcome.load,
        utilisation=outcome.utilisation,
    )


def _filled(loop: Loop[Any], known: Known, reservation: Reservation, features: Features) -> Action:
    allocation, _ = loop.allocations[0].allocate(features, reservation, known.memory)
    return assemble_action(reservation, allocation, loop.slices)


def _repeated(leaf: Array, times: int, axis: int) -> Array:
    shape = (*leaf.shape[:axis], times, *leaf.shape[axis:])
    return jnp.broadcast_to(jnp.expand_dims(leaf, axis), shape)
