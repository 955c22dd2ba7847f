"""Twins as arrays: one row an entity, fixed capacity with an active mask, current values and a ring of history."""

import math
from typing import Literal

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from twinloop.entities import CELL_ATTRIBUTES, SERVER_ATTRIBUTES, SLICE_ATTRIBUTES, USER_ATTRIBUTES, Attribute
from twinloop.twins.experience import ExperienceTwins
from twinloop.twins.swipes import SwipeCounts, empty_swipes

Kind = Literal["users", "cells", "servers", "slices"]

ATTRIBUTES: dict[Kind, tuple[Attribute, ...]] = {
    "users": USER_ATTRIBUTES,
    "cells": CELL_ATTRIBUTES,
    "servers": SERVER_ATTRIBUTES,
    "slices": SLICE_ATTRIBUTES,
}


_HAZARD = 0.05


class Current(eqx.Module):
    """What each twin knows now.

    `value[e, a]` was measured in `slot[e, a]` (-1: never reported, `value` means nothing). `revision` counts the
    writes to a twin and never decreases. `error` is the running normalised error of emulation in [0, 1] (-1: never
    compared), see `assimilate`.
    """

    active: Bool[Array, " entities"]
    value: Float[Array, "entities attributes"]
    slot: Int[Array, "entities attributes"]
    revision: Int[Array, " entities"]
    error: Float[Array, "entities attributes"]


class History(eqx.Module):
    """A ring of what each twin knew after its latest writes.

    Row `(cursor - 1) mod history` is the latest, `cursor` the number of rows ever written. `slot` is when the newest
    part of a row was measured (-1: empty row); an attribute unknown at the time is NaN. Left out: which of a row's
    values were new in it.
    """

    value: Float[Array, "entities history attributes"]
    slot: Int[Array, "entities history"]
    cursor: Int[Array, " entities"]


class Scale(eqx.Module):
    """Running mean and spread of every reported attribute over all entities; a slot ago weighs 0.99 of now."""

    weight: Float[Array, " attributes"]
    mean: Float[Array, " attributes"]
    squares: Float[Array, " attributes"]


class TwinTable(eqx.Module):
    """The twins of one kind of entity."""

    current: Current
    history: History
    scale: Scale


class Twins(eqx.Module):
    """All twins of a network: users, cells and servers at level one, slices at level two."""

    users: TwinTable
    cells: TwinTable
    servers: TwinTable
    slices: TwinTable
    swipes: SwipeCounts
    experience: ExperienceTwins | None = None


def empty_twins(
    *,
    users: int,
    cells: int,
    servers: int,
    slices: int,
    history: int,
    class_length_s: Float[Array, " classes"],
    swipe_prior: Float[Array, "classes seconds"] | None = None,
    factor_spread: float = 0.0,
    counted: Bool[Array, " users"] | None = None,
    experience: ExperienceTwins | None = None,
) -> Twins:
    """Twins of nobody yet: every row inactive and never reported, `history` rows of history each.

    `class_length_s` is how long the videos of each hazard class last, `swipe_prior` the chance to leave in each second
    that is believed before any viewing (.05 where not given), `factor_spread` that of viewers' own factors on it.
    `counted` says whose swipes are counted, everybody's where not given; without `experience` nobody's is followed.
    Raises ValueError for a negative number of rows.
    """
    if min(users, cells, servers, slices, history) < 0:
        raise ValueError("numbers of twins and history rows cannot be negative")
    seconds = max(math.ceil(np.max(class_length_s, initial=1.0)), 1)
    prior = jnp.full((class_length_s.shape[0], seconds), _HAZARD) if swipe_prior is None else swipe_prior
    whose = jnp.ones(users, bool) if counted is None else counted
    return Twins(
        users=empty_table("users", users, history),
        cells=empty_table("cells", cells, history),
        servers=empty_table("servers", servers, history),
        slices=empty_table("slices", slices, history),
        swipes=empty_swipes(whose, class_length_s, prior, factor_spread),
        experience=experience,
    )


@eqx.filter_jit
def empty_table(kind: Kind, entities: int, history: int) -> TwinTable:
    """Table of `entities` inactive twins of `kind` with `history` rows of history each."""
    attributes = len(ATTRIBUTES[kind])
    return TwinTable(
        current=Current(
            active=jnp.zeros(entities, bool),
            value=jnp.zeros((entities, attributes)),
            slot=jnp.full((entities, attributes), -1, jnp.int32),
            revision=jnp.zeros(entities, jnp.int32),
            error=jnp.full((entities, attributes), -1.0, jnp.float32),
        ),
        history=History(
            value=jnp.zeros((entities, history, attributes)),
            slot=jnp.full((entities, history), -1, jnp.int32),
            cursor=jnp.zeros(entities, jnp.int32),
        ),
        scale=Scale(weight=jnp.zeros(attributes), mean=jnp.zeros(attributes), squares=jnp.zeros(attributes)),
    )


def age_s(current: Current, slot: Int[Array, ""], slot_s: float) -> Float[Array, "entities attributes"]:
    """Age of information in s: time since each value was measured; a value never reported is as old as slot -1."""
    return (slot - current.slot).astype(jnp.float32) * slot_s


def fidelity(current: Current) -> Float[Array, "entities attributes"]:
    """1 - running normalised error of emulation, in [0, 1]; 0 where emulation has never been compared with a report."""
    return jnp.where(current.error >= 0, 1.0 - current.error, 0.0)


def quantum(kind: Kind) -> np.ndarray:
    """Step of every attribute of `kind` at its table's precision, (high - low) / (2^bits - 1), in its unit."""
    table = ATTRIBUTES[kind]
    return np.array([(a.high - a.low) / (2**a.bits - 1) for a in table], np.float32)


def admit(table: TwinTable, who: Bool[Array, " entities"]) -> TwinTable:
    """Table with new occupants in the rows `who`: active, nothing known, no history; the revision counts on."""
    current, history = table.current, table.history
    row = who[:, None]
    return TwinTable(
        current=Current(
            active=current.active | who,
            value=jnp.where(row, 0.0, current.value),
            slot=jnp.where(row, -1, current.slot),
            revision=current.revision + who,
            error=jnp.where(row, -1.0, current.error),
        ),
        history=History(
            value=history.value,
            slot=jnp.where(row, -1, history.slot),
            cursor=jnp.where(who, 0, history.cursor),
        ),
        scale=table.scale,
    )


def retire(table: TwinTable, who: Bool[Array, " entities"]) -> TwinTable:
    """Table with the rows `who` inactive; what was known of them stays until the row is admitted again."""
    leaving = who & table.current.active
    current = eqx.tree_at(
        lambda c: (c.active, c.revision),
        table.current,
        (table.current.active & ~who, table.current.revision + leaving),
    )
    return TwinTable(current, table.history, table.scale)


def retire_silent(table: TwinTable, slot: Int[Array, ""], after_slots: int | Int[Array, ""]) -> TwinTable:
    """Table with twins inactive of which nothing measured in the last `after_slots` slots has been seen."""
    newest = jnp.max(table.current.slot, axis=1)
    return retire(table, slot - newest >= after_slots)
