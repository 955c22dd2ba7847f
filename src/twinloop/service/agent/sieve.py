"""What an agent sends of what it measures: what its plan asks for, by the rules of docs/collection.md."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Float64

from twinloop.network import Asked, Plan
from twinloop.network.formats import KINDS, TABLES, Rows
from twinloop.service.agent.link import LinkPort

MOST_ENTITIES = 100_000
"""Of which is remembered what was sent; beyond that the longest silent are forgotten, and sent anew."""

_LATE = 1e-6
_TABLES = {plural: TABLES[noun] for noun, plural in KINDS.items()}
_NOUNS = {plural: noun for noun, plural in KINDS.items()}


@dataclass(frozen=True)
class _Rules:
    """What is asked of one entity, by attribute; what is not asked for has an infinite `period_s`."""

    period_s: Float64[np.ndarray, " attributes"]
    delta: Float64[np.ndarray, " attributes"]
    alarm: Float64[np.ndarray, " attributes"]
    max_age_s: Float64[np.ndarray, " attributes"]

    @property
    def asked(self) -> Bool[np.ndarray, " attributes"]:
        """Attributes that are to be sent at all."""
        return np.isfinite(self.period_s)


@dataclass
class _Sent:
    """What was looked at and sent last, and when; NaN for never."""

    value: Float64[np.ndarray, " attributes"]
    sent_s: Float64[np.ndarray, " attributes"]
    looked_s: Float64[np.ndarray, " attributes"]


@dataclass
class Sieve:
    """Lets through what is due. Without a plan, or for an entity that the plan does not name, that is everything.

    `revision` is that of the plan, -1 without one. Left out: precision. Values are sent as they were measured, whatever
    `bits` asks.
    """

    revision: int = -1
    _rules: dict[tuple[str, str], _Rules] = field(default_factory=dict[tuple[str, str], _Rules])
    _sent: OrderedDict[tuple[str, str], _Sent] = field(default_factory=OrderedDict[tuple[str, str], _Sent])

    def follow_site(self, site: str, link: LinkPort) -> None:
        """Goes by the plan of a site, if it is another by now. Raises LinkError."""
        plan = link.plan(site, self.revision)
        if plan is not None:
            self.follow(plan)

    def follow(self, plan: Plan) -> None:
        """Goes by another plan from now on."""
        self.revision, self._rules = plan.revision, {}
        for part in plan.parts:
            if part.kind in KINDS:
                rules = _rules_of(part.kind, part.attributes)
                self._rules |= {(KINDS[part.kind], name): rules for name in part.ids}

    def sift(self, rows: Rows) -> Rows:
        """The rows, in order of time, without the values that are not due; rows without any value are left out."""
        value = rows.value.copy()
        for at, name in enumerate(rows.ids):
            rules = self._rules.get((rows.kind, name))
            if rules is not None:
                due = self._due(rules, (rows.kind, name), float(rows.time_s[at]), rows.value[at])
                value[at, ~due] = np.nan
        return without_empty(replace(rows, value=value))

    def _due(
        self, rules: _Rules, who: tuple[str, str], time_s: float, value: Float32[np.ndarray, " attributes"]
    ) -> Bool[np.ndarray, " attributes"]:
        sent = self._sent.pop(who, None) or _nothing(len(value))
        self._sent[who] = sent
        if len(self._sent) > MOST_ENTITIES:
            self._sent.popitem(last=False)
        there = np.isfinite(value) & rules.asked
        never = np.isnan(sent.value)
        with np.errstate(invalid="ignore"):
            look = there & (never | (time_s - sent.looked_s >= rules.period_s - _LATE))
            change = np.abs(value - sent.value)
            moved = never | (change > rules.delta)
            wanted = (look & moved) | (change > rules.alarm) | (time_s - sent.sent_s >= rules.max_age_s - _LATE)
        wanted = there & (wanted | never)
        due = wanted | (there & moved & (rules.delta >= 0) & bool(wanted.any()))
        sent.looked_s[look] = time_s
        sent.value[due], sent.sent_s[due] = value[due], time_s
        return due


def columns_of(rows: Rows) -> dict[str, Any]:
    """Rows as columns of a batch."""
    table = _TABLES[rows.kind]
    carried = np.flatnonzero(np.isfinite(rows.value).any(axis=0))
    cells = rows.value[:, carried].astype(object)
    cells[~np.isfinite(rows.value[:, carried])] = None
    columns: dict[str, Any] = {
        "kind": _NOUNS[rows.kind],
        "attributes": [table[at].name for at in carried],
        "ids": rows.ids,
        "time_s": rows.time_s.tolist(),
        "values": cells.tolist(),
    }
    if rows.kind == "users":
        columns |= {"slices": rows.slices, "groups": rows.groups}
    return columns


def named(rows: Rows, in_slice: str | None, names: Mapping[str, str] | None = None) -> Rows:
    """Rows under other `names`, and users who name no slice in `in_slice`."""
    ids = [names.get(name, name) for name in rows.ids] if names else rows.ids
    if rows.kind != "users" or in_slice is None:
        return replace(rows, ids=ids)
    return replace(rows, ids=ids, slices=[name or in_slice for name in rows.slices])


def without_empty(rows: Rows) -> Rows:
    """The rows that have a value."""
    return chosen(rows, np.asarray(np.isfinite(rows.value).any(axis=1)))


def chosen(rows: Rows, here: Bool[np.ndarray, " rows"]) -> Rows:
    """Some of the rows."""
    at = np.flatnonzero(here)
    if at.size == len(rows.ids):
        return rows
    return Rows(
        rows.kind,
        [rows.ids[row] for row in at],
        rows.time_s[at],
        rows.value[at],
        [rows.slices[row] for row in at],
        [rows.groups[row] for row in at],
    )


def cut(rows: Rows, first: int, last: int) -> Rows:
    """The rows from number `first` to before number `last`."""
    here = slice(first, last)
    ids, slices, groups = rows.ids[here], rows.slices[here], rows.groups[here]
    return Rows(rows.kind, ids, rows.time_s[here], rows.value[here], slices, groups)


def _rules_of(kind: str, attributes: Mapping[str, Asked]) -> _Rules:
    asked = [attributes.get(attribute.name) for attribute in TABLES[kind]]

    def of_each(name: str, none: float) -> Float64[np.ndarray, " attributes"]:
        given = [none if one is None else getattr(one, name) for one in asked]
        return np.array([none if value is None else value for value in given], np.float64)

    return _Rules(
        period_s=of_each("period_s", np.inf),
        delta=of_each("delta", np.inf),
        alarm=of_each("alarm", np.inf),
        max_age_s=of_each("max_age_s", np.inf),
    )


def _nothing(attributes: int) -> _Sent:
    return _Sent(*(np.full(attributes, np.nan) for _ in range(3)))
