"""The address of a database, as a person writes it."""

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL, exc, make_url

from twinloop.errors import StorageError

ALLOWED = "give a file, sqlite:///FILE, or postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
SQLITE = {"sqlite", "sqlite+pysqlite"}
POSTGRESQL = {"postgresql", "postgres", "postgresql+psycopg"}


@dataclass(frozen=True, slots=True)
class Address:
    """Where a database is: the path of an SQLite file or the URL of a PostgreSQL database.

    `place` is what messages print: it holds no password and no option.
    """

    place: str
    target: Path | URL


def address_of(text: str) -> Address:
    """Reads a path or URL. Raises StorageError, without the password, for anything but SQLite files and PostgreSQL."""
    if "://" not in text:
        return _file(text)
    try:
        url = make_url(text)
    except (exc.ArgumentError, ValueError) as error:
        raise StorageError(f"the address of the database cannot be read; {ALLOWED}") from error
    if url.drivername in SQLITE:
        return _file(url.database or "")
    if url.drivername not in POSTGRESQL:
        raise StorageError(f"databases of {url.drivername} are not supported; {ALLOWED}")
    if "@" in f"{url.host}{url.database}":
        raise StorageError("the address of the database has more than one @; write one in a password as %40")
    bare = URL.create("postgresql", url.username, None, url.host, url.port, url.database)
    return Address(bare.render_as_string(), url.set(drivername="postgresql+psycopg"))


def _file(path: str) -> Address:
    if path in {"", ":memory:"}:
        raise StorageError(f"the database needs a file, or nothing would be kept; {ALLOWED}")
    return Address(path, Path(path))
