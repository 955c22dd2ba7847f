"""What a report looks like on the wire: rows one by one, or columns; one schema for JSON, NDJSON and msgpack."""

import math
import reprlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

MAX_ROWS = 100_000
MAX_BODY_BYTES = 16 * 2**20
MAX_SEQUENCE = 2**63 - 1
MAX_NAME_CHARACTERS = 128
MAX_VALUES_A_ROW = 128
MAX_BLOCKS = 64
MAX_RECEIPTS = 10_000
MAX_DETAIL_CHARACTERS = 2_000
MAX_FAULT_CHARACTERS = 300

LATEST_S = 1e11
"""Epoch seconds above this are taken for milliseconds (as seconds it would be the year 5138)."""

Source = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9._:-]{1,128}\Z")]
Sequence63 = Annotated[int, Meta(ge=0, le=MAX_SEQUENCE)]
ValueName = Annotated[str, Meta(max_length=MAX_NAME_CHARACTERS)]
Kind = Annotated[str, Meta(max_length=MAX_NAME_CHARACTERS)]
Values = Annotated[dict[ValueName, float | None], Meta(max_length=MAX_VALUES_A_ROW)]
_Numbers = Annotated[list[float | None], Meta(max_length=MAX_ROWS)]
_Names = Annotated[list[str | None], Meta(max_length=MAX_ROWS)]
_Line = Annotated[list[float | None], Meta(max_length=MAX_VALUES_A_ROW)]


class Row(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """What one user, cell or server reports of one moment.

    `kind` is `user`, `cell` or `server`. `time_s` is when it was measured, in epoch seconds; None: when it arrives.
    `values` maps names to numbers, None for absent. `slice` and `group` (of a multicast group) are for users.
    `period_s` is the time over which volumes were counted.
    """

    kind: Kind
    id: str
    values: Values
    time_s: float | None = None
    slice: str | None = None
    group: str | None = None
    period_s: float | None = None


class Columns(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Many rows of one kind that report the same things: names once, values by row (None: absent).

    `time_s` and `period_s` hold one number a row, or one for all; the rest is as in `Row`. Raises ValueError where the
    parts do not have the same number of rows.
    """

    kind: Kind
    attributes: Annotated[list[ValueName], Meta(max_length=MAX_VALUES_A_ROW)]
    ids: Annotated[list[str], Meta(max_length=MAX_ROWS)]
    values: Annotated[list[_Line], Meta(max_length=MAX_ROWS)]
    time_s: _Numbers | float | None = None
    slices: _Names | None = None
    groups: _Names | None = None
    period_s: _Numbers | float | None = None

    def __post_init__(self) -> None:
        for name in ("values", "time_s", "slices", "groups", "period_s"):
            part = getattr(self, name)
            if isinstance(part, list) and len(part) != len(self.ids):
                raise ValueError(f"{name} has {len(part)} entries, ids has {len(self.ids)}; they go together")


class Receipt(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, frozen=True):
    """What became of the command with this revision at the site that got it."""

    revision: Sequence63
    result: Literal["applied", "refused", "failed"]
    detail: Annotated[str, Meta(max_length=MAX_DETAIL_CHARACTERS)] = ""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A row that does not reach the twins, and why in one sentence.

    `index` counts the rows of a batch from 0, those of `rows` first, then those of `columns`; for files it is the line
    (or the row, where the file has no lines). `row` is the row as JSON, cut to 2,000 characters; empty once the
    refusals of one batch have filled 4 MiB.
    """

    index: int
    kind: str
    id: str
    reason: str
    row: str


@dataclass(frozen=True, slots=True)
class Batch:
    """One report of one source. `sequence` numbers the batches of a source, so that a repetition is recognised.

    `sent_s` is the source's clock when it sent. `refused` holds rows that could not even be read; where there are any,
    and for files, `places` holds the index that a refusal names for each row that is left.
    """

    source: str
    sequence: int
    rows: Sequence[Row] = ()
    columns: Sequence[Columns] = ()
    sent_s: float | None = None
    receipts: Sequence[Receipt] = ()
    refused: Sequence[Refusal] = ()
    places: Sequence[int] | None = field(default=None, repr=False)


def name_is_fit(name: str) -> bool:
    """Whether a name of an entity, slice or group is 1 to 128 printable characters without `/` and space."""
    return 0 < len(name) <= MAX_NAME_CHARACTERS and name.isprintable() and " " not in name and "/" not in name


NAME_RULE = f"1 to {MAX_NAME_CHARACTERS} printable characters without '/' and space"


def time_fault(field: str, time_s: float) -> str:
    """Why a time outside of [0, `LATEST_S`) is refused."""
    if LATEST_S <= time_s < math.inf:
        return f"{field} is {time_s:g}, which looks like milliseconds; write epoch seconds"
    return f"{field} is {time_s:g}; allowed are epoch seconds from 0"


def one_line(fault: Exception) -> str:
    """Words of a fault that a library found, in one line of at most 300 characters: they quote what was sent."""
    words = str(fault)[:MAX_FAULT_CHARACTERS]
    return words if words.isprintable() else words.encode("unicode_escape").decode()


_short = reprlib.Repr()
_short.maxstring = 60
_short.maxother = 60
shown = _short.repr
"""A value as a message shows it: short."""
