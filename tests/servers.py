"""Servers that tests may start: private, on loopback, on a free port, each stopped by its own process id.

Tests skip, saying so, where the server's program is not installed.
"""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg
import pytest

PATIENCE_S = 30.0
POSTGRES_SETTINGS = """
listen_addresses = '127.0.0.1'
unix_socket_directories = '{folder}'
port = {port}
fsync = off
full_page_writes = off
shared_buffers = 32MB
max_connections = 60
max_wal_size = 128MB
"""
POSTGRES_ACCESS = """
local all all trust
host all guarded 127.0.0.1/32 scram-sha-256
host all all 127.0.0.1/32 trust
"""


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def program(name: str, package: str) -> str:
    """Full path of a program, which Debian keeps out of PATH; skips the test where its package is not installed."""
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    path = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", *map(str, places)]))
    if path is None:
        pytest.skip(f"{package} is not installed: no {name}")
    return path


class Postgres:
    """A cluster of its own. The role `guarded` needs a password, every other role none.

    What it writes is not forced to the disk: it outlives its end, not the machine's.
    """

    def __init__(self) -> None:
        program("pg_ctl", "postgresql")
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="twinloop-postgres-"))
        self._data = self.folder / "data"
        self._user = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.getuid() == 0 else {}
        if self._user:
            shutil.chown(self.folder, "postgres", "postgres")
        self._run("initdb", "-D", self._data, "-U", "postgres", "-E", "UTF8", "--locale", "C.UTF-8", "--no-sync")
        with (self._data / "postgresql.conf").open("a") as file:
            file.write(POSTGRES_SETTINGS.format(folder=self.folder, port=self.port))
        (self._data / "pg_hba.conf").write_text(POSTGRES_ACCESS)
        self.start()

    def url(self, database: str, user: str = "postgres") -> str:
        """Address of one of its databases."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def execute(self, statement: str) -> None:
        """Carries out a statement as the superuser."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement)

    def start(self) -> None:
        """Starts the server, and waits until it answers."""
        self._run("pg_ctl", "-D", self._data, "-l", self.folder / "log", "-w", "-s", "start")

    def stop(self, mode: str = "fast") -> None:
        """Stops the server and waits for its end; `immediate` gives it no time to tidy up."""
        self._run("pg_ctl", "-D", self._data, "-m", mode, "-w", "-s", "stop")

    def close(self) -> None:
        """Stops the server and removes all it wrote."""
        self.stop("immediate")
        shutil.rmtree(self.folder)

    def _run(self, name: str, *arguments: str | Path) -> None:
        command = [program(name, "postgresql"), *map(str, arguments)]
        # pg_ctl's server keeps what it inherits open: no pipe, or waiting for its end would never end
        with (self.folder / "words").open("ab+") as words:
            status = subprocess.run(command, cwd=self.folder, stdout=words, stderr=words, check=False, **self._user)
            words.seek(0)
            assert status.returncode == 0, words.read().decode()


class Mosquitto:
    """A broker without users or passwords. `settings` are further lines of its configuration."""

    def __init__(self, *settings: str) -> None:
        self._program = program("mosquitto", "mosquitto")
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="twinloop-mosquitto-"))
        lines = [f"listener {self.port} 127.0.0.1", "allow_anonymous true", "persistence false", *settings]
        self._configuration = self.folder / "mosquitto.conf"
        self._configuration.write_text("\n".join(lines) + "\n")
        self.start()

    @property
    def url(self) -> str:
        """Its address."""
        return f"mqtt://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Starts the broker, and waits until it answers."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen([self._program, "-c", str(self._configuration)], stdout=log, stderr=log)
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1.0).close()
                return
            except OSError:
                assert self._process.poll() is None, (self.folder / "log").read_text()
                assert time.monotonic() < deadline, "the broker does not answer"
                time.sleep(0.01)

    def stop(self) -> None:
        """Stops the broker and waits for its end."""
        self._process.terminate()
        self._process.wait(PATIENCE_S)

    def close(self) -> None:
        """Stops the broker and removes all it wrote."""
        self.stop()
        shutil.rmtree(self.folder)


def start_postgres() -> Postgres:
    """A running cluster; `close` it. Skips the test where PostgreSQL is not installed."""
    return Postgres()


def start_mosquitto(*settings: str) -> Mosquitto:
    """A running broker; `close` it. Skips the test where Mosquitto is not installed."""
    return Mosquitto(*settings)
