"""A commit whose answer is lost: what it kept is in the twins, though its source sends it again."""

import asyncio
from concurrent.futures import Future

import pytest

from twinloop.network.formats import Batch, Row
from twinloop.service.intake import BusyError
from twinloop.storage import StorageUnavailable


def batch(sequence: int) -> Batch:
    return Batch("west", sequence, [Row(kind="user", id=f"ue-{sequence}", slice="premium", values={"buffer_s": 3.0})])


def test_what_was_kept_without_an_answer_is_delivered(new_stage, monkeypatch):
    platform = new_stage().platform
    events, append = platform.storage.events, platform.storage.events.append

    def lost(given) -> Future:
        append(given).result()
        failed: Future = Future()
        failed.set_exception(StorageUnavailable("the connection broke", 1.0))
        return failed

    async def sent() -> list:
        await platform.intake.submit(batch(1), 100)
        monkeypatch.setattr(events, "append", lost)
        with pytest.raises(StorageUnavailable):
            await platform.intake.submit(batch(2), 100)
        monkeypatch.setattr(events, "append", append)
        again = await platform.intake.submit(batch(2), 100)
        after = await platform.intake.submit(batch(3), 100)
        return [again.duplicate, after.duplicate]

    assert asyncio.run(sent()) == [True, False]
    arrived = [platform.runner._arrived.get_nowait() for _ in range(platform.runner.backlog)]
    assert [rows[0].ids for _, _, rows in arrived] == [["ue-1"], ["ue-2"], ["ue-3"]]
    assert [number for number, _, _ in arrived] == sorted(number for number, _, _ in arrived)


def test_nothing_is_taken_in_before_what_was_kept_is_read(new_stage):
    intake = new_stage().platform.intake
    intake.pause("what was kept is still being read")
    with pytest.raises(BusyError, match="still being read"):
        asyncio.run(intake.submit(batch(1), 100))
    intake.resume(0)
    assert asyncio.run(intake.submit(batch(1), 100)).accepted == 1
