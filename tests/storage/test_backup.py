"""Backups: one file for both database systems; damaged, foreign or misplaced ones change nothing."""

import io
import threading

import pytest

from twinloop.errors import StorageError
from twinloop.storage import Frame, LogLine, NewEvent, RefusedRow, backup, open_storage


@pytest.fixture
def other(request, url, tmp_path):
    """An empty database of the other system."""
    if url.startswith("sqlite"):
        return request.getfixturevalue("postgres_url")
    return str(tmp_path / "other.db")


def fill(storage):
    storage.events.append([NewEvent("ü", n, 0.1 + n, 1, bytes([n]) * n) for n in range(30)]).result()
    storage.events.prune(20, received_before_s=1e9)
    storage.refusals.add([RefusedRow(1.0, "a", None, 0, "why", "row"), RefusedRow(2.0, "a", 3, 1, "why", "")]).result()
    storage.snapshots.save(1, 5, 3.0, bytes(range(256)) * 10)
    storage.frames.save([Frame("users", 0, slot, b"x" * slot) for slot in range(30)]).result()
    storage.records.put("c", "k", "{}", updated_s=1.0, state="s", tenant="t").result()
    storage.log.add([LogLine(1.0, "a", "b", "c", "d")]).result()
    storage.settings.put("name", "value").result()


def contents(storage):
    return (
        storage.events.after(0, 1000),
        storage.events.sources(),
        storage.refusals.newest(),
        storage.snapshots.latest(),
        storage.frames.between("users", 0, 0, 1000),
        storage.records.by_key("c"),
        storage.log.newest(),
        storage.settings.get("name"),
    )


@pytest.fixture
def written(sqlite):
    """A backup, as bytes."""
    fill(sqlite)
    stream = io.BytesIO()
    sqlite.dump(stream)
    return stream.getvalue()


def test_a_database_moves_to_the_other_system_and_goes_on(storage, other):
    fill(storage)
    stream = io.BytesIO()
    counts = storage.dump(stream)
    stream.seek(0)
    with open_storage(other) as moved:
        assert moved.load(stream) == counts
        assert contents(moved) == contents(storage)
        assert moved.events.append([NewEvent("ü", 29, 0.0, 1, b"")]).result() == [None]
        assert moved.events.append([NewEvent("new", 0, 0.0, 1, b"")]).result()[0] > storage.events.last_id()
        moved.log.add([LogLine(2.0, "a", "b", "c", "d")]).result()
        moved.snapshots.save(2, 6, 4.0, b"")
        moved.refusals.add([RefusedRow(1.0, "b", None, 0, "why", "row")]).result()
        assert moved.refusals.newest()[0].source == "b"
    assert counts["events"] == 10
    assert counts["frames"] == 30


def test_a_backup_is_of_one_moment_while_writing_goes_on(storage, monkeypatch):
    """Every event arrives with a refusal; batches of one row let writes fall between reading the two tables."""
    monkeypatch.setattr(backup, "BATCH_ROWS", 1)
    ended = threading.Event()

    def write():
        number = 0
        while not ended.is_set():
            both = [
                storage.events.append([NewEvent("a", number, 0.0, 1, b"x")]),
                storage.refusals.add([RefusedRow(0.0, "a", number, 0, "why", "row")]),
            ]
            for future in both:
                future.result()
            number += 1

    storage.events.append([NewEvent("b", n, 0.0, 1, b"x") for n in range(500)]).result()
    writer = threading.Thread(target=write)
    writer.start()
    try:
        counts = storage.dump(io.BytesIO())
    finally:
        ended.set()
        writer.join()
    assert counts["events"] - 500 - counts["refusals"] in {0, 1}


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda content: b"", "no backup of twinloop"),
        (lambda content: b"SQLite format 3\x00" + content, "no backup of twinloop"),
        (lambda content: content[: len(backup.FORMAT)], "cut short"),
        (lambda content: content[: len(content) // 2], "cut short"),
        (lambda content: content[:-1], "damaged"),
        (lambda content: content + b"x", "damaged"),
        (lambda content: content.replace(b"name", b"nome"), "damaged"),
        (lambda content: content.replace(b"revision\xa40001", b"revision\xa40009"), "the backup has the tables 0009"),
        (lambda content: content.replace(b"\xa6events", b"\xa6events"[::-1], 1), "damaged"),
    ],
)
def test_what_is_no_whole_backup_is_refused_before_anything_is_written(written, tmp_path, spoil, words):
    with open_storage(str(tmp_path / "new.db")) as new:
        with pytest.raises(StorageError, match=words):
            new.load(io.BytesIO(spoil(written)))
        assert new.events.last_id() == 0
        assert new.settings.get("name") is None
        assert new.load(io.BytesIO(written))["events"] == 10


def test_a_backup_is_not_loaded_over_what_is_there(written, sqlite):
    before = contents(sqlite)
    with pytest.raises(StorageError, match="is not empty"):
        sqlite.load(io.BytesIO(written))
    assert contents(sqlite) == before
