"""`twinloop data`: what public data sets there are, whether a folder holds them whole, how to get them; the fits."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from twinloop.errors import DataError, OutputError

if TYPE_CHECKING:
    import twinloop.datasets

app = typer.Typer(help="List, check and get public data sets; fit the shipped figures.", no_args_is_help=True)
Folder = Annotated[Path, typer.Option("--data", help="Folder of the data sets.", envvar="TWINLOOP_DATA", metavar="DIR")]

_SHOWN_FAULTS = 20


@app.command("list")
def list_sets(
    cite: Annotated[bool, typer.Option("--cite", help="Show citations and file layout as well.")] = False,
) -> None:
    """List the public data sets that twinloop reads, with licence and source."""
    from twinloop.datasets import CATALOGUE

    table = Table("name", "what it is", "licence", "get", box=None, pad_edge=False)
    table.add_column("source", overflow="fold")
    for data_set in CATALOGUE:
        way = "data get" if data_set.files else "by hand"
        table.add_row(data_set.name, data_set.title, data_set.licence, way, data_set.source)
    console = Console()
    console.print(table)
    if cite:
        _print_citations(console)


def _print_citations(console: Console) -> None:
    from twinloop.datasets import CATALOGUE

    console.print()
    for data_set in CATALOGUE:
        console.print(f"[bold]{data_set.name}[/bold]: {escape(data_set.citation)}")
        console.print(f"  files: {escape(data_set.layout)}", soft_wrap=True)


@app.command()
def check(
    path: Annotated[Path, typer.Argument(help="Folder of the data sets.", metavar="PATH")],
    every: Annotated[bool, typer.Option("--all", help="Print every fault, not only the first ones.")] = False,
) -> None:
    """Read every file of every set in PATH; say what is there and what is wrong, with file, line and column.

    An absent set is no fault. Ends with status 2 when a file is faulty, or when PATH holds none of the sets.
    """
    from twinloop.datasets import check as check_sets

    reports = check_sets(path)
    table = Table("set", "files", "read as", "rows", "state", box=None, pad_edge=False)
    for column in table.columns[1:4]:
        column.justify = "right"
    for report in reports:
        table.add_row(report.name, *_counts(report), _state(report))
    Console().print(table)
    faults = [fault for report in reports for fault in (*report.faults, *_wrong_hashes(path, report))]
    errors = Console(stderr=True, highlight=False)
    for fault in faults if every else faults[:_SHOWN_FAULTS]:
        errors.print(escape(str(fault)), soft_wrap=True)
    if not any(report.present for report in reports):
        raise DataError(path, "none of the data sets is here", "one folder a set, named as `twinloop data list` does")
    if faults:
        left = "" if every or len(faults) <= _SHOWN_FAULTS else f"; --all shows the other {len(faults) - _SHOWN_FAULTS}"
        raise DataError(path, f"{len(faults)} faulty file{'s' if len(faults) > 1 else ''}", f"none{left}")


def _counts(report: "twinloop.datasets.SetReport") -> tuple[str, str, str]:
    if not report.present:
        return "", "", ""
    return f"{report.files:,}", f"{report.items:,}", f"{report.rows:,}"


def _state(report: "twinloop.datasets.SetReport") -> str:
    if not report.present:
        return "[dim]absent[/dim]"
    wrong = len(report.faults) + len(report.bad_hash)
    return f"[red]{wrong} faulty[/red]" if wrong else "[green]ok[/green]"


def _wrong_hashes(path: Path, report: "twinloop.datasets.SetReport") -> list[DataError]:
    what = "the file is not the published one (its SHA-256 differs)"
    again = f"the file that `twinloop data get {report.name}` fetches"
    return [DataError(path / report.name / name, what, again) for name in report.bad_hash]


@app.command()
def get(
    name: Annotated[str, typer.Argument(help="A set of `twinloop data list`.", metavar="NAME")],
    data: Folder = Path("data"),
) -> None:
    """Fetch a set from its source, verified by SHA-256; run again after an interruption and it goes on.

    A set without a known hash is not fetched: where it is and how to lay it out is printed.
    """
    from twinloop.datasets import find_set
    from twinloop.datasets import get as get_set

    data_set = find_set(name)
    console = Console()
    if not data_set.files:
        console.print(escape(data_set.where), soft_wrap=True)
        console.print(f"then check it: twinloop data check {escape(str(data))}", soft_wrap=True)
        return
    got = get_set(data_set, data, lambda remote: console.print(f"getting {escape(remote.path)}"))
    here = escape(str(data / data_set.name))
    console.print(f"{len(got.fetched)} fetched, {len(got.kept)} there already, all verified: {here}", soft_wrap=True)
    console.print(f"licence: {data_set.licence}; cite {escape(data_set.citation)}", soft_wrap=True)


@app.command()
def fit(
    data: Folder,
    out: Annotated[Path | None, typer.Option("--out", help="File to write; printed otherwise.", metavar="FILE")] = None,
) -> None:
    """Fit the figures that twinloop ships: types of video, viewers, spectral efficiency, Levy flights."""
    from twinloop.datasets import fit_figures

    text = fit_figures(data).to_json()
    if out is None:
        typer.echo(text, nl=False)
        return
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as fault:
        raise OutputError(f"{out}: cannot be written ({fault.strerror or fault}); give another --out") from None
    typer.echo(f"wrote {out}")
