"""The log: who did what to what, and how it ended. Lines are added and, when they are old, removed; never changed."""

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select

from twinloop.storage.database import Database
from twinloop.storage.schema import LOG

MOST_PRUNED = 5000
"""Lines that one transaction removes."""


@dataclass(frozen=True, slots=True)
class LogLine:
    """One thing that was done. `time_s`: epoch seconds; `detail`: JSON text. `id` is given when it is kept."""

    time_s: float
    actor: str
    action: str
    target: str
    outcome: str
    detail: str = "{}"
    id: int = 0


class Log:
    """The append-only log."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, lines: Sequence[LogLine]) -> Future[None]:
        """Keeps lines in their order; the future is done once they are durable."""
        return self._database.combine(_add, tuple(lines))

    def newest(
        self,
        *,
        actor: str | None = None,
        action: str | None = None,
        target: str | None = None,
        outcome: str | None = None,
        since_s: float | None = None,
        before_id: int | None = None,
        limit: int = 100,
    ) -> list[LogLine]:
        """Lines, newest first, that are as asked for; `before_id`: the last id of the page before."""
        query = select(LOG).order_by(LOG.c.id.desc()).limit(limit)
        wanted = {"actor": actor, "action": action, "target": target, "outcome": outcome}
        query = query.where(*(LOG.c[name] == value for name, value in wanted.items() if value is not None))
        if since_s is not None:
            query = query.where(LOG.c.time_s >= since_s)
        if before_id is not None:
            query = query.where(LOG.c.id < before_id)
        with self._database.reading() as connection:
            return [LogLine(*row[1:], id=row.id) for row in connection.execute(query)]

    def prune(self, before_s: float) -> int:
        """Removes the oldest lines while they are of before that time, in small transactions; waits for them."""
        removed = 0
        while step := self._database.submit(lambda connection: _remove_oldest(connection, before_s)).result():
            removed += step
        return removed


def _add(connection: Connection, lists: Sequence[Sequence[LogLine]]) -> list[None]:
    rows = [
        {
            "time_s": line.time_s,
            "actor": line.actor,
            "action": line.action,
            "target": line.target,
            "outcome": line.outcome,
            "detail": line.detail,
        }
        for lines in lists
        for line in lines
    ]
    if rows:
        connection.execute(insert(LOG), rows)
    return [None] * len(lists)


def _remove_oldest(connection: Connection, before_s: float) -> int:
    oldest = connection.execute(select(LOG.c.id, LOG.c.time_s).order_by(LOG.c.id).limit(MOST_PRUNED))
    chosen = [row.id for row in oldest if row.time_s < before_s]
    if chosen:
        connection.execute(delete(LOG).where(LOG.c.id.in_(chosen)))
    return len(chosen)
