"""One thread owns the connection that writes, and carries out all that waits in one transaction.

Many senders share a commit: what arrives while one runs is the next one. What fails is parted in halves until the write
at fault fails alone; the others are kept. A lost connection fails what it was asked for, and is made anew for the next.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from sqlalchemy import Connection, exc

from twinloop.errors import StorageError
from twinloop.storage.backends import AbstractBackend
from twinloop.storage.faults import StorageUnavailable, storage_fault

MOST_TOGETHER = 1000
"""Writes in one transaction."""

T = TypeVar("T")
Item = TypeVar("Item")

Write = Callable[[Connection], T]
"""What a write does with the connection, inside a transaction that it neither begins nor ends. It may be carried out
again after its transaction was rolled back, so it touches nothing but the database."""
WriteAll = Callable[[Connection, Sequence[Item]], Sequence[T]]
"""The same for many items at once; gives a result for each."""


@dataclass(frozen=True, slots=True)
class _Job:
    write: WriteAll[Any, Any]
    item: Any
    future: Future[Any]


class Writer:
    """The thread that writes. `submit` and `combine` may be called from any thread and never wait."""

    def __init__(self, backend: AbstractBackend) -> None:
        self._backend = backend
        self._connection: Connection | None = None
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._entry = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="twinloop-storage", daemon=True)
        self._thread.start()

    def submit(self, write: Write[T]) -> Future[T]:
        """Carries out one write; the future has its result when it is committed.

        The future fails with StorageUnavailable, StorageFull or another StorageError, or with what `write` raised.
        """

        def write_one(connection: Connection, _: Sequence[None]) -> Sequence[T]:
            return [write(connection)]

        return self.combine(write_one, None)

    def combine(self, write: WriteAll[Item, T], item: Item) -> Future[T]:
        """Like `submit`; items that wait one after the other for the same `write` are given to it together."""
        future: Future[T] = Future()
        with self._entry:
            if self._closed:
                future.set_exception(StorageError(f"{self._backend.place} is closed"))
            else:
                self._jobs.put(_Job(write, item, future))
        return future

    @property
    def waiting(self) -> int:
        """Writes that have not begun."""
        return self._jobs.qsize()

    def close(self) -> None:
        """Carries out all that waits, then lets go of the connection. Later writes fail."""
        with self._entry:
            if not self._closed:
                self._closed = True
                self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        ended = False
        while not ended:
            jobs, ended = self._next_jobs()
            running = [job for job in jobs if job.future.set_running_or_notify_cancel()]
            if running:
                self._carry_out(running)
        self._drop_connection()

    def _next_jobs(self) -> tuple[list[_Job], bool]:
        """Waits for a job, and takes with it all that wait behind it; True when these are the last."""
        jobs: list[_Job] = []
        job = self._jobs.get()
        while job is not None:
            jobs.append(job)
            if len(jobs) == MOST_TOGETHER:
                return jobs, False
            try:
                job = self._jobs.get_nowait()
            except Empty:
                return jobs, False
        return jobs, True

    def _carry_out(self, jobs: Sequence[_Job]) -> None:
        try:
            outcomes = list(zip(jobs, self._commit(jobs), strict=True))
        except Exception as error:
            if self._unusable(error) or len(jobs) == 1:
                for job in jobs:
                    job.future.set_exception(storage_fault(error, self._backend.place))
                return
        else:
            for job, result in outcomes:
                job.future.set_result(result)
            return
        half = len(jobs) // 2
        self._carry_out(jobs[:half])
        self._carry_out(jobs[half:])

    def _commit(self, jobs: Sequence[_Job]) -> list[Any]:
        """Results of the jobs, in one transaction."""
        connection = self._connected()
        results: list[Any] = []
        with connection.begin():
            for write, group in groupby(jobs, key=lambda job: job.write):
                results += write(connection, [job.item for job in group])
        return results

    def _connected(self) -> Connection:
        if self._connection is None:
            connection = self._backend.writing.connect()
            try:
                self._backend.claim(connection)
            except Exception:
                connection.invalidate()
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _unusable(self, error: Exception) -> bool:
        """Lets go of the connection after an error that may be its own; True where the next job would meet it too."""
        passing = isinstance(storage_fault(error, self._backend.place), StorageUnavailable)
        connection = self._connection
        if passing or (connection is not None and (connection.invalidated or connection.in_transaction())):
            self._drop_connection()
        return passing

    def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(exc.SQLAlchemyError):
                connection.close()
