"""Refusals: why a row did not reach the twins."""

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select

from twinloop.storage.database import Database
from twinloop.storage.schema import REFUSALS

MOST_PRUNED = 5000
"""Refusals that one transaction removes."""


@dataclass(frozen=True, slots=True)
class RefusedRow:
    """A row that was refused. `received_s`: epoch seconds; `sequence`: of its batch, None where that could not be read;
    `index`: its place in the batch, from 0; `row`: the row as it came, as text. `id` is given when it is kept."""

    received_s: float
    source: str
    sequence: int | None
    index: int
    reason: str
    row: str
    id: int = 0


class Refusals:
    """The list of refused rows."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, refused: Sequence[RefusedRow]) -> Future[None]:
        """Keeps refusals; the future is done once they are durable."""
        return self._database.combine(_add, tuple(refused))

    def newest(
        self, *, source: str | None = None, since_s: float | None = None, before_id: int | None = None, limit: int = 100
    ) -> list[RefusedRow]:
        """Refusals, newest first, of one source or all, received at `since_s` or later.

        `before_id`: the last id of the page before.
        """
        query = select(REFUSALS).order_by(REFUSALS.c.id.desc()).limit(limit)
        if source is not None:
            query = query.where(REFUSALS.c.source == source)
        if since_s is not None:
            query = query.where(REFUSALS.c.received_s >= since_s)
        if before_id is not None:
            query = query.where(REFUSALS.c.id < before_id)
        with self._database.reading() as connection:
            return [RefusedRow(*row[1:], id=row.id) for row in connection.execute(query)]

    def prune(self, most: int) -> int:
        """Removes the oldest but `most`, in small transactions; waits for them. Gives how many went."""
        removed = 0
        while step := self._database.submit(lambda connection: _remove_oldest(connection, most)).result():
            removed += step
        return removed


def _add(connection: Connection, lists: Sequence[Sequence[RefusedRow]]) -> list[None]:
    rows = [
        {
            "received_s": refused.received_s,
            "source": refused.source,
            "sequence": refused.sequence,
            "index": refused.index,
            "reason": refused.reason,
            "row": refused.row,
        }
        for several in lists
        for refused in several
    ]
    if rows:
        connection.execute(insert(REFUSALS), rows)
    return [None] * len(lists)


def _remove_oldest(connection: Connection, most: int) -> int:
    newest_gone = select(REFUSALS.c.id).order_by(REFUSALS.c.id.desc()).offset(most).limit(1).scalar_subquery()
    chosen = select(REFUSALS.c.id).where(REFUSALS.c.id <= newest_gone).order_by(REFUSALS.c.id).limit(MOST_PRUNED)
    return connection.execute(delete(REFUSALS).where(REFUSALS.c.id.in_(chosen))).rowcount
