"""What changed in the twins and when, for those who listen: not every change one after the other, but what differs from
where a listener stands. So who is slow or was away is told the newest values at once, and nothing is queued.
"""

import asyncio
import threading
from collections import Counter, deque
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twinloop.errors import TwinloopError
from twinloop.service.live import KIND_OF, KindPicture, Picture

MOST_GONE = 20_000
"""Twins that left that are remembered for those who were away."""
MOST_LISTENERS, MOST_OF_ONE = 500, 100
"""Listeners at once, and those of one caller."""
_NEVER = -1


class CrowdError(TwinloopError):
    """Too many listen already."""


@dataclass(frozen=True, slots=True)
class Marks:
    """Of one kind the slot in which each value was last heard anew, [entities, attributes], and in which each twin
    came or went, [entities]; -1 for before this server's first slot.
    """

    values: NDArray[np.int32]
    twins: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Gone:
    """A twin that left its row in the slot `number`."""

    number: int
    noun: str
    id: str


@dataclass(frozen=True, slots=True)
class Change:
    """The twins after the slot `number`, and when what of them changed, by noun. Changes after the slots from `first`
    on are all marked, `gone` included. `held` is why nothing was decided, "" where it was.
    """

    number: int
    first: int
    picture: Picture
    marks: dict[str, Marks]
    gone: tuple[Gone, ...]
    held: str


class Changes:
    """Publishes changes from the runner's thread to listeners in event loops."""

    def __init__(self) -> None:
        self.latest: Change | None = None
        self.listening = 0
        self.dropped = 0
        self.closed = False
        self._gone: deque[Gone] = deque()
        self._first = _NEVER
        self._seats = Counter[str]()
        self._listeners: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()
        self._lock = threading.Lock()

    def publish(self, picture: Picture, held: str) -> None:
        """A slot is over."""
        before = self.latest
        if before is None:
            self._first = picture.slot
        marks: dict[str, Marks] = {}
        for noun in KIND_OF:
            now = picture.of(noun)
            last = None if before is None else (before.picture.of(noun), before.marks[noun])
            marks[noun] = _marked(last, now, picture.slot)
            if last is not None:
                self._remember(noun, last[0], now, picture.slot)
        self.latest = Change(picture.slot, self._first, picture, marks, tuple(self._gone), held)
        self._wake()

    def close(self) -> None:
        """The server ends, and whoever listens is to go."""
        self.closed = True
        self._wake()

    def _wake(self) -> None:
        with self._lock:
            listeners = list(self._listeners)
        for loop, event in listeners:
            loop.call_soon_threadsafe(event.set)

    async def wait(self, after: int, timeout_s: float) -> bool:
        """Waits for a change after slot `after`; False where none came in time."""
        event = asyncio.Event()
        listener = (asyncio.get_running_loop(), event)
        with self._lock:
            self._listeners.add(listener)
        try:
            if self.latest is not None and self.latest.number > after:
                return True
            await asyncio.wait_for(event.wait(), timeout_s)
        except TimeoutError:
            return False
        finally:
            with self._lock:
                self._listeners.discard(listener)
        return True

    @contextmanager
    def seat(self, caller: str) -> Generator[None]:
        """Room for one listener of a caller. Raises CrowdError where there is none."""
        with self._lock:
            if self.listening >= MOST_LISTENERS:
                raise CrowdError(f"{MOST_LISTENERS} clients listen already")
            if self._seats[caller] >= MOST_OF_ONE:
                raise CrowdError(f"{MOST_OF_ONE} of your clients listen already")
            self.listening += 1
            self._seats[caller] += 1
        try:
            yield
        finally:
            with self._lock:
                self.listening -= 1
                self._seats[caller] -= 1
                self._seats += Counter[str]()

    def _remember(self, noun: str, before: KindPicture, now: KindPicture, number: int) -> None:
        if before.ids is now.ids or before.ids == now.ids:
            return
        left = [one for one in before.names.row if one not in now.names.row]
        self._gone.extend(Gone(number, noun, one) for one in left)
        while len(self._gone) > MOST_GONE:
            self._first = max(self._first, self._gone.popleft().number)


def _marked(last: tuple[KindPicture, Marks] | None, now: KindPicture, number: int) -> Marks:
    if last is None:
        return Marks(np.full(now.slot.shape, _NEVER, np.int32), np.full(now.active.shape, _NEVER, np.int32))
    before, marks = last
    heard = (now.slot != before.slot) | (now.value != before.value) & (now.slot >= 0)
    twins = now.active != before.active
    if before.ids is not now.ids and before.ids != now.ids:
        twins = twins | np.fromiter((a != b for a, b in zip(before.ids, now.ids, strict=True)), np.bool_, len(twins))
    values = np.where(heard | twins[:, None], np.int32(number), marks.values)
    return Marks(values, np.where(twins, np.int32(number), marks.twins))
