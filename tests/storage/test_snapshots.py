"""Snapshots: the newest two, whole or not at all, for both database systems."""

import random

import pytest
from sqlalchemy import text

from twinloop.errors import StorageError
from twinloop.storage import Snapshot
from twinloop.storage.tables import snapshots


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(snapshots, "CHUNK_BYTES", 1000)


def blob(seed, size=10_500):
    return random.Random(seed).randbytes(size)


def rows_of(storage, table):
    return storage._database.submit(lambda c: c.execute(text(f"SELECT count(*) FROM {table}")).scalar_one()).result()


def change(storage, statement):
    storage._database.submit(lambda connection: connection.execute(text(statement)).close()).result()


def test_the_newest_of_two_snapshots_is_given_and_older_ones_are_forgotten(storage):
    assert storage.snapshots.latest() is None
    assert storage.snapshots.covered_event_id() == 0
    for number in range(1, 5):
        storage.snapshots.save(number, 10 * number, 100.0 + number, blob(number))
    assert storage.snapshots.latest() == Snapshot(4, 40, 104.0, blob(4))
    assert storage.snapshots.covered_event_id() == 30
    assert (rows_of(storage, "snapshots"), rows_of(storage, "snapshot_chunks")) == (2, 22)


def test_an_empty_snapshot_is_one(storage):
    storage.snapshots.save(0, 0, 0.0, b"")
    assert storage.snapshots.latest() == Snapshot(0, 0, 0.0, b"")


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE snapshot_chunks SET blob = (SELECT blob FROM snapshot_chunks WHERE snapshot_id = 1 AND number = 3)"
        " WHERE snapshot_id = 2 AND number = 3",
        "DELETE FROM snapshot_chunks WHERE snapshot_id = 2 AND number = 10",
        "DELETE FROM snapshot_chunks WHERE snapshot_id = 2",
    ],
)
def test_a_damaged_snapshot_is_passed_over(sqlite, damage):
    sqlite.snapshots.save(1, 10, 101.0, blob(1))
    sqlite.snapshots.save(2, 20, 102.0, blob(2))
    change(sqlite, damage)
    assert sqlite.snapshots.latest() == Snapshot(1, 10, 101.0, blob(1), damaged=1)


def test_with_both_damaged_nothing_is_made_up(sqlite):
    sqlite.snapshots.save(1, 10, 101.0, blob(1))
    change(sqlite, "UPDATE snapshot_chunks SET blob = x'00'")
    assert sqlite.snapshots.latest() is None
    sqlite.snapshots.save(2, 20, 102.0, blob(2))
    change(sqlite, "UPDATE snapshot_chunks SET blob = x'00'")
    with pytest.raises(StorageError, match="both snapshots are damaged; restore a backup"):
        sqlite.snapshots.latest()


def test_a_snapshot_that_was_interrupted_does_not_count_and_is_cleared_away(storage, monkeypatch):
    def interrupt(_):
        raise KeyboardInterrupt

    storage.snapshots.save(1, 10, 101.0, blob(1))
    for slot in (2, 3):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(snapshots, "update", interrupt)  # before the last transaction
            storage.snapshots.save(slot, 20, 102.0, blob(2))
        assert storage.snapshots.latest() == Snapshot(1, 10, 101.0, blob(1))
        assert storage.snapshots.covered_event_id() == 0
        assert rows_of(storage, "snapshot_chunks") == 2 * 11
    storage.snapshots.save(4, 30, 103.0, blob(3))
    assert rows_of(storage, "snapshot_chunks") == 2 * 11
    assert storage.snapshots.latest().slot == 4
