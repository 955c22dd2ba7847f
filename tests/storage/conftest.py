"""One suite for both database systems: `url` is the address of an empty database, `storage` an open one."""

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from servers import Postgres, start_postgres

from twinloop.storage import NewEvent, Storage, open_storage

TEMPLATE = "prepared"


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A private cluster; `TEMPLATE` in it is a database with tables and no rows."""
    server = start_postgres()
    server.execute(f"CREATE DATABASE {TEMPLATE}")
    open_storage(server.url(TEMPLATE)).close()
    yield server
    server.close()


@pytest.fixture(scope="session")
def new_postgres_database(postgres: Postgres) -> Callable[..., str]:
    """Makes an empty database, with tables unless `bare`, and gives its address."""
    numbers = count()

    def make(*, bare: bool = False) -> str:
        name = f"test_{next(numbers)}"
        postgres.execute(f"CREATE DATABASE {name}" + ("" if bare else f" TEMPLATE {TEMPLATE}"))
        return postgres.url(name)

    return make


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'twins.db'}"
    return request.getfixturevalue("new_postgres_database")()


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
