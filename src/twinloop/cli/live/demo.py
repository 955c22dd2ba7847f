"""twinloop demo live: a server, the agents of three sites and the page, in one command."""

import signal
import subprocess
import sys
import tempfile
import time
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

if TYPE_CHECKING:
    import httpx

app = typer.Typer(name="demo", help="See it move: everything started in one command.", no_args_is_help=True)

SITES = ("west", "centre", "east")
_PATIENCE_S = 180.0


@app.callback()
def _group() -> None:
    """See it move: everything started in one command."""


@app.command()
def live(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the page.")] = 8080,
    mode: Annotated[str, typer.Option(help="advise: you approve decisions. act: they are automatic.")] = "advise",
    browser: Annotated[bool, typer.Option(help="Open the page in a browser.")] = True,
    keep: Annotated[Path | None, typer.Option(help="Keep database and logs in this folder.")] = None,
    seconds: Annotated[float | None, typer.Option(min=1, help="End after so long; else at Ctrl-C.")] = None,
) -> None:
    """Start a server, the agents of three simulated sites, and open the page on something that moves.

    Nothing is installed, nothing leaves this machine. The first start compiles for about a minute, and shows people
    moving while it does.
    """
    told = Console(stderr=True, highlight=False)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="twinloop-") as scratch:
        folder = Path(scratch) if keep is None else keep
        folder.mkdir(parents=True, exist_ok=True)
        processes: list[subprocess.Popen[bytes]] = []
        try:
            _play(told, folder, port, mode, browser, seconds, processes)
        except KeyboardInterrupt:
            told.print("ending")
        finally:
            _end(processes)


def _play(
    told: Console,
    folder: Path,
    port: int,
    mode: str,
    browser: bool,
    seconds: float | None,
    processes: list[subprocess.Popen[bytes]],
) -> None:
    import httpx

    from twinloop.errors import TwinloopError

    token_file, address = folder / "admin-token", f"http://127.0.0.1:{port}"
    database = str(folder / "twinloop.db")
    if Path(database).exists() and not token_file.is_file():
        raise TwinloopError(
            f"{folder} holds a database, but not the admin-token that goes with it; give another --keep"
        )
    serve = ["serve", "three-sites", "--database", database, "--port", str(port), "--mode", mode]
    processes.append(_start(folder, "server", [*serve, "--token-file", str(token_file)]))
    told.print("starting the server")
    _wait_for(
        processes[0], folder / "server.log", lambda: token_file.is_file() and token_file.read_bytes()[-1:] == b"\n"
    )
    admin = token_file.read_text(encoding="utf-8").strip()
    with httpx.Client(base_url=address, headers={"Authorization": f"Bearer {admin}"}, trust_env=False) as client:
        _wait_for(processes[0], folder / "server.log", lambda: _answers(client, "/healthz"))
        made = client.post("/tokens", json={"role": "reporter", "name": "demo agents", "sources": list(SITES)})
        if made.status_code != 201:
            raise TwinloopError(f"{address} is not the server just started ({made.status_code}); give another --port")
        (folder / "agent-token").write_text(made.json()["secret"], encoding="utf-8")
        sites = [part for site in SITES for part in ("--site", site)]
        agents = ["agent", "three-sites", "--server", address, "--token-file", str(folder / "agent-token"), *sites]
        began_s = time.time()
        processes.append(_start(folder, "agents", agents))
        told.print("starting the agents of three sites")
        _wait_for(processes[1], folder / "agents.log", lambda: _is_heard(client, began_s))
        told.print(f"people are moving: {address}", style="bold")
        told.print(f"sign in with: {admin}", soft_wrap=True)
        if browser:
            webbrowser.open(address)
        _stay(processes, folder, seconds)


def _start(folder: Path, name: str, arguments: list[str]) -> "subprocess.Popen[bytes]":
    with (folder / f"{name}.log").open("wb") as log:
        program = [sys.executable, "-m", "twinloop", *arguments]
        return subprocess.Popen(program, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)


def _wait_for(process: "subprocess.Popen[bytes]", log: Path, arrived: Callable[[], bool]) -> None:
    from twinloop.errors import TwinloopError

    until = time.monotonic() + _PATIENCE_S
    while not arrived():
        if process.poll() is not None:
            lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            raise TwinloopError(lines[-1].removeprefix("error: ") if lines else f"{log.stem} ended at once")
        if time.monotonic() > until:
            raise TwinloopError(f"{log.stem} was not ready within {_PATIENCE_S:g} s; see {log}")
        time.sleep(0.2)


def _answers(client: "httpx.Client", path: str) -> bool:
    import httpx

    try:
        return client.get(path).status_code == 200
    except httpx.TransportError:
        return False


def _is_heard(client: "httpx.Client", since_s: float) -> bool:
    """Whether any site has reported since: people of an earlier run stand where they stood."""
    import httpx

    try:
        return any(one["last_s"] >= since_s for one in client.get("/ingest/sources").json()["sources"])
    except httpx.TransportError:
        return False


def _stay(processes: "list[subprocess.Popen[bytes]]", folder: Path, seconds: float | None) -> None:
    from twinloop.errors import TwinloopError

    until = None if seconds is None else time.monotonic() + seconds
    while until is None or time.monotonic() < until:
        for process, name in zip(processes, ("server", "agents"), strict=True):
            if process.poll() is not None:
                raise TwinloopError(f"the {name} ended; see {folder / (name + '.log')}")
        time.sleep(0.5)


def _end(processes: "list[subprocess.Popen[bytes]]") -> None:
    for process in reversed(processes):
        process.terminate()
    for process in processes:
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
