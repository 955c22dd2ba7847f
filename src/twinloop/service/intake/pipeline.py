"""One way in for every report: checked, made durable, acknowledged, and only then on its way to the twins.

Source of the order: nothing is acknowledged that a kill could take away, nothing reaches the twins that a restart would
not bring back.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from twinloop.errors import TwinloopError
from twinloop.network.formats import MAX_BODY_BYTES, Accepted, Batch, Receipt, Refusal, Rows, check, pack, unpack
from twinloop.service.intake.backlog import Backlog
from twinloop.service.intake.ledger import Ledger
from twinloop.service.intake.placing import Entity, Owners, refusals_of
from twinloop.service.live import Members
from twinloop.storage import NewEvent, RefusedRow, Storage

_log = logging.getLogger("twinloop.intake")
_SETTLED_EVENTS = 500


class BusyError(TwinloopError):
    """More is waiting than may wait; try again after `retry_after_s`."""

    def __init__(self, what: str, retry_after_s: float) -> None:
        super().__init__(f"{what}; try again in {retry_after_s:g} s")
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class Ack:
    """What became of a batch: rows accepted and refused, whether it had come before, the number of its event."""

    source: str
    sequence: int
    accepted: int
    refused: tuple[Refusal, ...]
    duplicate: bool
    event: int | None


class Bounds(BaseModel):
    """How much may come at once (more only makes all wait), wait for the disk and wait for the next slot, and how far a
    source's clock may be off unnoticed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    requests: Annotated[int, Field(ge=1)] = 500
    coming_bytes: Annotated[int, Field(ge=2**16)] = 16 * 2**20
    waiting_bytes: Annotated[int, Field(ge=2**16)] = 64 * 2**20
    waiting_events: Annotated[int, Field(ge=1)] = 20_000
    backlog_events: Annotated[int, Field(ge=1)] = 50_000
    backlog_bytes: Annotated[int, Field(ge=2**20)] = 256 * 2**20
    skew_tolerance_s: Annotated[float, Field(gt=0)] = 2.0


@dataclass
class _Waiting:
    event: NewEvent
    accepted: Accepted
    batch: Batch
    ack: "asyncio.Future[Ack]"


class Intake:
    """Checks batches and commits them in groups, one group at a time, so that events reach the twins in their order.

    `deliver(event, received_s, rows)` gets what is durable and new, `receipts(source, receipts)` what sites say;
    `observed(source, rows)` is told of what was delivered. `backlog` gives how many of those wait for a slot.
    """

    def __init__(
        self,
        storage: Storage,
        members: Members,
        clock: Callable[[], float],
        deliver: Callable[[int, float, tuple[Rows, ...]], None],
        receipts: Callable[[str, Sequence[Receipt]], None],
        backlog: Callable[[], int],
        bounds: Bounds | None = None,
        owners: Owners | None = None,
    ) -> None:
        self.ledger = Ledger()
        self.backlog = Backlog(backlog)
        self.bounds = bounds or Bounds()
        self.refused_busy = 0
        self.observed: Callable[[str, tuple[Rows, ...]], None] = lambda source, rows: None
        self._storage = storage
        self._members = members
        self._clock = clock
        self._deliver = deliver
        self._receipts = receipts
        self._owners = owners or Owners({})
        self._waiting: deque[_Waiting] = deque()
        self._bytes = 0
        self._requests = 0
        self._coming_bytes = 0
        self._committing: asyncio.Task[None] | None = None
        self._paused = ""
        self._delivered = 0
        self._doubted = False

    def pause(self, why: str) -> None:
        """Takes nothing more until `resume`."""
        self._paused = why

    def resume(self, delivered: int) -> None:
        """Takes in what comes; all events up to number `delivered` are in the twins."""
        self._paused, self._delivered = "", delivered

    @property
    def waiting(self) -> tuple[int, int]:
        """Events and bytes that wait for the disk."""
        return len(self._waiting), self._bytes

    @property
    def most_bytes(self) -> int:
        """Of one batch: more could never wait."""
        return min(MAX_BODY_BYTES, self.bounds.coming_bytes, self.bounds.waiting_bytes)

    @contextmanager
    def coming(self, size_bytes: int) -> Generator[Callable[[int], None]]:
        """While a request of `size_bytes` is read and kept; gives what charges bytes that it has besides.

        Both raise BusyError where so much may not come at once.
        """
        if self._requests >= self.bounds.requests:
            raise self._busy("too many reports come at once")
        held = 0

        def charge(more_bytes: int) -> None:
            nonlocal held
            if self._coming_bytes + more_bytes > self.bounds.coming_bytes:
                raise self._busy("too many reports come at once")
            self.admit(self._coming_bytes + more_bytes)
            held += more_bytes
            self._coming_bytes += more_bytes

        charge(size_bytes)
        self._requests += 1
        try:
            yield charge
        finally:
            self._requests -= 1
            self._coming_bytes -= held

    def admit(self, size_bytes: int) -> None:
        """Raises BusyError where `size_bytes` more may not wait."""
        if self._paused:
            raise BusyError(self._paused, 2.0)
        if self._bytes + size_bytes > self.bounds.waiting_bytes or len(self._waiting) >= self.bounds.waiting_events:
            raise self._busy("reports come faster than they can be kept")
        events, size = self.backlog.waiting
        if events >= self.bounds.backlog_events or size >= self.bounds.backlog_bytes:
            raise self._busy("reports come faster than the twins take them in")

    def _busy(self, what: str) -> BusyError:
        self.refused_busy += 1
        return BusyError(what, 1.0)

    async def submit(self, batch: Batch, size_bytes: int, site: str = "") -> Ack:
        """Takes a batch in; returns once it is durable. Raises BusyError, or StorageError where it was not kept.

        What is bound to a `site` may not report cells and servers of another.
        """
        self.admit(size_bytes)
        now = self._clock()
        shift_s = self.ledger.sent(batch.source, now, batch.sent_s, size_bytes, self.bounds.skew_tolerance_s)
        accepted = self._placed(batch, check(batch, now, shift_s=shift_s), site)
        rows = sum(len(part.ids) for part in accepted.rows)
        event = NewEvent(batch.source, batch.sequence, now, rows, pack(accepted.rows))
        ack: asyncio.Future[Ack] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(event, accepted, batch, ack))
        self._bytes += len(event.payload)
        if self._committing is None or self._committing.done():
            self._committing = asyncio.create_task(self._commit())
        return await ack

    def _placed(self, batch: Batch, accepted: Accepted, site: str) -> Accepted:
        """Without the rows of entities that have no place here, or are not this site's to report."""
        rows: list[Rows] = []
        astray: dict[Entity, str] = {}
        for part in accepted.rows:
            names = list(zip(part.ids, part.slices, part.groups, strict=True))
            why = [self._members.why_not(part.kind, name, of, group) for name, of, group in names]
            if site and part.kind != "users":
                why = [
                    one or self._owners.why_not(part.kind, name, site) for one, name in zip(why, part.ids, strict=True)
                ]
            if any(why):
                kind = part.kind[:-1]
                astray |= {(kind, *who): reason for who, reason in zip(names, why, strict=True) if reason}
                part = _only(part, [at for at, reason in enumerate(why) if not reason])
            if part.ids:
                rows.append(part)
        if not astray:
            return accepted
        told = refusals_of(batch, astray, {refusal.index for refusal in accepted.refused})
        refused = sorted((*accepted.refused, *told), key=lambda refusal: refusal.index)
        return replace(accepted, rows=tuple(rows), refused=tuple(refused))

    async def _commit(self) -> None:
        while self._waiting:
            group = list(self._waiting)
            self._waiting.clear()
            self._bytes = 0
            try:
                if self._doubted:
                    await run_in_threadpool(self._settle)
                numbers = await asyncio.wrap_future(self._storage.events.append([one.event for one in group]))
            except Exception as error:
                self._doubted = True
                _fail(group, error)
                continue
            for one, number in zip(group, numbers, strict=True):
                self._committed(one, number)

    def _settle(self) -> None:
        """Delivers what a commit kept whose answer did not come: its sources send it again, and it is kept already."""
        while events := self._storage.events.after(self._delivered, _SETTLED_EVENTS):
            for event in events:
                rows = unpack(event.payload)
                self._members.join(rows)
                self._pass_on(event.id, event.received_s, rows)
            self._delivered = events[-1].id
        self._doubted = False

    def _committed(self, one: _Waiting, number: int | None) -> None:
        source, sequence = one.event.source, one.event.sequence
        if number is None:
            self.ledger.repeated(source)
        else:
            self.ledger.kept(source, sequence, one.event.rows, len(one.accepted.refused))
            self._delivered = max(self._delivered, number)
            self._pass_on(number, one.event.received_s, one.accepted.rows)
            self.observed(source, one.accepted.rows)
            self._keep_refusals(one)
        if one.batch.receipts:
            self._receipts(source, one.batch.receipts)
        if not one.ack.done():
            refused = one.accepted.refused
            one.ack.set_result(Ack(source, sequence, one.event.rows, refused, number is None, number))

    def _pass_on(self, event: int, received_s: float, rows: tuple[Rows, ...]) -> None:
        self._deliver(event, received_s, rows)
        self.backlog.add(rows)

    def _keep_refusals(self, one: _Waiting) -> None:
        if one.accepted.refused:
            told = [
                RefusedRow(one.event.received_s, one.event.source, one.event.sequence, why.index, why.reason, why.row)
                for why in one.accepted.refused
            ]
            self._storage.refusals.add(told).add_done_callback(_say_failure)


def _fail(group: Sequence[_Waiting], error: Exception) -> None:
    for one in group:
        if not one.ack.done():
            one.ack.set_exception(error)


def _say_failure(done: "Future[None]") -> None:
    error = done.exception()
    if error is not None:
        _log.error("refused rows could not be kept: %s", error)


def _only(part: Rows, at: list[int]) -> Rows:
    index = np.asarray(at, np.int64)
    return replace(
        part,
        ids=[part.ids[i] for i in at],
        time_s=part.time_s[index],
        value=part.value[index],
        slices=[part.slices[i] for i in at],
        groups=[part.groups[i] for i in at],
    )
