"""Files of reports as batches, whatever their format, without loading a large one whole."""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from twinloop.errors import DataError, FormatError
from twinloop.network.formats.decoding import ReadRows, decode, is_header, read_row_lines
from twinloop.network.formats.files.capture import read_capture
from twinloop.network.formats.files.flows import PRIVATE_NETWORKS, RTP_CLOCKS_HZ, FlowMeter
from twinloop.network.formats.files.mapping import ColumnMap
from twinloop.network.formats.files.markup import read_markup
from twinloop.network.formats.files.tables import LONGEST_LINE_CHARACTERS, read_table
from twinloop.network.formats.wire import MAX_BODY_BYTES, Batch, Refusal

ROWS_A_BATCH = 1_000
SUFFIXES = (".csv", ".tsv", ".json", ".ndjson", ".jsonl", ".xml", ".pcap", ".pcapng", ".cap")
_FINGERPRINT_BYTES = 2**20


def read_file(
    path: Path,
    *,
    source: str | None = None,
    mapping: ColumnMap | None = None,
    users: Sequence[str] = PRIVATE_NETWORKS,
    rtp_clocks_hz: Mapping[int, float] = RTP_CLOCKS_HZ,
    rows_a_batch: int = ROWS_A_BATCH,
) -> Iterator[Batch]:
    """Batches of a file of reports, by its suffix: CSV, JSON, NDJSON, XML, pcap or pcapng.

    The batches are numbered from 0 under `source`, by default a name made of the file's name, size and beginning, so
    that the same file read twice is recognised. JSON, and NDJSON with a header, is one batch and may name its own
    source and sequence. Refusals name the line (CSV, NDJSON without a header, XML) or the number of the row. `mapping`
    explains the columns of a CSV file; `users` (networks) and `rtp_clocks_hz` (payload type to clock rate) are for
    captures, see `FlowMeter`.
    Everything but JSON, and NDJSON with a header, is read as a stream. Raises DataError, naming file and place, where
    the file is missing, of another format, or broken.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise DataError(path, f"files {suffix or 'without suffix'} cannot be read", f"one of {', '.join(SUFFIXES)}")
    if mapping is not None and suffix not in (".csv", ".tsv"):
        raise DataError(path, "a mapping of columns is for CSV", "a file .csv or .tsv, or no mapping")
    try:
        source = source or source_of(path)
        if suffix == ".json" or (suffix in (".ndjson", ".jsonl") and _has_header(path)):
            yield _whole(path, "application/json" if suffix == ".json" else "application/x-ndjson", source)
            return
        if suffix in (".csv", ".tsv"):
            pieces = read_table(path, mapping, rows_a_batch)
        elif suffix == ".xml":
            pieces = read_markup(path, rows_a_batch)
        elif suffix in (".ndjson", ".jsonl"):
            pieces = _read_lines(path, rows_a_batch)
        else:
            pieces = read_capture(path, _meter(path, users, rtp_clocks_hz), rows_a_batch)
        for sequence, read in enumerate(pieces):
            yield Batch(source, sequence, read.rows, read.columns, None, (), read.refused, read.places)
    except OSError as error:
        raise DataError(path, error.strerror or str(error), "a file that can be read") from None


def source_of(path: Path) -> str:
    """The source under which a file's batches go: its name, and a print of its size and first MiB."""
    with path.open("rb") as file:
        beginning = file.read(_FINGERPRINT_BYTES)
    size = path.stat().st_size
    mark = hashlib.blake2b(beginning + size.to_bytes(8, "big"), digest_size=6).hexdigest()
    return f"file:{re.sub(r'[^A-Za-z0-9._-]', '_', path.name)[:100]}:{mark}"


def _meter(path: Path, users: Sequence[str], rtp_clocks_hz: Mapping[int, float]) -> FlowMeter:
    try:
        return FlowMeter(users, rtp_clocks_hz)
    except ValueError as error:
        raise DataError(path, f"users are given by networks, and {error}", "for example 10.0.0.0/8") from None


def _whole(path: Path, media_type: str, source: str) -> Batch:
    """A file that is one batch."""
    with path.open("rb") as file:
        body = file.read(MAX_BODY_BYTES + 1)
    if len(body) > MAX_BODY_BYTES:
        raise DataError(
            path,
            f"the file is one batch and has more than {MAX_BODY_BYTES:,} bytes",
            "rows as NDJSON without a header, or CSV, which are read as a stream",
        )
    try:
        return decode(body, media_type, source=source, sequence=0)
    except FormatError as error:
        raise DataError(path, str(error)) from None


def _has_header(path: Path) -> bool:
    with path.open("rb") as file:
        for number, line in _numbered_lines(path, file):
            try:
                return is_header(line)
            except FormatError as error:
                raise DataError(path, str(error).partition(": ")[2], line=number) from None
    return False


def _numbered_lines(path: Path, file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Lines that are not blank, without their ends, and their numbers."""
    number = 0
    while line := file.readline(LONGEST_LINE_CHARACTERS):
        number += 1
        if len(line) == LONGEST_LINE_CHARACTERS and not line.endswith(b"\n"):
            raise DataError(path, "the line does not end", f"at most {LONGEST_LINE_CHARACTERS:,} bytes", line=number)
        if line.strip():
            yield number, line.rstrip(b"\r\n")


def _read_lines(path: Path, rows_a_batch: int) -> Iterator[ReadRows]:
    places: list[int] = []
    lines: list[bytes] = []
    with path.open("rb") as file:
        for number, line in _numbered_lines(path, file):
            places.append(number)
            lines.append(line)
            if len(lines) == rows_a_batch:
                yield _told(read_row_lines(lines, places))
                places, lines = [], []
    if lines:
        yield _told(read_row_lines(lines, places))


def _told(read: ReadRows) -> ReadRows:
    """The same with the line in the reason of every refusal."""
    refused = [Refusal(r.index, r.kind, r.id, f"line {r.index}: {r.reason}", r.row) for r in read.refused]
    return ReadRows(read.rows, read.places, refused)
