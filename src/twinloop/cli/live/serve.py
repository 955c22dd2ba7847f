"""twinloop serve: twins of a running network, on this machine."""

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from twinloop.cli.live.ending import leave_at_once
from twinloop.cli.live.logs import begin_logging

TOKEN_FILE_MODE = 0o600
_LINKS = "Lines to other systems"


_Scenario = Annotated[
    str | None,
    typer.Argument(
        help="Topology, slices and beliefs: a shipped scenario's name or a YAML file.", show_default="three-sites"
    ),
]
_Config = Annotated[
    Path | None,
    typer.Option(help="TOML file with any setting (docs/live.md); options given here go before it."),
]
_Database = Annotated[
    str | None,
    typer.Option(
        envvar="TWINLOOP_DATABASE",
        help="SQLite file (made if it is not there), or postgresql://USER:PASSWORD@HOST:PORT/NAME.",
        show_default="twinloop.db",
    ),
]
_Host = Annotated[str | None, typer.Option(help="Address to listen on; 0.0.0.0 for all.", show_default="127.0.0.1")]
_Port = Annotated[int | None, typer.Option(min=1, max=65535, help="Port to listen on.", show_default="8080")]
_Mode = Annotated[
    str | None,
    typer.Option(help="advise: a person approves every decision. act: automatic inside limits.", show_default="advise"),
]
_Fsync = Annotated[
    bool | None, typer.Option("--fsync", help="SQLite: acknowledge only what survives a power cut, too.")
]
_TokenFile = Annotated[
    Path | None, typer.Option(help="Write the first admin token there (mode 600), not to the terminal.")
]
_Broker = Annotated[
    str | None,
    typer.Option(
        envvar="TWINLOOP_BROKER",
        help="Reports, plans and commands by MQTT as well: mqtt://USER:PASSWORD@HOST:PORT, mqtts:// for TLS.",
        show_default=False,
        rich_help_panel=_LINKS,
    ),
]
_BrokerCa = Annotated[
    Path | None, typer.Option(help="Authority of the broker's certificate (PEM).", rich_help_panel=_LINKS)
]
_TlsCertificate = Annotated[
    Path | None, typer.Option(help="Serve https with this certificate (PEM, chain).", rich_help_panel=_LINKS)
]
_TlsKey = Annotated[
    Path | None, typer.Option(help="Key of the certificate (PEM, not encrypted).", rich_help_panel=_LINKS)
]
_Telemetry = Annotated[
    str | None,
    typer.Option(help="Send OpenTelemetry spans to this OTLP/HTTP collector.", rich_help_panel=_LINKS),
]
_Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Log everything, not only what matters.")]


def serve(
    scenario: _Scenario = None,
    config: _Config = None,
    database: _Database = None,
    host: _Host = None,
    port: _Port = None,
    mode: _Mode = None,
    fsync: _Fsync = None,
    token_file: _TokenFile = None,
    broker: _Broker = None,
    broker_ca: _BrokerCa = None,
    tls_certificate: _TlsCertificate = None,
    tls_key: _TlsKey = None,
    telemetry: _Telemetry = None,
    verbose: _Verbose = False,
) -> None:
    """Serve live twins: takes reports, mirrors, decides, and, where allowed, acts.

    On its first run with a database it prints an admin token, once. Then point agents at it
    (twinloop agent --help), open its address in a browser, or ask it: twinloop twin list user.
    """
    leave_at_once()
    from twinloop import scenario as scenarios
    from twinloop.errors import OutputError
    from twinloop.service.configuration import configured
    from twinloop.service.serve import serve as run_server

    chosen = configured(
        config,
        scenario=scenario,
        database=database,
        host=host,
        port=port,
        mode=mode,
        fsync=fsync,
        broker=broker,
        broker_ca=broker_ca,
        tls=_tls(tls_certificate, tls_key),
        telemetry=None if telemetry is None else {"endpoint": telemetry},
    )
    begin_logging(verbose)
    if token_file is not None and (token_file.is_dir() or not _may_write_in(token_file.parent)):
        raise OutputError(
            f"--token-file {token_file} cannot be written: it is a folder, or in none that is yours; give another"
        )
    told = Console(stderr=True, highlight=False)
    loaded = scenarios.load(chosen.scenario)

    def first_token(secret: str) -> None:
        if token_file is None:
            told.print("admin token, shown this once:", style="bold")
            typer.echo(secret)
        else:
            _write_secret(token_file, secret)
            told.print(f"admin token written to {token_file}")

    address = f"{'http' if chosen.tls is None else 'https'}://{chosen.host}:{chosen.port}"
    told.print(
        f"twinloop serves {loaded.name} at {address} (mode {chosen.mode}, database {_masked(chosen.database)})",
        soft_wrap=True,
    )
    run_server(loaded, chosen, first_token=first_token)


def _tls(certificate: Path | None, key: Path | None) -> dict[str, Path] | None:
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise typer.BadParameter("--tls-certificate and --tls-key go together; give both")
    return {"certificate": certificate, "key": key}


def _may_write_in(folder: Path) -> bool:
    return folder.is_dir() and os.access(folder, os.W_OK)


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
