"""What each source has sent: batches and rows, gaps and repetitions, how far its clock is off."""

import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from twinloop.service.intake.clocks import SourceClock

MOST_SOURCES = 10_000
MOST_GAPS = 256

MOST_SHIFT_S = 86_400.0
"""Times are shifted by at most so much: a clock that is further off says nothing about when something was measured."""

MOST_JUMP = 10_000
"""A sequence number that is further from the highest one is of a new numbering, and nothing counts as missing."""


@dataclass
class SourceState:
    """One source. Times are epoch seconds.

    `skew_s` is our clock less the source's, as far as it is known; `lag_s` how long after its `sent_s` the last batch
    came, by both clocks. None: it never said when it sent. `skewed` counts batches whose times were corrected.

    `gaps` holds [first, last] of sequence numbers that were passed over and have not come; `missing` counts them all.
    `renumbered` counts how often the numbers began anew: `highest` is of the last numbering.
    """

    source: str
    batches: int = 0
    rows: int = 0
    refused_rows: int = 0
    duplicates: int = 0
    disordered: int = 0
    missing: int = 0
    renumbered: int = 0
    skewed: int = 0
    bytes: int = 0
    highest: int = -1
    skew_s: float | None = None
    lag_s: float | None = None
    first_s: float = 0.0
    last_s: float = 0.0
    gaps: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])


class Ledger:
    """Sources by name, the longest silent forgotten beyond 10,000."""

    def __init__(self) -> None:
        self._sources: OrderedDict[str, SourceState] = OrderedDict()
        self._clocks: dict[str, SourceClock] = {}
        self._lock = threading.Lock()

    def sent(self, source: str, now_s: float, sent_s: float | None, size_bytes: int, tolerance_s: float) -> float:
        """Notes that something came. Returns by how many seconds its times are to be shifted, 0 within tolerance and
        beyond `MOST_SHIFT_S`.
        """
        with self._lock:
            state = self._state(source, now_s)
            state.last_s = now_s
            state.bytes += size_bytes
            if sent_s is None:
                return 0.0
            state.lag_s = now_s - sent_s
            clock = self._clocks.setdefault(source, SourceClock())
            shift_s = clock.shift(now_s, state.lag_s, tolerance_s)
            state.skew_s = shift_s or clock.off_s
            shift_s = shift_s if abs(shift_s) <= MOST_SHIFT_S else 0.0
            state.skewed += shift_s != 0.0
            return shift_s

    def kept(self, source: str, sequence: int, rows: int, refused: int) -> None:
        """Notes a batch that is durable for the first time."""
        with self._lock:
            state = self._sources.get(source)
            if state is None:
                return
            state.batches += 1
            state.rows += rows
            state.refused_rows += refused
            filled, jump = _filled(state.gaps, sequence), sequence - state.highest
            if filled or -MOST_JUMP <= jump <= 0:
                state.disordered += 1
                state.missing -= filled
                return
            if state.highest >= 0 and abs(jump) > MOST_JUMP:
                state.renumbered += 1
            elif state.highest >= 0 and jump > 1:
                state.missing += jump - 1
                state.gaps.append((state.highest + 1, sequence - 1))
                del state.gaps[:-MOST_GAPS]
            state.highest = sequence

    def repeated(self, source: str) -> None:
        """Notes a batch that had come before."""
        with self._lock:
            state = self._sources.get(source)
            if state is not None:
                state.duplicates += 1

    def remember(self, highest: Iterable[tuple[str, int, int, float]]) -> None:
        """Goes on from what the storage holds: source, highest sequence, batches, when last received."""
        with self._lock:
            for source, sequence, batches, last_s in highest:
                state = self._state(source, last_s)
                state.highest, state.batches, state.last_s = sequence, batches, last_s

    def told(self) -> list[dict[str, Any]]:
        """All sources."""
        with self._lock:
            return [asdict(state) for state in self._sources.values()]

    def _state(self, source: str, now_s: float) -> SourceState:
        state = self._sources.get(source)
        if state is None:
            state = self._sources[source] = SourceState(source, first_s=now_s)
            while len(self._sources) > MOST_SOURCES:
                forgotten, _ = self._sources.popitem(last=False)
                self._clocks.pop(forgotten, None)
        self._sources.move_to_end(source)
        return state


def _filled(gaps: list[tuple[int, int]], sequence: int) -> int:
    """Takes a number out of the gaps; 1 where it was in one."""
    for at, (first, last) in enumerate(gaps):
        if first <= sequence <= last:
            parts = [(first, sequence - 1), (sequence + 1, last)]
            gaps[at : at + 1] = [(low, high) for low, high in parts if low <= high]
            return 1
    return 0
