"""The request of a site as it travels: for entities that are collected alike, what is asked of each attribute."""

from collections.abc import Mapping, Sequence

import jax.numpy as jnp
import msgspec
import numpy as np
from numpy.typing import NDArray

from twinloop.entities import CELL_ATTRIBUTES, SERVER_ATTRIBUTES, USER_ATTRIBUTES, Attribute
from twinloop.network.report import Kind, KindRequest, Request

_TABLES: dict[Kind, tuple[Attribute, ...]] = {
    "users": USER_ATTRIBUTES,
    "cells": CELL_ATTRIBUTES,
    "servers": SERVER_ATTRIBUTES,
}
_KINDS: dict[str, Kind] = {"user": "users", "cell": "cells", "server": "servers"}


class Asked(msgspec.Struct, frozen=True, omit_defaults=True):
    """How one attribute is to be reported: looked at every `period_s`, sent if it differs by more than `delta` from the
    last value sent (below 0: always), at once beyond `alarm` (None: never), after `max_age_s` of silence (None: never)
    whatever it is, in `bits` of precision.
    """

    period_s: float
    bits: int
    delta: float = -1.0
    alarm: float | None = None
    max_age_s: float | None = None


class PlanPart(msgspec.Struct, frozen=True):
    """Entities of one kind that are collected alike; an attribute that is not named is not to be sent."""

    kind: str
    ids: list[str]
    attributes: dict[str, Asked]


class Plan(msgspec.Struct, frozen=True):
    """What a site is asked to report from now on."""

    revision: int
    site: str
    parts: list[PlanPart]


def plan_of(request: Request, ids: Mapping[Kind, Sequence[str]], revision: int, site: str) -> Plan:
    """The plan of the entities that `ids` names by row ("": left out)."""
    parts: list[PlanPart] = []
    for kind, table in _TABLES.items():
        parts += _parts(kind[:-1], table, getattr(request, kind), ids[kind])
    return Plan(revision, site, parts)


def request_of(plan: Plan, ids: Mapping[Kind, Sequence[str]], default: Request) -> Request:
    """`default` with what the plan asks of the entities that `ids` names by row; what it does not know is left out."""
    kinds: dict[Kind, dict[str, NDArray[np.generic]]] = {
        kind: {name: np.array(values) for name, values in vars(getattr(default, kind)).items()} for kind in _TABLES
    }
    for part in plan.parts:
        kind = _KINDS.get(part.kind)
        if kind is None:
            continue
        place = {name: row for row, name in enumerate(ids[kind])}
        rows = [place[name] for name in part.ids if name in place]
        _write(kinds[kind], _TABLES[kind], rows, part.attributes)
    built = {kind: KindRequest(**{n: jnp.asarray(v) for n, v in fields.items()}) for kind, fields in kinds.items()}
    return Request(built["users"], built["cells"], built["servers"])


def _parts(kind: str, table: tuple[Attribute, ...], asked: KindRequest, ids: Sequence[str]) -> list[PlanPart]:
    there = np.flatnonzero(np.asarray(ids, object) != "")
    if there.size == 0:
        return []
    figures = [
        np.asarray(values, np.float32)[there] for values in (asked.period_s, asked.bits, asked.delta, asked.alarm)
    ]
    members = _alike(np.concatenate(figures, axis=1))
    enabled, oldest_s = np.asarray(asked.enabled), np.asarray(asked.max_age_s)
    parts: list[PlanPart] = []
    for member in members:
        period_s, bits, delta, alarm = (values[member[0]] for values in figures)
        attributes = {
            entry.name: Asked(
                period_s=round(float(period_s[at]), 6),
                bits=int(bits[at]),
                delta=round(float(delta[at]), 9),
                alarm=round(float(alarm[at]), 9) if np.isfinite(alarm[at]) else None,
                max_age_s=float(oldest_s[at]) if np.isfinite(oldest_s[at]) else None,
            )
            for at, entry in enumerate(table)
            if enabled[at]
        }
        parts.append(PlanPart(kind, [ids[int(at)] for at in there[member]], attributes))
    return parts


def _alike(figures: NDArray[np.float32]) -> list[NDArray[np.int64]]:
    """Rows of the same figures together, in the order in which they first come."""
    whole_rows = np.ascontiguousarray(figures).view(f"V{figures.shape[1] * figures.itemsize}").ravel().tolist()
    numbers: dict[bytes, int] = {}
    number = np.array([numbers.setdefault(row, len(numbers)) for row in whole_rows], np.int64)
    order = np.argsort(number, kind="stable")
    return np.split(order, np.cumsum(np.bincount(number))[:-1])


def _write(
    fields: Mapping[str, NDArray[np.generic]],
    table: tuple[Attribute, ...],
    rows: list[int],
    attributes: Mapping[str, Asked],
) -> None:
    for at, entry in enumerate(table):
        asked = attributes.get(entry.name)
        fields["enabled"][at] = fields["enabled"][at] and asked is not None
        if asked is None:
            continue
        fields["period_s"][rows, at] = asked.period_s
        fields["bits"][rows, at] = asked.bits
        fields["delta"][rows, at] = asked.delta
        fields["alarm"][rows, at] = np.inf if asked.alarm is None else asked.alarm
        fields["max_age_s"][at] = np.inf if asked.max_age_s is None else asked.max_age_s
