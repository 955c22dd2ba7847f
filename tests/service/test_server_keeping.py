"""What is kept of the twins while the database does not answer, and what of it is left out."""

import threading
import time

import numpy as np

from twinloop.service.keeping import KeepingSettings

SLOTS = 20


def slots_framed(platform) -> list[int]:
    return [one.slot for one in platform.storage.frames.between("users", 0, 0, 10_000)]


def lived(platform, first: int, count: int) -> None:
    for slot in range(first, first + count):
        platform.clock.now_s = platform.runner.epoch_s + slot + 1
        platform.runner.tick(slot)


def until(done) -> None:
    end_s = time.monotonic() + 60
    while not done():
        assert time.monotonic() < end_s
        time.sleep(0.01)


def test_while_the_database_hangs_slots_are_lived_and_history_that_waits_is_bounded(make_platform, tmp_path):
    platform = make_platform(tmp_path / "live.db")
    platform.prepare()
    lived(platform, 0, 2)
    until(lambda: slots_framed(platform) == [0, 1])
    answers = threading.Event()
    hangs = platform.storage.frames._database.submit(lambda connection: answers.wait(60))
    lived(platform, 2, SLOTS)
    left_out = platform.keeper.failures
    assert 0 < left_out < SLOTS
    answers.set()
    hangs.result(60)
    until(lambda: len(slots_framed(platform)) == 2 + SLOTS - left_out)
    lived(platform, 2 + SLOTS, 1)
    until(lambda: slots_framed(platform)[-1] == 2 + SLOTS)
    assert np.all(np.diff(slots_framed(platform)) >= 1)
    assert platform.keeper.failures == left_out


def test_snapshots_that_take_long_come_less_often(make_platform, tmp_path):
    platform = make_platform(tmp_path / "live.db", keeping=KeepingSettings(snapshot_every_s=1.0))
    platform.prepare()
    keeper = platform.keeper
    answers = threading.Event()
    hangs = platform.storage.frames._database.submit(lambda connection: answers.wait(60))
    lived(platform, 0, 3)
    time.sleep(1.0)
    answers.set()
    hangs.result(60)
    until(lambda: keeper.saved_s is not None)
    first_s = keeper.saved_s
    lived(platform, 3, 6)
    keeper._saving.result(60)
    assert keeper.saved_s == first_s, "a second's work is not repeated within ten"
    lived(platform, 9, 4)
    until(lambda: keeper.saved_s > first_s)


def test_decisions_and_orders_beyond_the_newest_so_many_go(make_platform, tmp_path):
    platform = make_platform(tmp_path / "live.db", keeping=KeepingSettings(decisions=1000))
    for number in range(1005):
        for collection in ("decisions", "slice_orders"):
            platform.records.later(collection, f"{number:04}", "{}", at_s=float(number))
    platform.prepare()
    lived(platform, 0, 1)
    lived(platform, 61, 1)
    kept = platform.storage.records.by_key
    until(lambda: all(kept(one, limit=1)[0].key == "0005" for one in ("decisions", "slice_orders")))
    for collection in ("decisions", "slice_orders"):
        assert [one.key for one in kept(collection, limit=2000)] == [f"{number:04}" for number in range(5, 1005)]
