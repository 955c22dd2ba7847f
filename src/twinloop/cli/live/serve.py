"""twinloop serve: twins of a running network, on this machine."""

import os
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from twinloop.cli.live.logs import begin_logging

TOKEN_FILE_MODE = 0o600


def serve(
    scenario: Annotated[
        str, typer.Argument(help="Topology, slices and beliefs: a shipped scenario's name or a YAML file.")
    ] = "three-sites",
    database: Annotated[
        str,
        typer.Option(
            envvar="TWINLOOP_DATABASE",
            help="SQLite file (made if it is not there), or postgresql://USER:PASSWORD@HOST:PORT/NAME.",
        ),
    ] = "twinloop.db",
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8080,
    mode: Annotated[
        str, typer.Option(help="advise: a person approves every decision. act: automatic inside limits.")
    ] = "advise",
    fsync: Annotated[
        bool, typer.Option("--fsync", help="SQLite: acknowledge only what survives a power cut, too.")
    ] = False,
    token_file: Annotated[
        Path | None, typer.Option(help="Write the first admin token there (mode 600), not to the terminal.")
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log everything, not only what matters.")] = False,
) -> None:
    """Serve live twins: takes reports, mirrors, decides, and, where allowed, acts.

    On its first run with a database it prints an admin token, once. Then point agents at it
    (twinloop agent --help), open its address in a browser, or ask it: twinloop twin list user.
    """
    from twinloop import scenario as scenarios
    from twinloop.errors import TwinloopError
    from twinloop.service.live_platform import Settings
    from twinloop.service.serve import Address
    from twinloop.service.serve import serve as run_server

    if mode not in ("advise", "act"):
        raise TwinloopError(f"--mode {mode!r} is not known; give advise or act")
    chosen: Literal["advise", "act"] = "act" if mode == "act" else "advise"
    begin_logging(verbose)
    told = Console(stderr=True, highlight=False)
    loaded = scenarios.load(scenario)

    def first_token(secret: str) -> None:
        if token_file is None:
            told.print("admin token, shown this once:", style="bold")
            typer.echo(secret)
        else:
            _write_secret(token_file, secret)
            told.print(f"admin token written to {token_file}")

    told.print(f"twinloop serves {loaded.name} at http://{host}:{port} (mode {mode}, database {_masked(database)})")
    run_server(loaded, database, Address(host, port), Settings(mode=chosen), fsync=fsync, first_token=first_token)


def _write_secret(path: Path, secret: str) -> None:
    from twinloop.errors import OutputError

    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, TOKEN_FILE_MODE), "w") as file:
            file.write(secret + "\n")
    except OSError as error:
        raise OutputError(f"--token-file {path} cannot be written: {error.strerror}") from None


def _masked(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}" if separator and "@" in rest else url
