"""From observations to twins: newer values are written, history grows, emulation is held to what was reported."""

from typing import Protocol, runtime_checkable

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from twinloop.collection import Evidence, KindEvidence, Observations, Seen
from twinloop.entities import USER_ATTRIBUTES, column
from twinloop.twins.experience import ExperienceTwins, lived
from twinloop.twins.swipes import SwipeCounts, count_swipes
from twinloop.twins.table import ATTRIBUTES, Current, History, Kind, Scale, Twins, TwinTable, quantum

ERROR_MEMORY = 0.9
SCALE_MEMORY = 0.99
_SERVING = column(USER_ATTRIBUTES, "serving_cell")


@runtime_checkable
class KindEmulated(Protocol):
    """What was emulated for one kind of entity."""

    @property
    def emulated(self) -> Float[Array, "entities attributes"]:
        """The value expected of every attribute."""
        ...


@runtime_checkable
class Emulated(Protocol):
    """What assimilation needs of a forecast: the values expected in the slot that the reports arrive in."""

    @property
    def users(self) -> KindEmulated:
        """Of the user twins."""
        ...

    @property
    def cells(self) -> KindEmulated:
        """Of the cell twins."""
        ...

    @property
    def servers(self) -> KindEmulated:
        """Of the server twins."""
        ...


def assimilate(twins: Twins, seen: Observations, forecast: Emulated, slot: Int[Array, ""]) -> Twins:
    """Twins after one slot's observations.

    A value is accepted where it is fresh and measured later than the known one, so late, repeated and disordered
    reports do no harm. A twin with anything accepted becomes active, its revision grows by 1 and its history gets one
    row.

    The running error is e <- 0.9 e + 0.1 min(|forecast - reported| / scale, 1), the first comparison sets it; `scale`
    is the spread (standard deviation) of the attribute as reported by all entities of the kind lately, at least one
    step of its precision, so 0 is exact and 1 no better than knowing the population. For labels the error is 0 or 1.
    A report that was late is compared with the forecast for the slot it arrived in, which is what a decision would
    have used. An attribute's first report is not compared: nothing had been forecast. Slice twins are written by
    `aggregate_slices`.
    """
    users = write(twins.users, "users", seen.users, forecast.users.emulated, slot)
    known_before = twins.users.current.slot >= 0
    swipes = count_swipes(
        twins.swipes,
        jnp.where(known_before, twins.users.current.value, 0.0),
        users.current.value,
        users.current.slot >= 0,
    )
    return Twins(
        users=users,
        cells=write(twins.cells, "cells", seen.cells, forecast.cells.emulated, slot),
        servers=write(twins.servers, "servers", seen.servers, forecast.servers.emulated, slot),
        slices=twins.slices,
        swipes=swipes,
        experience=_felt(twins.experience, users.current, swipes, slot),
    )


def _felt(
    experience: ExperienceTwins | None, users: Current, swipes: SwipeCounts, slot: Int[Array, ""]
) -> ExperienceTwins | None:
    if experience is None:
        return None
    value = jnp.where(users.slot >= 0, users.value, 0.0)
    ended = swipes.latest
    swiped = (ended.video_class >= 0) & (ended.second < swipes.prior.shape[1])
    return lived(experience, value, users.active, swiped, slot)


def assimilate_in_place(twins: Twins, seen: Observations, forecast: Emulated, slot: Int[Array, ""]) -> Twins:
    """`assimilate`, compiled, with the user, cell and server histories of `twins` given up to the result.

    The current values of `twins` stay usable, so a fork taken earlier is untouched. Inside compiled code use
    `assimilate`: there a loop's carry is updated in place without being asked.
    """
    tables = (twins.users, twins.cells, twins.servers)
    kept = tuple((table.current, table.scale) for table in tables)
    histories = tuple(table.history for table in tables)
    beside = (twins.slices, twins.swipes, twins.experience)
    return _assimilate_donated((kept, beside, seen, forecast, slot), histories)


@eqx.filter_jit(donate="all-except-first")
def _assimilate_donated(
    given: tuple[
        tuple[tuple[Current, Scale], ...],
        tuple[TwinTable, SwipeCounts, ExperienceTwins | None],
        Observations,
        Emulated,
        Int[Array, ""],
    ],
    histories: tuple[History, ...],
) -> Twins:
    parts, beside, seen, forecast, slot = given
    users, cells, servers = (
        TwinTable(current, history, scale) for (current, scale), history in zip(parts, histories, strict=True)
    )
    return assimilate(Twins(users, cells, servers, *beside), seen, forecast, slot)


def write(
    table: TwinTable,
    kind: Kind,
    seen: Seen,
    emulated: Float[Array, "entities attributes"] | None,
    now: Int[Array, ""],
) -> TwinTable:
    """Table after what was seen of its entities; without `emulated` the errors stay as they are. See `assimilate`."""
    old = table.current
    measured = jnp.minimum(seen.slot, now)
    accepted = seen.fresh & (measured > old.slot)
    wrote = jnp.any(accepted, axis=1)
    scale = _rescaled(table.scale, seen.value, accepted)
    error = old.error
    if emulated is not None:
        raw = _normalised_error(kind, scale, emulated, seen.value)
        running = jnp.where(error >= 0, ERROR_MEMORY * error + (1 - ERROR_MEMORY) * raw, raw)
        error = jnp.where(accepted & (old.slot >= 0), running, error)
    current = Current(
        active=old.active | wrote,
        value=jnp.where(accepted, seen.value, old.value),
        slot=jnp.where(accepted, measured, old.slot),
        revision=old.revision + wrote,
        error=error,
    )
    return TwinTable(current, _appended(table.history, current, wrote), scale)


def _appended(history: History, current: Current, wrote: Bool[Array, " entities"]) -> History:
    entities, rows, _ = history.value.shape
    if rows == 0:
        return history
    entity = jnp.arange(entities)
    place = jnp.where(wrote, history.cursor % rows, rows)
    row = jnp.where(current.slot >= 0, current.value, jnp.nan)
    return History(
        value=history.value.at[entity, place].set(row, mode="drop", unique_indices=True, indices_are_sorted=True),
        slot=history.slot.at[entity, place].set(
            jnp.max(current.slot, axis=1), mode="drop", unique_indices=True, indices_are_sorted=True
        ),
        cursor=history.cursor + wrote,
    )


def _rescaled(
    scale: Scale, value: Float[Array, "entities attributes"], accepted: Bool[Array, "entities attributes"]
) -> Scale:
    count = jnp.sum(accepted, axis=0).astype(jnp.float32)
    some = count > 0
    mean = jnp.sum(jnp.where(accepted, value, 0.0), axis=0) / jnp.maximum(count, 1.0)
    squares = jnp.sum(jnp.where(accepted, (value - mean[None, :]) ** 2, 0.0), axis=0)
    kept = scale.weight * SCALE_MEMORY
    weight = kept + count
    shift = mean - scale.mean
    return Scale(
        weight=jnp.where(some, weight, scale.weight),
        mean=jnp.where(some, scale.mean + shift * count / jnp.maximum(weight, 1.0), scale.mean),
        squares=jnp.where(
            some,
            scale.squares * SCALE_MEMORY + squares + shift**2 * kept * count / jnp.maximum(weight, 1.0),
            scale.squares,
        ),
    )


def _normalised_error(
    kind: Kind,
    scale: Scale,
    emulated: Float[Array, "entities attributes"],
    reported: Float[Array, "entities attributes"],
) -> Float[Array, "entities attributes"]:
    is_label = np.array([attribute.kind == "label" for attribute in ATTRIBUTES[kind]])
    level = jnp.minimum(jnp.abs(emulated - reported) / jnp.maximum(spread(scale), quantum(kind))[None, :], 1.0)
    return jnp.where(is_label[None, :], (emulated != reported).astype(jnp.float32), level)


def evidence(twins: Twins, seen: Observations, forecast: Emulated) -> Evidence:
    """`twins` after they took in `seen`, beside what `forecast` had expected of the slot.

    Users and cells pay for their reports with their cell's bandwidth; servers count as one place.
    """
    cells = twins.cells.current.active.shape[0]
    serving = jnp.clip(twins.users.current.value[:, _SERVING].astype(jnp.int32), 0, max(cells - 1, 0))
    servers = twins.servers.current.active.shape[0]
    return Evidence(
        users=_kind(twins.users, seen.users, forecast.users.emulated, serving),
        cells=_kind(twins.cells, seen.cells, forecast.cells.emulated, jnp.arange(cells, dtype=jnp.int32)),
        servers=_kind(twins.servers, seen.servers, forecast.servers.emulated, jnp.zeros(servers, jnp.int32)),
    )


def spread(scale: Scale) -> Float[Array, " attributes"]:
    """Standard deviation of every attribute over all entities, as reported lately; 0 before anything was."""
    return jnp.sqrt(scale.squares / jnp.maximum(scale.weight, 1.0))


def _kind(
    table: TwinTable, seen: Seen, expected: Float[Array, "entities attributes"], cell: Int[Array, " entities"]
) -> KindEvidence:
    current = table.current
    return KindEvidence(seen, expected, current.value, current.slot >= 0, spread(table.scale), current.active, cell)
