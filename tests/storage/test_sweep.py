"""Retention: what is beyond its limits goes, what a restart may need stays, and files stay bounded."""

from pathlib import Path

from twinloop.storage import Frame, LogLine, NewEvent, RefusedRow, Retention, Swept
from twinloop.storage.backends import sqlite as sqlite_backend

LIMITS = Retention({0: 10, 1: 100}, event_s=50.0, event_bytes=10**9, refusals=3, log_s=100.0, records={"orders": 2})


def test_a_sweep_removes_what_is_beyond_the_limits(storage, batch):
    ids = storage.events.append([*batch("north", 0, 100), *batch("gone", 0, 1)]).result()
    storage.snapshots.save(1, ids[39], 0.0, b"")
    storage.snapshots.save(2, ids[-1], 0.0, b"")
    storage.refusals.add([RefusedRow(0.0, "north", 1, number, "why", "row") for number in range(5)]).result()
    storage.log.add([LogLine(time_s, "anna", "do", "it", "done") for time_s in (900.0, 1000.0, 1090.0)]).result()
    storage.frames.save([Frame("users", tier, slot, b"x") for tier in (0, 1, 2) for slot in (0, 5, 105)]).result()
    for number in range(5):
        storage.records.put("orders", f"o{number}", "{}", updated_s=float(number // 2)).result()
        storage.records.put("tokens", f"t{number}", "{}", updated_s=float(number)).result()

    swept = Swept(events=30, sources=0, refusals=2, frames=3, log_lines=1, records=3)
    assert storage.sweep(LIMITS, 1080.0) == swept
    assert [one.key for one in storage.records.by_key("orders")] == ["o3", "o4"]
    assert len(storage.records.by_key("tokens")) == 5, "what no limit names is kept"
    assert [event.sequence for event in storage.events.after(0, 3)] == [30, 31, 32]
    assert [line.time_s for line in storage.log.newest()] == [1090.0, 1000.0]
    assert storage.sweep(LIMITS, 1080.0) == Swept(0, 0, 0, 0, 0, 0)


def test_events_that_a_restart_may_need_stay_whatever_the_limits(storage, batch):
    ids = storage.events.append(batch("north", 0, 100, size=100)).result()
    strict = Retention({}, event_s=0.0, event_bytes=0)
    assert storage.sweep(strict, 1e9).events == 0
    storage.snapshots.save(1, ids[19], 0.0, b"")
    assert storage.sweep(strict, 1e9).events == 0
    storage.snapshots.save(2, ids[49], 0.0, b"")
    assert storage.sweep(strict, 1e9).events == 20
    assert [event.sequence for event in storage.events.after(0, 1)] == [20]


def test_events_are_bounded_in_bytes(storage, batch):
    ids = storage.events.append(batch("north", 0, 50, size=1000)).result()
    for slot in (1, 2):
        storage.snapshots.save(slot, ids[-1], 0.0, b"")
    limits = Retention({}, event_s=1e9, event_bytes=10_000)
    assert storage.sweep(limits, 1050.0).events == 40
    assert storage.events.totals().payload_bytes == 10_000


def test_a_file_shrinks_when_what_it_held_is_gone(sqlite, monkeypatch):
    monkeypatch.setattr(sqlite_backend, "SPARE_PAGES", 16)
    path = Path(sqlite.place)
    sqlite.events.append([NewEvent("north", n, 0.0, 1, bytes(100_000)) for n in range(100)]).result()
    for slot in (1, 2):
        sqlite.snapshots.save(slot, sqlite.events.last_id(), 0.0, b"")
    with sqlite._database.reading() as connection:
        before = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
    sqlite.sweep(Retention({}, event_s=0.0), 1e9)
    sqlite.close()
    assert path.stat().st_size < 0.1 * before * sqlite_backend.PAGE_BYTES


def test_a_log_that_readers_held_back_is_emptied(sqlite, monkeypatch):
    monkeypatch.setattr(sqlite_backend, "LOG_KEPT_BYTES", 100_000)
    log = Path(f"{sqlite.place}-wal")
    with sqlite._database.reading() as connection:
        connection.exec_driver_sql("SELECT count(*) FROM events").scalar_one()
        sqlite.events.append([NewEvent("north", n, 0.0, 1, bytes(100_000)) for n in range(20)]).result()
        assert log.stat().st_size > 2_000_000
    sqlite.sweep(LIMITS, 0.0)
    assert log.stat().st_size < 100_000
    assert len(sqlite.events.after(0, 100)) == 20
