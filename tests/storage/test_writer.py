"""The writer: many share a commit, one at fault fails alone, and it goes on by itself when the database does."""

import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import CancelledError, Future

import psycopg
import pytest
from sqlalchemy import exc, text
from sqlalchemy.event import listen

from twinloop.errors import StorageError
from twinloop.storage import Conflict, NewEvent, StorageFull, StorageUnavailable, open_storage
from twinloop.storage.backends import postgresql as postgresql_backend
from twinloop.storage.backends import sqlite as sqlite_backend
from twinloop.storage.faults import storage_fault


@pytest.fixture
def held(storage):
    """Holds the writer until the event is set, so that what is asked for meanwhile waits together."""
    free, began = threading.Event(), threading.Event()

    def hold(_):
        began.set()
        free.wait()

    storage._database.submit(hold)
    began.wait()
    yield free
    free.set()


def commits(storage):
    """Counts transactions of the writer from now on."""
    counted: list[int] = []
    listen(storage._database._backend.writing, "commit", lambda _: counted.append(1))
    return counted


def event_of(number, payload=b"x", source="a"):
    return [NewEvent(source, number, 0.0, 1, payload)]


def test_what_waits_together_is_one_transaction(storage, held):
    futures: list[Future] = [storage.events.append(event_of(number)) for number in range(50)]
    futures += [storage.records.put("c", str(number), "{}", updated_s=0.0) for number in range(5)]
    futures.append(storage.events.append(event_of(7)))
    assert storage.waiting == 56
    counted = commits(storage)
    held.set()
    assert futures[-1].result() == [None]
    ids = [future.result()[0] for future in futures[:50]]
    assert ids == sorted(ids)
    assert len(counted) == 2  # the one that was held, and theirs
    assert storage.waiting == 0


def test_one_bad_write_fails_alone(storage, held):
    good = [storage.events.append(event_of(number)) for number in range(20)]
    bad = [
        storage.events.append([NewEvent("a", 2**70, 0.0, 1, b"x")]),
        storage.events.append([NewEvent("nul \0", 1, 0.0, 1, b"x")]),
        storage.records.put("c", "nul \0", "{}", updated_s=0.0),
        storage.records.put("c", "\ud800", "{}", updated_s=0.0),
    ]
    missing = storage.records.put("c", "k", "{}", updated_s=0.0, expected_revision=3)
    later = storage.events.append(event_of(20))
    held.set()
    assert [len(future.result()) for future in [*good, later]] == [1] * 21
    for future in bad:
        with pytest.raises(StorageError, match="cannot be stored"):
            future.result()
    with pytest.raises(Conflict):
        missing.result()
    assert [event.sequence for event in storage.events.after(0, 100)] == list(range(21))


def test_what_a_write_raises_of_its_own_comes_back_to_who_asked(storage):
    def wrong(_):
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        storage._database.submit(wrong).result()
    assert storage.check().result() is None


def test_a_write_that_nobody_waits_for_any_more_is_not_carried_out(storage, held):
    given_up = storage.events.append(event_of(1))
    wanted = storage.events.append(event_of(2))
    assert given_up.cancel()
    held.set()
    wanted.result()
    with pytest.raises(CancelledError):
        given_up.result()
    assert [event.sequence for event in storage.events.after(0, 10)] == [2]


def test_closing_carries_out_what_waits(url):
    storage = open_storage(url)
    futures = [storage.events.append(event_of(number)) for number in range(1500)]
    storage.close()
    assert all(future.done() and future.result()[0] for future in futures)
    with open_storage(url) as storage:
        assert storage.events.totals().events == 1500


def test_a_full_database_says_so_keeps_what_it_has_and_goes_on_when_there_is_room(sqlite):
    def bound(pages):
        sqlite._database.submit(lambda c: c.exec_driver_sql(f"PRAGMA max_page_count = {pages}").close()).result()

    sqlite.events.append(event_of(0)).result()
    bound(100)
    futures = [sqlite.events.append(event_of(number, bytes(100_000))) for number in range(1, 20)]
    kept = [number for number, future in enumerate(futures, 1) if future.exception() is None]
    assert kept
    for number in set(range(1, 20)) - set(kept):
        assert isinstance(futures[number - 1].exception(), StorageFull)
        assert "make room" in str(futures[number - 1].exception())
    with pytest.raises(StorageFull):
        sqlite.snapshots.save(1, 1, 0.0, bytes(2_000_000))
    assert sqlite.snapshots.latest() is None
    assert [event.sequence for event in sqlite.events.after(0, 100)] == [0, *kept]
    bound(100_000)
    assert sqlite.events.append(event_of(99)).result()[0]


WHERE_FILES_MAY_NOT_GROW = """
import resource, sys
from twinloop.errors import StorageError
from twinloop.storage import NewEvent, open_storage

def keep(number):
    try:
        return storage.events.append([NewEvent("a", number, 0.0, 1, bytes(50_000))]).result() != [None]
    except StorageError:
        return False

with open_storage(sys.argv[1]) as storage:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, hard))
    kept = {number for number in range(40) if keep(number)}
    assert 0 < len(kept) < 40, kept
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert keep(100)
    assert {event.sequence for event in storage.events.after(0, 1000)} == kept | {100}
    print("done")
"""


def test_a_file_that_the_system_lets_not_grow_loses_nothing_that_was_acknowledged(tmp_path):
    command = [sys.executable, "-c", WHERE_FILES_MAY_NOT_GROW, str(tmp_path / "twins.db")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == "done\n", done.stderr


def test_a_database_that_another_program_holds_is_unavailable_until_it_lets_go(tmp_path, monkeypatch):
    monkeypatch.setattr(sqlite_backend, "BUSY_S", 0.0)
    with open_storage(str(tmp_path / "twins.db")) as storage:
        other = sqlite3.connect(tmp_path / "twins.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageUnavailable, match="database is locked") as refused:
            storage.events.append(event_of(1)).result()
        assert refused.value.retry_after_s > 0
        other.close()
        assert storage.events.append(event_of(1)).result()[0]


def test_a_server_that_stops_and_comes_back_loses_nothing_that_was_acknowledged(postgres, postgres_url):
    acknowledged: list[int] = []
    refused = 0
    restarted = threading.Event()

    def restart():
        postgres.stop("immediate")
        postgres.start()
        restarted.set()

    with open_storage(postgres_url) as storage:
        storage.events.append(event_of(0)).result()
        storage.events.last_id()  # a pooled reader that the restart cuts off
        restarting = threading.Thread(target=restart)
        restarting.start()
        number = after = 0
        while after < 20:
            after += restarted.is_set()
            sent = {number + i: storage.events.append(event_of(number + i)) for i in range(5)}
            for own, future in sent.items():
                fault = future.exception()
                if fault is None:
                    acknowledged.append(own)
                else:
                    assert isinstance(fault, StorageUnavailable)
                    assert fault.retry_after_s > 0
                    refused += 1
            number += 5
        restarting.join()
        assert future.exception() is None
        kept = {event.sequence for event in storage.events.after(0, 10**6)}
    assert refused > 0
    assert set(acknowledged) <= kept


def test_reading_from_a_server_that_is_away_is_unavailable(postgres, postgres_url):
    with open_storage(postgres_url) as storage:
        postgres.stop()
        try:
            with pytest.raises(StorageUnavailable):
                storage.events.last_id()
            with pytest.raises(StorageUnavailable):
                storage.check().result()
        finally:
            postgres.start()
        assert storage.events.last_id() == 0
        assert storage.check().result() is None


def test_a_writer_whose_place_was_taken_meanwhile_does_not_write(postgres_url, monkeypatch):
    with open_storage(postgres_url) as first:
        cut = text("SELECT pg_terminate_backend(pid, 10000) FROM pg_locks WHERE locktype = 'advisory'")
        with first._database.reading() as connection:
            connection.execute(cut)
        with pytest.raises(StorageUnavailable):
            first.check().result()
        with open_storage(postgres_url) as second:
            with monkeypatch.context() as patch, pytest.raises(StorageUnavailable, match="another server"):
                patch.setattr(postgresql_backend, "PATIENCE_S", 0.0)
                first.events.append(event_of(1)).result()
            assert second.events.append(event_of(1)).result()[0]
        assert first.events.append(event_of(2)).result()[0]


@pytest.mark.parametrize(
    ("driver", "wrapped", "expected"),
    [
        (
            psycopg.errors.DiskFull("could not extend file\nHINT: Check free disk space."),
            "OperationalError",
            StorageFull,
        ),
        (psycopg.errors.AdminShutdown("terminating connection"), "OperationalError", StorageUnavailable),
        (psycopg.errors.ReadOnlySqlTransaction("cannot execute INSERT"), "InternalError", StorageUnavailable),
        (psycopg.errors.IoError("could not read block"), "OperationalError", StorageUnavailable),
        (psycopg.errors.TooManyConnections("sorry"), "OperationalError", StorageUnavailable),
        (psycopg.OperationalError("server closed the connection"), "OperationalError", StorageUnavailable),
        (psycopg.errors.UndefinedTable("relation does not exist"), "ProgrammingError", StorageError),
        (psycopg.errors.NotNullViolation("null value"), "IntegrityError", StorageError),
    ],
)
def test_a_fault_of_the_driver_is_one_line_that_says_what_may_help(driver, wrapped, expected):
    fault = storage_fault(getattr(exc, wrapped)("INSERT secret", {"payload": b"secret"}, driver), "here")
    assert type(fault) is expected
    assert str(fault).startswith("here: ")
    assert "\n" not in str(fault)
    assert "secret" not in str(fault)
