"""`twinloop evaluate`: the generators against data that no fit has seen."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from twinloop.errors import OutputError

if TYPE_CHECKING:
    import twinloop.studies

app = typer.Typer(help="Judge the generators against walks and videos not used in fitting.", no_args_is_help=True)
Data = Annotated[Path, typer.Option("--data", help="Folder of the data sets.", envvar="TWINLOOP_DATA", metavar="DIR")]
Out = Annotated[Path | None, typer.Option("--out", help="Folder for the figures (PNG).", metavar="DIR")]
Json = Annotated[Path | None, typer.Option("--json", help="File for the results as JSON.", metavar="FILE")]
Seed = Annotated[int, typer.Option("--seed", help="Seed of the simulated people.", min=0)]


@app.command()
def mobility(data: Data, out: Out = None, json: Json = None, seed: Seed = 0) -> None:
    """Levy flights of the simulator against unseen KAIST walks."""
    from twinloop.studies import evaluate_mobility

    _show(evaluate_mobility(data, seed), out, json)


@app.command()
def swipe(data: Data, out: Out = None, json: Json = None, seed: Seed = 0) -> None:
    """Swipes of the simulator's viewers against unseen videos."""
    from twinloop.studies import evaluate_swipe

    _show(evaluate_swipe(data, seed), out, json)


def _show(judgement: "twinloop.studies.Judgement", out: Path | None, json: Path | None) -> None:
    console = Console()
    console.print(_table(judgement))
    for name, value in judgement.numbers.items():
        console.print(f"{name.replace('_', ' ')}: {value:,.4g}")
    for line in judgement.method:
        console.print(f"[dim]- {escape(line)}[/dim]", soft_wrap=True)
    for claim in judgement.claims:
        verdict = "[green]holds[/green]" if claim.holds else "[red]does not hold[/red]"
        console.print(f"{escape(claim.statement)}: {_figure(claim.measured)} {verdict}", soft_wrap=True)
    if json is not None:
        _write(json, judgement.to_json())
    for path in judgement.save(out) if out is not None else ():
        console.print(f"wrote {escape(str(path))}", soft_wrap=True)


def _table(judgement: "twinloop.studies.Judgement") -> Table:
    headers = (*judgement.labels, "role", *judgement.metrics)
    table = Table(*headers, box=None, pad_edge=False, title=judgement.title)
    table.title_justify = "left"
    for row in judgement.rows:
        colour = {"proposed": "bold", "baseline": "default", "reference": "dim"}[row.role]
        *about, name = row.names
        figures = (_figure(row.values[metric]) if metric in row.values else "" for metric in judgement.metrics)
        table.add_row(*map(escape, about), f"[{colour}]{escape(name)}[/{colour}]", row.role, *figures)
    return table


def _figure(estimate: "twinloop.studies.Estimate") -> str:
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.3f}"
    return escape(f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]")


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as fault:
        raise OutputError(f"{path}: cannot be written ({fault.strerror or fault}); give another --json") from None
