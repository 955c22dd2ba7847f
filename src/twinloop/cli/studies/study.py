"""`twinloop study`: the case studies of the literature, lived through scheme by scheme on the same worlds."""

import signal
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from twinloop.cli.evaluate import show
from twinloop.cli.outputs import writable_folder, writable_json
from twinloop.cli.run import progress_bar
from twinloop.errors import ScenarioError

app = typer.Typer(help="Case studies: schemes on the same worlds, scored by the truth.", no_args_is_help=True)

_WORKERS = 2
_USERS, _SEEDS, _MINUTES = "16,18,20,22,24", 20, 60
_QUICK_USERS, _QUICK_SEEDS, _QUICK_MINUTES = "16,24", 2, 12


@app.callback()
def studies() -> None:
    """Case studies: schemes on the same worlds, scored by the truth."""


@app.command(name="da-qoe")
def da_qoe(
    users: Annotated[
        str | None,
        typer.Option("--users", help=f"Numbers of users, comma-separated. Default: {_USERS}.", metavar="N,..."),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option("--seeds", min=2, help=f"Worlds that every scheme meets. Default: {_SEEDS}.")
    ] = None,
    minutes: Annotated[
        int | None, typer.Option("--minutes", min=6, help=f"Length of a run. Default: {_MINUTES}.")
    ] = None,
    schemes: Annotated[
        str | None,
        typer.Option("--schemes", help="Only these, comma-separated.", metavar="NAME,..."),
    ] = None,
    variants: Annotated[
        bool,
        typer.Option(help="Windows, ablations, negative controls, mismatch and other loads as well."),
    ] = True,
    quick: Annotated[
        bool,
        typer.Option("--quick", help="16 and 24 users, 2 seeds, 12 minutes unless said otherwise; no variants."),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="Folder for runs, results.json and figures; a study goes on where it stopped.",
            metavar="DIR",
            callback=writable_folder,
        ),
    ] = None,
    json: Annotated[
        Path | None,
        typer.Option("--json", help="File for the judgement as JSON.", metavar="FILE", callback=writable_json),
    ] = None,
) -> None:
    """Digital agents that manage by experience (Shen et al., Fig. 5): schemes against each other."""
    from twinloop.studies import SCHEMES, VARIANTS, study_da_qoe

    chosen = list(SCHEMES) if schemes is None else [name.strip() for name in schemes.split(",")]
    unknown = [name for name in chosen if name not in SCHEMES]
    if unknown:
        raise ScenarioError(f"no scheme {unknown[0]!r}; there are {', '.join(SCHEMES)}")
    usual = (_QUICK_USERS, _QUICK_SEEDS, _QUICK_MINUTES) if quick else (_USERS, _SEEDS, _MINUTES)
    counts = _counts(usual[0] if users is None else users)
    target = out if out is not None else Path("runs") / ("da-qoe-quick" if quick else "da-qoe")
    console = Console()
    console.print(f"[bold]da-qoe[/bold]: {len(chosen)} schemes -> {escape(str(target))}", soft_wrap=True)
    with _kept(target), progress_bar(console, "minutes") as advance:
        judgement = study_da_qoe(
            target,
            users=counts,
            seeds=seeds or usual[1],
            minutes=minutes or usual[2],
            schemes=chosen,
            variants=tuple(VARIANTS) if variants and not quick else (),
            workers=_WORKERS,
            progress=advance,
        )
    show(judgement, target, json)
    console.print(f"report: {escape(str(target / 'report.html'))}", soft_wrap=True)


@contextmanager
def _kept(target: Path) -> Generator[None]:
    """Ends with a line and status 130 at Ctrl-C or a polite kill: whole runs are kept."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        Console(stderr=True).print(f"stopped; runs that were over are kept in {target}, the same command goes on")
        raise typer.Exit(130) from None


def _counts(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ScenarioError(f"--users {text!r} is not a list of whole numbers, such as 16,18,20,22,24") from None
