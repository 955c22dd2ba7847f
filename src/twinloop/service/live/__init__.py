"""The loop of a running network: its one runner, the picture it publishes every slot, and what is asked of it."""

from twinloop.service.live.frames import Frame, Moment, read_frame, write_frame
from twinloop.service.live.members import Members, group_names
from twinloop.service.live.picture import KIND_OF, ForetellPort, Foretold, HistoryPort, KindPicture, Picture, Series
from twinloop.service.live.runner import Pace, Present, Runner, Slot, Timing, Watcher
from twinloop.service.live.snapshots import Captured, SnapshotError, capture, pack, restore

__all__ = [
    "KIND_OF",
    "Captured",
    "ForetellPort",
    "Foretold",
    "Frame",
    "HistoryPort",
    "KindPicture",
    "Members",
    "Moment",
    "Pace",
    "Picture",
    "Present",
    "Runner",
    "Series",
    "Slot",
    "SnapshotError",
    "Timing",
    "Watcher",
    "capture",
    "group_names",
    "pack",
    "read_frame",
    "restore",
    "write_frame",
]
