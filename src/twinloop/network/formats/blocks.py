"""A batch as blocks of rows of one kind: whatever form it came in, flat lists of names' codes and numbers."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import msgspec
import numpy as np
from jaxtyping import Int64

from twinloop.network.formats.names import KINDS, codes_of, fault_of, kind_fault
from twinloop.network.formats.wire import Batch, Columns, Row

_HINTS = 20


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Rows of one kind before they are checked. `given[j]` is the value called `code[j]` of row `owner[j]`.

    A code below 0 is of a row at fault. `given` holds the numbers as they came, None for absent; `text` gives a row as
    JSON; `places` are the indices that refusals name.
    """

    kind: str
    places: Sequence[int]
    ids: list[str]
    time_s: list[float | None] | float | None
    period_s: list[float | None] | float | None
    slices: list[str | None]
    groups: list[str | None]
    code: Int64[np.ndarray, " values"]
    owner: Int64[np.ndarray, " values"]
    given: list[float | None]
    faults: dict[int, str]
    text: Callable[[int], str]


def blocks_of(batch: Batch) -> Iterator[Block]:
    """The batch as blocks of one kind each; rows of unknown kinds are one block of kind "", each with its fault."""
    places = batch.places
    if places is None:
        places = range(len(batch.rows) + sum(len(block.ids) for block in batch.columns))
    by_kind: dict[str, list[int]] = {}
    for index, row in enumerate(batch.rows):
        by_kind.setdefault(row.kind if row.kind in KINDS else "", []).append(index)
    for kind, members in by_kind.items():
        rows = [batch.rows[index] for index in members]
        yield _block_of_rows(kind, rows, [places[index] for index in members])
    start = len(batch.rows)
    for columns in batch.columns:
        yield _block_of_columns(columns, places[start : start + len(columns.ids)])
        start += len(columns.ids)


def _block_of_rows(kind: str, rows: list[Row], places: Sequence[int]) -> Block:
    named = [tuple(row.values) for row in rows]
    known = {names: codes_of(kind, names) for names in dict.fromkeys(named)}
    faults: dict[int, str] = {}
    if kind not in KINDS:
        faults = {index: kind_fault(row.kind) for index, row in enumerate(rows)}
    elif None in known.values():
        bad = [names for names, found in known.items() if found is None]
        told = {names: fault_of(kind, names, number < _HINTS) for number, names in enumerate(bad)}
        faults = {index: told[names] for index, names in enumerate(named) if known[names] is None}
    codes = [known[names] or (-1,) * len(names) for names in named]
    return Block(
        kind=kind,
        places=places,
        ids=[row.id for row in rows],
        time_s=[row.time_s for row in rows],
        period_s=[row.period_s for row in rows],
        slices=[row.slice for row in rows],
        groups=[row.group for row in rows],
        code=np.array(codes[0] * len(rows) if len(known) == 1 else list(chain.from_iterable(codes)), np.int64),
        owner=np.repeat(np.arange(len(rows)), len(codes[0]) if len(known) == 1 else [len(code) for code in codes]),
        given=list(chain.from_iterable([row.values.values() for row in rows])),
        faults=faults,
        text=lambda index: msgspec.json.encode(rows[index]).decode(),
    )


def _block_of_columns(columns: Columns, places: Sequence[int]) -> Block:
    count, width = len(columns.ids), len(columns.attributes)
    names = tuple(columns.attributes)
    codes = codes_of(columns.kind, names)
    faults = dict.fromkeys(range(count), fault_of(columns.kind, names)) if codes is None else {}
    values = columns.values
    if any(len(row) != width for row in values):
        for index, row in enumerate(values):
            if len(row) != width:
                faults[index] = f"has {len(row)} values for {width} attributes"
        values = [row if len(row) == width else [None] * width for row in values]
    return Block(
        kind=columns.kind,
        places=places,
        ids=columns.ids,
        time_s=columns.time_s,
        period_s=columns.period_s,
        slices=columns.slices or [None] * count,
        groups=columns.groups or [None] * count,
        code=np.tile(np.array((-1,) * width if codes is None else codes, np.int64), count),
        owner=np.repeat(np.arange(count), width),
        given=list(chain.from_iterable(values)),
        faults=faults,
        text=lambda index: _row_text(columns, index),
    )


def _row_text(columns: Columns, index: int) -> str:
    row = Row(
        kind=columns.kind,
        id=columns.ids[index],
        values=dict(zip(columns.attributes, columns.values[index], strict=False)),
        time_s=columns.time_s[index] if isinstance(columns.time_s, list) else columns.time_s,
        slice=columns.slices[index] if columns.slices else None,
        group=columns.groups[index] if columns.groups else None,
        period_s=columns.period_s[index] if isinstance(columns.period_s, list) else columns.period_s,
    )
    return msgspec.json.encode(row).decode()
