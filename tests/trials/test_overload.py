"""Ten times more than it can take: a server refuses what may not wait, keeps its memory, goes on living slots."""

import threading
import time

import httpx
import msgspec
import pytest
from trials.live_server import LiveServer, running

pytestmark = pytest.mark.trial
CONNECTIONS, ROWS = 40, 2_000
MOST_GROWTH_BYTES = 700 * 2**20
NAMES = ["buffer_s", "rate_bps", "quality", "delay_s"]


class Flood:
    """Batches of thousands of rows from many connections at once."""

    def __init__(self, server: LiveServer) -> None:
        self.server, self.over = server, threading.Event()
        self.statuses: dict[int, int] = {}
        self.rows = 0
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.send, args=(number,)) for number in range(CONNECTIONS)]

    def send(self, number: int) -> None:
        ids = [f"u{row % 100}" for row in range(ROWS)]
        values = [[1.0, 1e6, 0.5, 0.1]] * ROWS
        sequence = 0
        with self.server.client(self.server.reporter) as client:
            while not self.over.is_set():
                sequence += 1
                column = {"kind": "user", "attributes": NAMES, "ids": ids, "time_s": time.time(), "values": values}
                body = msgspec.msgpack.encode({"source": f"flood{number}", "sequence": sequence, "columns": [column]})
                try:
                    answer = client.post("/reports", content=body, headers={"Content-Type": "application/msgpack"})
                except httpx.TimeoutException:
                    continue
                self.note(answer)

    def note(self, answer: httpx.Response) -> None:
        with self.lock:
            self.statuses[answer.status_code] = self.statuses.get(answer.status_code, 0) + 1
            if answer.status_code == 200:
                self.rows += answer.json()["accepted"]
        if answer.status_code != 200:
            assert "Retry-After" in answer.headers
            time.sleep(0.05)


def slot_of(server: LiveServer) -> int:
    with server.client() as client:
        return client.get("/system").json()["slot"]


def test_a_flood_is_refused_in_order_and_the_server_recovers_alone(site_file, tmp_path, extent):
    with running(site_file, tmp_path) as server:
        server.wait_for(lambda: slot_of(server) > 0)
        before, slot = server.memory_bytes, slot_of(server)
        flood = Flood(server)
        for thread in flood.threads:
            thread.start()
        peak, until = before, time.monotonic() + extent.overload_s
        while time.monotonic() < until:
            peak = max(peak, server.memory_bytes)
            time.sleep(0.5)
        flood.over.set()
        for thread in flood.threads:
            thread.join()
        assert set(flood.statuses) <= {200, 429, 503}, flood.statuses
        assert peak - before < MOST_GROWTH_BYTES, f"{(peak - before) / 2**20:.0f} MiB more"
        server.wait_for(lambda: server.answers("/readyz"))
        assert slot_of(server) > slot
        with server.client() as client:
            sources = client.get("/ingest/sources").json()["sources"]
        assert sum(one["rows"] for one in sources) >= flood.rows > 0
