"""Retention: how long what is kept stays, so that nothing grows without bound."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from twinloop.storage.database import Database
from twinloop.storage.tables import Events, Frames, Log, Records, Refusals, Snapshots


@dataclass(frozen=True, slots=True)
class Retention:
    """Limits of what is kept; the stricter of two counts.

    `frame_slots`: how many slots, counted back from the newest frame's, each tier of history reaches; a tier that is
    not named is kept. `event_s` and `event_bytes` bound the events that two snapshots cover; others are never removed.
    A resent batch is known as a duplicate for as long as its event is kept. `records` has how many documents of a
    collection stay, those that were changed last; collections that are not named are kept.
    """

    frame_slots: Mapping[int, int]
    event_s: float = 86_400.0
    event_bytes: int = 4 * 1024**3
    refusals: int = 100_000
    log_s: float = 31_536_000.0
    records: Mapping[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True, slots=True)
class Swept:
    """How many of each were removed."""

    events: int
    sources: int
    refusals: int
    frames: int
    log_lines: int
    records: int


def sweep(database: Database, retention: Retention, now_s: float) -> Swept:
    """Removes what is beyond the limits, in many small transactions between other writes, and waits for them.

    `now_s`: epoch seconds. Raises StorageUnavailable, StorageFull and StorageError; what went until then is gone.
    """
    events, frames = Events(database), Frames(database)
    covered = Snapshots(database).covered_event_id()
    events_gone = events.prune(covered, now_s - retention.event_s)
    events_gone += events.prune_to(covered, retention.event_bytes)
    newest_slot = frames.newest_slot() or 0
    swept = Swept(
        events_gone,
        events.prune_sources(now_s - retention.event_s),
        Refusals(database).prune(retention.refusals),
        frames.prune({tier: newest_slot - slots for tier, slots in retention.frame_slots.items()}),
        Log(database).prune(now_s - retention.log_s),
        sum(Records(database).prune(collection, most) for collection, most in retention.records.items()),
    )
    database.shrink()
    return swept
