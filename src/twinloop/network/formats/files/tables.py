"""CSV keyed by attributes, by names of the standards, or by anything that a mapping explains; read as a stream."""

import csv
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import numpy as np

from twinloop.errors import DataError
from twinloop.network.formats.decoding import ROW_TEXT_CHARACTERS, ReadRows
from twinloop.network.formats.files.mapping import ColumnMap, MappedValue, attribute_and_unit, column_of
from twinloop.network.formats.names import KINDS, PRB_WIDTH_HZ, in_own_unit, kind_fault, name_fault, vocabulary
from twinloop.network.formats.wire import Columns, Refusal, shown
from twinloop.units import s_from_ms, s_from_us

LONGEST_LINE_CHARACTERS = 2**20
MISSING = frozenset({"", "-", "nan", "NaN", "null", "NULL"})
_ROLES = ("kind", "id", "time_s", "timestamp", "slice", "group", "period_s")
_DELIMITERS = ",;\t"


@dataclass(frozen=True)
class _Layout:
    """What the cells of a row are. Places count from 0, -1 where there is no such column.

    `values` holds place and name of every column of values; `mapped` its units where a mapping gives them.
    """

    width: int
    kind: str
    id_value: str
    roles: dict[str, int]
    values: tuple[tuple[int, str], ...]
    time_s: Callable[[str], float]
    missing: frozenset[str] = MISSING
    mapped: tuple[MappedValue, ...] | None = None


@dataclass
class _Pending:
    """Rows of one kind that wait for their batch."""

    names: list[str]
    lines: list[int] = field(default_factory=list[int])
    ids: list[str] = field(default_factory=list[str])
    time_s: list[float | None] = field(default_factory=list[float | None])
    period_s: list[float | None] = field(default_factory=list[float | None])
    slices: list[str | None] = field(default_factory=list[str | None])
    groups: list[str | None] = field(default_factory=list[str | None])
    values: list[list[float | None]] = field(default_factory=list[list[float | None]])


def read_table(path: Path, mapping: ColumnMap | None, rows_a_batch: int) -> Iterator[ReadRows]:
    """Rows of a CSV file, at most `rows_a_batch` at a time; a row that cannot be read is refused with line and column.

    Raises DataError, with line and column, where the file as a whole cannot be read: no header, a column that nobody
    knows, text that is not UTF-8, a quote that never ends.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader: Any = None
        try:
            first = file.readline(LONGEST_LINE_CHARACTERS)
            delimiter = (mapping.delimiter if mapping else "") or max(_DELIMITERS, key=first.count)
            file.seek(0)
            reader = csv.reader(_lines(path, file), delimiter=delimiter, strict=True)
            yield from _batches(path, reader, mapping, rows_a_batch)
        except UnicodeDecodeError as error:
            line = getattr(reader, "line_num", 0) + 1
            raise DataError(path, f"text that is not UTF-8 ({error.reason})", line=line) from None
        except csv.Error as error:
            raise DataError(path, f"this is no CSV ({error})", line=getattr(reader, "line_num", 1)) from None


def _lines(path: Path, file: IO[str]) -> Iterator[str]:
    number = 0
    while line := file.readline(LONGEST_LINE_CHARACTERS):
        number += 1
        if len(line) == LONGEST_LINE_CHARACTERS and not line.endswith("\n"):
            raise DataError(
                path, "the line does not end", f"at most {LONGEST_LINE_CHARACTERS:,} characters", line=number
            )
        yield line


def _batches(path: Path, reader: Any, mapping: ColumnMap | None, rows_a_batch: int) -> Iterator[ReadRows]:
    header = [cell.strip() for cell in next(reader, [])]
    if not any(header):
        raise DataError(path, "the file has no header", "a first line that names the columns", line=1)
    layout = _mapped_layout(path, header, mapping) if mapping else _own_layout(path, header)
    pending: dict[str, _Pending] = {}
    refused: list[Refusal] = []
    count = 0
    for cells in reader:
        if not cells:
            continue
        fault = _take(layout, cells, reader.line_num, pending)
        if fault is not None:
            text = ",".join(cells)[:ROW_TEXT_CHARACTERS]
            refused.append(Refusal(reader.line_num, *_who(layout, cells), fault, text))
        count += 1
        if count == rows_a_batch:
            yield _flushed(layout, pending, refused)
            pending, refused, count = {}, [], 0
    if count:
        yield _flushed(layout, pending, refused)


def _own_layout(path: Path, header: list[str]) -> _Layout:
    """Layout of a table whose columns are named as on the wire."""
    roles = {role: header.index(role) if role in header else -1 for role in _ROLES}
    if roles["id"] < 0:
        raise DataError(path, "there is no column id", "id, time_s or timestamp, and names of values", line=1)
    known = {name for kind in KINDS for name in vocabulary(kind).code}
    values: list[tuple[int, str]] = []
    for place, name in enumerate(header):
        if not name or name in _ROLES:
            continue
        if name not in known:
            raise DataError(path, name_fault("user", name), "a mapping for other columns", line=1, column=place + 1)
        values.append((place, name))
    if len({name for _, name in values}) < len(values):
        raise DataError(path, "two columns have the same name", "each name once", line=1)
    time_s = float if roles["time_s"] >= 0 else _epoch_s
    return _Layout(len(header), "user", "", roles, tuple(values), time_s)


def _mapped_layout(path: Path, header: list[str], mapping: ColumnMap) -> _Layout:
    """Layout of a table that a mapping explains."""
    named = {"id": mapping.id, "time_s": mapping.time, "slice": mapping.slice, "group": mapping.group}
    roles = dict.fromkeys(_ROLES, -1) | {role: column_of(path, header, name) for role, name in named.items() if name}
    words = vocabulary(mapping.kind)
    values = tuple(
        (column_of(path, header, column), attribute_and_unit(words, value)[0].name)
        for column, value in mapping.values.items()
    )
    return _Layout(
        width=len(header),
        kind=mapping.kind,
        id_value=mapping.id_value,
        roles=roles,
        values=values,
        time_s=_mapped_time(mapping),
        missing=frozenset(mapping.missing),
        mapped=tuple(mapping.values.values()),
    )


def _mapped_time(mapping: ColumnMap) -> Callable[[str], float]:
    if mapping.time_format:
        return lambda text: (
            datetime.strptime(text, mapping.time_format).replace(tzinfo=UTC).timestamp() - mapping.utc_offset_s
        )
    if mapping.time_unit == "s":
        return lambda text: float(text) - mapping.utc_offset_s
    convert = s_from_ms if mapping.time_unit == "ms" else s_from_us
    return lambda text: convert(float(text)) - mapping.utc_offset_s


def _epoch_s(text: str) -> float:
    """Epoch seconds from a `timestamp`: seconds, milliseconds (from 10^11), microseconds (from 10^14), or ISO 8601.

    A date and time without a zone is UTC. Raises ValueError for anything else.
    """
    try:
        number = float(text)
    except ValueError:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return number if number < 1e11 else s_from_ms(number) if number < 1e14 else s_from_us(number)


def _who(layout: _Layout, cells: list[str]) -> tuple[str, str]:
    """Kind and id of a row, as far as it has them."""
    kind, name = (cells[layout.roles[r]] if 0 <= layout.roles[r] < len(cells) else "" for r in ("kind", "id"))
    return (kind or layout.kind)[:128], (name or layout.id_value)[:128]


def _take(layout: _Layout, cells: list[str], line: int, pending: dict[str, _Pending]) -> str | None:
    """Puts a row where it belongs, or says why it cannot be read."""
    if len(cells) != layout.width:
        return f"line {line}: {len(cells)} cells, the header has {layout.width}"
    kind, name = _who(layout, cells)
    if kind not in KINDS:
        return f"line {line}, column {layout.roles['kind'] + 1}: {kind_fault(kind)}"
    words = vocabulary(kind)
    values: list[float | None] = []
    for place, value_name in layout.values:
        cell = cells[place].strip()
        absent = cell in layout.missing
        if value_name not in words.code:
            if not absent:
                return f"line {line}, column {place + 1}: {name_fault(kind, value_name)}"
            continue
        try:
            values.append(None if absent else float(cell))
        except ValueError:
            return (
                f"line {line}, column {place + 1}: {value_name} is {shown(cell)}; a value is a number, empty for none"
            )
    told = _told(layout, cells, line)
    if isinstance(told, str):
        return told
    rows = pending.get(kind)
    if rows is None:
        rows = pending[kind] = _Pending([name for _, name in layout.values if name in words.code])
    rows.lines.append(line)
    rows.ids.append(name)
    rows.values.append(values)
    rows.time_s.append(told[0])
    rows.period_s.append(told[1])
    rows.slices.append(told[2])
    rows.groups.append(told[3])
    return None


def _told(
    layout: _Layout, cells: list[str], line: int
) -> str | tuple[float | None, float | None, str | None, str | None]:
    """Time, period, slice and group of a row, or why they cannot be read."""
    text = {role: cells[place].strip() for role, place in layout.roles.items() if place >= 0}
    time_text = text.get("time_s") or text.get("timestamp") or ""
    place = layout.roles["time_s"] if layout.roles["time_s"] >= 0 else layout.roles["timestamp"]
    try:
        time_s = layout.time_s(time_text) if time_text not in layout.missing else None
    except (ValueError, OverflowError):
        return f"line {line}, column {place + 1}: {shown(time_text)} is no time"
    period_text = text.get("period_s", "")
    try:
        period_s = float(period_text) if period_text not in layout.missing else None
    except ValueError:
        return f"line {line}, column {layout.roles['period_s'] + 1}: period_s is {shown(period_text)}, no number"
    return time_s, period_s, text.get("slice") or None, text.get("group") or None


def _flushed(layout: _Layout, pending: dict[str, _Pending], refused: Sequence[Refusal]) -> ReadRows:
    blocks = [
        Columns(
            kind=kind,
            attributes=rows.names,
            ids=rows.ids,
            values=rows.values if layout.mapped is None else _converted(layout, rows.values),
            time_s=rows.time_s,
            slices=rows.slices if any(rows.slices) else None,
            groups=rows.groups if any(rows.groups) else None,
            period_s=rows.period_s,
        )
        for kind, rows in pending.items()
    ]
    return ReadRows((), [line for rows in pending.values() for line in rows.lines], refused, blocks)


def _converted(layout: _Layout, values: list[list[float | None]]) -> list[list[float | None]]:
    """Values of a mapped table in the units of their attributes."""
    matrix = np.array(values, np.float64)
    words = vocabulary(layout.kind)
    for index, value in enumerate(layout.mapped or ()):
        attribute, unit = attribute_and_unit(words, value)
        matrix[:, index] = in_own_unit(matrix[:, index], unit, attribute, value.period_s or math.nan, PRB_WIDTH_HZ)
    return [[None if number != number else number for number in row] for row in matrix.tolist()]
