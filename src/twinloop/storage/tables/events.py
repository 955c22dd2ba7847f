"""Events: accepted batches in the order in which they were committed, each once.

An event is known by (source, sequence). Its id grows with every commit, and no reader ever sees an id appear below one
that it has seen: there is one writer. The newest event is never removed, so ids are never given twice.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Connection, delete, func, select, update

from twinloop.storage.database import Database
from twinloop.storage.schema import EVENTS, SOURCES

MOST_PRUNED = 500
"""Events that one transaction removes."""

INSERT = (
    "INSERT INTO events (source, sequence, received_s, rows, payload) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
)
HIGHEST = "SELECT coalesce(max(id), 0) FROM events"
INSERTED = "SELECT id, source, sequence FROM events WHERE id > ?"
COUNT = (
    "INSERT INTO sources (source, highest_sequence, received, kept, kept_bytes, last_received_s)"
    " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (source) DO UPDATE SET"
    " highest_sequence = CASE WHEN excluded.highest_sequence > sources.highest_sequence"
    " THEN excluded.highest_sequence ELSE sources.highest_sequence END,"
    " received = sources.received + excluded.received, kept = sources.kept + excluded.kept,"
    " kept_bytes = sources.kept_bytes + excluded.kept_bytes, last_received_s = excluded.last_received_s"
)
"""Written out, with the driver's own marks: composing statements and rows by SQLAlchemy takes twice the time."""


class NewEvent(NamedTuple):
    """A batch to keep. `received_s`: epoch seconds; `rows`: how many rows are packed in `payload`."""

    source: str
    sequence: int
    received_s: float
    rows: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Event:
    """A batch that was kept; fields as in `NewEvent`."""

    id: int
    source: str
    sequence: int
    received_s: float
    rows: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Source:
    """What came from one source. `received` counts all events since it was first seen, `kept` those still there."""

    source: str
    highest_sequence: int
    received: int
    kept: int
    kept_bytes: int
    last_received_s: float


@dataclass(frozen=True, slots=True)
class EventTotals:
    """Events that are kept, and the bytes of their payloads."""

    events: int
    payload_bytes: int


class _Kept(NamedTuple):
    """An event without its payload, of which it says the size."""

    id: int
    source: str
    received_s: float
    size: int


_Choice = Callable[[Connection, Sequence[_Kept]], list[int]]
"""Ids to remove among the oldest events."""


class Events:
    """The append-only list of events."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def append(self, events: Sequence[NewEvent]) -> Future[list[int | None]]:
        """Keeps events. The future has the id of each once they are durable; None for one that was there before,
        in the database or earlier in `events`."""
        return self._database.combine(_append, tuple(events))

    def after(self, event_id: int, limit: int) -> list[Event]:
        """The first `limit` events with ids above `event_id`, in their order."""
        query = select(EVENTS).where(EVENTS.c.id > event_id).order_by(EVENTS.c.id).limit(limit)
        with self._database.reading() as connection:
            return [Event(*row) for row in connection.execute(query)]

    def last_id(self) -> int:
        """Id of the newest event; 0 before the first."""
        with self._database.reading() as connection:
            return _highest(connection)

    def totals(self) -> EventTotals:
        """How much is kept."""
        with self._database.reading() as connection:
            return _totals(connection)

    def sources(self) -> list[Source]:
        """Every source, by name."""
        with self._database.reading() as connection:
            return [Source(*row) for row in connection.execute(select(SOURCES).order_by(SOURCES.c.source))]

    def prune(self, upto_event_id: int, received_before_s: float) -> int:
        """Removes the oldest events while they have ids up to `upto_event_id` and came before that time, in small
        transactions; waits for them. The newest event stays. Gives how many went."""
        return self._prune(
            upto_event_id, lambda _, oldest: [row.id for row in oldest if row.received_s < received_before_s]
        )

    def prune_to(self, upto_event_id: int, most_bytes: int) -> int:
        """Removes the oldest events with ids up to `upto_event_id` until payloads take `most_bytes`; as `prune`."""

        def surplus(connection: Connection, oldest: Sequence[_Kept]) -> list[int]:
            excess = _totals(connection).payload_bytes - most_bytes
            chosen: list[int] = []
            for row in oldest:
                if excess <= 0:
                    break
                chosen.append(row.id)
                excess -= row.size
            return chosen

        return self._prune(upto_event_id, surplus)

    def prune_sources(self, received_before_s: float) -> int:
        """Forgets sources of which nothing is kept and nothing came since that time."""
        gone = delete(SOURCES).where(SOURCES.c.kept == 0, SOURCES.c.last_received_s < received_before_s)
        return self._database.submit(lambda connection: connection.execute(gone).rowcount).result()

    def _prune(self, upto_event_id: int, choose: _Choice) -> int:
        removed = 0
        while step := self._database.submit(
            lambda connection: _remove_oldest(connection, upto_event_id, choose)
        ).result():
            removed += step
        return removed


def _append(connection: Connection, batches: Sequence[Sequence[NewEvent]]) -> list[list[int | None]]:
    """Ids for each batch, all inserted together: what is new has an id above all that were there."""
    events = [event for batch in batches for event in batch]
    if not events:
        return [[] for _ in batches]
    highest = _highest(connection)
    _run(connection, INSERT, events)
    rows = connection.exec_driver_sql(_marked(connection, INSERTED), (highest,))
    ids: dict[tuple[str, int], int] = {(source, sequence): number for number, source, sequence in rows}
    _count(connection, [event for event in events if (event.source, event.sequence) in ids])
    return [[ids.pop((event.source, event.sequence), None) for event in batch] for batch in batches]


def _count(connection: Connection, events: Iterable[NewEvent]) -> None:
    """Adds new events to what is known of their sources; of several with one key, only the first is new."""
    counts: dict[str, tuple[str, int, int, int, int, float]] = {}
    seen: set[tuple[str, int]] = set()
    for source, sequence, received_s, _, payload in events:
        if (source, sequence) in seen:
            continue
        seen.add((source, sequence))
        _, highest, number, _, size, _ = counts.get(source, (source, sequence, 0, 0, 0, 0.0))
        number, size = number + 1, size + len(payload)
        counts[source] = (source, max(highest, sequence), number, number, size, received_s)
    if counts:
        _run(connection, COUNT, list(counts.values()))


def _remove_oldest(connection: Connection, upto_event_id: int, choose: _Choice) -> int:
    query = (
        select(EVENTS.c.id, EVENTS.c.source, EVENTS.c.received_s, func.length(EVENTS.c.payload))
        .where(EVENTS.c.id <= upto_event_id, EVENTS.c.id < _highest(connection))
        .order_by(EVENTS.c.id)
        .limit(MOST_PRUNED)
    )
    oldest = [_Kept(*row) for row in connection.execute(query)]
    chosen = set(choose(connection, oldest))
    if not chosen:
        return 0
    connection.execute(delete(EVENTS).where(EVENTS.c.id.in_(sorted(chosen))))
    gone = [row for row in oldest if row.id in chosen]
    numbers = Counter(row.source for row in gone)
    for source, number in numbers.items():
        size = sum(row.size for row in gone if row.source == source)
        connection.execute(
            update(SOURCES)
            .where(SOURCES.c.source == source)
            .values(kept=SOURCES.c.kept - number, kept_bytes=SOURCES.c.kept_bytes - size)
        )
    return len(chosen)


def _highest(connection: Connection) -> int:
    return connection.exec_driver_sql(HIGHEST).scalar_one()


def _totals(connection: Connection) -> EventTotals:
    query = select(func.coalesce(func.sum(SOURCES.c.kept), 0), func.coalesce(func.sum(SOURCES.c.kept_bytes), 0))
    events, size = connection.execute(query).one()
    return EventTotals(int(events), int(size))


def _run(connection: Connection, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
    connection.exec_driver_sql(_marked(connection, statement), list(rows))


def _marked(connection: Connection, statement: str) -> str:
    return statement if connection.dialect.paramstyle == "qmark" else statement.replace("?", "%s")
