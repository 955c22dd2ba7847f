"""SQLite: one file with a write-ahead log beside it (https://www.sqlite.org/wal.html).

A commit that is acknowledged survives the end of the process at any moment; with `fsync` it survives the loss of power.
The write lock between processes is a second, tiny database `FILE.lock` whose holder keeps a transaction open: the
system lets go of it whatever ends the process, and children do not inherit it.
"""

import os
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import NullPool, QueuePool

from twinloop.errors import StorageError
from twinloop.storage.backends.abstract import AbstractBackend
from twinloop.storage.faults import StorageUnavailable, Unstorable

BUSY_S = 10.0
READERS, MORE_READERS = 8, 24
PAGE_BYTES = 8192
CACHE_KIB = 32_768
CHECKPOINT_PAGES = 2048
LOG_KEPT_BYTES = 64 * 1024**2
SPARE_PAGES, SPARE_SHARE, VACUUM_PAGES = 512, 0.1, 512
"""Free pages that stay: at least so many, and that share of the file; one step gives back VACUUM_PAGES."""


class Sqlite(AbstractBackend):
    """The database in the file `path`, which is made with its folder where `make` allows it."""

    def __init__(self, path: Path, *, fsync: bool, make: bool) -> None:
        self.place = str(path)
        self._path = path
        self._lock: sqlite3.Connection | None = None
        self._prepare_file(make)
        durable = "FULL" if fsync else "NORMAL"
        self.writing = self._engine(
            "BEGIN IMMEDIATE",
            f"PRAGMA page_size={PAGE_BYTES}",
            "PRAGMA auto_vacuum=INCREMENTAL",
            f"PRAGMA synchronous={durable}",
            f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}",
            f"PRAGMA journal_size_limit={LOG_KEPT_BYTES}",
            f"PRAGMA cache_size=-{CACHE_KIB}",
            "PRAGMA foreign_keys=ON",
            poolclass=NullPool,
        )
        self.reading = self._engine(
            "BEGIN",
            "PRAGMA query_only=ON",
            poolclass=QueuePool,
            pool_size=READERS,
            max_overflow=MORE_READERS,
            pool_timeout=BUSY_S,
        )

    def _prepare_file(self, make: bool) -> None:
        if self._path.is_dir():
            raise StorageError(f"{self.place} is a folder; name a file in it")
        if not make and not self._path.exists():
            raise StorageError(f"there is no database {self.place}")
        try:
            if make:
                self._path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            why = error.strerror or str(error)
            raise StorageError(f"{self.place} cannot be made ({why}); choose another place for the database") from error
        if not os.access(self._path if self._path.exists() else self._path.parent, os.W_OK):
            raise StorageError(f"{self.place} cannot be written; change who may write there, or choose another place")

    def _engine(self, begin: str, *pragmas: str, **pool: Any) -> Engine:
        engine = create_engine(f"sqlite:///{self._path.absolute()}", connect_args={"timeout": BUSY_S}, **pool)

        def begin_transaction(connection: Connection) -> None:
            connection.exec_driver_sql(begin)

        def prepare(driver: sqlite3.Connection, _: object) -> None:
            driver.isolation_level = None
            for pragma in pragmas:
                driver.execute(pragma)

        event.listen(engine, "connect", prepare)
        event.listen(engine, "begin", begin_transaction)
        event.listen(engine, "before_cursor_execute", self._refuse_nul)
        return engine

    def _refuse_nul(self, _: Connection, __: object, ___: str, values: Any, ____: object, many: bool) -> None:
        """PostgreSQL keeps no text with the character NUL; what is kept here could not be moved there."""
        for row in values if many else (values,):
            if any(isinstance(value, str) and "\0" in value for value in row):
                raise Unstorable(self.place, "a text has the character NUL")

    def claim(self, connection: Connection) -> None:
        """Takes the lock beside the file; see `AbstractBackend`."""
        if self._lock is None:
            self._lock = _locked(Path(f"{self._path}.lock"), self.place)
        cursor = connection.connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        if cursor.fetchone() != ("wal",):
            raise StorageError(f"{self.place}: no write-ahead log is possible there; choose a folder on a local disk")

    def release(self) -> None:
        """Closes the pool and lets go of the lock."""
        self.reading.dispose()
        self.writing.dispose()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def shrink(self, connection: Connection) -> bool:
        """Gives back a few thousand bytes of pages at a time, but for some that will be used again."""
        pages = int(connection.exec_driver_sql("PRAGMA page_count").scalar_one())
        free = int(connection.exec_driver_sql("PRAGMA freelist_count").scalar_one())
        surplus = free - max(SPARE_PAGES, int(SPARE_SHARE * pages))
        if surplus <= 0:
            return False
        cursor = connection.connection.cursor()
        for _ in range(min(surplus, VACUUM_PAGES)):
            cursor.execute("PRAGMA incremental_vacuum(1)")  # Python's driver takes one step of it, which is one page
        return surplus > VACUUM_PAGES

    def truncate_log(self) -> None:
        """Empties the write-ahead log where it has outgrown its bound."""
        log = Path(f"{self._path}-wal")
        if not log.exists() or log.stat().st_size <= LOG_KEPT_BYTES:
            return
        driver = self.writing.raw_connection()
        try:
            cursor = driver.cursor()
            cursor.execute("PRAGMA busy_timeout=1000")
            with suppress(sqlite3.OperationalError):
                cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            driver.close()


def _locked(path: Path, place: str) -> sqlite3.Connection:
    """An open transaction on the lock's own database, where the holder's process id can be read."""
    lock = sqlite3.connect(path, timeout=0.0, isolation_level=None, check_same_thread=False)
    try:
        lock.execute("BEGIN EXCLUSIVE")
        lock.execute("CREATE TABLE IF NOT EXISTS holder (process INTEGER)")
        lock.execute("DELETE FROM holder")
        lock.execute("INSERT INTO holder VALUES (?)", (os.getpid(),))
        lock.execute("COMMIT")
        lock.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        holder = _holder(lock)
        lock.close()
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
            raise StorageError(f"{place} cannot be locked ({error}); choose another place for the database") from error
        raise StorageUnavailable(
            f"another server{holder} writes to {place}; stop it first, or choose another database"
        ) from error
    except sqlite3.DatabaseError as error:
        lock.close()
        raise StorageError(f"{path} is no lock of a database ({error}); move it away") from error
    return lock


def _holder(lock: sqlite3.Connection) -> str:
    try:
        row = lock.execute("SELECT process FROM holder").fetchone()
    except sqlite3.OperationalError:
        return ""
    return f" (process {row[0]})" if row else ""
