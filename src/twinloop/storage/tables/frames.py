"""Frames: history in pieces, each a span of slots of one kind of twin at one tier of fineness (0 is the finest)."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, insert, select, tuple_

from twinloop.storage.database import Database
from twinloop.storage.schema import FRAMES

MOST_PRUNED = 200
"""Frames that one transaction removes."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A piece of history that begins with `slot`; `blob` is packed by its owner."""

    kind: str
    tier: int
    slot: int
    blob: bytes


class Frames:
    """History by kind, tier and slot."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def save(self, frames: Sequence[Frame]) -> Future[None]:
        """Keeps frames, in place of those with the same kind, tier and slot."""
        rows = [
            {"kind": frame.kind, "tier": frame.tier, "slot": frame.slot, "size": len(frame.blob), "blob": frame.blob}
            for frame in {(frame.kind, frame.tier, frame.slot): frame for frame in frames}.values()
        ]
        return self._database.submit(lambda connection: _save(connection, rows))

    def between(self, kind: str, tier: int, from_slot: int, to_slot: int) -> list[Frame]:
        """Frames of a kind and tier with from_slot <= slot < to_slot, oldest first."""
        own = (FRAMES.c.kind == kind, FRAMES.c.tier == tier)
        span = (FRAMES.c.slot >= from_slot, FRAMES.c.slot < to_slot)
        query = select(FRAMES.c.slot, FRAMES.c.blob).where(*own, *span).order_by(FRAMES.c.slot)
        with self._database.reading() as connection:
            return [Frame(kind, tier, slot, blob) for slot, blob in connection.execute(query)]

    def at(self, kind: str, slot: int) -> Frame | None:
        """The newest frame that begins at `slot` or before, of the finest tier that has one; None where none has."""
        with self._database.reading() as connection:
            tier = -1
            while (tier := _next_tier(connection, kind, tier)) is not None:
                own = (FRAMES.c.kind == kind, FRAMES.c.tier == tier, FRAMES.c.slot <= slot)
                query = select(FRAMES.c.slot, FRAMES.c.blob).where(*own).order_by(FRAMES.c.slot.desc()).limit(1)
                found = connection.execute(query).first()
                if found is not None:
                    return Frame(kind, tier, found.slot, found.blob)
        return None

    def total_bytes(self) -> int:
        """Bytes of all blobs."""
        with self._database.reading() as connection:
            return int(connection.execute(select(func.coalesce(func.sum(FRAMES.c.size), 0))).scalar_one())

    def newest_slot(self) -> int | None:
        """The highest slot in which a frame begins; None before the first."""
        with self._database.reading() as connection:
            return connection.execute(select(func.max(FRAMES.c.slot))).scalar()

    def prune(self, first_slots: Mapping[int, int]) -> int:
        """Removes, of each tier named, the frames that begin before its slot, in small transactions; waits for them."""
        removed = 0
        for tier, first_slot in first_slots.items():
            while step := self._database.submit(
                lambda connection, tier=tier, first_slot=first_slot: _remove(connection, tier, first_slot)
            ).result():
                removed += step
        return removed


def _save(connection: Connection, rows: Sequence[Mapping[str, object]]) -> None:
    if not rows:
        return
    key = tuple_(FRAMES.c.kind, FRAMES.c.tier, FRAMES.c.slot)
    taken = [(row["kind"], row["tier"], row["slot"]) for row in rows]
    connection.execute(delete(FRAMES).where(key.in_(taken)))
    connection.execute(insert(FRAMES), rows)


def _next_tier(connection: Connection, kind: str, tier: int) -> int | None:
    query = select(func.min(FRAMES.c.tier)).where(FRAMES.c.kind == kind, FRAMES.c.tier > tier)
    return connection.execute(query).scalar()


def _remove(connection: Connection, tier: int, first_slot: int) -> int:
    key = tuple_(FRAMES.c.kind, FRAMES.c.slot)
    old = (FRAMES.c.tier == tier, FRAMES.c.slot < first_slot)
    chosen = select(FRAMES.c.kind, FRAMES.c.slot).where(*old).limit(MOST_PRUNED)
    return connection.execute(delete(FRAMES).where(FRAMES.c.tier == tier, key.in_(chosen))).rowcount
