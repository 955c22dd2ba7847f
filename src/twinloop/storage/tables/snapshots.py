"""Snapshots: the whole state at an event, so that a restart replays only what came after it.

A snapshot is written in pieces between other writes and counts when its last transaction, which completes it, is
committed. One that a kill has torn never counts; one that the disk has damaged is passed over for its checksum.
"""

import hashlib
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Connection, delete, insert, select, update

from twinloop.errors import StorageError
from twinloop.storage.database import Database
from twinloop.storage.schema import SNAPSHOT_CHUNKS, SNAPSHOTS

KEPT = 2
CHUNK_BYTES = 4 * 1024**2
CHUNKS_A_STEP = 8
"""Chunks that one transaction removes."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """State after the event `event_id`, in `slot`; `created_s` in epoch seconds.

    `damaged` counts newer snapshots that had to be passed over.
    """

    slot: int
    event_id: int
    created_s: float
    blob: bytes
    damaged: int = 0


class _Head(NamedTuple):
    id: int
    slot: int
    event_id: int
    created_s: float
    sha256: str


class Snapshots:
    """The two newest snapshots."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._saving = threading.Lock()

    def save(self, slot: int, event_id: int, created_s: float, blob: bytes | memoryview) -> None:
        """Keeps a snapshot and forgets all but the newest two. Waits until it is durable: call it off the fast threads.

        Raises StorageUnavailable, StorageFull and StorageError; the snapshots before it then stand.
        """
        head = {"slot": slot, "event_id": event_id, "created_s": created_s, "size": len(blob)}
        with self._saving:
            self._clear()
            number = self._database.submit(lambda connection: _begin(connection, head)).result()
            for place, start in enumerate(range(0, len(blob), CHUNK_BYTES)):
                chunk = {"snapshot_id": number, "number": place, "blob": bytes(blob[start : start + CHUNK_BYTES])}
                self._database.submit(
                    lambda connection, chunk=chunk: connection.execute(insert(SNAPSHOT_CHUNKS), chunk).close()
                ).result()
            digest = hashlib.sha256(blob).hexdigest()
            complete = update(SNAPSHOTS).where(SNAPSHOTS.c.id == number).values(complete=True, sha256=digest)
            self._database.submit(lambda connection: connection.execute(complete).close()).result()
            self._clear()

    def latest(self) -> Snapshot | None:
        """The newest snapshot that is whole; None before the first.

        Where the only one there ever was is damaged: None too, since no event is removed before there are two.
        Raises StorageError when both are damaged.
        """
        with self._database.reading() as connection:
            heads = _complete(connection)
            for damaged, head in enumerate(heads):
                blob = _blob(connection, head.id)
                if hashlib.sha256(blob).hexdigest() == head.sha256:
                    return Snapshot(head.slot, head.event_id, head.created_s, blob, damaged)
        if len(heads) >= KEPT:
            raise StorageError(f"{self._database.place}: both snapshots are damaged; restore a backup")
        return None

    def covered_event_id(self) -> int:
        """The last event that every kept snapshot covers, and that no restart can need; 0 before there are two."""
        with self._database.reading() as connection:
            heads = _complete(connection)
        return min(head.event_id for head in heads) if len(heads) >= KEPT else 0

    def _clear(self) -> None:
        while self._database.submit(_forget).result():
            pass


def _complete(connection: Connection) -> list[_Head]:
    """Heads of complete snapshots, newest first."""
    own = SNAPSHOTS.c
    query = select(own.id, own.slot, own.event_id, own.created_s, own.sha256).where(own.complete)
    return [_Head(*row) for row in connection.execute(query.order_by(own.id.desc()))]


def _blob(connection: Connection, number: int) -> bytes:
    chunks = SNAPSHOT_CHUNKS.c
    query = select(chunks.blob).where(chunks.snapshot_id == number).order_by(chunks.number)
    return b"".join(connection.execute(query).scalars())


def _begin(connection: Connection, head: Mapping[str, object]) -> int:
    """Number of a new snapshot that is not complete."""
    query = insert(SNAPSHOTS).values(**head, sha256="", complete=False).returning(SNAPSHOTS.c.id)
    return connection.execute(query).scalar_one()


def _forget(connection: Connection) -> bool:
    """Removes some chunks of what is neither complete nor among the newest; True while more are to be removed."""
    kept = [head.id for head in _complete(connection)[:KEPT]]
    old = connection.execute(select(SNAPSHOTS.c.id).where(SNAPSHOTS.c.id.not_in(kept)).limit(1)).scalar()
    if old is None:
        return False
    chunks = SNAPSHOT_CHUNKS.c
    numbers = select(chunks.number).where(chunks.snapshot_id == old).limit(CHUNKS_A_STEP)
    gone = connection.execute(
        delete(SNAPSHOT_CHUNKS).where(chunks.snapshot_id == old, chunks.number.in_(numbers))
    ).rowcount
    if gone == 0:
        connection.execute(delete(SNAPSHOTS).where(SNAPSHOTS.c.id == old))
    return True
