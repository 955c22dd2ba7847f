"""Recorded networks: files of rows, run directories, and public data sets, as rows in order of time."""

import fnmatch
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from twinloop.entities import CELL_ATTRIBUTES, SERVER_ATTRIBUTES, USER_ATTRIBUTES, Attribute, column
from twinloop.errors import DataError
from twinloop.network.formats import ColumnMap, Rows, check, read_file
from twinloop.scenario import SLOT_S, Scenario, load
from twinloop.service.agent.sieve import chosen, cut, named, without_empty

MOST_ROWS = 2_000_000
"""Of one recording, which is held in memory: about 100 bytes a row."""

_NO_TIME = -1.0
_TABLES: Mapping[str, tuple[Attribute, ...]] = {
    "users": USER_ATTRIBUTES,
    "cells": CELL_ATTRIBUTES,
    "servers": SERVER_ATTRIBUTES,
}
_IN_RUNS = {"x_m": "position_x_m", "y_m": "position_y_m", "cell": "serving_cell"}
"""Columns of a run's traces that are called otherwise than the attribute."""


@dataclass(frozen=True)
class Recording:
    """Rows by kind, each in order of time. `refused` rows of the source could not be used, the first for `why`."""

    parts: tuple[Rows, ...]
    refused: int = 0
    why: str = ""

    @property
    def rows(self) -> int:
        """Rows of all kinds."""
        return sum(len(part.ids) for part in self.parts)

    @property
    def span_s(self) -> tuple[float, float]:
        """Times of the first and the last row."""
        return float(min(part.time_s[0] for part in self.parts)), float(max(part.time_s[-1] for part in self.parts))

    def between(self, begin_s: float, end_s: float) -> tuple[Rows, ...]:
        """Rows of times in [begin_s, end_s)."""
        spans = [(part, np.searchsorted(part.time_s, (begin_s, end_s)).tolist()) for part in self.parts]
        return tuple(cut(part, first, last) for part, (first, last) in spans if last > first)

    def only(self, pattern: str) -> "Recording":
        """The entities whose names match, as in file names: `*` and `?`. Raises DataError where none does."""
        kept = [
            chosen(part, np.array([fnmatch.fnmatchcase(name, pattern) for name in part.ids])) for part in self.parts
        ]
        if not any(part.ids for part in kept):
            names = sorted({name for part in self.parts for name in part.ids})
            raise DataError(pattern, "no entity has such a name", ", ".join(names[:5]) + (", ..." if names[5:] else ""))
        return replace(self, parts=tuple(part for part in kept if part.ids))

    def renamed(self, names: Mapping[str, str], in_slice: str | None) -> "Recording":
        """Entities under other names, and users without a slice in `in_slice`. Raises DataError for unknown names."""
        known = {name for part in self.parts for name in part.ids}
        absent = sorted(set(names) - known)
        if absent:
            raise DataError(absent[0], "no entity has this name", ", ".join(sorted(known)[:5]))
        return replace(self, parts=tuple(named(part, in_slice, names) for part in self.parts))


def recorded_file(path: Path, mapping: ColumnMap | None = None) -> Recording:
    """A file of rows, or a run directory. Raises DataError where nothing of it can be replayed."""
    if path.is_dir():
        return _recorded_run(path)
    found: dict[str, list[Rows]] = {}
    refused, why, count = 0, "", 0
    for batch in read_file(path, mapping=mapping):
        accepted = check(batch, _NO_TIME)
        refused += len(accepted.refused)
        why = why or (accepted.refused[0].reason if accepted.refused else "")
        for part in accepted.rows:
            found.setdefault(part.kind, []).append(part)
            count += len(part.ids)
        _bound(path, count)
    if not found:
        raise DataError(path, why or "the file has no rows", "rows with kind, id, time and values, see docs/formats.md")
    parts = tuple(_in_order(parts) for parts in found.values())
    if any(part.time_s[0] == _NO_TIME for part in parts):
        raise DataError(path, "there are rows without a time", "time_s in every row: a replay keeps their pace")
    return Recording(parts, refused, why)


def rows_of(
    kind: str, ids: Sequence[str], time_s: NDArray[Any], values: Mapping[str, NDArray[Any]], slices: Iterable[str] = ()
) -> Rows:
    """Rows of arrays by attribute; what is not finite or outside of the attribute's range is left out."""
    table = _TABLES[kind]
    value = np.full((len(ids), len(table)), np.nan, np.float32)
    for name, given in values.items():
        at = column(table, name)
        numbers = np.asarray(given, np.float64)
        with np.errstate(invalid="ignore"):
            fit = (numbers >= table[at].low) & (numbers <= table[at].high)
        value[:, at] = np.where(fit, numbers, np.nan)
    named: list[str | None] = list(slices) or [None] * len(ids)
    rows = Rows(kind, list(ids), np.asarray(time_s, np.float64), value, named, [None] * len(ids))
    return without_empty(rows)


def joined(rows: Iterable[Rows]) -> Recording:
    """A recording of rows of any kinds and order. Raises DataError where there are too many."""
    found: dict[str, list[Rows]] = {}
    count = 0
    for part in rows:
        found.setdefault(part.kind, []).append(part)
        count += len(part.ids)
        _bound("the recording", count)
    return Recording(tuple(_in_order(parts) for parts in found.values()))


def _recorded_run(directory: Path) -> Recording:
    """What a run of twinloop lived through: the truth of its users, cells and servers, a row a slot."""
    scenario = load(str(directory / "scenario.yaml")) if (directory / "scenario.yaml").is_file() else None
    if scenario is None or not (directory / "users.parquet").is_file():
        raise DataError(directory, "this is no directory of a finished run", "scenario.yaml and users.parquet in it")
    names: dict[str, list[str]] = {
        "users": [f"user-{row:03d}" for row in range(scenario.user_count)],
        "cells": [cell.name for cell in scenario.network.cells],
        "servers": [server.name for server in scenario.network.servers],
    }
    return joined(_traced(directory / f"{kind}.parquet", kind, names[kind], scenario) for kind in names)


def _traced(path: Path, kind: str, names: list[str], scenario: Scenario) -> Rows:
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise DataError(path, f"cannot be read ({error})", "a trace that twinloop run wrote") from None
    _bound(path, table.num_rows)
    columns: dict[str, NDArray[Any]] = {name: table.column(name).to_numpy() for name in table.column_names}
    known = {attribute.name for attribute in _TABLES[kind]}
    values = {_IN_RUNS.get(name, name): given for name, given in columns.items()}
    slices = [scenario.slices[int(row)].name for row in columns["slice"].tolist()] if kind == "users" else ()
    who = [names[int(row)] for row in columns[kind[:-1]].tolist()]
    kept = {name: given for name, given in values.items() if name in known}
    return rows_of(kind, who, columns["slot"] * SLOT_S, kept, slices)


def _in_order(parts: list[Rows]) -> Rows:
    """Rows of one kind together, in order of time."""
    time_s = np.concatenate([part.time_s for part in parts])
    order = np.argsort(time_s, kind="stable")
    ids, slices, groups = (
        [name for part in parts for name in getattr(part, field)] for field in ("ids", "slices", "groups")
    )
    return Rows(
        parts[0].kind,
        [ids[row] for row in order],
        time_s[order],
        np.concatenate([part.value for part in parts])[order],
        [slices[row] for row in order],
        [groups[row] for row in order],
    )


def _bound(path: Path | str, rows: int) -> None:
    if rows > MOST_ROWS:
        raise DataError(path, f"more than {MOST_ROWS:,} rows", "less: cut the file, or choose entities with --only")
