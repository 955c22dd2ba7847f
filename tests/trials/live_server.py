"""A server in a process of its own, which a trial kills, starves and floods; and a client that remembers what it was
promised.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from httpx import Client as HttpClient
from servers import free_port

from twinloop.service.records import Records
from twinloop.storage import open_storage

PATIENCE_S = 180.0
PLACE = {"JAX_PLATFORMS": "cpu", "TWINLOOP_CACHE": str(Path(__file__).parents[2] / ".cache" / "trials")}
CONFIGURATION = """
[patience]
timeout_s = 1.0
retries = 1
silent_s = 5.0
[keeping]
snapshot_every_s = 5.0
[intake]
requests = 32
[rates.roles]
viewer = {per_s = 5.0, burst = 20.0}
"""
MOST_SWIPES = 65_000


@dataclass
class LiveServer:
    """`twinloop serve` on a database of its own. Started and stopped by its own process id."""

    scenario: Path
    folder: Path
    database: str
    options: tuple[str, ...] = ()
    port: int = field(default_factory=free_port)
    process: "subprocess.Popen[bytes] | None" = None
    token: str = ""
    reporter: str = ""

    def start(self) -> None:
        """Starts it and waits until it answers; twins may still be on their way."""
        if self.process is None:
            self.has_commanded_before()
        token_file, settings = self.folder / "token", self.folder / "settings.toml"
        settings.write_text(CONFIGURATION, encoding="utf-8")
        command = [sys.executable, "-m", "twinloop", "serve", str(self.scenario), "--database", self.database]
        command += ["--port", str(self.port), "--token-file", str(token_file), "--config", str(settings)]
        with (self.folder / "server.log").open("ab") as log:
            environment = {**os.environ, **PLACE}
            self.process = subprocess.Popen([*command, *self.options], stdout=log, stderr=log, env=environment)
        self.wait_for(lambda: token_file.is_file() and self.answers("/healthz"))
        self.token = token_file.read_text(encoding="utf-8").strip()
        if not self.reporter:
            with self.client() as client:
                self.reporter = client.post("/tokens", json={"role": "reporter", "name": "trial"}).json()["secret"]

    def has_commanded_before(self) -> None:
        """Something was decided in an earlier life, so that sites are asked for what stands from the first slot on."""
        with open_storage(self.database) as storage:
            Records(storage, time.time).put("acting", "begun", "{}")

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)

    def stop(self) -> int:
        """Asks it to end; its exit status."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(60)

    def client(self, token: str = "", timeout_s: float = 30.0) -> HttpClient:
        """A client with the token, the admin's if none is given."""
        shown = token or self.token
        headers = {"Authorization": f"Bearer {shown}"} if shown else {}
        where = f"http://127.0.0.1:{self.port}"
        return HttpClient(base_url=where, headers=headers, trust_env=False, timeout=timeout_s, verify=False)

    def get(self, path: str) -> Any:
        """What a path is answered with, as the admin; fails where that is not 200."""
        with self.client() as client:
            answer = client.get(path)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text}"
        return answer.json()

    def answers(self, path: str) -> bool:
        """Whether a path is answered 200."""
        try:
            with self.client() as client:
                return client.get(path).status_code == 200
        except httpx.TransportError:
            return False

    def wait_for(self, arrived: Callable[[], bool]) -> None:
        """Waits until `arrived`; fails with the server's log where it has ended or takes too long."""
        until = time.monotonic() + PATIENCE_S
        while not arrived():
            log = (self.folder / "server.log").read_text(encoding="utf-8")[-2000:]
            assert self.process is not None and self.process.poll() is None, f"the server ended:\n{log}"
            assert time.monotonic() < until, f"the server took too long:\n{log}"
            time.sleep(0.1)

    def wait_for_life(self) -> None:
        """Waits until slots are lived and reports kept."""
        self.wait_for(lambda: self.answers("/readyz"))

    @property
    def slot(self) -> int:
        """The last slot lived."""
        return self.get("/system")["slot"]

    @property
    def memory_bytes(self) -> int:
        """Resident memory."""
        assert self.process is not None
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8")
        line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) * 1024

    def swipes(self) -> dict[str, float]:
        """Every user's count of swipes, as the twins know it."""
        found = self.get("/twins/user?limit=500")["twins"]
        return {twin["id"]: twin["reported"]["swipes"]["value"] for twin in found if "swipes" in twin["reported"]}


def wait_until(true: Callable[[], bool], what: str) -> float:
    """Seconds until it was true; fails, saying `what`, where that takes too long."""
    begun = time.monotonic()
    while not true():
        assert time.monotonic() - begun < PATIENCE_S, what
        time.sleep(0.05)
    return time.monotonic() - begun


@contextmanager
def running(scenario: Path, folder: Path, database: str = "", options: tuple[str, ...] = ()) -> Iterator[LiveServer]:
    """A started server, killed at the end if it still runs."""
    server = LiveServer(scenario, folder, database or str(folder / "live.db"), options)
    try:
        server.start()
        yield server
    finally:
        if server.process is not None and server.process.poll() is None:
            server.kill()


@dataclass
class Promises:
    """What a client was promised: acknowledged sequences, and each user's newest acknowledged count."""

    source: str = "trial"
    acknowledged: set[int] = field(default_factory=set)
    newest: dict[str, int] = field(default_factory=dict)
    statuses: Counter[int] = field(default_factory=Counter)
    impatient: int = 0
    sent: int = 0

    def batch(self) -> dict[str, Any]:
        """The next batch: two users, whose count of swipes is the number of the batch."""
        self.sent += 1
        now = time.time()
        users = (f"{self.source}-u{self.sent % 7}", f"{self.source}-v{self.sent % 5}")
        about = {"kind": "user", "time_s": now, "slice": "standard", "values": {"swipes": self.sent % MOST_SWIPES}}
        return {"source": self.source, "sequence": self.sent, "rows": [{"id": user, **about} for user in users]}

    def keep(self, batch: dict[str, Any]) -> None:
        """The batch was acknowledged."""
        self.acknowledged.add(batch["sequence"])
        for row in batch["rows"]:
            self.newest[row["id"]] = max(self.newest.get(row["id"], 0), batch["sequence"])

    def send(self, client: httpx.Client) -> int:
        """Sends the next batch; its status. Every refusal has to say when to come again."""
        batch = self.batch()
        answer = client.post("/reports", json=batch)
        self.statuses[answer.status_code] += 1
        if answer.status_code == 200:
            assert answer.json()["accepted"] == 2, answer.text
            self.keep(batch)
        else:
            self.impatient += "Retry-After" not in answer.headers
        return answer.status_code

    def require_kept(self, server: LiveServer) -> None:
        """Fails where something that was acknowledged is not in the database, or not in the twins."""
        server.wait_for_life()

        def late() -> dict[str, tuple[float | None, int]]:
            twins = server.swipes()
            return {who: (twins.get(who), n) for who, n in self.newest.items() if twins.get(who, -1) < n % MOST_SWIPES}

        until = time.monotonic() + 5.0
        while late() and time.monotonic() < until:
            time.sleep(0.5)
        missing = late()
        assert missing == {}, f"{missing}: acknowledged reports that are not in the twins (known, acknowledged)"
        some = sorted(self.acknowledged)[:: max(len(self.acknowledged) // 500, 1)]
        with server.client(server.reporter) as client:
            again = [self._again(client, sequence) for sequence in some]
        assert all(again) and again, "acknowledged batches that the database has lost"

    def _again(self, client: httpx.Client, sequence: int) -> bool:
        return client.post("/reports", json={"source": self.source, "sequence": sequence, "rows": []}).json()[
            "duplicate"
        ]


@contextmanager
def reporting(server: LiveServer, promises: Promises, pause_s: float = 0.0) -> Iterator[None]:
    """Somebody reports all the while; refusals and breaks of the connection are lived with."""
    over = threading.Event()
    failed: list[Exception] = []

    def report() -> None:
        with server.client(server.reporter) as client:
            while not over.wait(pause_s):
                try:
                    if promises.send(client) != 200:
                        time.sleep(0.05)
                except httpx.TransportError:
                    time.sleep(0.05)
                except Exception as error:
                    failed.append(error)
                    return

    thread = threading.Thread(target=report)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    assert not failed, failed
