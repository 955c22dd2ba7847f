"""Strict reading of text tables: what is wrong is named with file, line and column; good files beside it still load."""

import csv
import io
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Generic, Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import Float64, Int64

from twinloop.errors import DataError


@runtime_checkable
class HasRows(Protocol):
    """What every loaded item can say of itself."""

    @property
    def rows(self) -> int:
        """Number of measured rows in the item."""
        ...


ItemT = TypeVar("ItemT", bound=HasRows, covariant=True)


class LeftOutWarning(UserWarning):
    """Files of a data set could not be read and are left out."""


@dataclass(frozen=True)
class Loaded(Generic[ItemT]):
    """Items that could be read, and beside them one fault for each file that could not."""

    items: tuple[ItemT, ...]
    faults: tuple[DataError, ...] = ()

    @property
    def rows(self) -> int:
        """Measured rows over all items."""
        return sum(item.rows for item in self.items)

    def required(self) -> tuple[ItemT, ...]:
        """The items. Raises the first fault when nothing at all could be read; warns of faults beside good files."""
        if not self.items:
            raise self.faults[0]
        if self.faults:
            told = f"{len(self.faults)} faults in the data, their files are left out; the first: {self.faults[0]}"
            warnings.warn(told, LeftOutWarning, stacklevel=2)
        return self.items


@dataclass(frozen=True)
class Column:
    """A column of numbers: its header name, the least and greatest possible value, and the texts that mean missing."""

    name: str
    low: float | int = -math.inf
    high: float | int = math.inf
    missing: frozenset[str] = frozenset()

    @property
    def expectation(self) -> str:
        """What a cell of this column must hold, in words."""
        if self.low == -math.inf and self.high == math.inf:
            return f"a finite number ({self.name})"
        if self.high == math.inf:
            return f"a number of at least {self.low:g} ({self.name})"
        return f"a number from {self.low:g} to {self.high:g} ({self.name})"


@dataclass(frozen=True)
class Cell:
    """Text of one cell with its place; `line` and `column` count from 1."""

    text: str
    line: int
    column: int


@dataclass(frozen=True)
class Table:
    """Rows of cells of one file; `lines` holds each row's line number in the file, counted from 1."""

    path: Path
    header: tuple[str, ...]
    lines: tuple[int, ...]
    cells: tuple[tuple[str, ...], ...]

    def texts(self, name: str) -> tuple[str, ...]:
        """Texts of the column `name`, without blanks around. Raises DataError when the header lacks it."""
        index = self.index(name)
        return tuple(row[index].strip() for row in self.cells)

    def cell(self, row: int, name: str) -> Cell:
        """One cell of the column `name` with its place."""
        return Cell(self.texts(name)[row], self.lines[row], self.index(name) + 1)

    def index(self, name: str) -> int:
        """Position of the column `name`, from 0. Raises DataError when the header lacks it."""
        if name not in self.header:
            raise DataError(self.path, f"no column {name!r}", "a header with that column", line=1)
        return self.header.index(name)

    def numbers(self, column: Column) -> Float64[np.ndarray, " rows"]:
        """Values of `column`, NaN where missing. Raises DataError naming line and column of the first bad cell."""
        texts = self.texts(column.name)
        known = np.array([text not in column.missing for text in texts])
        try:
            values = np.array(
                [text if real else "0" for text, real in zip(texts, known, strict=True)], dtype=np.float64
            )
        except ValueError:
            values = np.full(len(texts), np.nan)
        sound = np.isfinite(values) & (values >= column.low) & (values <= column.high)
        if not sound[known].all() or any("_" in text for text in texts):
            values = np.array([number(self.path, cell, column) for cell in self._placed(column.name)])
        return np.where(known, values, np.nan)

    def integers(self, column: Column) -> Int64[np.ndarray, " rows"]:
        """Whole values of `column`, exact beyond 2^53. Raises DataError for a fraction and for what is no number."""
        self.numbers(column)
        try:
            return np.array(self.texts(column.name), dtype=np.int64)
        except (ValueError, OverflowError):
            return np.array([integer(self.path, cell, column) for cell in self._placed(column.name)], dtype=np.int64)

    def times_s(self, name: str, form: str) -> Float64[np.ndarray, " rows"]:
        """Epoch seconds of time stamps in `form` (strptime), read as UTC. Raises DataError for any other text."""
        try:
            moments = [datetime.strptime(text, form).replace(tzinfo=UTC) for text in self.texts(name)]
        except ValueError:
            raise self._wrong_time(name, form) from None
        return np.array([moment.timestamp() for moment in moments], dtype=np.float64)

    def _placed(self, name: str) -> Iterator[Cell]:
        column = self.index(name) + 1
        for line, text in zip(self.lines, self.texts(name), strict=True):
            yield Cell(text, line, column)

    def _wrong_time(self, name: str, form: str) -> DataError:
        for cell in self._placed(name):
            try:
                datetime.strptime(cell.text, form)
            except ValueError:
                found, expected = f"found {cell.text!r}", f"a time like {form}"
                return DataError(self.path, found, expected, line=cell.line, column=cell.column)
        return DataError(self.path, f"a wrong time in {name}", f"times like {form}")


def number(path: Path, cell: Cell, column: Column) -> float:
    """Value of one cell, NaN where its text means missing. Raises DataError for no number, NaN, inf or out of range."""
    if cell.text in column.missing:
        return math.nan
    try:
        value = math.nan if "_" in cell.text else float(cell.text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or not column.low <= value <= column.high:
        raise DataError(path, f"found {cell.text!r}", column.expectation, line=cell.line, column=cell.column)
    return value


def integer(path: Path, cell: Cell, column: Column) -> int:
    """Whole value of one cell. Raises DataError as `number` does, and for a fraction or more than 64 bits hold."""
    value = number(path, cell, column)
    if value.is_integer() and abs(value) < 2**63:
        return int(value)
    expected = f"a whole number ({column.name})"
    raise DataError(path, f"found {cell.text!r}", expected, line=cell.line, column=cell.column)


def decoded(path: Path, raw: bytes) -> str:
    """Text of a UTF-8 file. Raises DataError for an empty one, NUL bytes or bytes that are no UTF-8."""
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        line = raw.count(b"\n", 0, fault.start) + 1
        raise DataError(path, f"byte 0x{raw[fault.start]:02x} is no text", "UTF-8 text", line=line) from None
    if not text.strip():
        raise DataError(path, "the file is empty", "at least one row")
    if "\x00" in text:
        line = text.count("\n", 0, text.index("\x00")) + 1
        raise DataError(path, "a NUL byte", "UTF-8 text", line=line)
    return text


def text_of(path: Path) -> str:
    """Text of the file at `path`. Raises DataError when it cannot be read, is empty or is no text."""
    try:
        raw = path.read_bytes()
    except OSError as fault:
        raise DataError(path, f"cannot be read ({fault.strerror or fault})", "a readable file") from None
    return decoded(path, raw)


def bare_table(path: Path, text: str, names: Sequence[str]) -> Table:
    """Table of a file without header whose cells are parted by blanks or tabs; `names` are the columns to be found."""
    lines: list[int] = []
    cells: list[tuple[str, ...]] = []
    for line, row in enumerate(text.splitlines(), start=1):
        fields = tuple(row.split())
        if not fields:
            continue
        if len(fields) != len(names):
            raise _wrong_width(path, line, fields, names)
        lines.append(line)
        cells.append(fields)
    return Table(path, tuple(names), tuple(lines), tuple(cells))


def headed_table(path: Path, text: str, needed: Iterable[str], delimiter: str = ",") -> Table:
    """Table of a CSV file with a header that holds at least the columns `needed`.

    Raises DataError for a missing column, a row of another width, or no row below the header.
    """
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    lines: list[int] = []
    cells: list[tuple[str, ...]] = []
    header: tuple[str, ...] = ()
    for fields in reader:
        if not any(field.strip() for field in fields):
            continue
        if not header:
            header = tuple(field.strip() for field in fields)
            _check_header(path, header, needed)
            continue
        if len(fields) != len(header):
            raise _wrong_width(path, reader.line_num, fields, header)
        lines.append(reader.line_num)
        cells.append(tuple(fields))
    if not cells:
        raise DataError(path, "no row below the header", "at least one row", line=2)
    return Table(path, header, tuple(lines), tuple(cells))


def _check_header(path: Path, header: tuple[str, ...], needed: Iterable[str]) -> None:
    for name in needed:
        if name not in header:
            raise DataError(path, f"no column {name!r} among {', '.join(header)[:80]}", "that column", line=1)


def _wrong_width(path: Path, line: int, fields: Sequence[str], names: Sequence[str]) -> DataError:
    column = min(len(fields), len(names)) + 1
    expected = f"{len(names)} columns" + (f", the next being {names[column - 1]}" if column <= len(names) else "")
    return DataError(path, f"{len(fields)} columns", expected, line=line, column=column)


def check_increasing(path: Path, table: Table, values: Float64[np.ndarray, " rows"], what: str) -> None:
    """Raises DataError at the first row whose value is not above the one before."""
    wrong = np.flatnonzero(np.diff(values) <= 0)
    if wrong.size:
        row = int(wrong[0]) + 1
        problem = f"{what} {values[row]:g} follows {values[row - 1]:g}"
        raise DataError(path, problem, f"{what} to increase", line=table.lines[row], column=table.index(what) + 1)


SourceT = TypeVar("SourceT")


def load_each(sources: Sequence[SourceT], read: Callable[[SourceT], ItemT]) -> Loaded[ItemT]:
    """Every source that `read` can read, and one fault for every one that it cannot."""
    items: list[ItemT] = []
    faults: list[DataError] = []
    for source in sources:
        try:
            items.append(read(source))
        except DataError as fault:
            faults.append(fault)
    return Loaded(tuple(items), tuple(faults))


def set_folder(data: Path, name: str) -> Path:
    """Folder of the set `name` below the data directory. Raises DataError when it is not there."""
    folder = data / name
    if not data.is_dir():
        raise DataError(data, "no such folder", "the folder that holds the public data sets")
    if not folder.is_dir():
        expected = f"the data set {name}; `twinloop data get {name}` says where to get it"
        raise DataError(folder, "no such folder", expected)
    return folder


def files_in(folder: Path, pattern: str) -> list[Path]:
    """Files below `folder` that match, in order of name, hidden ones aside. Raises DataError when there is none."""
    found = sorted(path for path in folder.glob(pattern) if path.is_file() and not path.name.startswith("."))
    if not found:
        raise DataError(folder, "no file found", f"files like {pattern}")
    return found
