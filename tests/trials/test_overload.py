"""Ten times more than it can take: a server refuses what may not wait, keeps its memory, goes on living slots."""

import asyncio
import threading
import time

import pytest
from trials.live_server import LiveServer
from trials.many_reporters import ROWS, Reporters, Tally

pytestmark = pytest.mark.trial
TIMES = 10
MEASURED_S = 3.0
CONNECTIONS = 4
MOST_REPORTERS = 400
MOST_GROWTH_BYTES = 400 * 2**20


class Watch(threading.Thread):
    """Memory and slots of a server, looked at all the while."""

    def __init__(self, server: LiveServer) -> None:
        super().__init__()
        self.server, self.over = server, threading.Event()
        self.memory: list[int] = []
        self.slots: list[int] = []
        self.unanswered = 0

    def run(self) -> None:
        while not self.over.wait(0.5):
            self.memory.append(self.server.memory_bytes)
            try:
                with self.server.client(timeout_s=20.0) as client:
                    self.slots.append(client.get("/system").json()["slot"])
            except Exception:
                self.unanswered += 1


def offered(server: LiveServer, number: int, lasts_s: float, every_s: float, name: str) -> Tally:
    return asyncio.run(Reporters(server.port, server.reporter, number, lasts_s, every_s, name).run())


def lost(server: LiveServer, tally: Tally) -> list[tuple[str, int]]:
    """Acknowledged batches, some of every source, that the database does not know."""
    gone: list[tuple[str, int]] = []
    with server.client(server.reporter) as client:
        for source, batches in tally.acknowledged.items():
            for sequence in batches[:: max(len(batches) // 3, 1)]:
                told = client.post("/reports", json={"source": source, "sequence": sequence, "rows": []})
                gone += [] if told.json()["duplicate"] else [(source, sequence)]
    return gone


def test_a_flood_is_refused_in_order_and_the_server_recovers_alone(served, served_site, extent, note):
    can_take = offered(served, CONNECTIONS, MEASURED_S, 0.0, "measure").kept / MEASURED_S
    reporters = min(int(TIMES * can_take), MOST_REPORTERS)
    watch = Watch(served)
    before, slot, begun = served.memory_bytes, served.slot, time.monotonic()
    watch.start()
    tally = offered(served, reporters, extent.overload_s, reporters / (TIMES * can_take), "many")
    lasted_s = time.monotonic() - begun
    watch.over.set()
    watch.join()
    served.wait_for_life()
    recovered_s = time.monotonic() - begun - lasted_s
    slots = served.slot - slot
    growth = max(watch.memory) - before
    note(
        can_take_rows_per_s=round(ROWS * can_take),
        offered_rows_per_s=round(ROWS * tally.offered / lasted_s),
        kept_rows_per_s=round(ROWS * tally.kept / lasted_s),
        statuses=dict(tally.statuses),
        median_wait_s=round(sorted(tally.waits_s)[len(tally.waits_s) // 2], 2),
        memory_mib=(round(before / 2**20), round(max(watch.memory) / 2**20)),
        slots=f"{slots} in {lasted_s:.0f} s",
        unanswered=watch.unanswered,
        recovered_s=round(recovered_s, 1),
    )
    assert growth < MOST_GROWTH_BYTES, f"{growth / 2**20:.0f} MiB more"
    assert set(tally.statuses) <= {0, 200, 429, 503} and tally.impatient == 0, tally.statuses
    assert tally.statuses[503] + tally.statuses[429] > 0, tally.statuses
    assert tally.kept / lasted_s > can_take / 3, "what it can take it goes on taking"
    assert slots > 0.5 * lasted_s, f"{slots} slots in {lasted_s:.0f} s"
    assert lost(served, tally) == []
