"""What survives: events, snapshots, history, documents and the log, in SQLite or PostgreSQL; the only home of SQL.

`open_storage` gives a `Storage`. It knows bytes, numbers and texts, and nothing of networks or twins.
"""

from twinloop.storage.backup import check as check_backup
from twinloop.storage.faults import Conflict, StorageFull, StorageUnavailable, Unstorable
from twinloop.storage.retention import Retention, Swept
from twinloop.storage.storage import Storage, open_storage
from twinloop.storage.tables import (
    Event,
    EventTotals,
    Frame,
    LogLine,
    NewEvent,
    Record,
    RefusedRow,
    Snapshot,
    Source,
)

__all__ = [
    "Conflict",
    "Event",
    "EventTotals",
    "Frame",
    "LogLine",
    "NewEvent",
    "Record",
    "RefusedRow",
    "Retention",
    "Snapshot",
    "Source",
    "Storage",
    "StorageFull",
    "StorageUnavailable",
    "Swept",
    "Unstorable",
    "check_backup",
    "open_storage",
]
