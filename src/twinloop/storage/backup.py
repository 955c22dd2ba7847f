"""A backup: all rows of all tables in one file that either database system can read.

The file is a line that names the format, then pieces of MessagePack
(https://github.com/msgpack/msgpack/blob/master/spec.md), each behind its length in four bytes: first a `_Head`, then
`_Rows` table by table. A length of zero ends them; the SHA-256 of all bytes before follows.
"""

import hashlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from io import BufferedIOBase
from typing import Any

import msgspec
from sqlalchemy import Connection, func, insert, select

from twinloop.errors import StorageError
from twinloop.storage.database import Database
from twinloop.storage.migrating import newest_revision
from twinloop.storage.schema import METADATA, NUMBERED

FORMAT = b"twinloop backup 1\n"
LENGTH_BYTES = 4
BATCH_ROWS = 1000


@dataclass(frozen=True, slots=True)
class _Head:
    """Revision of the tables, and the columns of each."""

    revision: str
    columns: dict[str, list[str]]


@dataclass(frozen=True, slots=True)
class _Rows:
    table: str
    rows: list[list[Any]]


def dump(database: Database, stream: BufferedIOBase) -> dict[str, int]:
    """Writes everything that is kept to `stream`, as it was at one moment, while writing goes on. Gives rows by table.

    Raises StorageUnavailable and StorageError, and OSError of the stream.
    """
    digest = hashlib.sha256()

    def write(content: bytes) -> None:
        digest.update(content)
        stream.write(content)

    def write_piece(content: _Head | _Rows) -> None:
        packed = msgspec.msgpack.encode(content)
        write(len(packed).to_bytes(LENGTH_BYTES, "big") + packed)

    write(FORMAT)
    write_piece(_head())
    counts = dict.fromkeys(METADATA.tables, 0)
    with database.reading() as connection:
        for rows in _all_rows(connection):
            counts[rows.table] += len(rows.rows)
            write_piece(rows)
    write(bytes(LENGTH_BYTES))
    stream.write(digest.digest())
    return counts


def check(stream: BufferedIOBase) -> None:
    """Reads a backup to its end, and `stream` is where it was. Raises StorageError where it is none, is damaged, or is
    of other tables.
    """
    start = stream.tell()
    for _ in _read(stream):
        pass
    stream.seek(start)


def load(database: Database, stream: BufferedIOBase) -> dict[str, int]:
    """Fills an empty database from `stream`, in one transaction. Gives rows by table.

    Raises StorageError, with nothing written, for what `check` refuses and for a database that is not empty.
    """
    start = stream.tell()

    def write(connection: Connection) -> dict[str, int]:
        _refuse_unless_empty(connection, database.place)
        stream.seek(start)
        counts = dict.fromkeys(METADATA.tables, 0)
        for rows in _read(stream):
            table = METADATA.tables[rows.table]
            names = [column.name for column in table.columns]
            connection.execute(insert(table), [dict(zip(names, row, strict=True)) for row in rows.rows])
            counts[rows.table] += len(rows.rows)
        if connection.dialect.name == "postgresql":
            _go_on_numbering(connection)
        return counts

    return database.submit(write).result()


def _head() -> _Head:
    columns = {str(table.name): [str(column.name) for column in table.columns] for table in METADATA.sorted_tables}
    return _Head(newest_revision(), columns)


def _all_rows(connection: Connection) -> Iterator[_Rows]:
    for table in METADATA.sorted_tables:
        query = select(table).order_by(*table.primary_key.columns)
        size = table.info.get("batch", BATCH_ROWS)
        for rows in connection.execute(query, execution_options={"yield_per": size}).partitions():
            yield _Rows(str(table.name), [list(row) for row in rows])


def _read(stream: BufferedIOBase) -> Generator[_Rows]:
    """The rows of a backup. Raises StorageError, at the latest behind the last, where it is not as it was written."""
    pieces = _pieces(stream)
    try:
        head = msgspec.msgpack.decode(next(pieces, b""), type=_Head)
        if head.revision != newest_revision():
            raise StorageError(
                f"the backup has the tables {head.revision}, this twinloop {newest_revision()};"
                " restore it by the version that wrote it, and open that database by this one"
            )
        if head != _head():
            raise StorageError("the backup is damaged (its tables have other columns); use another one")
        for piece in pieces:
            yield msgspec.msgpack.decode(piece, type=_Rows)
    except msgspec.DecodeError as error:
        raise StorageError(f"the backup is damaged ({error}); use another one") from error


def _pieces(stream: BufferedIOBase) -> Generator[bytes]:
    digest = hashlib.sha256()

    def read(size: int) -> bytes:
        content = stream.read(size)
        if len(content) < size:
            raise StorageError("the backup is cut short; use another one")
        digest.update(content)
        return content

    if stream.read(len(FORMAT)) != FORMAT:
        raise StorageError("this is no backup of twinloop, or one of another format")
    digest.update(FORMAT)
    while length := int.from_bytes(read(LENGTH_BYTES), "big"):
        yield read(length)
    if stream.read() != digest.digest():
        raise StorageError("the backup is damaged (its checksum differs); use another one")


def _refuse_unless_empty(connection: Connection, place: str) -> None:
    for table in METADATA.sorted_tables:
        if connection.execute(select(func.count()).select_from(table)).scalar_one():
            raise StorageError(f"{place} is not empty (table {table.name}); restore into a new database")


def _go_on_numbering(connection: Connection) -> None:
    """Lets PostgreSQL number new rows behind those that were given with their numbers, as SQLite does by itself."""
    for table in NUMBERED:
        sequence = func.pg_get_serial_sequence(table.name, "id")
        newest = select(func.max(table.c.id)).scalar_subquery()
        connection.execute(select(func.setval(sequence, func.coalesce(newest, 1), newest.is_not(None))))
