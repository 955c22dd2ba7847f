"""twinloop ingest: files of measurements into the twins of a running server."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from twinloop.cli.live.asking.client import SERVER, ServerOption, TokenFileOption, TokenOption, secret_of
from twinloop.cli.live.mapping import MappingOption, mapping_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from twinloop.service.agent import Outcome

MOST_REASONS = 5


def ingest(
    files: Annotated[list[Path], typer.Argument(help="CSV, JSON, NDJSON, XML, or packet captures (docs/formats.md).")],
    source: Annotated[str, typer.Option(help="Name that the batches come from, before a mark of the content.")] = "",
    mapping: MappingOption = None,
    users: Annotated[
        list[str] | None,
        typer.Option(help="Network of users in a capture, such as 10.0.0.0/8; again for more. Else: private ones."),
    ] = None,
    in_slice: Annotated[str | None, typer.Option("--slice", help="Slice of users that name none.")] = None,
    server: ServerOption = SERVER,
    token: TokenOption = "",
    token_file: TokenFileOption = None,
) -> None:
    """Send files of measurements to a server, batch by batch; what is acknowledged is kept.

    The same file again changes nothing, so a command that broke off is simply repeated. Rows that are refused are told
    with their reasons, and the exit status is 1.
    """
    from twinloop.network.formats import PRIVATE_NETWORKS
    from twinloop.service.agent import FileSender

    told = Console(stderr=True, highlight=False)
    sender = FileSender(server, secret_of(token, token_file), source)
    chosen = mapping_of(mapping)
    refused = 0
    try:
        for path in files:
            refused += _send(told, sender.send(path, chosen, users or PRIVATE_NETWORKS, in_slice), path)
    finally:
        sender.close()
    if refused:
        raise typer.Exit(1)


def _send(told: Console, outcomes: "Iterator[Outcome]", path: Path) -> int:
    accepted = refused = batches = again = 0
    reasons: list[str] = []
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[rows]}"), TimeElapsedColumn())
    with Progress(*columns, console=told, transient=True, disable=not told.is_terminal) as bar:
        task = bar.add_task(path.name, total=None, rows="")
        for outcome in outcomes:
            accepted, refused = accepted + outcome.accepted, refused + outcome.refused
            batches, again = batches + 1, again + outcome.duplicate
            reasons += outcome.reasons[: MOST_REASONS - len(reasons)]
            bar.update(task, rows=f"{accepted:,} rows")
    for reason in reasons:
        told.print(f"refused: {reason}", soft_wrap=True, markup=False)
    if refused > len(reasons):
        told.print(f"and {refused - len(reasons):,} more; GET /ingest/errors has all reasons")
    there = f", {again} of {batches} batches were there before" if again else ""
    Console(highlight=False).print(f"{path}: {accepted:,} rows accepted, {refused:,} refused{there}", soft_wrap=True)
    return refused
