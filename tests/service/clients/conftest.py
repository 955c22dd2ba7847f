"""A server as `twinloop serve` makes it, on loopback, whose slots are lived when a test says so."""

import asyncio
import subprocess
import threading
from collections.abc import Iterator

import pytest
import uvicorn
from servers import PATIENCE_S, Mosquitto, free_port, program, start_mosquitto
from service.conftest import Clock
from service.served_here import eventually
from service.twin_stage import PLENTY, QUIET

from twinloop.service import serve as serving
from twinloop.service.api import build_app
from twinloop.service.correlation import Correlated
from twinloop.service.live_platform import Platform
from twinloop.service.mqtt import broker_of
from twinloop.service.security import Audit, Guard, Limits, Tokens
from twinloop.storage import open_storage


class Running:
    """A platform over a database, its application on a port of its own, and secrets by role."""

    def __init__(self, scenario, folder) -> None:
        self.clock, self.port = Clock(), free_port()
        self.storage = open_storage(str(folder / "served.db"))
        self.platform = Platform(scenario, self.storage, self.clock, QUIET)
        self.platform.prepare()
        tokens = Tokens(self.platform.records, self.clock)
        self.secrets = {role: tokens.create(role, role)[1] for role in ("admin", "viewer", "reporter")}
        guard = Guard(tokens, Limits(PLENTY, self.clock), self.clock)
        application = Correlated(build_app(self.platform, guard, tokens, Audit(self.platform.records)))
        config = uvicorn.Config(application, host="127.0.0.1", port=self.port, log_config=None, lifespan="off")
        self.server = uvicorn.Server(config)
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()
        eventually(lambda: self.server.started)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def slot(self) -> int:
        """Lives one more slot; gives its number."""
        runner = self.platform.runner
        number = runner.slot + 1
        self.clock.now_s = runner.epoch_s + number + 1
        runner.tick(number)
        return number

    def join(self, broker: Mosquitto) -> None:
        """Serves through a broker as well."""
        serving._join(self.platform, broker_of(broker.url))
        self.beside = asyncio.run_coroutine_threadsafe(self.platform.tasks[-1](), self.loop)
        eventually(lambda: self.platform.links["broker"]()["state"] == "connected")

    def leave(self) -> None:
        """Serves through the broker no longer."""
        self.beside.cancel()

        async def settled() -> None:
            others = [task for task in asyncio.all_tasks() if "Bridge" in repr(task.get_coro())]
            await asyncio.gather(*others, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(settled(), self.loop).result(PATIENCE_S)

    def curl(self, *arguments: str, who: str = "viewer") -> str:
        """What curl prints."""
        return self.run("curl", "curl", "-sS", "-H", f"Authorization: Bearer {self.secrets[who]}", *arguments)

    def run(self, name: str, package: str, *arguments: str) -> str:
        """What a client prints; fails with what it complains of."""
        done = subprocess.run(
            [program(name, package), *arguments], capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def close(self) -> None:
        self.server.should_exit = True
        self.thread.join()
        self.loop.close()
        self.platform.stop()
        self.storage.close()

    def _serve(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_until_complete(self.server.serve())


@pytest.fixture(scope="module")
def running(small_site, tmp_path_factory) -> Iterator[Running]:
    """One server for all clients."""
    made = Running(small_site, tmp_path_factory.mktemp("running"))
    yield made
    made.close()


@pytest.fixture
def mosquitto() -> Iterator[Mosquitto]:
    started = start_mosquitto()
    yield started
    started.close()
