"""What changed in the twins, slot by slot, for those who listen; whoever lost the connection goes on where it broke."""

import asyncio
import threading
from collections import deque
from dataclasses import dataclass

import numpy as np

from twinloop.service.live import KIND_OF, Picture

KEPT_SLOTS = 600
_NOUN = {table: noun for noun, table in KIND_OF.items()}


@dataclass(frozen=True, slots=True)
class Change:
    """The rows of each kind whose revision grew in a slot; `number` counts slots that were published."""

    number: int
    picture: Picture
    rows: dict[str, tuple[int, ...]]
    held: str


class Changes:
    """Publishes pictures from the runner's thread to listeners in event loops."""

    def __init__(self) -> None:
        self.latest: Change | None = None
        self._kept: deque[Change] = deque(maxlen=KEPT_SLOTS)
        self._listeners: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()
        self._lock = threading.Lock()

    def publish(self, picture: Picture, held: str) -> None:
        """A slot is over."""
        before = self.latest
        rows = {
            noun: tuple(_grown(None if before is None else before.picture, picture, table))
            for table, noun in _NOUN.items()
        }
        with self._lock:
            self.latest = Change(picture.slot, picture, rows, held)
            self._kept.append(self.latest)
            listeners = list(self._listeners)
        for loop, event in listeners:
            loop.call_soon_threadsafe(event.set)

    def since(self, number: int) -> tuple[list[Change], bool]:
        """Changes after `number`, and whether none between was lost."""
        with self._lock:
            kept = list(self._kept)
        complete = not kept or number >= kept[0].number - 1
        return [change for change in kept if change.number > number], complete

    async def wait(self, after: int, timeout_s: float) -> bool:
        """Waits for a change after `after`; False where none came in time."""
        if self.latest is not None and self.latest.number > after:
            return True
        event = asyncio.Event()
        listener = (asyncio.get_running_loop(), event)
        with self._lock:
            self._listeners.add(listener)
        try:
            await asyncio.wait_for(event.wait(), timeout_s)
        except TimeoutError:
            return False
        finally:
            with self._lock:
                self._listeners.discard(listener)
        return True


def _grown(before: Picture | None, after: Picture, table: str) -> list[int]:
    now = after.of(table)
    if before is None:
        return [int(row) for row in np.flatnonzero(now.active)]
    return [int(row) for row in np.flatnonzero(now.revision != before.of(table).revision)]
