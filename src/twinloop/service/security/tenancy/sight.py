"""The one way to look at twins: whoever asks gets a `View`, and the view of a tenant holds nothing that is not its own.

Routes, streams, analytics, forecasts, history and the dashboard are given a `Sight` and no picture, history or forecast
of their own, so that there is nothing to forget.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from twinloop.service.live import Foretold, Moment, Picture, Series
from twinloop.service.security.access import SEES_ALL, Identity
from twinloop.service.security.errors import Forbidden
from twinloop.service.security.tenancy.cut import Cut, cut, revision_of
from twinloop.service.security.tenancy.grants import Grants
from twinloop.service.security.tenancy.memberships import Memberships, advance
from twinloop.service.security.tenancy.pseudonyms import Pseudonyms

MOST_CACHED = 256
_SINGULAR = {"users": "user", "cells": "cell", "servers": "server", "slices": "slice"}


@runtime_checkable
class Past(Protocol):
    """The history of twins; see `HistoryPort`."""

    def series(self, kind: str, name: str, attribute: str, from_s: float, to_s: float, step_s: float) -> Series:
        """Values in [from_s, to_s)."""
        ...


@runtime_checkable
class Future(Protocol):
    """The forecast of twins; see `ForetellPort`."""

    def foretell(self, kind: str, attribute: str, horizon_s: float) -> Foretold:
        """The next `horizon_s` seconds of every twin of a kind."""
        ...


class Tenancy:
    """Cuts pictures for tenants. The last cut of each tenant is kept: who asks again in the same slot gets the same."""

    def __init__(self, grants: Grants, pseudonyms: Pseudonyms) -> None:
        self.grants = grants
        self._pseudonyms = pseudonyms
        self._last: OrderedDict[str, tuple[Picture, int, Cut]] = OrderedDict()
        self._lock = threading.Lock()

    def visible(self, picture: Picture, identity: Identity) -> Picture:
        """What of a picture the identity sees: all of it, or what is left for a tenant. Raises Forbidden for others."""
        part = self.part(picture, identity)
        return picture if part is None else part.picture

    def part(self, picture: Picture, identity: Identity) -> Cut | None:
        """What is left of a picture for a tenant, None for who sees all of it. Raises Forbidden for others."""
        if identity.role in SEES_ALL:
            return None
        if identity.role != "tenant":
            raise Forbidden(f"twins are not shown to the role {identity.role}")
        tenant, revision = identity.tenant, self.grants.revision
        with self._lock:
            held = self._last.get(tenant)
        if held is not None and held[0] is picture and held[1] == revision:
            return held[2]
        part = cut(picture, self.grants.of(tenant), lambda users: self._pseudonyms.of(tenant, users))
        with self._lock:
            self._last[tenant] = (picture, revision, part)
            self._last.move_to_end(tenant)
            if len(self._last) > MOST_CACHED:
                self._last.popitem(last=False)
        return part


class Sight:
    """The twins as published after each slot, for everybody who may look."""

    def __init__(self, tenancy: Tenancy, past: Past, future: Future) -> None:
        self._tenancy = tenancy
        self._past = past
        self._future = future
        self._latest: tuple[Picture, Memberships] | None = None

    def publish(self, picture: Picture) -> None:
        """Replaces the picture that everybody sees. Called after each slot, by the runner alone."""
        before = None if self._latest is None else self._latest[1]
        self._latest = (picture, advance(before, picture))

    def of(self, identity: Identity) -> "View":
        """What an identity sees now. Raises Forbidden, and LookupError before the first slot."""
        if self._latest is None:
            raise LookupError("no slot has ended yet")
        picture, memberships = self._latest
        return View(picture, memberships, self._tenancy.part(picture, identity), self._past, self._future)

    def at(self, picture: Picture, identity: Identity) -> "View":
        """What an identity sees of an earlier picture. Raises Forbidden."""
        memberships = advance(None, picture) if self._latest is None else self._latest[1]
        return View(picture, memberships, self._tenancy.part(picture, identity), self._past, self._future)


@dataclass(frozen=True, slots=True)
class _Located:
    """A twin by its row in the whole picture, its true name, and what is granted of it: attributes, since when."""

    row: int
    name: str
    since_s: float
    attributes: frozenset[str] | None


class View:
    """The twins of one slot as one identity sees them. `picture` is safe to show whole.

    Names, rows and attributes are those of `picture`. What exists and is not visible cannot be told from what does not.
    """

    def __init__(self, whole: Picture, memberships: Memberships, part: Cut | None, past: Past, future: Future) -> None:
        self.picture = whole if part is None else part.picture
        self._memberships = memberships
        self._part = part
        self._past = past
        self._future = future

    @property
    def is_whole(self) -> bool:
        """True where nothing is left out."""
        return self._part is None

    def row(self, kind: str, name: str) -> int:
        """Row in `picture` of a twin by the name shown. Raises KeyError where none is visible."""
        if not name:
            raise KeyError(name)
        return self.picture.of(kind).row(name)

    def shown(self, kind: str, row: int) -> int | None:
        """Row in `picture` of the twin in `row` of the whole picture, None where it is not visible: for events."""
        rows = (
            None
            if self._part is None
            else {"users": self._part.users, "slices": self._part.slices}.get(
                self.picture.of(kind).kind, np.empty(0, np.int64)
            )
        )
        if rows is None:
            return row
        found = int(np.searchsorted(rows, row))
        return found if found < len(rows) and rows[found] == row else None

    def origin(self, kind: str) -> NDArray[np.int64]:
        """Row in the whole picture of every row of `picture`, -1 where nothing of it is shown: for events."""
        table = self.picture.of(kind)
        if self._part is None:
            return np.arange(len(table.ids), dtype=np.int64)
        nothing = np.full(len(table.ids), -1, np.int64)
        return {"users": self._part.users, "slices": self._part.slices}.get(table.kind, nothing)

    def attributes(self, kind: str, name: str | None = None) -> tuple[str, ...]:
        """Attributes that may be asked for of a kind, or of one twin. Raises KeyError."""
        known = tuple(attribute.name for attribute in self.picture.of(kind).attributes)
        if self._part is None:
            return known
        if name is not None:
            allowed = self._located(kind, name).attributes
        else:
            allowed = _allowed(self._part, self.picture.of(kind).kind)
        return known if allowed is None else tuple(attribute for attribute in known if attribute in allowed)

    def series(self, kind: str, name: str, attribute: str, from_s: float, to_s: float, step_s: float) -> Series:
        """The past of a twin. NaN in steps that began before the tenant had the slice, or the slice the user.

        Raises KeyError for what is unknown or invisible, Forbidden for an attribute that is not granted.
        """
        located = self._located(kind, name)
        _require(attribute, self.picture.of(kind).attributes, located.attributes)
        found = self._past.series(_SINGULAR[self.picture.of(kind).kind], located.name, attribute, from_s, to_s, step_s)
        hidden = np.where(found.time_s >= located.since_s, found.value, np.float32(np.nan))
        return replace(found, value=hidden)

    def recall(self, kind: str, name: str, look: Callable[[str, str], Moment | None]) -> Moment | None:
        """What a twin knew once, as `look` finds it by noun and true name; None where it finds nothing, or where the
        twin was not the tenant's then. What is not granted is unknown. Raises KeyError for what is invisible.
        """
        located = self._located(kind, name)
        table = self.picture.of(kind)
        found = look(_SINGULAR[table.kind], located.name)
        if found is None or found.time_s < located.since_s:
            return None
        if located.attributes is None:
            return found
        granted = np.asarray([attribute.name in located.attributes for attribute in table.attributes])
        return replace(
            found,
            revision=self.revision(kind, name, found),
            slot=np.where(granted, found.slot, np.int32(-1)),
            value=np.where(granted, found.value, np.float32(np.nan)),
        )

    def revision(self, kind: str, name: str, moment: Moment) -> int:
        """The revision that a twin had at a moment, as it is seen here. Raises KeyError for what is invisible."""
        attributes = None if self._part is None else self._located(kind, name).attributes
        if attributes is None:
            return moment.revision
        granted = np.asarray([one.name in attributes for one in self.picture.of(kind).attributes])
        return int(revision_of(moment.slot, granted))

    def foretell(self, kind: str, attribute: str, horizon_s: float) -> Foretold:
        """The future of the twins of a kind, by row of `picture`; NaN where the attribute is not granted.

        Raises KeyError for an unknown kind or attribute, Forbidden where it is granted of none.
        """
        table = self.picture.of(kind)
        part = self._part
        if part is None:
            _require(attribute, table.attributes, None)
            return self._future.foretell(_SINGULAR[table.kind], attribute, horizon_s)
        _require(attribute, table.attributes, _allowed(part, table.kind))
        found = self._future.foretell(_SINGULAR[table.kind], attribute, horizon_s)
        rows = part.users if table.kind == "users" else part.slices
        granted = np.ones(len(rows), np.bool_)
        if table.kind == "users":
            granted = part.granted[:, [a.name for a in table.attributes].index(attribute)]
        return replace(found, mean=_columns(found.mean, rows, granted), std=_columns(found.std, rows, granted))

    def _located(self, kind: str, name: str) -> _Located:
        table, row = self.picture.of(kind).kind, self.row(kind, name)
        part = self._part
        if part is None:
            return _Located(row, name, float("-inf"), None)
        if table == "slices":
            return _Located(int(part.slices[row]), name, part.grants[row].since_s, None)
        if table == "users":
            grant, whole = part.grants[int(self.picture.user_slice[row])], int(part.users[row])
            since_s = max(grant.since_s, self._memberships.since(whole, part.names[row], grant.slice))
            return _Located(whole, part.names[row], since_s, grant.attributes)
        return _Located(row, name, float("inf"), frozenset())


def _allowed(part: Cut, table: str) -> frozenset[str] | None:
    """Attributes that a tenant sees of any twin of a kind; None for all of them."""
    if table == "slices":
        return None
    return frozenset[str]().union(*(grant.attributes for grant in part.grants)) if table == "users" else frozenset()


def _require(attribute: str, known: tuple[object, ...], allowed: frozenset[str] | None) -> None:
    """Raises KeyError for an attribute that there is not, Forbidden for one that is not granted."""
    if attribute not in {getattr(one, "name", "") for one in known}:
        raise KeyError(attribute)
    if allowed is not None and attribute not in allowed:
        raise Forbidden(f"the attribute {attribute} is not granted to your slice", "ask the operator to grant it")


def _columns(values: NDArray[np.float32], rows: NDArray[np.int64], granted: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Columns of [steps, entities] by `rows`, NaN where not granted."""
    return np.where(granted, values[:, rows], np.float32(np.nan)).astype(np.float32)
