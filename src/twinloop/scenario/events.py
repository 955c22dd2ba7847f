"""What happens at set times: slices are created, adjusted and ended, and people's behaviour drifts."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from twinloop.errors import ScenarioError
from twinloop.loop import Loop
from twinloop.network import SimulatedNetwork
from twinloop.scenario.models import SLOT_S, Drift, Scenario
from twinloop.slicing import SliceSpec, SliceTable, adjust_slice, create_slice, end_slice

_LEAST = 1e-6


def apply_events(
    scenario: Scenario,
    loop: Loop[SimulatedNetwork],
    first_slot: int = 0,
    slots: int = 0,
    *,
    before_slot: int | None = None,
) -> Loop[SimulatedNetwork]:
    """The loop with the events and drifts of the coming block applied, or with all before a slot (to resume).

    Raises ScenarioError when an event does not fit the slice's state, such as ending one that does not stand.
    """

    def due(at_s: float) -> bool:
        at = round(at_s / loop.slot_s)
        return at < before_slot if before_slot is not None else first_slot <= at < first_slot + slots

    for drift in sorted(scenario.drifts, key=lambda entry: entry.at):
        loop = _drifted(loop, drift) if due(drift.at) else loop
    names = [entry.name for entry in scenario.slices]
    table = loop.slices
    happening = [event for event in sorted(scenario.events, key=lambda entry: entry.at) if due(event.at)]
    if not happening:
        return loop
    for event in happening:
        row = names.index(event.slice)
        changes = {name: getattr(event, name) for name in ("target_bps", "floor_share", "weight")}
        given = {name: value for name, value in changes.items() if value is not None}
        try:
            if event.change == "end":
                table = end_slice(table, row)
            elif event.change == "adjust":
                table = adjust_slice(table, row, **given)
            else:
                table = create_slice(table, row, SliceSpec(**(scenario.slices[row].model_dump() | given)))
        except ValueError as error:
            raise ScenarioError(f"event at {event.at:g} s ({event.change} {event.slice}): {error}") from error
    return with_slices(loop, table)


def event_slots(scenario: Scenario) -> set[int]:
    """Slots in which a slice is created, adjusted or ended."""
    return {round(event.at / SLOT_S) for event in scenario.events}


def with_slices(loop: Loop[SimulatedNetwork], table: SliceTable) -> Loop[SimulatedNetwork]:
    """The loop with other promises, known to the network, the twins and the judges alike."""
    return eqx.tree_at(
        lambda lp: (
            lp.slices,
            lp.network.params.slices,
            lp.abstractor.params.slices,
            lp.slot_judge.model.params.slices,
            lp.window_judge.model.params.slices,
        ),
        loop,
        (table,) * 5,
    )


def _drifted(loop: Loop[SimulatedNetwork], drift: Drift) -> Loop[SimulatedNetwork]:
    """The loop whose network's people have changed; the twins and the judges believe what they did."""
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
