"""What one listener is told of changes: the newest of what differs from where it stands, cut to what it may see."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinloop.service.api.twins.shapes import Rows, Wanted, encode, grid, twins_of
from twinloop.service.changes import Change
from twinloop.service.live import KindPicture
from twinloop.service.security import Grant, Identity, Sight, View

AT_ONCE = 1_000
"""Twins in one message; a slot with more has several, of which the last is numbered."""


@dataclass(frozen=True)
class Interest:
    """What a listener wants to hear of: kinds, ids (none: all), users and twin of one slice, columns by kind."""

    kinds: tuple[str, ...]
    ids: frozenset[str]
    slice: str | None
    columns: dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Message:
    """One event: its name, its content as JSON, and the slot after which a listener stands once it has it, None where
    more of the slot follows.
    """

    event: str
    data: bytes
    number: int | None


@dataclass(frozen=True)
class _News:
    """Rows of the visible picture that have news, and which of the columns that are followed were heard anew."""

    rows: Rows
    heard: NDArray[np.bool_]


class Follower:
    """Follows changes for one listener, who stands after slot `after`; below 0 it begins with what is now.

    A tenant that comes back, and a listener whose past is forgotten, is told to begin anew (`reset`): it should read
    the twins that it follows, and goes on from here.
    """

    def __init__(
        self, sight: Sight, identity: Identity, interest: Interest, after: int, grants: tuple[Grant, ...]
    ) -> None:
        self.after = after
        self._sight = sight
        self._identity = identity
        self._interest = interest
        self._grants = grants
        self._shown: dict[str, tuple[str, ...]] | None = None

    def news(self, change: Change, grants: tuple[Grant, ...]) -> Iterator[Message]:
        """What the listener has to be told to stand after `change`; `grants` are its own now."""
        view = self._sight.at(change.picture, self._identity)
        why = self._lost(change, view, grants)
        self._grants = grants
        if why or self.after < 0:
            yield self._begin(change, view, why)
            return
        news = {noun: self._news(noun, change, view) for noun in self._interest.kinds}
        gone = {noun: names for noun in self._interest.kinds if (names := self._gone(noun, change, view))}
        yield from self._told(change, view, news, gone)
        self._stand(change, view)

    def _lost(self, change: Change, view: View, grants: tuple[Grant, ...]) -> str:
        """Why it has to begin anew, "" where not."""
        if self.after < 0:
            return ""
        if self.after < change.first:
            return "what changed since is no longer known"
        if self.after > change.number:
            return "that slot has not been lived yet"
        if not view.is_whole and grants != self._grants:
            return "what you may see has changed"
        narrow = not view.is_whole or self._interest.slice is not None
        if narrow and self._shown is None and self.after < change.number:
            return "who came and went meanwhile is not known"
        return ""

    def _begin(self, change: Change, view: View, why: str) -> Message:
        self._stand(change, view)
        told = {"slot": change.number, "time_s": change.picture.time_s(change.number)}
        return Message("reset" if why else "begin", encode(told | ({"reason": why} if why else {})), change.number)

    def _stand(self, change: Change, view: View) -> None:
        self.after = change.number
        self._shown = {noun: self._visible(noun, view) for noun in self._interest.kinds}

    def _visible(self, noun: str, view: View) -> tuple[str, ...]:
        """Ids that the listener follows now."""
        table = view.picture.of(noun)
        if self._interest.slice is None or noun != "user":
            return table.ids
        return tuple(table.ids[row] for row in np.flatnonzero(self._meant(noun, table, view)))

    def _news(self, noun: str, change: Change, view: View) -> _News:
        table, marks, origin = view.picture.of(noun), change.marks[noun], view.origin(noun)
        columns = list(self._interest.columns[noun])
        came = (marks.twins[origin] > self.after) | self._new(noun, table, view)
        heard = (marks.values[grid(origin, columns)] > self.after) & (table.slot[:, columns] >= 0)
        fresh = (heard.any(axis=1) | came) & (origin >= 0) & self._meant(noun, table, view)
        return _News(np.flatnonzero(fresh).astype(np.int64), heard | came[:, None])

    def _new(self, noun: str, table: KindPicture, view: View) -> NDArray[np.bool_]:
        """Twins that the listener did not follow before."""
        before = None if self._shown is None else self._shown[noun]
        if before is None or before == self._visible(noun, view):
            return np.zeros(len(table.ids), np.bool_)
        known = set(before)
        return np.fromiter((name not in known for name in table.ids), np.bool_, len(table.ids))

    def _meant(self, noun: str, table: KindPicture, view: View) -> NDArray[np.bool_]:
        meant = np.zeros(len(table.ids), np.bool_)
        meant[table.names.ordered[1]] = True
        if self._interest.ids:
            rows = [table.names.row[name] for name in self._interest.ids if name in table.names.row]
            chosen = np.zeros_like(meant)
            chosen[rows] = True
            meant &= chosen
        slice_row = view.picture.slices.names.row.get(self._interest.slice or "", -1)
        if self._interest.slice is not None and noun == "user":
            meant &= view.picture.user_slice == slice_row
        if self._interest.slice is not None and noun == "slice":
            meant &= np.arange(len(meant)) == slice_row
        return meant

    def _gone(self, noun: str, change: Change, view: View) -> list[str]:
        """Twins that the listener followed, or may have, and that are no longer there for it."""
        now = self._visible(noun, view)
        if self._shown is None:
            names = [one.id for one in change.gone if one.number > self.after and one.noun == noun]
        else:
            names = [] if self._shown[noun] == now else [name for name in self._shown[noun] if name]
        wanted, there = self._interest.ids, set(now) if names else set[str]()
        return [name for name in names if name not in there and (not wanted or name in wanted)]

    def _told(
        self, change: Change, view: View, news: dict[str, _News], gone: dict[str, list[str]]
    ) -> Iterator[Message]:
        parts = _packed({noun: found.rows for noun, found in news.items()})
        if gone and not parts:
            parts = [[]]
        head = {"slot": change.number, "after": self.after, "time_s": change.picture.time_s(change.number)}
        head |= {"held": change.held} if view.is_whole else {}
        for place, part in enumerate(parts, 1):
            last = place == len(parts)
            twins = [twin for noun, rows in part for twin in self._twins(noun, rows, news[noun].heard[rows], view)]
            told = {**head, "twins": twins, "gone": gone if last else {}}
            yield Message("change", encode(told), change.number if last else None)

    def _twins(self, noun: str, rows: Rows, heard: NDArray[np.bool_], view: View) -> Iterator[dict[str, Any]]:
        """Twins with the attributes that were heard anew."""
        table, columns = view.picture.of(noun), self._interest.columns[noun]
        wanted = Wanted(frozenset({"reported"}), columns, lambda kind: None)
        for twin, new in zip(twins_of(view, table, rows, wanted), heard.tolist(), strict=True):
            fresh = {table.attributes[at].name for at, there in zip(columns, new, strict=True) if there}
            yield twin | {"reported": {name: told for name, told in twin["reported"].items() if name in fresh}}


def _packed(rows: dict[str, Rows]) -> list[list[tuple[str, Rows]]]:
    """Rows by noun, in parts of at most `AT_ONCE` twins."""
    parts: list[list[tuple[str, Rows]]] = []
    room = 0
    for noun, left in rows.items():
        while len(left):
            if room == 0:
                parts.append([])
                room = AT_ONCE
            taken, left = left[:room], left[room:]
            parts[-1].append((noun, taken))
            room -= len(taken)
    return parts
