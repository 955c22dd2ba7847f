"""The closed loop on one screen: `slot` for local controllers, `window` for the centralized one. Nothing else orchestrates.

    network -report-> collection -observations-> twins -> emulation -> abstraction -> decision -proposals-> validation
       ^                                                                                                       |
       +------------------------------------ enforcement <---------------------- approved ---------------------+
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree

from twinloop.abstraction import Abstractor, Features
from twinloop.collection import CollectionState, Observations, adapt, collect
from twinloop.decision import (
    AbstractAllocation,
    AbstractReservation,
    Proposal,
    Reservation,
    assemble_action,
    share_by_need,
)
from twinloop.emulation import AbstractEmulator, Forecast
from twinloop.enforcement import Pending, enforce
from twinloop.entities import Action
from twinloop.network import AbstractNetwork
from twinloop.slicing import SliceTable
from twinloop.twins import Twins, age_s, aggregate_slices, assimilate, fidelity
from twinloop.validation import Approved, Judge, Verdict, validate


class Control(eqx.Module):
    """A negative control of a study: from slot `since` on, twins are `frozen` or `shuffled` (each user gets another's)."""

    since: Int[Array, ""]
    kind: str = eqx.field(static=True)

    def spoil(self, seen: Observations, slot: Int[Array, ""]) -> Observations:
        """`seen` as the control lets the twins see it."""
        on = slot >= self.since
        users = seen.users
        if self.kind == "frozen":
            return eqx.tree_at(lambda s: s.users.fresh, seen, users.fresh & ~on)
        if self.kind == "shuffled":
            half = users.fresh.shape[0] // 2
            swapped = jax.tree.map(
                lambda leaf: jnp.where(on, jnp.roll(leaf, half, axis=0), leaf), (users.value, users.fresh, users.slot)
            )
            return eqx.tree_at(lambda s: (s.users.value, s.users.fresh, s.users.slot), seen, swapped)
        return seen


class Loop(eqx.Module):
    """The stages of one closed loop and their parameters."""

    network: AbstractNetwork
    emulator: AbstractEmulator
    abstractor: Abstractor
    reservations: tuple[AbstractReservation, ...]
    allocations: tuple[AbstractAllocation, ...]
    slot_judge: Judge
    window_judge: Judge
    slices: SliceTable
    control: Control
    slot_s: float = eqx.field(static=True)
    retries: int = eqx.field(static=True)


class LoopState(eqx.Module):
    """Everything of the loop that evolves."""

    plant: PyTree
    collection: CollectionState
    twin: Twins
    emulation: PyTree
    forecast: Forecast
    allocations: tuple[PyTree, ...]
    reservation: Reservation
    standing: Approved
    pending: Pending


class Trace(eqx.Module):
    """What one slot leaves behind: the decision in effect, what was seen, how good the twins were, and the verdict."""

    in_effect: Action
    bits: Float[Array, " kinds"]
    reports: Int[Array, ""]
    late: Int[Array, ""]
    duplicates: Int[Array, ""]
    age_s: Float[Array, " attributes"]
    fidelity: Float[Array, " attributes"]
    slice_demand_hz: Float[Array, "cells slices"]
    slice_demand_cycles_per_s: Float[Array, "servers slices"]
    code: Int[Array, ""]
    winner: Int[Array, ""]
    score_winner: Float[Array, ""]
    score_standing: Float[Array, ""]
    effect: Int[Array, ""]


def slot(key: PRNGKeyArray, loop: Loop, state: LoopState) -> tuple[LoopState, PyTree, Trace]:
    """One slot: report, collect, assimilate, emulate, abstract, propose, validate, enforce, adapt.

    Returns the next state, what the network's adapter knows to be true of this slot (for scoring, never for twins), and
    the trace.
    """
    k_report, k_validate, k_enforce = jax.random.split(key, 3)
    plant, report = loop.network.report(k_report, state.plant, state.collection.request)
    seen = loop.control.spoil(collect(state.collection.request, report), report.slot)
    twin = assimilate(state.twin, seen, state.forecast, report.slot)
    emulation, forecast = loop.emulator.emulate(state.emulation, twin, report.slot)
    features = loop.abstractor.abstract(twin, forecast, loop.slices)
    twin = aggregate_slices(twin, forecast, features_of_slices(features, state.reservation), report.slot)
    proposals, allocations = propose(loop, state, features)
    verdict = validate(k_validate, loop.slot_judge, twin, forecast, features, proposals, state.standing, loop.slices)
    plant, pending = enforce(
        k_enforce, loop.network, plant, verdict.approved, state.pending, report.receipts, loop.retries
    )
    collection = adapt(state.collection, fidelity(twin.users.current))
    trace = _trace(loop, state, seen, twin, features, verdict, pending, report.slot)
    after = LoopState(
        plant, collection, twin, emulation, forecast, allocations, state.reservation, verdict.approved, pending
    )
    return after, plant, trace


def window(key: PRNGKeyArray, loop: Loop, state: LoopState) -> tuple[LoopState, Verdict]:
    """One slicing decision: reservations compete in the twin over a longer horizon, flows sharing them by need."""
    features = loop.abstractor.abstract(state.twin, state.forecast, loop.slices)
    standing = Approved_like(state.standing, state.reservation, features, loop.slices)
    proposals = tuple(
        Proposal(_window_action(policy.reserve(features, loop.slices), features, loop.slices), jnp.int32(index))
        for index, policy in enumerate(loop.reservations)
    )
    verdict = validate(key, loop.window_judge, state.twin, state.forecast, features, proposals, standing, loop.slices)
    action = verdict.approved.action
    reservation = Reservation(action.slice_bandwidth_hz, action.slice_cycles_per_s, action.slice_cache_bytes)
    return eqx.tree_at(lambda s: (s.reservation, s.standing), state, (reservation, verdict.approved)), verdict
