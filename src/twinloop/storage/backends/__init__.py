"""The two database systems behind one interface."""

from pathlib import Path

from twinloop.storage.backends.abstract import AbstractBackend
from twinloop.storage.backends.address import address_of
from twinloop.storage.backends.postgresql import Postgresql
from twinloop.storage.backends.sqlite import Sqlite


def backend_of(address: str, *, fsync: bool, read_only: bool) -> AbstractBackend:
    """The backend for a path or URL; nothing is connected yet.

    Raises StorageError for an address that cannot be used, MissingExtraError for PostgreSQL without psycopg.
    """
    where = address_of(address)
    if isinstance(where.target, Path):
        return Sqlite(where.target, fsync=fsync, make=not read_only)
    return Postgresql(where.target, where.place)


__all__ = ["AbstractBackend", "backend_of"]
