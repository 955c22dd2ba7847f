"""What is kept, a module a table."""

from twinloop.storage.tables.events import Event, Events, EventTotals, NewEvent, Source
from twinloop.storage.tables.frames import Frame, Frames
from twinloop.storage.tables.log import Log, LogLine
from twinloop.storage.tables.records import Record, Records
from twinloop.storage.tables.refusals import Refusals, RefusedRow
from twinloop.storage.tables.settings import Settings
from twinloop.storage.tables.snapshots import Snapshot, Snapshots

__all__ = [
    "Event",
    "EventTotals",
    "Events",
    "Frame",
    "Frames",
    "Log",
    "LogLine",
    "NewEvent",
    "Record",
    "Records",
    "Refusals",
    "RefusedRow",
    "Settings",
    "Snapshot",
    "Snapshots",
    "Source",
]
