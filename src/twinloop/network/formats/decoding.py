"""Bytes of a report to a `Batch`: JSON, NDJSON and msgpack. A row that cannot be read is refused, the others stand."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from twinloop.errors import FormatError
from twinloop.network.formats.wire import (
    LATEST_S,
    MAX_BLOCKS,
    MAX_BODY_BYTES,
    MAX_RECEIPTS,
    MAX_ROWS,
    Batch,
    Columns,
    Receipt,
    Refusal,
    Row,
    Sequence63,
    Source,
    one_line,
    shown,
    time_fault,
)

ROW_TEXT_CHARACTERS = 2_000
REFUSED_TEXT_CHARACTERS = 4 * 2**20

MEDIA_TYPES = ("application/json", "application/x-ndjson", "application/msgpack", "application/x-msgpack")

FAULTS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_UNKNOWN_FIELD = re.compile(r"unknown field `[^`]*`(?: - at `(\$[^`]*)`)?")


class _Head(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    source: Source | UnsetType = UNSET
    sequence: Sequence63 | UnsetType = UNSET
    sent_s: float | None = None


class _Envelope(_Head, forbid_unknown_fields=True):
    rows: Annotated[list[Row], Meta(max_length=MAX_ROWS)] = []
    columns: Annotated[list[Columns], Meta(max_length=MAX_BLOCKS)] = []
    receipts: Annotated[list[Receipt], Meta(max_length=MAX_RECEIPTS)] = []


class _RawEnvelope(_Head, forbid_unknown_fields=True):
    rows: Annotated[list[msgspec.Raw], Meta(max_length=MAX_ROWS)] = []
    columns: Annotated[list[Columns], Meta(max_length=MAX_BLOCKS)] = []
    receipts: Annotated[list[Receipt], Meta(max_length=MAX_RECEIPTS)] = []


@dataclass(frozen=True)
class _Coding:
    """The decoders of one encoding."""

    name: str
    envelope: Callable[[bytes], _Envelope]
    raw_envelope: Callable[[bytes], _RawEnvelope]
    row: Callable[[bytes | msgspec.Raw], Row]
    anything: Callable[[bytes | msgspec.Raw], object]


_JSON_ROW = msgspec.json.Decoder(Row)
_JSON = _Coding(
    "JSON",
    msgspec.json.Decoder(_Envelope).decode,
    msgspec.json.Decoder(_RawEnvelope).decode,
    _JSON_ROW.decode,
    msgspec.json.Decoder().decode,
)
_MSGPACK = _Coding(
    "msgpack",
    msgspec.msgpack.Decoder(_Envelope).decode,
    msgspec.msgpack.Decoder(_RawEnvelope).decode,
    msgspec.msgpack.Decoder(Row).decode,
    msgspec.msgpack.Decoder().decode,
)
_HEADER = msgspec.json.Decoder(_Head)


@dataclass(frozen=True)
class ReadRows:
    """Rows that could be read, one by one or as columns, the index of each, and refusals of those that could not."""

    rows: Sequence[Row]
    places: Sequence[int]
    refused: Sequence[Refusal] = ()
    columns: Sequence[Columns] = ()


def decode(
    body: bytes,
    media_type: str,
    *,
    source: str | None = None,
    sequence: int | None = None,
    most_bytes: int = MAX_BODY_BYTES,
) -> Batch:
    """A batch from the body of a message.

    `source` and `sequence` stand in where the body does not give them (a topic or a query may name them). A body of n
    bytes can take up to 64 n bytes of memory while it is read, so `most_bytes` bounds both. Raises FormatError for
    another media type, a body above a limit, broken text (with its offset), and fields that are unknown or wrong
    outside of `rows`. What is wrong in one of `rows` refuses that row: see `Batch.refused`.
    """
    if len(body) > most_bytes:
        raise FormatError(f"the body has {len(body):,} bytes; at most {most_bytes:,} are taken, send smaller batches")
    kind = media_type.partition(";")[0].strip().lower()
    if kind == "application/x-ndjson":
        head, read = _read_lines(body)
        return _batch(head, read, (), (), source, sequence)
    if kind not in MEDIA_TYPES:
        raise FormatError(f"media type {shown(media_type)} is not understood; send {', '.join(MEDIA_TYPES[:3])}")
    coding = _JSON if kind == "application/json" else _MSGPACK
    if coding is _JSON:
        _guard_text(body)
    try:
        envelope = coding.envelope(body)
    except (msgspec.ValidationError, UnicodeDecodeError):
        raw, read = _read_one_by_one(body, coding)
        return _batch(raw, read, raw.columns, raw.receipts, source, sequence)
    except FAULTS as error:
        raise FormatError(_told(error, body, coding)) from None
    read = ReadRows(envelope.rows, range(len(envelope.rows)))
    return _batch(envelope, read, envelope.columns, envelope.receipts, source, sequence)


def encode(batch: Batch, media_type: str = "application/msgpack") -> bytes:
    """The body that `decode` reads back: JSON or msgpack. Raises FormatError for another media type."""
    if media_type not in MEDIA_TYPES or media_type == "application/x-ndjson":
        raise FormatError(
            f"media type {shown(media_type)} cannot be written; take {MEDIA_TYPES[0]} or {MEDIA_TYPES[2]}"
        )
    parts = {"rows": batch.rows, "columns": batch.columns, "receipts": batch.receipts}
    body: dict[str, object] = {"source": batch.source, "sequence": batch.sequence, "sent_s": batch.sent_s}
    body |= {name: part for name, part in parts.items() if part}
    return msgspec.json.encode(body) if media_type == "application/json" else msgspec.msgpack.encode(body)


def read_row_lines(lines: Sequence[bytes], places: Sequence[int]) -> ReadRows:
    """Rows of lines of JSON, one row a line, no blank ones; `places` is the index that a refusal of each names."""
    try:
        rows = _JSON_ROW.decode_lines(b"\n".join(lines))
    except FAULTS:
        rows = []
    if len(rows) == len(lines):
        return ReadRows(rows, places)
    return _rows_of(zip(places, lines, strict=True), _JSON)


def is_header(line: bytes) -> bool:
    """Whether the first line of NDJSON is a header and no row. Raises FormatError for a header that is wrong."""
    return _header_of(1, line) is not None


def _batch(
    head: _Head,
    read: ReadRows,
    columns: Sequence[Columns],
    receipts: Sequence[Receipt],
    source: str | None,
    sequence: int | None,
) -> Batch:
    source = source if head.source is UNSET else head.source
    sequence = sequence if head.sequence is UNSET else head.sequence
    if source is None or sequence is None:
        missing = "source" if source is None else "sequence"
        raise FormatError(f'{missing} is missing; a batch begins like {{"source": "west", "sequence": 17, ...}}')
    if head.sent_s is not None and not 0 <= head.sent_s < LATEST_S:
        raise FormatError(time_fault("sent_s", head.sent_s))
    count = len(read.rows) + len(read.refused) + sum(len(block.ids) for block in columns)
    if count > MAX_ROWS:
        raise FormatError(f"the batch has {count:,} rows; at most {MAX_ROWS:,} are taken, send smaller batches")
    places = [*read.places, *range(len(read.rows) + len(read.refused), count)] if read.refused else None
    return Batch(source, sequence, read.rows, columns, head.sent_s, receipts, read.refused, places)


def _read_lines(body: bytes) -> tuple[_Head, ReadRows]:
    """Header, where the first line is one, and rows of an NDJSON body."""
    _guard_text(body)
    lines = [(number, line) for number, line in enumerate(body.split(b"\n"), 1) if line.strip()]
    head = _Head()
    if lines and (found := _header_of(*lines[0])) is not None:
        head, lines = found, lines[1:]
    if len(lines) > MAX_ROWS:
        raise FormatError(f"the body has {len(lines):,} rows; at most {MAX_ROWS:,} are taken, send smaller batches")
    read = read_row_lines([line for _, line in lines], range(len(lines)))
    if read.refused and not read.rows:
        first = read.refused[0]
        raise FormatError(f"line {lines[first.index][0]}: {first.reason}; no line of the body is a row")
    told = [Refusal(r.index, r.kind, r.id, f"line {lines[r.index][0]}: {r.reason}", r.row) for r in read.refused]
    return head, ReadRows(read.rows, read.places, told)


def _header_of(number: int, line: bytes) -> _Head | None:
    """The header in a line, None where it is meant as a row. Raises FormatError for a header that is wrong."""
    try:
        return _HEADER.decode(line)
    except FAULTS as error:
        try:
            loose = _JSON.anything(line)
        except FAULTS:
            return None
        if isinstance(loose, dict) and "kind" not in loose and "values" not in loose:
            raise FormatError(f"line {number}: {one_line(error)}; allowed: {_fields(_Head)}") from None
        return None


def _read_one_by_one(body: bytes, coding: _Coding) -> tuple[_RawEnvelope, ReadRows]:
    """Rows of a body in which at least one is wrong. Raises FormatError where what is wrong is not in a row."""
    try:
        raw = coding.raw_envelope(body)
    except FAULTS as error:
        raise FormatError(_told(error, body, coding)) from None
    return raw, _rows_of(enumerate(raw.rows), coding)


def _rows_of(pieces: Iterable[tuple[int, bytes | msgspec.Raw]], coding: _Coding) -> ReadRows:
    rows: list[Row] = []
    places: list[int] = []
    refused: list[Refusal] = []
    room = REFUSED_TEXT_CHARACTERS
    for index, piece in pieces:
        try:
            rows.append(coding.row(piece))
            places.append(index)
        except FAULTS as error:
            refusal = _refusal(index, piece, coding, error)
            room -= len(refusal.row)
            refused.append(refusal if room > 0 else Refusal(index, refusal.kind, refusal.id, refusal.reason, ""))
    return ReadRows(rows, places, refused)


def _refusal(index: int, piece: bytes | msgspec.Raw, coding: _Coding, error: Exception) -> Refusal:
    """Refusal of a row that cannot be decoded: what of it can be told."""
    try:
        loose = coding.anything(piece)
    except FAULTS:
        loose = None
    if coding is _JSON:
        text = bytes(piece)[: 4 * ROW_TEXT_CHARACTERS].decode("utf-8", "replace")
    else:
        text = repr(loose if loose is not None else bytes(piece)[:ROW_TEXT_CHARACTERS])
    fields = loose if isinstance(loose, dict) else {}
    kind, name = fields.get("kind"), fields.get("id")
    return Refusal(
        index=index,
        kind=kind[:128] if isinstance(kind, str) else "",
        id=name[:128] if isinstance(name, str) else "",
        reason=_odd_value(fields) or _explained(error, Row),
        row=text[:ROW_TEXT_CHARACTERS],
    )


def _odd_value(fields: dict[object, object]) -> str | None:
    """Names the first of the row's values that is neither a number nor null."""
    values = fields.get("values")
    if not isinstance(values, dict):
        return None
    for name, value in values.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            return f"{shown(name)} is {shown(value)}; a value is a number, or null where there is none"
    return None


def _told(error: Exception, body: bytes, coding: _Coding) -> str:
    """Why a body is no batch, in one line with offset or field."""
    if isinstance(error, msgspec.ValidationError):
        found = _UNKNOWN_FIELD.search(str(error))
        place = (found[1] or "$") if found else "$"
        holder = {"$.r": Row, "$.c": Columns}.get(place[:3], _Envelope)
        return _explained(error, Receipt if place.startswith("$.receipts") else holder)
    if isinstance(error, RecursionError):
        return f"the {coding.name} is nested too deeply; a batch holds rows, a row holds values"
    if isinstance(error, UnicodeDecodeError):
        return f"the {coding.name} holds text that is not UTF-8 ({error.reason})"
    message = one_line(error)
    if "truncated" in message:
        message = f"the {coding.name} ends too early (byte {len(body)})"
    if coding is _JSON and (b"NaN" in body or b"Infinity" in body):
        message += "; JSON has no NaN or Infinity, write null where there is no value"
    return message


def _explained(error: Exception, holder: type[msgspec.Struct]) -> str:
    """A fault that msgspec found in an object, with the fields that the object may have."""
    if isinstance(error, RecursionError):
        return "nested too deeply; a row holds values, values are numbers"
    if isinstance(error, UnicodeDecodeError):
        return f"holds text that is not UTF-8 ({error.reason})"
    message = one_line(error)
    return f"{message}; allowed: {_fields(holder)}" if "unknown field" in message else message


def _fields(holder: type[msgspec.Struct]) -> str:
    return ", ".join(holder.__struct_fields__)


def _guard_text(body: bytes) -> None:
    """Counts what objects, lists and numbers a text may hold before memory is spent on them. Raises FormatError."""
    if body.count(b"{") > 4 * MAX_ROWS or body.count(b"[") > 4 * MAX_ROWS or body.count(b",") > 40 * MAX_ROWS:
        raise FormatError(f"the body holds more than {MAX_ROWS:,} rows can; send smaller batches")
