"""Twins in and out as JSON, XML and CSV: the same fields in each, and an exact round trip."""

import re
from collections.abc import Callable
from typing import Literal, TypeVar, get_args

import numpy as np

from twinloop.twins.files.csv_text import fields_of_csv, to_csv
from twinloop.twins.files.json_text import fields_of_json, to_json
from twinloop.twins.files.record import FORMAT, Fields, Path, Place, TwinRecord, attribute_names, record_of
from twinloop.twins.files.xml_text import fields_of_xml, to_xml
from twinloop.twins.table import ATTRIBUTES, Kind, Twins

Format = Literal["json", "xml", "csv"]
Text = TypeVar("Text", bound=str)

_WRITE: dict[Format, Callable[[TwinRecord], str]] = {"json": to_json, "xml": to_xml, "csv": to_csv}
_READ: dict[Format, Callable[[str, str], Fields]] = {
    "json": fields_of_json,
    "xml": fields_of_xml,
    "csv": fields_of_csv,
}
_INTEGER = re.compile(r"-?\d{1,10}", re.ASCII)
_NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?", re.ASCII)
_INT32 = 2**31 - 1
_FLOAT32 = float(np.nextafter(2.0**128 - 2.0**103, 0.0))  # the last double that rounds to a finite float32


def export_twin(twins: Twins, kind: Kind, row: int, format: Format) -> str:
    """The twin of `kind` in `row` with its history and units, as text.

    Raises ValueError for a row or format that there is not, and for a twin with a value that is not finite.
    """
    record = record_of(twins, kind, row)
    return _WRITE[_known(format)](record)


def import_twin(text: str, format: Format, source: str = "twin") -> TwinRecord:
    """The twin that a text of `export_twin` holds; put it among others with `restore_twin`.

    Raises DataError, naming `source`, line and column (in CSV the cell), for anything that is not such a text;
    ValueError for an unknown format.
    """
    return _Checker(_READ[_known(format)](text, source)).record()


def _known(format: Format) -> Format:
    if format not in get_args(Format):
        raise ValueError(f"no format {format!r}; there are {', '.join(get_args(Format))}")
    return format


class _Checker:
    """Turns fields into a record, each field used once; what is missing, wrong or left over is a DataError."""

    def __init__(self, fields: Fields) -> None:
        self.fields = fields
        self.used: set[Path] = set()

    def record(self) -> TwinRecord:
        """The record that the fields hold."""
        self.one_of(("format",), (FORMAT,))
        kind: Kind = self.one_of(("kind",), tuple(ATTRIBUTES))
        row = self.integer(("row",), 0)
        active = self.one_of(("active",), ("true", "false")) == "true"
        revision = self.integer(("revision",), 0)
        value, slot, error = self.attributes(kind)
        history = tuple(self.past(kind, index) for index in range(self.fields.count("history")))
        self.nothing_else()
        return TwinRecord(kind, row, active, revision, value, slot, error, history)

    def attributes(self, kind: Kind) -> tuple[tuple[float | None, ...], tuple[int, ...], tuple[float | None, ...]]:
        """Values, slots and errors, in the order of the kind's table whatever theirs."""
        columns = attribute_names(kind)
        value: dict[int, float | None] = {}
        slot: dict[int, int] = {}
        error: dict[int, float | None] = {}
        for index in range(self.fields.count("attributes")):
            path = ("attributes", index)
            column = columns[self.one_of((*path, "name"), tuple(columns))]
            if column in value:
                raise self.wrong((*path, "name"), "each attribute once")
            self.one_of((*path, "unit"), (ATTRIBUTES[kind][column].unit,))
            slot[column] = self.integer((*path, "slot"), -1)
            value[column] = self.number((*path, "value"), -_FLOAT32, _FLOAT32)
            error[column] = self.number((*path, "error"), 0.0, 1.0)
            if (value[column] is None) != (slot[column] < 0):
                raise self.wrong((*path, "slot"), "-1 exactly where there is no value")
        absent = [name for name, column in columns.items() if column not in value]
        if absent:
            place = self.fields.places.get(("attributes",)) or self.fields.places.get((), Place(1, 1))
            raise self.fields.fault(f"no attribute {absent[0]!r}", f"all {len(columns)} attributes of {kind}", place)
        order = range(len(columns))
        return tuple(value[i] for i in order), tuple(slot[i] for i in order), tuple(error[i] for i in order)

    def past(self, kind: Kind, index: int) -> tuple[int, tuple[float | None, ...]]:
        """One row of history."""
        slot = self.integer(("history", index, "slot"), 0)
        values = (self.number(("history", index, name), -_FLOAT32, _FLOAT32) for name in attribute_names(kind))
        return slot, tuple(values)

    def text(self, path: Path) -> str:
        """Text of a field, empty where there is none."""
        self.used.add(path)
        return self.fields.text.get(path, "")

    def one_of(self, path: Path, allowed: tuple[Text, ...]) -> Text:
        """A field that must be one of few texts."""
        text = self.text(path)
        if text not in allowed:
            raise self.wrong(path, " or ".join(repr(a) for a in allowed))
        return allowed[allowed.index(text)]

    def integer(self, path: Path, low: int) -> int:
        """A field that must be an integer."""
        text = self.text(path)
        if not _INTEGER.fullmatch(text) or not low <= int(text) <= _INT32:
            raise self.wrong(path, f"an integer from {low} to {_INT32}")
        return int(text)

    def number(self, path: Path, low: float, high: float) -> float | None:
        """A field that must be a number that float32 holds, or absent."""
        text = self.text(path)
        if not text:
            return None
        if not _NUMBER.fullmatch(text) or not low <= float(text) <= high:
            raise self.wrong(path, f"a number from {low:g} to {high:g}, or nothing")
        return float(np.float32(float(text)))

    def nothing_else(self) -> None:
        """Raises DataError about the first field that no twin has."""
        left = [path for path in self.fields.text if path not in self.used]
        if left:
            place = self.fields.places[left[0]]
            raise self.fields.fault(f"unknown field {left[0][-1]!r}", "only fields of a twin", place)

    def wrong(self, path: Path, expected: str) -> Exception:
        """The error about a field, at its place or that of the part it is missing from."""
        place = self.fields.places.get(path) or self.fields.places.get(path[:-1], Place(1, 1))
        missing = path not in self.fields.text
        problem = f"{path[-1]!r} is missing" if missing else f"{path[-1]!r} is {self.fields.text[path]!r}"
        return self.fields.fault(problem, expected, place)
