"""What was acknowledged is in the twins after any end: from a snapshot, from events alone, from both."""

import asyncio
import shutil
import sqlite3
import time

import numpy as np
import pytest

from twinloop.errors import TwinloopError
from twinloop.network.formats import Batch, Row

FIRST, SECOND = 3, 4


def report(platform, sequence: int, **values):
    """One acknowledged batch of two users and a cell."""
    rows = [
        Row(kind="user", id=name, time_s=platform.clock(), slice="standard", values=dict(values))
        for name in ("ann", "bob")
    ]
    rows.append(Row(kind="cell", id="north", time_s=platform.clock(), values={"load": 0.5}))
    return asyncio.run(platform.intake.submit(Batch("west", sequence, rows), 100))


def killed(database, folder):
    """A copy of the database as a kill would leave it: what the process had not written is not in it."""
    folder.mkdir()
    for file in database.parent.glob(database.name + "*"):
        shutil.copy(file, folder / file.name)
    return folder / database.name


def known(platform) -> dict[str, float]:
    users = platform.picture.users
    names = [entry.name for entry in users.attributes]
    return {
        f"{users.ids[row]}.{names[at]}": float(users.value[row, at])
        for row, at in zip(*np.nonzero(users.slot >= 0), strict=True)
        if users.ids[row]
    }


def run(platform, slot: int):
    platform.clock.now_s = platform.runner.epoch_s + slot + 1
    return platform.runner.tick(slot)


def saved(platform) -> None:
    """Waits for the snapshot that is due."""
    until = time.monotonic() + 60
    while platform.keeper.saved_event != platform.runner.event:
        assert time.monotonic() < until
        time.sleep(0.01)


def test_acknowledged_reports_survive_a_kill_before_and_after_a_snapshot(make_platform, tmp_path):
    database = tmp_path / "live.db"
    platform = make_platform(database)
    platform.prepare()
    assert report(platform, 0, buffer_s=1.0, rsrp_dbm=-80.0).accepted == 3
    platform.keeper.save_soon()
    run(platform, FIRST)
    saved(platform)
    assert report(platform, 1, buffer_s=2.0).event is not None

    again = make_platform(killed(database, tmp_path / "killed"))
    again.prepare()
    assert again.runner.slot == again.decisions.recovered_slot == FIRST
    run(again, SECOND)
    run(platform, SECOND)
    assert known(again) == known(platform)
    assert known(again)["ann.buffer_s"] == pytest.approx(2.0, abs=0.1)
    assert known(again)["bob.rsrp_dbm"] == pytest.approx(-80, abs=1.0)
    for kind in ("users", "cells"):
        np.testing.assert_array_equal(again.picture.of(kind).slot, platform.picture.of(kind).slot)
        np.testing.assert_array_equal(again.picture.of(kind).revision, platform.picture.of(kind).revision)
    assert report(again, 1, buffer_s=9.0).duplicate
    assert again.runner.state.pending.revision > platform.runner.state.pending.revision - 2


def test_without_a_snapshot_events_alone_bring_the_twins_back(make_platform, tmp_path):
    database = tmp_path / "live.db"
    platform = make_platform(database)
    for sequence in range(3):
        report(platform, sequence, buffer_s=float(sequence))
    again = make_platform(killed(database, tmp_path / "killed"))
    again.prepare()
    run(again, 1)
    assert known(again)["ann.buffer_s"] == pytest.approx(2.0, abs=0.1)
    assert again.runner.members.user_slice[again.runner.members.users.row("ann")] == 1


def at(platform, second: float) -> None:
    platform.clock.now_s = platform.runner.epoch_s + second


def test_what_was_measured_after_a_value_of_its_slot_was_taken_survives_a_kill(make_platform, tmp_path):
    platform = make_platform(tmp_path / "live.db")
    platform.prepare()
    run(platform, 1)
    at(platform, 2.3)
    report(platform, 0, buffer_s=1.0)
    platform.keeper.save_soon()
    platform.runner.tick(2)
    saved(platform)
    at(platform, 2.9)
    report(platform, 1, buffer_s=9.0)
    again = make_platform(killed(tmp_path / "live.db", tmp_path / "killed"))
    again.prepare()
    run(again, 3)
    assert known(again)["ann.buffer_s"] == 9.0


def test_what_waits_in_a_snapshot_is_not_overwritten_by_what_is_older(make_platform, tmp_path):
    platform = make_platform(tmp_path / "live.db")
    platform.prepare()
    run(platform, 20)
    for sequence, (second, values) in enumerate(
        [(15, {"buffer_s": 5.0}), (16, {"rsrp_dbm": -80.0}), (17, {"rate_bps": 1e6}), (18, {"sinr_db": 10.0})]
    ):
        at(platform, second)
        report(platform, sequence, **values)
    platform.keeper.save_soon()
    run(platform, 21)
    saved(platform)
    at(platform, 14)
    report(platform, 9, buffer_s=1.0)
    again = make_platform(killed(tmp_path / "live.db", tmp_path / "killed"))
    at(platform, 22)
    again.prepare()
    run(again, 22)
    assert known(again)["ann.buffer_s"] == 5.0


def test_with_a_clock_set_back_silence_is_noticed_and_another_kill_loses_nothing(make_platform, tmp_path):
    platform = make_platform(tmp_path / "live.db")
    platform.prepare()
    run(platform, 100)
    report(platform, 0, buffer_s=1.0)
    platform.clock.now_s -= 3600.0
    again = make_platform(killed(tmp_path / "live.db", tmp_path / "killed"))
    again.prepare()
    first = again.runner.slot + 1
    run(again, first)
    assert again.runner.distrust == ""
    at(again, first + 60)
    assert again.runner.distrust == "no report in 10 s"
    report(again, 1, buffer_s=8.0)
    run(again, first + 61)
    assert known(again)["ann.buffer_s"] == 8.0
    last = make_platform(killed(tmp_path / "killed" / "live.db", tmp_path / "again"))
    last.prepare()
    run(last, last.runner.slot + 1)
    assert known(last)["ann.buffer_s"] == 8.0


def test_an_event_that_cannot_be_read_is_named(make_platform, tmp_path):
    platform = make_platform(tmp_path / "live.db")
    number = report(platform, 0, buffer_s=1.0).event
    with sqlite3.connect(killed(tmp_path / "live.db", tmp_path / "killed")) as database:
        database.execute("UPDATE events SET payload = x'00ff'")
    again = make_platform(tmp_path / "killed" / "live.db")
    with pytest.raises(TwinloopError, match=f"event {number} of the database: .*; restore a backup"):
        again.prepare()


def test_another_scenario_is_refused_in_a_line(make_platform, tmp_path, three_sites):
    make_platform(tmp_path / "live.db").storage.close()
    with pytest.raises(TwinloopError, match="begun with another scenario"):
        make_platform(tmp_path / "live.db", three_sites)
