"""What a network is asked to report, and what it reports: the boundary to the collection of its data."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import equinox as eqx
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int

from twinloop.entities import CELL_ATTRIBUTES, SERVER_ATTRIBUTES, USER_ATTRIBUTES, Attribute

Kind = Literal["users", "cells", "servers"]

_TABLES: dict[Kind, tuple[Attribute, ...]] = {
    "users": USER_ATTRIBUTES,
    "cells": CELL_ATTRIBUTES,
    "servers": SERVER_ATTRIBUTES,
}


class KindRequest(eqx.Module):
    """How each attribute of each entity of one kind is to be reported.

    Every `period_s` seconds an attribute is looked at, and it is reported where it differs by more than `delta` (in its
    unit) from the last value sent: below 0 always (periodic), 0 on every change, above 0 send-on-delta. A difference
    above `alarm` is reported at once, between looks too. What was silent for `max_age_s` is reported whatever it is.
    `bits` precision (2^bits levels between the attribute's low and high), `enabled` False silences the attribute.
    """

    period_s: Float[Array, "entities attributes"]
    bits: Int[Array, "entities attributes"]
    delta: Float[Array, "entities attributes"]
    alarm: Float[Array, "entities attributes"]
    max_age_s: Float[Array, " attributes"]
    enabled: Bool[Array, " attributes"]


class Request(eqx.Module):
    """What the twins ask of the network; columns as in the attribute tables of `entities`."""

    users: KindRequest
    cells: KindRequest
    servers: KindRequest


class Reports(eqx.Module):
    """Reports of one kind of entity that arrived in one slot, in no particular order.

    `value[l, e, a]` is what lane l carries for entity e, valid where `sent`; `slot[l, e]` when it was measured and
    `sequence[l, e]` its number, counted up by the entity (the same number twice is the same report twice).
    `size_bits[l, e]` is what it took, header included, 0 where nothing arrived. There are as many lanes as reports of
    one entity can arrive together; an unused lane has nothing `sent`.
    """

    value: Float[Array, "lanes entities attributes"]
    sent: Bool[Array, "lanes entities attributes"]
    slot: Int[Array, "lanes entities"]
    sequence: Int[Array, "lanes entities"]
    size_bits: Float[Array, "lanes entities"]


class Receipts(eqx.Module):
    """What became of decisions: `revision` of the last one the network applied, `result` the code of what it did."""

    revision: Int[Array, ""]
    result: Int[Array, ""]


class Report(eqx.Module):
    """Everything that arrived in `slot`, the slot of arrival.

    `newcomers` are rows of users that somebody else takes from this slot on, None in a network where nobody does.
    """

    slot: Int[Array, ""]
    users: Reports
    cells: Reports
    servers: Reports
    receipts: Receipts
    newcomers: Bool[Array, " users"] | None = None


@dataclass(frozen=True)
class Override:
    """What a scenario changes in the collection of one attribute; None keeps the attribute table's default.

    `method` send_on_delta needs `delta`, in the attribute's unit; `max_age_s` is the longest silence it may keep.
    """

    period_s: float | None = None
    bits: int | None = None
    method: Literal["periodic", "on_change", "send_on_delta"] | None = None
    delta: float | None = None
    max_age_s: float = math.inf
    enabled: bool = True


def default_request(
    counts: Mapping[Kind, int], overrides: Mapping[str, Mapping[str, Override]] | None = None
) -> Request:
    """Request that collects every attribute of `counts[kind]` entities as its table says, except as
    `overrides[kind][attribute]` says.

    Raises ValueError for an unknown kind or attribute, a period, delta or greatest age that is not above zero, and a
    precision outside 1..24 bits (float32 holds no more).
    """
    wanted = overrides or {}
    unknown = set(wanted) - set(_TABLES)
    if unknown:
        raise ValueError(f"no kind {', '.join(sorted(unknown))}; there are {', '.join(_TABLES)}")
    kinds = {kind: _kind_request(kind, table, counts[kind], wanted.get(kind, {})) for kind, table in _TABLES.items()}
    return Request(kinds["users"], kinds["cells"], kinds["servers"])


def _kind_request(
    kind: Kind, table: tuple[Attribute, ...], entities: int, overrides: Mapping[str, Override]
) -> KindRequest:
    unknown = set(overrides) - {attribute.name for attribute in table}
    if unknown:
        names = ", ".join(attribute.name for attribute in table)
        raise ValueError(f"{kind} have no attribute {', '.join(sorted(unknown))}; there are {names}")
    asked = [_overridden(attribute, overrides.get(attribute.name, Override())) for attribute in table]

    def of_each(values: Sequence[float], dtype: DTypeLike) -> Array:
        return jnp.broadcast_to(jnp.asarray(values, dtype)[None, :], (entities, len(table)))

    return KindRequest(
        period_s=of_each([override.period_s or 1.0 for override in asked], jnp.float32),
        bits=of_each([float(override.bits or 1) for override in asked], jnp.int32),
        delta=of_each([_delta(override) for override in asked], jnp.float32),
        alarm=jnp.full((entities, len(table)), jnp.inf, jnp.float32),
        max_age_s=jnp.asarray([override.max_age_s for override in asked], jnp.float32),
        enabled=jnp.asarray([override.enabled for override in asked]),
    )


def _delta(override: Override) -> float:
    return {"periodic": -1.0, "on_change": 0.0}.get(override.method or "periodic", override.delta or 0.0)


def _overridden(attribute: Attribute, override: Override) -> Override:
    """`override` with the table's defaults where it says nothing."""
    method = attribute.method if override.method is None else override.method
    asked = replace(
        override,
        period_s=attribute.period_s if override.period_s is None else override.period_s,
        bits=attribute.bits if override.bits is None else override.bits,
        method=method,
    )
    if not (asked.period_s is not None and asked.period_s > 0):
        raise ValueError(f"{attribute.name}: a period of {asked.period_s} s is not above zero")
    if not (asked.bits is not None and 1 <= asked.bits <= 24):
        raise ValueError(f"{attribute.name}: {asked.bits} bits are outside 1..24")
    if method == "send_on_delta" and not (asked.delta is not None and asked.delta > 0):
        raise ValueError(f"{attribute.name}: send_on_delta needs a delta above zero, not {asked.delta}")
    if not asked.max_age_s > 0:
        raise ValueError(f"{attribute.name}: a greatest age of {asked.max_age_s} s is not above zero")
    return asked
