"""One suite for both database systems: `url` is the address of an empty database, `storage` an open one."""

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import psycopg
import pytest
from servers import Postgres, start_postgres

from twinloop.storage import NewEvent, Storage, open_storage
from twinloop.storage.schema import METADATA


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A private cluster."""
    server = start_postgres()
    yield server
    server.close()


@pytest.fixture(scope="session")
def bare_postgres_database(postgres: Postgres) -> Callable[[], str]:
    """Makes a database without tables, and gives its address."""
    numbers = count()

    def make() -> str:
        name = f"test_{next(numbers)}"
        postgres.execute(f"CREATE DATABASE {name}")
        return postgres.url(name)

    return make


@pytest.fixture(scope="session")
def prepared_database(bare_postgres_database: Callable[[], str]) -> str:
    """A database with tables."""
    url = bare_postgres_database()
    open_storage(url).close()
    return url


@pytest.fixture
def postgres_url(prepared_database: str) -> str:
    """A database with tables and no rows."""
    with psycopg.connect(prepared_database) as connection:
        connection.execute(f"TRUNCATE {', '.join(METADATA.tables)} RESTART IDENTITY")
    return prepared_database


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'twins.db'}"
    return request.getfixturevalue("postgres_url")


@pytest.fixture
def storage(url: str) -> Iterator[Storage]:
    with open_storage(url) as opened:
        yield opened


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Storage]:
    """For what does not depend on the database system, or is SQLite's own."""
    with open_storage(str(tmp_path / "twins.db")) as opened:
        yield opened


@pytest.fixture
def batch() -> Callable[..., list[NewEvent]]:
    """Events of one source with sequences from `first`, `size` bytes each, received a second apart."""

    def make(source: str, first: int, number: int, size: int = 10) -> list[NewEvent]:
        return [
            NewEvent(source, n, 1000.0 + n, 3, n.to_bytes(4, "big") * (size // 4)) for n in range(first, first + number)
        ]

    return make
