"""The tables as the code of today knows them; `migrations` brings a database of any age to them.

`info["batch"]` of a table is how many of its rows are read at a time where all are read: fewer where rows are large.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    UniqueConstraint,
)

METADATA = MetaData(
    naming_convention={"ix": "ix_%(table_name)s_%(column_0_N_name)s", "uq": "uq_%(table_name)s_%(column_0_N_name)s"}
)
VERSION_TABLE = "twinloop_schema"

WIDE = BigInteger().with_variant(Integer, "sqlite")
"""64 bits on both; SQLite numbers rows by itself only in a column called INTEGER."""

TEXT = String().with_variant(String(collation="C"), "postgresql")
"""Text that is ordered by its characters' code points on both, whatever the language of the server."""


def _text(name: str) -> Column[str]:
    return Column(name, TEXT, nullable=False)


def _number(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False)


def _seconds(name: str) -> Column[float]:
    return Column(name, Double, nullable=False)


def _bytes(name: str) -> Column[bytes]:
    return Column(name, LargeBinary, nullable=False)


def _id() -> Column[int]:
    return Column("id", WIDE, primary_key=True, autoincrement=True)


EVENTS = Table(
    "events",
    METADATA,
    _id(),
    _text("source"),
    _number("sequence"),
    _seconds("received_s"),
    _number("rows"),
    _bytes("payload"),
    UniqueConstraint("source", "sequence"),
    sqlite_autoincrement=True,
    info={"batch": 200},
)

SOURCES = Table(
    "sources",
    METADATA,
    Column("source", TEXT, primary_key=True),
    _number("highest_sequence"),
    _number("received"),
    _number("kept"),
    _number("kept_bytes"),
    _seconds("last_received_s"),
)

REFUSALS = Table(
    "refusals",
    METADATA,
    _id(),
    _seconds("received_s"),
    _text("source"),
    Column("sequence", BigInteger),
    _number("index"),
    _text("reason"),
    _text("row"),
    Index(None, "source", "id"),
    sqlite_autoincrement=True,
)

SNAPSHOTS = Table(
    "snapshots",
    METADATA,
    _id(),
    _number("slot"),
    _number("event_id"),
    _seconds("created_s"),
    _number("size"),
    _text("sha256"),
    Column("complete", Boolean, nullable=False),
    sqlite_autoincrement=True,
)

SNAPSHOT_CHUNKS = Table(
    "snapshot_chunks",
    METADATA,
    Column("snapshot_id", BigInteger, primary_key=True, autoincrement=False),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    _bytes("blob"),
    info={"batch": 4},
)

FRAMES = Table(
    "frames",
    METADATA,
    Column("kind", TEXT, primary_key=True),
    Column("tier", BigInteger, primary_key=True, autoincrement=False),
    Column("slot", BigInteger, primary_key=True, autoincrement=False),
    _number("size"),
    _bytes("blob"),
    Index(None, "tier", "slot", "size"),
    info={"batch": 20},
)

RECORDS = Table(
    "records",
    METADATA,
    Column("collection", TEXT, primary_key=True),
    Column("key", TEXT, primary_key=True),
    _text("state"),
    _text("tenant"),
    _number("revision"),
    _seconds("updated_s"),
    _text("body"),
    Index(None, "collection", "updated_s", "key"),
)

LOG = Table(
    "log_lines",
    METADATA,
    _id(),
    _seconds("time_s"),
    _text("actor"),
    _text("action"),
    _text("target"),
    _text("outcome"),
    _text("detail"),
    Index(None, "actor", "id"),
    Index(None, "target", "id"),
    sqlite_autoincrement=True,
)

SETTINGS = Table("settings", METADATA, Column("name", TEXT, primary_key=True), _text("value"))

NUMBERED = (EVENTS, REFUSALS, SNAPSHOTS, LOG)
"""Tables whose rows the database numbers."""
