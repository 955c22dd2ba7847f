"""What happens at set times: slices are created, adjusted and ended, and people's behaviour drifts."""

from collections.abc import Collection
from typing import Any, TypeVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from twinloop.errors import ScenarioError
from twinloop.loop import Loop
from twinloop.network import AbstractNetwork, SimulatedNetwork
from twinloop.scenario.models import SLOT_S, Drift, Event, Scenario
from twinloop.slicing import SliceSpec, SliceTable, adjust_slice, create_slice, end_slice

NetworkT = TypeVar("NetworkT", bound=AbstractNetwork[Any])

_LEAST = 1e-6
_PROMISES = ("target_bps", "floor_share", "weight")


def apply_events(
    scenario: Scenario,
    loop: Loop[SimulatedNetwork],
    first_slot: int = 0,
    slots: int = 0,
    *,
    before_slot: int | None = None,
    left_out: Collection[int] = (),
) -> Loop[SimulatedNetwork]:
    """The loop with the events and drifts of the coming block applied, or with all before a slot (to resume).

    Events whose number in the scenario is `left_out` are not; nor is an order, where orders are judged, for a slice
    that stands. Raises ScenarioError when an event does not fit the slice's state, such as ending one that does not
    stand.
    """

    def due(at_s: float) -> bool:
        at = round(at_s / loop.slot_s)
        return at < before_slot if before_slot is not None else first_slot <= at < first_slot + slots

    for drift in sorted(scenario.drifts, key=lambda entry: entry.at):
        loop = _drifted(loop, drift) if due(drift.at) else loop
    table = loop.slices
    happening = [event for number, event in _in_order(scenario) if due(event.at) and number not in left_out]
    if not happening:
        return loop
    for event in happening:
        repeated = scenario.policy.admission and event.change == "create" and bool(table.active[_row(scenario, event)])
        table = table if repeated else changed(scenario, table, event)
    return with_slices(loop, table)


def due_events(scenario: Scenario, first_slot: int, slots: int) -> list[tuple[int, Event]]:
    """The events of a block in the order of time, each with its number in the scenario."""
    return [
        (number, event)
        for number, event in _in_order(scenario)
        if first_slot <= round(event.at / SLOT_S) < first_slot + slots
    ]


def happens(scenario: Scenario, first_slot: int, slots: int) -> bool:
    """Whether an event or a drift of the scenario falls into the block."""
    moments = (entry.at for entry in (*scenario.events, *scenario.drifts))
    return any(first_slot <= round(at / SLOT_S) < first_slot + slots for at in moments)


def changed(scenario: Scenario, table: SliceTable, event: Event) -> SliceTable:
    """The table after an event. Raises ScenarioError where it does not fit the slice's state."""
    row, given = _row(scenario, event), _given(event)
    try:
        if event.change == "end":
            return end_slice(table, row)
        if event.change == "adjust":
            return adjust_slice(table, row, **given)
        return create_slice(table, row, SliceSpec(**(scenario.slices[row].model_dump() | given)))
    except ValueError as error:
        raise ScenarioError(f"event at {event.at:g} s ({event.change} {event.slice}): {error}") from error


def order_of(scenario: Scenario, table: SliceTable, event: Event) -> tuple[int, SliceTable] | None:
    """The row that orders and the table as ordered, whether its floors fit or not; None for what is no order.

    An order creates a slice, or adds to the rate or the floor of one that stands.
    """
    row, given = _row(scenario, event), _given(event)
    if event.change == "create" and not bool(table.active[row]):
        wanted = scenario.slices[row].model_dump() | given
    elif event.change == "adjust" and bool(table.active[row]):
        wanted = {name: float(getattr(table, name)[row]) for name in _PROMISES} | given
        grows = (wanted[name] > float(getattr(table, name)[row]) + _LEAST for name in ("target_bps", "floor_share"))
        if not any(grows):
            return None
    else:
        return None
    columns = [getattr(table, name).at[row].set(wanted[name]) for name in _PROMISES]
    return row, SliceTable(table.active.at[row].set(True), *columns)


def check_events(scenario: Scenario, loop: Loop[SimulatedNetwork], slots: int) -> None:
    """Raises ScenarioError for an event within `slots` that fits no state that its slice can be in by then.

    Where orders are judged, one may come again for a slice that stands if the first was admitted, and its floors may
    be more than there is.
    """
    table = loop.slices
    for _, event in due_events(scenario, 0, slots):
        order = order_of(scenario, table, event) if scenario.policy.admission else None
        if order is not None:
            row, table = order
            table = eqx.tree_at(lambda t: t.floor_share, table, table.floor_share.at[row].set(0.0))
        elif event.change != "create" or not scenario.policy.admission:
            table = changed(scenario, table, event)


def event_slots(scenario: Scenario) -> set[int]:
    """Slots in which a slice is created, adjusted or ended."""
    return {round(event.at / SLOT_S) for event in scenario.events}


def with_slices(loop: Loop[NetworkT], table: SliceTable) -> Loop[NetworkT]:
    """The loop with other promises, known to the network, the twins and the judges alike."""

    def known(lp: Loop[NetworkT]) -> tuple[SliceTable, ...]:
        believed = [judge.model.params for judge in (lp.slot_judge, lp.window_judge)]
        believed += [] if lp.foresight is None else [lp.foresight.model.params]
        lived = [lp.network.params] if isinstance(lp.network, SimulatedNetwork) else []
        params = (*lived, lp.abstractor.params, *believed)
        return (lp.slices, *(one.slices for one in params))

    return eqx.tree_at(known, loop, (table,) * len(known(loop)))


def _in_order(scenario: Scenario) -> list[tuple[int, Event]]:
    return sorted(enumerate(scenario.events), key=lambda entry: entry[1].at)


def _row(scenario: Scenario, event: Event) -> int:
    return [entry.name for entry in scenario.slices].index(event.slice)


def _given(event: Event) -> dict[str, Any]:
    changes = {name: getattr(event, name) for name in _PROMISES}
    return {name: value for name, value in changes.items() if value is not None}


def _drifted(loop: Loop[SimulatedNetwork], drift: Drift) -> Loop[SimulatedNetwork]:
    """The loop whose network's people have changed; the twins and the judges believe what they did."""
    if drift.change == "speed":
        mobility = loop.network.params.mobility
        bounds = [(drift.factor or 1.0) * speed for speed in (mobility.speed_low_mps, mobility.speed_high_mps)]
        return eqx.tree_at(
            lambda lp: [getattr(lp.network.params.mobility, name) for name in ("speed_low_mps", "speed_high_mps")],
            loop,
            bounds,
        )
    hazard = loop.network.params.viewers.hazard
    risk = -jnp.log1p(-jnp.clip(hazard, 0.0, 1.0 - _LEAST))
    factor = _exchanged(risk) if drift.factor is None else jnp.full(hazard.shape[0], drift.factor)
    changed = -jnp.expm1(-factor[:, None] * risk)
    return eqx.tree_at(lambda lp: lp.network.params.viewers.hazard, loop, changed)


def _exchanged(risk: Float[Array, "classes seconds"]) -> Float[Array, " classes"]:
    """Factors that give the class with the least risk a second that of the class with the most, and so on."""
    mean = jnp.sum(risk, axis=1) / jnp.maximum(jnp.sum(risk > 0, axis=1), 1)
    order = jnp.argsort(mean)
    goal = jnp.zeros_like(mean).at[order].set(mean[order[::-1]])
    return goal / jnp.maximum(mean, _LEAST)
