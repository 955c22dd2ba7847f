"""A mapping says what the columns of somebody else's table are: the id, the time, which value in which unit."""

import difflib
from pathlib import Path
from typing import Literal

import msgspec

from twinloop.entities import Attribute
from twinloop.errors import DataError
from twinloop.network.formats.names import CONVERSIONS, Vocabulary, fits, name_fault, needs_period, vocabulary
from twinloop.network.formats.wire import one_line

_MOST_BYTES = 2**20


class MappedValue(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A column of values: what it is (an attribute or a measurement of the standards), and in which unit it stands.

    An empty `unit` is the name's own. `period_s` is the time over which a volume was counted.
    """

    name: str
    unit: str = ""
    period_s: float | None = None


class ColumnMap(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """How to read a table with other columns than ours. Columns that are not named are left out.

    `id` names the column of ids, or `id_value` is the id of all rows. `time` names the column of times: numbers in
    `time_unit`, or texts in `time_format` (as for strptime), `utc_offset_s` ahead of UTC. `missing` are the texts that
    mean no value. Raises ValueError for a mapping that cannot work.
    """

    values: dict[str, MappedValue]
    kind: Literal["user", "cell", "server"] = "user"
    id: str = ""
    id_value: str = ""
    time: str = ""
    time_unit: Literal["s", "ms", "us"] = "s"
    time_format: str = ""
    utc_offset_s: float = 0.0
    slice: str = ""
    group: str = ""
    missing: tuple[str, ...] = ("", "-", "nan", "NaN", "null", "NULL")
    delimiter: str = ""

    def __post_init__(self) -> None:
        if bool(self.id) == bool(self.id_value):
            raise ValueError("give either id (a column) or id_value (one id for all rows)")
        if not self.values:
            raise ValueError('values is empty; map at least one column, like {"Mbps": {"name": "rate_bps", ...}}')
        if len(self.delimiter) > 1:
            raise ValueError(f"delimiter is {self.delimiter!r}; it is one character")
        for column, value in self.values.items():
            fault = _fault(vocabulary(self.kind), value)
            if fault:
                raise ValueError(f"column {column!r}: {fault}")


def _fault(words: Vocabulary, value: MappedValue) -> str:
    """Why a column cannot be that value, empty where it can."""
    if value.name not in words.code:
        return name_fault(words.kind, value.name)
    if words.columns[words.code[value.name]] < 0:
        return f"twins have no attribute for {value.name}; leave the column out"
    attribute, unit = attribute_and_unit(words, value)
    if not fits(unit, attribute):
        known = [u for u in ("PRB", *CONVERSIONS) if fits(u, attribute)]
        return f"unit {value.unit!r} does not become {attribute.unit}; allowed: {', '.join([attribute.unit, *known])}"
    if needs_period(unit, attribute) and not (value.period_s and value.period_s > 0):
        return f"{unit} is a volume; give period_s, the seconds it was counted over"
    return ""


def attribute_and_unit(words: Vocabulary, value: MappedValue) -> tuple[Attribute, str]:
    """The attribute that a mapped column becomes, and the unit in which the column stands."""
    code = words.code[value.name]
    attribute = words.table[words.columns[code]]
    own = words.measured[code].unit if code in words.measured else attribute.unit
    return attribute, value.unit or own


def read_mapping(path: Path) -> ColumnMap:
    """A mapping from its JSON file. Raises DataError where it is missing, broken, or cannot work."""
    try:
        with path.open("rb") as file:
            text = file.read(_MOST_BYTES)
        return msgspec.json.decode(text, type=ColumnMap)
    except OSError as error:
        raise DataError(path, error.strerror or str(error), "a mapping of columns as JSON") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(path, one_line(error), "a mapping of columns, see docs/formats.md") from None


def column_of(path: Path, header: list[str], name: str) -> int:
    """Place of the column `name`. Raises DataError, naming the nearest, where the table has none."""
    if name in header:
        return header.index(name)
    near = difflib.get_close_matches(name[:64], [column[:64] for column in header[:200]], n=2)
    hint = " or ".join(map(repr, near)) if near else ", ".join(repr(column[:64]) for column in header[:8] if column)
    raise DataError(path, f"there is no column {name!r}", hint, line=1)
