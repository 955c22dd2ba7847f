"""A server that is no more than its intake, in an event loop of its own, and a client of its broker.

Fixtures are for the conftest of whoever wants them.
"""

import asyncio
import json
import queue
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from servers import PATIENCE_S, Mosquitto, program, start_mosquitto

from twinloop.network import Command, Plan
from twinloop.service.acting import sites_of
from twinloop.service.intake import Bounds, Intake, owners_of
from twinloop.service.live import Members
from twinloop.service.mqtt import Bridge, Broker, Served, broker_of
from twinloop.storage import open_storage

NOW_S = 1_700_000_000.0


def eventually(holds: Callable[[], object]) -> None:
    """Waits until something in another process or thread is so."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.005)


def report(sequence: int, source: str = "west", buffer_s: float = 3.0) -> bytes:
    row = {"kind": "user", "id": f"ue-{sequence % 9}", "slice": "standard", "values": {"buffer_s": buffer_s}}
    return json.dumps({"source": source, "sequence": sequence, "rows": [row]}).encode()


@dataclass
class Stand:
    """What a server stands for: plans and commands by site, and how much its twins have yet to take in."""

    plans: dict[str, Plan] = field(default_factory=dict)
    commands: dict[str, Command] = field(default_factory=dict)
    backlog: int = 0


class Server:
    """Storage, intake and the line to a broker. `arrived` has the number and users of what became durable."""

    def __init__(self, scenario, broker: Broker, database: Path, **bounds) -> None:
        self.broker = broker
        self.stand = Stand()
        self.arrived: queue.SimpleQueue[tuple[int, list[str]]] = queue.SimpleQueue()
        self.receipts: list[tuple[str, int]] = []
        self.storage = open_storage(str(database))
        self.intake = Intake(
            self.storage,
            Members(scenario),
            lambda: NOW_S,
            lambda number, _, rows: self.arrived.put((number, rows[0].ids if rows else [])),
            lambda source, told: self.receipts.extend((source, receipt.revision) for receipt in told),
            lambda: self.stand.backlog,
            Bounds(**bounds),
            owners_of(scenario, sites_of(scenario)),
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._running: Future[None] | None = None

    def connect(self, state: str = "connected") -> None:
        """Begins a line to the broker, as a new process of the same server would, and waits until it stands so."""
        self.bridge = Bridge(
            self.broker,
            Served(
                server="here",
                clock=lambda: NOW_S,
                intake=self.intake,
                storage=self.storage,
                sites=("west", "east"),
                plan=lambda site, after: _other(self.stand.plans.get(site), after),
                command=lambda site, after: _other(self.stand.commands.get(site), after),
                news=_a_moment,
            ),
        )
        self._running = asyncio.run_coroutine_threadsafe(self.bridge.run(), self._loop)
        self.until(state)

    def until(self, state: str) -> None:
        eventually(lambda: self.bridge.told()["state"] == state)

    def events(self) -> list[tuple[str, int]]:
        return [(event.source, event.sequence) for event in self.storage.events.after(0, 100_000)]

    def hang_up(self) -> None:
        if self._running is not None:
            self._running.cancel()
            asyncio.run_coroutine_threadsafe(_settled(), self._loop).result(PATIENCE_S)
            self._running = None

    def close(self) -> None:
        self.hang_up()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self.storage.close()


def _other(document, after: int):
    return None if document is None or document.revision == after else document


async def _a_moment(number: int) -> int:
    await asyncio.sleep(0.02)
    return number + 1


async def _settled() -> None:
    """Waits for the end of whatever was cancelled."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.gather(*others, return_exceptions=True)


def publish(broker: Mosquitto, topic: str, payload: bytes, *options: str) -> None:
    """Sends a message with the broker's own client, at least once, and waits until the broker has it.

    `-l` among the options sends every line as a message.
    """
    whole = () if "-l" in options else ("-s",) if payload else ("-n",)
    command = [program("mosquitto_pub", "mosquitto-clients"), "-p", str(broker.port), "-q", "1", "-t", topic]
    subprocess.run([*command, *whole, *options], input=payload, check=True, timeout=PATIENCE_S)


def forget(broker: Mosquitto, name: str) -> None:
    """Has the broker forget the session of a client."""
    command = [program("mosquitto_sub", "mosquitto-clients"), "-p", str(broker.port), "-i", name, "-t", "none", "-E"]
    subprocess.run(command, check=True, timeout=PATIENCE_S)


@pytest.fixture(scope="module")
def broker() -> Iterator[Mosquitto]:
    started = start_mosquitto()
    yield started
    started.close()


@pytest.fixture
def open_server(three_sites, tmp_path) -> Iterator[Callable[..., Server]]:
    """Servers of a broker's address; each is ended with the test."""
    opened: list[Server] = []

    def make(url: str, **bounds) -> Server:
        opened.append(Server(three_sites, broker_of(url), tmp_path / f"{len(opened)}.db", **bounds))
        return opened[-1]

    yield make
    for server in opened:
        server.close()


@pytest.fixture
def server(open_server, broker) -> Server:
    """A server that is connected to a broker which knows nothing of it from before."""
    forget(broker, "twinloop-here")
    made = open_server(broker.url)
    made.connect()
    return made
