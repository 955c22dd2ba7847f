"""A server in a process of its own, which a trial kills, starves and floods; and a client that remembers what it was
promised.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

PATIENCE_S = 180.0
CALM = {"JAX_PLATFORMS": "cpu", "TWINLOOP_CACHE": str(Path(__file__).parents[2] / ".cache" / "trials")}


@dataclass
class LiveServer:
    """`twinloop serve` on a database of its own. Started and stopped by its own process id."""

    scenario: Path
    folder: Path
    database: str
    options: tuple[str, ...] = ()
    port: int = 0
    process: "subprocess.Popen[bytes] | None" = None
    token: str = ""
    reporter: str = ""

    def start(self) -> None:
        """Starts it and waits until it answers; twins may still be on their way."""
        self.port = self.port or free_port()
        token_file = self.folder / "token"
        command = [sys.executable, "-m", "twinloop", "serve", str(self.scenario), "--database", self.database]
        command += ["--port", str(self.port), "--token-file", str(token_file), *self.options]
        with (self.folder / "server.log").open("ab") as log:
            environment = {**os.environ, **CALM}
            environment.pop("XLA_FLAGS", None)
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        self.wait_for(lambda: token_file.is_file() and self.answers("/healthz"))
        self.token = token_file.read_text(encoding="utf-8").strip()
        if not self.reporter:
            with self.client() as client:
                self.reporter = client.post("/tokens", json={"role": "reporter", "name": "trial"}).json()["secret"]

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

    def client(self, token: str = "") -> httpx.Client:
        """A client with the token, the admin's if none is given."""
        headers = {"Authorization": f"Bearer {token or self.token}"}
        return httpx.Client(base_url=f"http://127.0.0.1:{self.port}", headers=headers, trust_env=False, timeout=30.0)

    def answers(self, path: str) -> bool:
        """Whether a path is answered 200."""
        try:
            with self.client() as client:
                return client.get(path).status_code == 200
        except httpx.TransportError:
            return False

    def wait_for(self, arrived) -> None:
        """Waits until `arrived`; fails with the server's log where it has ended or takes too long."""
        until = time.monotonic() + PATIENCE_S
        while not arrived():
            log = (self.folder / "server.log").read_text(encoding="utf-8")[-2000:]
            assert self.process is not None and self.process.poll() is None, f"the server ended:\n{log}"
            assert time.monotonic() < until, f"the server took too long:\n{log}"
            time.sleep(0.1)

    @property
    def memory_bytes(self) -> int:
        """Resident memory."""
        assert self.process is not None
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8")
        line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) * 1024


@contextmanager
def running(scenario: Path, folder: Path, database: str = "", options: tuple[str, ...] = ()) -> Iterator[LiveServer]:
    """A started server, killed at the end if it still runs."""
    server = LiveServer(scenario, folder, database or str(folder / "live.db"), options)
    server.start()
    try:
        yield server
    finally:
        if server.process is not None and server.process.poll() is None:
            server.kill()


@dataclass
class Promises:
    """What a client was promised: acknowledged sequences, and each user's newest acknowledged count."""

    acknowledged: set[int] = field(default_factory=set)
    newest: dict[str, int] = field(default_factory=dict)
    sent: int = 0

    def batch(self, source: str) -> dict:
        """The next batch: two users, whose count of swipes is the number of the batch."""
        self.sent += 1
        rows = [
            {
                "kind": "user",
                "id": user,
                "time_s": time.time(),
                "slice": "standard",
                "values": {"swipes": self.sent % 65_000},
            }
            for user in self.users
        ]
        return {"source": source, "sequence": self.sent, "rows": rows}

    @property
    def users(self) -> tuple[str, str]:
        """Who the next batch is about."""
        return f"u{self.sent % 7}", f"v{self.sent % 5}"

    def keep(self, batch: dict) -> None:
        """The batch was acknowledged."""
        self.acknowledged.add(batch["sequence"])
        for row in batch["rows"]:
            self.newest[row["id"]] = max(self.newest.get(row["id"], 0), batch["sequence"])


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
