"""A site that reports, does as it is commanded, and holds every command against what its network has."""

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
from trials.live_server import LiveServer

NAME = "all"
EVERY_S = 0.5
TOLERANCE = 1e-3
CROWD = 15


@dataclass
class WatchedSite:
    """The one site of a scenario. `unsafe` says what no command may ask for; `answers` is whether it sends receipts."""

    server: LiveServer
    scenario: Any
    answers: bool = True
    commands: int = 0
    revision: int = -1
    answered: int = -1
    unsafe: list[str] = field(default_factory=list)
    failed: list[Exception] = field(default_factory=list)
    _sequence: int = 0
    _over: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Until it is over: reports its cells and a crowd of one slice, asks for commands, answers them."""
        while not self._over.wait(EVERY_S):
            try:
                with self.server.client(self.server.reporter) as client:
                    self.live(client)
            except httpx.TransportError:
                continue
            except Exception as error:
                self.failed.append(error)
                return

    def live(self, client: httpx.Client) -> None:
        """One round."""
        self.say(client, rows=self.crowd() + self.cells())
        answer = client.get(f"/agents/{NAME}/command", params={"after": self.revision})
        assert answer.status_code in (200, 204, 503), answer.text
        if answer.status_code == 200:
            command = answer.json()
            self.commands += 1
            if command["revision"] < self.revision:
                self.unsafe.append(f"order {command['revision']} after order {self.revision}")
            self.revision = command["revision"]
            self.unsafe += faults_of(command, self.scenario)
        if self.answers and self.answered < self.revision:
            told = self.say(client, receipts=[{"revision": self.revision, "result": "applied"}])
            self.answered = self.revision if told.status_code == 200 else self.answered

    def say(self, client: httpx.Client, **parts: Any) -> httpx.Response:
        """Sends a batch as the site."""
        self._sequence += 1
        sequence = int(time.time() * 1000) * 1000 + self._sequence % 1000
        return client.post("/reports", json={"source": NAME, "sequence": sequence, **parts})

    def crowd(self) -> list[dict[str, Any]]:
        """So many people of one slice in one cell that even shares do not serve them."""
        values = {"serving_cell": 0, "rsrp_dbm": -105, "sinr_db": 3, "buffer_s": 0.5}
        values |= {"rate_bps": 5e6, "quality": 0.9, "delay_s": 0.1}
        about = {"kind": "user", "slice": "premium", "time_s": time.time(), "values": values}
        return [{"id": f"crowd{number}", **about} for number in range(CROWD)]

    def cells(self) -> list[dict[str, Any]]:
        """What the site says of its cells: who says nothing of them is silent, and asked nothing after a restart."""
        about = {"kind": "cell", "time_s": time.time(), "values": {"load": 0.9}}
        return [{"id": cell.name, **about} for cell in self.scenario.network.cells]


@contextmanager
def watched(server: LiveServer, scenario: Any) -> Iterator[WatchedSite]:
    """A site that lives meanwhile; at the end it must have been commanded, and never to anything unsafe."""
    site = WatchedSite(server, scenario)
    thread = threading.Thread(target=site.run)
    thread.start()
    try:
        yield site
    finally:
        site._over.set()
        thread.join()
    assert not site.failed, site.failed
    assert site.commands > 0, "the site was never commanded"
    assert site.unsafe == [], "it was commanded to what is unsafe"


def faults_of(command: dict[str, Any], scenario: Any) -> list[str]:
    """What a command breaks: more than a cell or server has, a number that is none, a busy slice below its floor."""
    network, slices = scenario.network, command["slices"]
    size = {
        "bandwidth_hz": {cell.name: cell.bandwidth_hz for cell in network.cells},
        "cycles_per_s": {server.name: server.cycles_per_s for server in network.servers},
        "cache_bytes": {server.name: server.cache_bytes for server in network.servers},
    }
    told: list[str] = []
    for field_name, pools in size.items():
        for pool, whole in pools.items():
            held = {part["slice"]: part[field_name][pool] for part in slices}
            if not all(math.isfinite(share) and share >= 0 for share in held.values()):
                told.append(f"{pool}: {held} of {field_name}")
            if sum(held.values()) > whole * (1 + TOLERANCE):
                told.append(f"{pool}: {held} of {whole:g} {field_name}")
    floors = {entry.name: entry.floor_share for entry in scenario.slices}
    busy, cell = network.cells[0].bandwidth_hz, network.cells[0].name
    told += [
        f"{part['slice']} has {part['bandwidth_hz'][cell]:g} Hz of {cell}, below its floor"
        for part in slices
        if part["slice"] == "premium" and part["bandwidth_hz"][cell] < floors["premium"] * busy * (1 - TOLERANCE)
    ]
    return told
