"""One twin with its history, taken out of the arrays; and the same as fields of text with their places in a file."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from twinloop.errors import DataError
from twinloop.twins.forks import recent
from twinloop.twins.table import ATTRIBUTES, Current, History, Kind, Twins, TwinTable

FORMAT = "twinloop twin 1"
Path = tuple[str | int, ...]


@dataclass(frozen=True)
class TwinRecord:
    """A twin of `kind` in `row`: what it knows now, by attribute of its table, and its history from the oldest on.

    Every number is exactly a float32. `value` is None where never reported (`slot` -1), `error` None where never
    compared. A history row is the slot its newest part was measured in and the values known then.
    """

    kind: Kind
    row: int
    active: bool
    revision: int
    value: tuple[float | None, ...]
    slot: tuple[int, ...]
    error: tuple[float | None, ...]
    history: tuple[tuple[int, tuple[float | None, ...]], ...]


def record_of(twins: Twins, kind: Kind, row: int) -> TwinRecord:
    """The twin of `kind` in `row`. Raises ValueError when there is no such row."""
    table = table_of(twins, kind, row)
    current = table.current
    values, slots = (np.asarray(part[0]) for part in recent(table.history, jnp.array([row])))
    slot = np.asarray(current.slot[row])
    error = np.asarray(current.error[row])
    return TwinRecord(
        kind=kind,
        row=row,
        active=bool(current.active[row]),
        revision=int(current.revision[row]),
        value=_optional(np.asarray(current.value[row]), slot >= 0),
        slot=tuple(slot.tolist()),
        error=_optional(error, error >= 0),
        history=tuple(
            (int(when), _optional(what, ~np.isnan(what))) for when, what in zip(slots, values, strict=True) if when >= 0
        ),
    )


def restore_twin(twins: Twins, record: TwinRecord, row: int | None = None) -> Twins:
    """`twins` with the recorded twin in place of the one in its row, or in `row`.

    The revision never decreases: it becomes the higher of both, plus 1 where the row's own was the higher. Raises
    ValueError when there is no such row, or the record has more history than the twins keep.
    """
    place = record.row if row is None else row
    table = table_of(twins, record.kind, place)
    rows = table.history.slot.shape[1]
    count = len(record.history)
    if count > rows:
        raise ValueError(f"the record has {count} rows of history, the twins keep {rows}")
    present = int(table.current.revision[place])
    current = Current(
        active=table.current.active.at[place].set(record.active),
        value=table.current.value.at[place].set(_filled(record.value, 0.0)),
        slot=table.current.slot.at[place].set(np.array(record.slot, np.int32)),
        revision=table.current.revision.at[place].set(record.revision if record.revision >= present else present + 1),
        error=table.current.error.at[place].set(_filled(record.error, -1.0)),
    )
    slots = np.full(rows, -1, np.int32)
    slots[:count] = [when for when, _ in record.history]
    values = np.zeros((rows, len(record.value)), np.float32)
    for index, (_, what) in enumerate(record.history):
        values[index] = _filled(what, np.nan)
    history = History(
        value=table.history.value.at[place].set(values),
        slot=table.history.slot.at[place].set(slots),
        cursor=table.history.cursor.at[place].set(count),
    )
    return eqx.tree_at(lambda t: getattr(t, record.kind), twins, TwinTable(current, history, table.scale))


def table_of(twins: Twins, kind: Kind, row: int) -> TwinTable:
    """Table of `kind`. Raises ValueError for an unknown kind, or a `row` that it does not have."""
    if kind not in ATTRIBUTES:
        raise ValueError(f"no kind of twin {kind!r}; there are {', '.join(ATTRIBUTES)}")
    tables: dict[Kind, TwinTable] = {
        "users": twins.users,
        "cells": twins.cells,
        "servers": twins.servers,
        "slices": twins.slices,
    }
    table = tables[kind]
    entities = table.current.active.shape[0]
    if not 0 <= row < entities:
        raise ValueError(f"no row {row}; {kind} have rows 0 to {entities - 1}")
    return table


class Place(NamedTuple):
    """Line and column of a file, from 1."""

    line: int
    column: int


@dataclass
class Fields:
    """What a file says, as text by path, and where it says it; parts of the file have a place and no text.

    An absent value is an empty text. Paths: (name,) of the twin; ("attributes", i, name); ("history", i, name).
    """

    source: str
    text: dict[Path, str] = field(default_factory=dict[Path, str])
    places: dict[Path, Place] = field(default_factory=dict[Path, Place])

    def put(self, path: Path, text: str, place: Place) -> None:
        """Adds one field. Raises DataError when it is there already."""
        if path in self.text:
            raise self.fault(f"{path[-1]!r} is there twice", "each field once", place)
        self.text[path] = text
        self.places[path] = place

    def count(self, part: str) -> int:
        """Number of entries of the list `part`."""
        entries = (path[1] for path in self.places if len(path) > 1 and path[0] == part)
        return 1 + max((entry for entry in entries if isinstance(entry, int)), default=-1)

    def fault(self, problem: str, expected: str, place: Place | None) -> DataError:
        """The error to raise about `place`."""
        line, column = place or (None, None)
        return DataError(self.source, problem, expected, line=line, column=column)


def texts_of(record: TwinRecord) -> tuple[dict[str, str], list[dict[str, str]], list[dict[str, str]]]:
    """The fields of a record as text: of the twin, of each attribute, of each row of history."""
    table = ATTRIBUTES[record.kind]
    twin = {
        "format": FORMAT,
        "kind": record.kind,
        "row": str(record.row),
        "active": "true" if record.active else "false",
        "revision": str(record.revision),
    }
    attributes = [
        {
            "name": attribute.name,
            "unit": attribute.unit,
            "slot": str(slot),
            "value": decimal(value),
            "error": decimal(error),
        }
        for attribute, slot, value, error in zip(table, record.slot, record.value, record.error, strict=True)
    ]
    history = [
        {"slot": str(when), **{a.name: decimal(value) for a, value in zip(table, what, strict=True)}}
        for when, what in record.history
    ]
    return twin, attributes, history


def decimal(value: float | None) -> str:
    """Shortest decimal that reads back as exactly this float32; empty for None. Raises ValueError if not finite."""
    if value is None:
        return ""
    if not np.isfinite(value):
        raise ValueError(f"a twin that knows the value {value} cannot be written")
    shortest = str(np.float32(value))
    return shortest if np.float32(float(shortest)) == np.float32(value) else repr(float(value))


def _optional(values: np.ndarray, known: np.ndarray) -> tuple[float | None, ...]:
    return tuple(value if there else None for value, there in zip(values.tolist(), known.tolist(), strict=True))


def _filled(values: tuple[float | None, ...], absent: float) -> np.ndarray:
    return np.array([absent if value is None else value for value in values], np.float32)


def attribute_names(kind: Kind) -> Mapping[str, int]:
    """Column of every attribute of `kind`, by name."""
    return {attribute.name: index for index, attribute in enumerate(ATTRIBUTES[kind])}
