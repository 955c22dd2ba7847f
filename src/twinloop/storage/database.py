"""A database with its one writer and its many readers, as the tables use it."""

from collections.abc import Callable, Generator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TypeVar

from sqlalchemy import Connection

from twinloop.errors import StorageError
from twinloop.storage.backends import AbstractBackend
from twinloop.storage.faults import storage_fault
from twinloop.storage.writer import WriteAll, Writer

T = TypeVar("T")
Item = TypeVar("Item")


class Database:
    """Reads by pooled connections in any thread; writes by the writer. With `read_only` there is no writer."""

    def __init__(self, backend: AbstractBackend, *, read_only: bool) -> None:
        self._backend = backend
        self._writer = None if read_only else Writer(backend)
        self._closed = False

    @property
    def place(self) -> str:
        """Name of the database for messages, without a password."""
        return self._backend.place

    @property
    def waiting(self) -> int:
        """Writes that have not begun."""
        return 0 if self._writer is None else self._writer.waiting

    @contextmanager
    def reading(self) -> Generator[Connection]:
        """A connection in a transaction that sees one state of the database and cannot write.

        Raises StorageUnavailable and StorageError.
        """
        if self._closed:
            raise StorageError(f"{self.place} is closed")
        try:
            with self._backend.reading.connect() as connection:
                yield connection
        except Exception as error:
            fault = storage_fault(error, self.place)
            if fault is error:
                raise
            raise fault from error

    def submit(self, write: Callable[[Connection], T]) -> Future[T]:
        """See `Writer.submit`. Raises StorageError where the database is open for reading only."""
        return self._one_writer().submit(write)

    def combine(self, write: WriteAll[Item, T], item: Item) -> Future[T]:
        """See `Writer.combine` and `submit`."""
        return self._one_writer().combine(write, item)

    def shrink(self) -> None:
        """Gives space that is no longer used back to the disk, in small steps between other writes."""
        while self.submit(self._backend.shrink).result():
            pass
        self._backend.truncate_log()

    def close(self) -> None:
        """Carries out what waits and lets go of the database."""
        self._closed = True
        if self._writer is not None:
            self._writer.close()
        self._backend.release()

    def _one_writer(self) -> Writer:
        if self._writer is None:
            raise StorageError(f"{self.place} is open for reading only")
        return self._writer
