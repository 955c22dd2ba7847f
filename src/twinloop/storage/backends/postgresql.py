"""PostgreSQL through psycopg 3 (https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS).

A commit is acknowledged when its log is on the server's disk, as PostgreSQL has it by default (`synchronous_commit`).
The write lock is an advisory lock of the writer's session: it ends with the connection, whatever ended it.
"""

import os
import socket
import time

from sqlalchemy import URL, Connection, create_engine, text
from sqlalchemy.pool import NullPool

from twinloop.errors import MissingExtraError, StorageError
from twinloop.storage.backends.abstract import AbstractBackend
from twinloop.storage.faults import StorageUnavailable

LOCK = int.from_bytes(b"twinloop", "big")
READERS, MORE_READERS, POOL_WAIT_S = 8, 24, 10.0
PATIENCE_S, PAUSE_S = 2.0, 0.05
"""How long a server that has just ended may still be seen to hold the lock, and how often it is looked for."""
SETTINGS = {
    "client_encoding": "utf8",
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
"""A server that is gone without a word is noticed in about 20 s; the same is asked of the server below."""
SERVER_SETTINGS = ("tcp_keepalives_idle = 10", "tcp_keepalives_interval = 3", "tcp_keepalives_count = 3")
HOLDER = text(
    "SELECT a.application_name FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid WHERE l.locktype = 'advisory'"
    " AND l.granted AND l.objsubid = 1 AND (l.classid::bigint << 32) | l.objid::bigint = :key"
    " AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)


class Postgresql(AbstractBackend):
    """The database at `url`; `place` names it in messages. Raises MissingExtraError where psycopg is not installed."""

    def __init__(self, url: URL, place: str) -> None:
        self.place = place
        name = f"twinloop process {os.getpid()} on {socket.gethostname()}"[:63]
        settings = {"application_name": name, **SETTINGS}
        settings = {own: value for own, value in settings.items() if own not in url.query}
        try:
            self.writing = create_engine(url, connect_args=settings, poolclass=NullPool)
        except ImportError as error:
            raise MissingExtraError("PostgreSQL", "postgres") from error
        self.reading = create_engine(
            url,
            connect_args=settings,
            pool_size=READERS,
            max_overflow=MORE_READERS,
            pool_timeout=POOL_WAIT_S,
            pool_pre_ping=True,
            isolation_level="REPEATABLE READ",
        ).execution_options(postgresql_readonly=True)

    def claim(self, connection: Connection) -> None:
        """Takes the advisory lock; see `AbstractBackend`. Raises StorageError where texts are not kept in UTF-8."""
        for setting in SERVER_SETTINGS:
            connection.exec_driver_sql(f"SET {setting}")
        encoding = connection.exec_driver_sql("SHOW server_encoding").scalar_one()
        if encoding != "UTF8":
            raise StorageError(f"{self.place} has the encoding {encoding}; create a database with ENCODING 'UTF8'")
        attempt = text("SELECT pg_try_advisory_lock(:key)")
        deadline = time.monotonic() + PATIENCE_S
        while not connection.execute(attempt, {"key": LOCK}).scalar_one():
            if time.monotonic() >= deadline:
                holder = connection.execute(HOLDER, {"key": LOCK}).scalar()
                raise StorageUnavailable(
                    f"another server ({holder or 'unknown'}) writes to {self.place};"
                    " stop it first, or choose another database"
                )
            time.sleep(PAUSE_S)
        connection.commit()

    def release(self) -> None:
        """Closes the pool; the lock ended with its connection."""
        self.reading.dispose()
        self.writing.dispose()

    def shrink(self, connection: Connection) -> bool:
        """Nothing: autovacuum does."""
        return False

    def truncate_log(self) -> None:
        """Nothing: the server does."""
