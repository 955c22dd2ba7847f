"""The first tables."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

WIDE = sa.BigInteger().with_variant(sa.Integer, "sqlite")
TEXT = sa.String().with_variant(sa.String(collation="C"), "postgresql")


def _id() -> sa.Column[int]:
    return sa.Column("id", WIDE, primary_key=True, autoincrement=True)


def _filled(kind: sa.types.TypeEngine[Any] | type[sa.types.TypeEngine[Any]], *names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, kind, nullable=False) for name in names]


def upgrade() -> None:
    """Creates the tables of an empty database."""
    _events()
    _states()
    _lists()
    if op.get_bind().dialect.name == "postgresql":
        for table, column in (("events", "payload"), ("snapshot_chunks", "blob"), ("frames", "blob")):
            # what is packed already is not worth a second compression
            op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} SET STORAGE EXTERNAL")


def _events() -> None:
    op.create_table(
        "events",
        _id(),
        *_filled(TEXT, "source"),
        *_filled(sa.BigInteger, "sequence"),
        *_filled(sa.Double, "received_s"),
        *_filled(sa.BigInteger, "rows"),
        *_filled(sa.LargeBinary, "payload"),
        sa.UniqueConstraint("source", "sequence", name="uq_events_source_sequence"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "sources",
        sa.Column("source", TEXT, primary_key=True),
        *_filled(sa.BigInteger, "highest_sequence", "received", "kept", "kept_bytes"),
        *_filled(sa.Double, "last_received_s"),
    )


def _states() -> None:
    op.create_table(
        "snapshots",
        _id(),
        *_filled(sa.BigInteger, "slot", "event_id"),
        *_filled(sa.Double, "created_s"),
        *_filled(sa.BigInteger, "size"),
        *_filled(TEXT, "sha256"),
        *_filled(sa.Boolean, "complete"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "snapshot_chunks",
        sa.Column("snapshot_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        *_filled(sa.LargeBinary, "blob"),
    )
    op.create_table(
        "frames",
        sa.Column("kind", TEXT, primary_key=True),
        sa.Column("tier", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("slot", sa.BigInteger, primary_key=True, autoincrement=False),
        *_filled(sa.BigInteger, "size"),
        *_filled(sa.LargeBinary, "blob"),
    )
    op.create_index("ix_frames_tier_slot_size", "frames", ["tier", "slot", "size"])


def _lists() -> None:
    op.create_table(
        "refusals",
        _id(),
        *_filled(sa.Double, "received_s"),
        *_filled(TEXT, "source"),
        sa.Column("sequence", sa.BigInteger),
        *_filled(sa.BigInteger, "index"),
        *_filled(TEXT, "reason", "row"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_refusals_source_id", "refusals", ["source", "id"])
    op.create_table(
        "records",
        sa.Column("collection", TEXT, primary_key=True),
        sa.Column("key", TEXT, primary_key=True),
        *_filled(TEXT, "state", "tenant"),
        *_filled(sa.BigInteger, "revision"),
        *_filled(sa.Double, "updated_s"),
        *_filled(TEXT, "body"),
    )
    op.create_index("ix_records_collection_updated_s_key", "records", ["collection", "updated_s", "key"])
    op.create_table(
        "log_lines",
        _id(),
        *_filled(sa.Double, "time_s"),
        *_filled(TEXT, "actor", "action", "target", "outcome"),
        *_filled(TEXT, "detail"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_log_lines_actor_id", "log_lines", ["actor", "id"])
    op.create_index("ix_log_lines_target_id", "log_lines", ["target", "id"])
    op.create_table("settings", sa.Column("name", TEXT, primary_key=True), *_filled(TEXT, "value"))
