"""How much of what was passed on waits for a slot, in bytes: rows differ in size a thousandfold."""

import threading
from collections import deque
from collections.abc import Callable

from twinloop.network.formats import Rows

BYTES_A_PART, BYTES_A_ROW = 1_024, 160
"""What rows take in memory besides their arrays: objects a part, names a row."""


class Backlog:
    """Sizes of events that were passed on and wait; `events` tells how many do. They are taken in their order."""

    def __init__(self, events: Callable[[], int]) -> None:
        self._events = events
        self._sizes: deque[int] = deque()
        self._bytes = 0
        self._lock = threading.Lock()

    def add(self, rows: tuple[Rows, ...]) -> None:
        """Notes an event that was passed on."""
        size = sum(
            part.value.nbytes + part.time_s.nbytes + BYTES_A_ROW * len(part.ids) + BYTES_A_PART for part in rows
        )  # fmt: skip
        with self._lock:
            self._sizes.append(size)
            self._bytes += size

    @property
    def waiting(self) -> tuple[int, int]:
        """Events and bytes that wait."""
        with self._lock:
            events = self._events()
            while len(self._sizes) > events:
                self._bytes -= self._sizes.popleft()
            return events, self._bytes
