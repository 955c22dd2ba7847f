"""What has come and cannot go on is bounded in bytes, from the first that is read to the last that a slot takes."""

import asyncio
import json
import time
from pathlib import Path

import httpx
import pytest
from service.conftest import Clock
from twin_stage import QUIET, Stage

from twinloop.network.formats import Batch, Columns
from twinloop.service.intake import Bounds, BusyError
from twinloop.service.live_platform import Platform
from twinloop.storage import open_storage

ROWS = 3_000


@pytest.fixture
def make_stage(small_site, tmp_path: Path):
    made: list[Stage] = []

    def make(**bounds) -> Stage:
        settings = QUIET.__class__(keeping=QUIET.keeping, bounds=Bounds(**bounds))
        clock = Clock()
        made.append(Stage(Platform(small_site, open_storage(str(tmp_path / "twins.db")), clock, settings), clock))
        return made[-1]

    yield make
    for stage in made:
        stage.close()


def body_of(sequence: int, size: int) -> bytes:
    row = {"kind": "user", "id": "ann", "slice": "premium", "values": {"buffer_s": 1.0}}
    return json.dumps({"source": "west", "sequence": sequence, "rows": [row]}).encode().ljust(size)


async def in_parts(*parts: bytes):
    for part in parts:
        yield part


@pytest.mark.parametrize(
    ("bound", "why"),
    [
        ("waiting_bytes", "reports come faster than they can be kept"),
        ("coming_bytes", "too many reports come at once"),
    ],
)
def test_bodies_of_untold_size_are_charged_as_they_come(make_stage, bound, why):
    stage = make_stage(**{bound: 390_000})
    headers = {"Authorization": f"Bearer {stage.secrets['admin']}"}
    intake = stage.platform.intake

    async def slowly(sequence: int, read: asyncio.Event, go_on: asyncio.Event):
        body = body_of(sequence, 250_000)
        yield body[:200_000]
        read.set()
        await go_on.wait()
        yield body[200_000:]

    async def sent() -> list[httpx.Response]:
        read, go_on = asyncio.Event(), asyncio.Event()
        transport = httpx.ASGITransport(stage.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://twins.example", headers=headers) as client:
            first = asyncio.create_task(client.post("/reports", content=slowly(1, read, go_on)))
            await read.wait()
            assert intake._coming_bytes >= 200_000
            second = await client.post("/reports", content=slowly(2, asyncio.Event(), go_on))
            go_on.set()
            return [await first, second, await client.post("/reports", content=slowly(2, read, go_on))]

    first, second, again = asyncio.run(sent())
    assert [first.status_code, second.status_code, again.status_code] == [200, 503, 200]
    assert second.headers["retry-after"] == "1" and why in second.json()["detail"]
    assert (intake._coming_bytes, intake.refused_busy) == (0, 1)


def test_a_batch_that_could_never_wait_is_told_so(make_stage):
    stage = make_stage(waiting_bytes=100_000)
    whole = stage.call("POST", "/reports", content=body_of(1, 100_001))
    assert (whole.status_code, whole.json()["detail"]) == (413, "a batch has at most 100000 bytes")
    assert stage.call("POST", "/reports", content=in_parts(b"{", b" " * 100_000)).status_code == 413


def test_what_waits_for_a_slot_is_bounded_in_bytes(make_stage):
    stage = make_stage(backlog_bytes=2**20)
    platform = stage.platform

    def batch(sequence: int) -> Batch:
        columns = Columns(
            kind="user",
            attributes=["buffer_s"],
            ids=["ann"] * ROWS,
            values=[[1.0]] * ROWS,
            time_s=time.time(),
            slices=["premium"] * ROWS,
        )
        return Batch("west", sequence, columns=[columns])

    def send(sequence: int) -> int:
        return asyncio.run(platform.intake.submit(batch(sequence), 100)).accepted

    assert send(1) == ROWS
    shown = stage.known("/system")["intake"]
    assert (shown["backlog_events"], shown["bounds"]["backlog_bytes"]) == (1, 2**20)
    assert 22 * 4 * ROWS < shown["backlog_bytes"] < 2**20
    (line,) = [
        one for one in stage.get("/metrics").text.splitlines() if one.startswith("twinloop_intake_backlog_bytes ")
    ]
    assert float(line.split()[1]) == shown["backlog_bytes"]
    send(2)
    with pytest.raises(BusyError, match="faster than the twins take them in"):
        send(3)
    while platform.runner.backlog:
        platform.runner._arrived.get_nowait()
    assert platform.intake.backlog.waiting == (0, 0)
    assert send(3) == ROWS
