"""What a network is asked to report, and what it reports: the boundary to the collection of its data."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from twinloop.entities import CELL_ATTRIBUTES, SERVER_ATTRIBUTES, USER_ATTRIBUTES, Attribute

Kind = Literal["users", "cells", "servers"]

_TABLES: dict[Kind, tuple[Attribute, ...]] = {
    "users": USER_ATTRIBUTES,
    "cells": CELL_ATTRIBUTES,
    "servers": SERVER_ATTRIBUTES,
}


class KindRequest(eqx.Module):
    """How each attribute of one kind of entity is to be reported.

    `period_s` seconds between reports, `bits` precision (2^bits levels between the attribute's low and high),
    `on_change` reports only where the quantised value differs from the last one sent (looked at every period),
    `enabled` False silences the attribute.
    """

    period_s: Float[Array, " attributes"]
    bits: Int[Array, " attributes"]
    on_change: Bool[Array, " attributes"]
    enabled: Bool[Array, " attributes"]


class Request(eqx.Module):
    """What the twins ask of the network; columns as in the attribute tables of `entities`."""

    users: KindRequest
    cells: KindRequest
    servers: KindRequest


class Reports(eqx.Module):
    """Reports of one kind of entity that arrived in one slot, in no particular order.

    `value[l, e, a]` is what lane l carries for entity e, valid where `sent`; `slot[l, e]` when it was measured and
    `sequence[l, e]` its number, counted up by the entity (the same number twice is the same report twice). There are as
    many lanes as reports of one entity can arrive together; an unused lane has nothing `sent`.
    """

    value: Float[Array, "lanes entities attributes"]
    sent: Bool[Array, "lanes entities attributes"]
    slot: Int[Array, "lanes entities"]
    sequence: Int[Array, "lanes entities"]


class Receipts(eqx.Module):
    """What became of decisions: `revision` of the last one the network applied, `result` the code of what it did."""

    revision: Int[Array, ""]
    result: Int[Array, ""]


class Report(eqx.Module):
    """Everything that arrived in `slot`, the slot of arrival."""

    slot: Int[Array, ""]
    users: Reports
    cells: Reports
    servers: Reports
    receipts: Receipts


@dataclass(frozen=True)
class Override:
    """What a scenario changes in the collection of one attribute; None keeps the attribute table's default."""

    period_s: float | None = None
    bits: int | None = None
    method: Literal["periodic", "on_change"] | None = None
    enabled: bool = True


def default_request(overrides: Mapping[str, Mapping[str, Override]] | None = None) -> Request:
    """Request that collects every attribute as its table says, except as `overrides[kind][attribute]` says.

    Raises ValueError for an unknown kind or attribute, a period that is not above zero, and a precision outside
    1..24 bits (float32 holds no more).
    """
    wanted = overrides or {}
    unknown = set(wanted) - set(_TABLES)
    if unknown:
        raise ValueError(f"no kind {', '.join(sorted(unknown))}; there are {', '.join(_TABLES)}")
    kinds = {kind: _kind_request(kind, table, wanted.get(kind, {})) for kind, table in _TABLES.items()}
    return Request(kinds["users"], kinds["cells"], kinds["servers"])


def _kind_request(kind: Kind, table: tuple[Attribute, ...], overrides: Mapping[str, Override]) -> KindRequest:
    unknown = set(overrides) - {attribute.name for attribute in table}
    if unknown:
        names = ", ".join(attribute.name for attribute in table)
        raise ValueError(f"{kind} have no attribute {', '.join(sorted(unknown))}; there are {names}")
    asked = [_overridden(attribute, overrides.get(attribute.name, Override())) for attribute in table]
    return KindRequest(
        period_s=jnp.array([attribute.period_s for attribute in asked], jnp.float32),
        bits=jnp.array([attribute.bits for attribute in asked], jnp.int32),
        on_change=jnp.array([attribute.method == "on_change" for attribute in asked]),
        enabled=jnp.array([overrides.get(attribute.name, Override()).enabled for attribute in table]),
    )


def _overridden(attribute: Attribute, override: Override) -> Attribute:
    asked = replace(
        attribute,
        period_s=attribute.period_s if override.period_s is None else override.period_s,
        bits=attribute.bits if override.bits is None else override.bits,
        method=attribute.method if override.method is None else override.method,
    )
    if not asked.period_s > 0:
        raise ValueError(f"{attribute.name}: a period of {asked.period_s} s is not above zero")
    if not 1 <= asked.bits <= 24:
        raise ValueError(f"{attribute.name}: {asked.bits} bits are outside 1..24")
    return asked
