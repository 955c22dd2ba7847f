"""The closed loop on one screen: `slot` for local controllers, `window` for the centralized one. Nothing else
orchestrates.

network -report-> collection -observations-> twins -> emulation -> abstraction -> decision -proposals-> validation ^
| +------------------------------------ enforcement <---------------------- approved ---------------------+
"""

from typing import Any, Generic, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from twinloop.abstraction import Abstractor, Features
from twinloop.collection import AbstractCollector, CollectionState, Control, Observations, Standing, collect, granted
from twinloop.decision import (
    AbstractAllocation,
    AbstractReservation,
    Appraisal,
    Proposal,
    Reservation,
    assemble_action,
    reserved_by,
)
from twinloop.emulation import AbstractEmulator, Forecast, Foresight, within_alarms
from twinloop.enforcement import Pending, enforce
from twinloop.entities import Action
from twinloop.network import AbstractNetwork
from twinloop.simulator import Outcome
from twinloop.slicing import SliceTable
from twinloop.twins import (
    Twins,
    Views,
    age_s,
    aggregate_slices,
    assimilate,
    believed_experience,
    evidence,
    retire_silent,
)
from twinloop.validation import Approved, Judge, Verdict, validate

NetworkT = TypeVar("NetworkT", bound=AbstractNetwork[Any])

SILENT_SLOTS = 60
"""A user twin that nothing was heard of for so long is taken to have left; *ours*."""


_NEVER = 2**30
_FORESIGHT_SALT = 3


class Loop(eqx.Module, Generic[NetworkT]):
    """The stages of one closed loop and their parameters."""

    network: NetworkT
    collector: AbstractCollector[Any]
    emulator: AbstractEmulator[Any]
    abstractor: Abstractor
    reservations: tuple[AbstractReservation, ...]
    allocations: tuple[AbstractAllocation, ...]
    slot_judge: Judge
    window_judge: Judge
    slices: SliceTable
    foresight: Foresight | None
    control: Control
    slot_s: float = eqx.field(static=True)
    retries: int = eqx.field(static=True)


class LoopState(eqx.Module):
    """Everything of the loop that evolves; `sensing`: reports a second that users' links were granted, 0 for none."""

    plant: PyTree
    collection: CollectionState[Any]
    twin: Twins
    emulation: PyTree
    forecast: Forecast
    allocations: tuple[PyTree, ...]
    reservation: Reservation
    sensing: Float[Array, " users"]
    standing: Approved
    pending: Pending


class Trace(eqx.Module):
    """What one slot leaves behind: the decision in effect, what was seen, how good the twins were, and the verdict.

    `emulated` is what had been foretold for this slot of a few users, those of `watched_rows`; `views` what the twins
    saw end in it, `believed` what users are held to have experienced in their last whole period.
    """

    in_effect: Action
    asked: Standing
    bits: Float[Array, " kinds"]
    reports: Int[Array, ""]
    late: Int[Array, ""]
    duplicates: Int[Array, ""]
    age_s: Float[Array, " attributes"]
    fidelity: Float[Array, " attributes"]
    emulated: Float[Array, "watched attributes"]
    emulated_std: Float[Array, "watched attributes"]
    slice_demand_hz: Float[Array, "cells slices"]
    slice_demand_cycles_per_s: Float[Array, "servers slices"]
    code: Int[Array, ""]
    winner: Int[Array, ""]
    score_proposed: Float[Array, ""]
    score_standing: Float[Array, ""]
    effect: Int[Array, ""]
    views: Views
    believed: Float[Array, " users"]


def slot(key: PRNGKeyArray, loop: Loop[Any], state: LoopState) -> tuple[LoopState, PyTree, Trace]:
    """One slot: report, collect, assimilate, emulate, abstract, propose, validate, enforce, adapt.

    Returns the next state, the adapter's own state in which the slot was lived (what is true, for scoring and never for
    twins), and the trace.
    """
    k_report, k_validate, k_enforce = jax.random.split(key, 3)
    asked = granted(state.collection.request, state.sensing)
    plant, report = loop.network.report(k_report, state.plant, asked)
    seen = loop.control.spoil(collect(report), report.slot)
    twin = _mirror(loop, state, seen)
    emulation, forecast = loop.emulator.emulate(state.emulation, twin, report.slot)
    forecast = within_alarms(forecast, twin, asked.users.alarm, asked.cells.alarm, asked.servers.alarm)
    features = loop.abstractor.abstract(twin, forecast, loop.slices)
    proposals, allocations = _propose(loop, state, features)
    verdict = validate(
        k_validate, loop.slot_judge, twin, forecast, features, proposals, state.standing.action, loop.slices
    )
    lived = plant
    plant, pending = enforce(
        k_enforce, loop.network, plant, verdict.approved, state.pending, report.receipts, loop.retries
    )
    taught = evidence(twin, seen, state.forecast)
    collection = loop.collector.adapt(state.collection, taught, report.slot)
    standing = loop.collector.standing(state.collection, taught)
    trace = _trace(loop, state, seen, twin, features, verdict, pending, standing)
    kept = state.reservation, state.sensing
    after = LoopState(plant, collection, twin, emulation, forecast, allocations, *kept, verdict.approved, pending)
    return after, lived, trace


def window(key: PRNGKeyArray, loop: Loop[Any], state: LoopState) -> tuple[LoopState, Verdict, tuple[Appraisal, ...]]:
    """One slicing decision: reservations compete in the twin over a longer horizon, each filled slot by slot by the
    first slot policy. Returns the state, the verdict, and what each reservation's method says of it.
    Reports that users are foretold to need are granted whatever the verdict: seeing more changes nobody's service.
    """
    prospects = None
    if loop.foresight is not None:
        k_foresee = jax.random.fold_in(key, _FORESIGHT_SALT)
        prospects = loop.foresight.foresee(k_foresee, state.twin, state.forecast, state.standing.action)
    features = loop.abstractor.abstract(state.twin, state.forecast, loop.slices, prospects)
    reserved = [policy.appraised(features, loop.slices) for policy in loop.reservations]
    proposals = tuple(
        Proposal(_filled(loop, state, reservation, features), jnp.int32(index))
        for index, (reservation, _) in enumerate(reserved)
    )
    standing = _filled(loop, state, state.reservation, features)

    def respond(action: Action, outcome: Outcome) -> Action:
        return _filled(loop, state, reserved_by(action), loop.abstractor.foresee(state.twin, outcome, loop.slices))

    verdict = validate(
        key, loop.window_judge, state.twin, state.forecast, features, proposals, standing, loop.slices, respond
    )
    reservation = reserved_by(verdict.approved.action)
    needs = [appraisal.foretold for _, appraisal in reserved if appraisal.foretold is not None]
    sensing = needs[0].reports_per_s if needs else state.sensing
    after = eqx.tree_at(
        lambda s: (s.reservation, s.sensing, s.standing), state, (reservation, sensing, verdict.approved)
    )
    return after, verdict, tuple(appraisal for _, appraisal in reserved)


def watched_rows(users: int) -> np.ndarray:
    """Rows of the users whose forecasts a trace keeps: at most four, evenly chosen."""
    return np.unique(np.linspace(0, users - 1, min(users, 4)).astype(np.int32))


def _mirror(loop: Loop[Any], state: LoopState, seen: Observations) -> Twins:
    twin = assimilate(state.twin, seen, state.forecast, seen.slot)
    after = jnp.where(loop.control.frozen, _NEVER, SILENT_SLOTS)
    twin = eqx.tree_at(lambda t: t.users, twin, retire_silent(twin.users, seen.slot, after))
    believed, standing = loop.abstractor.params, state.standing.action
    work = believed.edge.cycles_per_bit
    return aggregate_slices(
        twin, believed.user_slice, loop.slices, standing, seen.slot, radio=believed.radio, cycles_per_bit=work
    )


def _propose(loop: Loop[Any], state: LoopState, features: Features) -> tuple[tuple[Proposal, ...], tuple[PyTree, ...]]:
    proposals: list[Proposal] = []
    memories: list[PyTree] = []
    for index, (policy, memory) in enumerate(zip(loop.allocations, state.allocations, strict=True)):
        allocation, remembered = policy.allocate(features, state.reservation, memory)
        action = assemble_action(state.reservation, allocation, loop.slices)
        proposals.append(Proposal(action, jnp.int32(index)))
        memories.append(remembered)
    return tuple(proposals), tuple(memories)


def _filled(loop: Loop[Any], state: LoopState, reservation: Reservation, features: Features) -> Action:
    """The reservation with the flows that the first slot policy gives it."""
    allocation, _ = loop.allocations[0].allocate(features, reservation, state.allocations[0])
    return assemble_action(reservation, allocation, loop.slices)


def _trace(
    loop: Loop[Any],
    state: LoopState,
    seen: Observations,
    twin: Twins,
    features: Features,
    verdict: Verdict,
    pending: Pending,
    standing: Standing,
) -> Trace:
    users = twin.users.current
    known = (users.slot >= 0) & users.active[:, None]
    count = jnp.maximum(jnp.sum(known, axis=0), 1)
    compared = known & (users.error >= 0)
    policy = verdict.approved.policy
    kinds = (seen.users, seen.cells, seen.servers)
    foretold, rows = state.forecast.users, watched_rows(users.active.shape[0])
    return Trace(
        in_effect=pending.confirmed,
        asked=standing,
        bits=jnp.stack([kind.bits for kind in kinds]),
        reports=jnp.stack([kind.reports for kind in kinds]).sum(),
        late=jnp.stack([kind.late for kind in kinds]).sum(),
        duplicates=jnp.stack([kind.duplicates for kind in kinds]).sum(),
        age_s=jnp.sum(jnp.where(known, age_s(users, seen.slot, loop.slot_s), 0.0), axis=0) / count,
        fidelity=jnp.sum(jnp.where(compared, 1.0 - users.error, 0.0), axis=0)
        / jnp.maximum(jnp.sum(compared, axis=0), 1),
        emulated=foretold.emulated[rows],
        emulated_std=foretold.std[rows],
        slice_demand_hz=features.slice_demand_hz,
        slice_demand_cycles_per_s=features.slice_demand_cycles_per_s,
        code=verdict.code,
        winner=policy,
        score_proposed=verdict.score[1 + verdict.best],
        score_standing=verdict.score[0],
        effect=pending.effect,
        views=twin.swipes.latest,
        believed=jnp.zeros(users.active.shape) if twin.experience is None else believed_experience(twin.experience),
    )
