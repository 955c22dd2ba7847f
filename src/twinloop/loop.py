"""The closed loop on one screen: `slot` for local controllers, `window` for the centralized one. Nothing else
orchestrates.

network -report-> collection -observations-> twins -> emulation -> abstraction -> decision -proposals-> validation ^
| +------------------------------------ enforcement <---------------------- approved ---------------------+
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree

from twinloop.abstraction import Abstractor, Features
from twinloop.collection import AbstractCollector, CollectionState, Control, Observations, collect, granted
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
from twinloop.network import AbstractNetwork, Report
from twinloop.simulator import Outcome
from twinloop.slicing import SliceTable
from twinloop.traces import Trace, trace_of
from twinloop.twins import Twins, aggregate_slices, assimilate, evidence, retire_silent, welcome
from twinloop.validation import Approved, Judge, Verdict, recheck, validate

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


def slot(key: PRNGKeyArray, loop: Loop[Any], state: LoopState) -> tuple[LoopState, PyTree, Trace]:
    """One slot: report, collect, assimilate, emulate, abstract, propose, validate, enforce, adapt.

    Returns the next state, the adapter's own state in which the slot was lived (what is true, for scoring and never for
    twins), and the trace.
    """
    k_report, k_validate, k_enforce = jax.random.split(key, 3)
    plant, report, seen, twin = _sensed(k_report, loop, state)
    asked = granted(state.collection.request, state.sensing)
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
    trace = trace_of(standing, state.forecast, seen, twin, features, verdict, pending, loop.slot_s)
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
    needs = [appraisal.foretold for _, appraisal in reserved if appraisal.foretold is not None]
    sensing = needs[0].reports_per_s if needs else state.sensing
    after = eqx.tree_at(lambda s: s.sensing, _standing_on(state, verdict.approved), sensing)
    return after, verdict, tuple(appraisal for _, appraisal in reserved)


def hold(key: PRNGKeyArray, loop: Loop[Any], state: LoopState) -> LoopState:
    """The safe slot: what arrived is mirrored, nothing is decided, the standing decision is asked for again.

    Left out: a forecast. Until the next whole slot, reports are compared with the last one that was made.
    """
    k_report, _, k_enforce = jax.random.split(key, 3)
    plant, report, _, twin = _sensed(k_report, loop, state)
    plant, pending = enforce(
        k_enforce, loop.network, plant, state.standing, state.pending, report.receipts, loop.retries
    )
    return eqx.tree_at(lambda s: (s.plant, s.twin, s.pending), state, (plant, twin, pending))


def adopt(loop: Loop[Any], state: LoopState, approved: Approved) -> tuple[LoopState, Int[Array, ""]]:
    """What an earlier verdict approved and a person has now consented to stands from the next slot on, filled with the
    flows of now, if it is still safe; the code (`RESULTS`) says so, and the state is unchanged where it is not.
    """
    features = loop.abstractor.abstract(state.twin, state.forecast, loop.slices)
    filled = _filled(loop, state, reserved_by(approved.action), features)
    renewed, code = recheck(approved, filled, features, loop.slices)
    adopted = _standing_on(state, renewed)
    return jax.tree.map(lambda new, old: jnp.where(code == 0, new, old), adopted, state), code


@dataclass
class Guard:
    """Keeps the deadline of slots in a network that does not wait. `slot` and `hold` are those functions, compiled."""

    slot: Callable[[PRNGKeyArray, Loop[Any], LoopState], tuple[LoopState, PyTree, Trace]]
    hold: Callable[[PRNGKeyArray, Loop[Any], LoopState], LoopState]
    worker: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "slot"))
    late: "Future[Any] | None" = None


def guarded_slot(
    guard: Guard, key: PRNGKeyArray, loop: Loop[Any], state: LoopState, timeout_s: float, distrust: str = ""
) -> tuple[LoopState, Trace | None, str]:
    """`slot` if it ends within `timeout_s`, else the safe one; a late result is dropped, and until its stage has ended
    no other is begun. Where there is a reason for `distrust`, nothing is decided at all.

    Returns the next state, the trace or None, and why the slot was safe, "" where it was a whole one.
    """
    if distrust:
        return guard.hold(key, loop, state), None, distrust
    if guard.late is not None and not guard.late.done():
        return guard.hold(key, loop, state), None, "the last slot's decision is still not ready"
    guard.late = guard.worker.submit(guard.slot, key, loop, state)
    try:
        after, _, trace = jax.block_until_ready(guard.late.result(timeout_s))
    except TimeoutError:
        return guard.hold(key, loop, state), None, f"no decision within {timeout_s:g} s"
    except Exception as error:
        return guard.hold(key, loop, state), None, f"a stage failed: {type(error).__name__}: {error}"
    return after, trace, ""


def _standing_on(state: LoopState, approved: Approved) -> LoopState:
    return eqx.tree_at(lambda s: (s.reservation, s.standing), state, (reserved_by(approved.action), approved))


def _sensed(key: PRNGKeyArray, loop: Loop[Any], state: LoopState) -> tuple[PyTree, Report, Observations, Twins]:
    """What the network reports, what is seen of it, and the twins after it."""
    plant, report = loop.network.report(key, state.plant, granted(state.collection.request, state.sensing))
    seen = loop.control.spoil(collect(report), report.slot)
    return plant, report, seen, _mirror(loop, state, seen, report.newcomers)


def _mirror(loop: Loop[Any], state: LoopState, seen: Observations, newcomers: Bool[Array, " users"] | None) -> Twins:
    known = state.twin if newcomers is None else welcome(state.twin, newcomers)
    twin = assimilate(known, seen, state.forecast, seen.slot)
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
