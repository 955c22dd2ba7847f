"""`twinloop evaluate`: what twins foresee, generate and collect, on data that no fit has seen."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from twinloop.cli.experience import ScaleOption, scale_from
from twinloop.cli.outputs import writable_folder, writable_json
from twinloop.cli.run import LARGEST_SEED
from twinloop.cli.training.train import (
    DataFolder,
    DataSetName,
    Horizons,
    Models,
    OwnCovariates,
    OwnFiles,
    TimeColumn,
    ValueColumn,
    sequences_from,
    settings_from,
    steps_ahead,
)
from twinloop.errors import DataError, OutputError

if TYPE_CHECKING:
    import twinloop.studies

_WIDEST = 1000

app = typer.Typer(
    help="Judge emulators, generators, collection and upkeep on data not used in fitting.", no_args_is_help=True
)
Data = Annotated[Path, typer.Option("--data", help="Folder of the data sets.", envvar="TWINLOOP_DATA", metavar="DIR")]
Out = Annotated[
    Path | None,
    typer.Option("--out", help="Folder for the figures (PNG).", metavar="DIR", callback=writable_folder),
]
Json = Annotated[
    Path | None,
    typer.Option("--json", help="File for the results as JSON.", metavar="FILE", callback=writable_json),
]
Seed = Annotated[
    int,
    typer.Option(
        "--seed",
        help="Seed of all that is drawn: people, parts of the data, training, resamples.",
        min=0,
        max=LARGEST_SEED,
    ),
]


@app.command()
def mobility(data: Data, out: Out = None, json: Json = None, seed: Seed = 0) -> None:
    """Levy flights of the simulator against unseen KAIST walks."""
    from twinloop.studies import evaluate_mobility

    show(evaluate_mobility(data, seed), out, json)


@app.command()
def swipe(
    data: Data,
    people: Annotated[
        bool, typer.Option("--people/--no-people", help="Also train emulated viewers and judge them; takes minutes.")
    ] = True,
    model: Annotated[
        Path | None,
        typer.Option("--model", help="Judge viewers saved by `twinloop train viewers`.", metavar="MODEL.safetensors"),
    ] = None,
    out: Out = None,
    json: Json = None,
    seed: Seed = 0,
) -> None:
    """Swipes of the simulator's viewers against unseen videos, and of emulated viewers against unseen people."""
    from twinloop.studies import evaluate_people, evaluate_swipe, side_by_side

    if model is not None and not people:
        raise DataError("--model", "nobody is judged with --no-people", "--model without it")
    judgement = evaluate_swipe(data, seed)
    if people:
        judgement = side_by_side(judgement, evaluate_people(data, seed, model=model, progress=_tell))
    show(judgement, out, json)


@app.command()
def emulation(
    dataset: DataSetName,
    data: DataFolder = None,
    model: Models = None,
    horizons: Horizons = "1,5,10",
    split: Annotated[int | None, typer.Option("--split", help="Number of folds of files.", metavar="N")] = None,
    file: OwnFiles = None,
    time: TimeColumn = None,
    value: ValueColumn = None,
    covariate: OwnCovariates = None,
    out: Out = None,
    json: Json = None,
    seed: Seed = 0,
) -> None:
    """Every emulator against every baseline on recorded sequences, each file forecast by models that never saw it."""
    from twinloop.studies import evaluate_emulation

    source = sequences_from(dataset, data, file, time, value, covariate)
    ahead, settings = steps_ahead(horizons), settings_from(model)
    judgement = evaluate_emulation(
        source,
        horizons=ahead,
        split=split,
        settings=settings,
        seed=seed,
        progress=_tell,
    )
    show(judgement, out, json)


@app.command()
def collection(
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            help="Folder of the data sets; the simulated campus needs none.",
            envvar="TWINLOOP_DATA",
            metavar="DIR",
        ),
    ] = None,
    dataset: Annotated[
        list[str] | None,
        typer.Option(
            "--dataset", help="campus, irish5g, norway_hsdpa or kaist_walks; may be repeated. Without it: all."
        ),
    ] = None,
    out: Out = None,
    json: Json = None,
    seed: Seed = 0,
) -> None:
    """Adaptive collection against periodic and triggered reports: bits at equal error of what is emulated."""
    from twinloop.studies import evaluate_collection

    judgement = evaluate_collection(data, datasets=dataset, seed=seed, progress=_tell)
    show(judgement, out, json)


@app.command()
def drift(
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            help="Folder of the data sets; without it people are simulated only.",
            envvar="TWINLOOP_DATA",
            metavar="DIR",
        ),
    ] = None,
    out: Out = None,
    json: Json = None,
    seed: Seed = 0,
) -> None:
    """Upkeep under drift: detectors, updates with replay, faults, transfer, adaptive inference."""
    from twinloop.studies import evaluate_drift

    judgement = evaluate_drift(data, seed, progress=_tell)
    show(judgement, out, json)


@app.command()
def generation(
    data: Data,
    dataset: Annotated[
        str, typer.Option("--dataset", help="irish5g, norway_hsdpa or scenes.", metavar="NAME")
    ] = "irish5g",
    model: Annotated[
        Path | None,
        typer.Option(
            "--model", help="A saved generator, judged in place of a fitted one.", metavar="MODEL.safetensors"
        ),
    ] = None,
    out: Out = None,
    json: Json = None,
    seed: Seed = 0,
) -> None:
    """Generators of links and scenes (GAN, bootstrap, autoregression) against files that none was fitted to."""
    from twinloop.studies import evaluate_generation

    judgement = evaluate_generation(data, dataset, model, seed, _tell)
    show(judgement, out, json)


@app.command()
def demand(
    window: Annotated[int, typer.Option("--window", help="Minutes that demand is predicted for.", min=1, max=15)] = 3,
    out: Out = None,
    json: Json = None,
    seed: Seed = 0,
) -> None:
    """Predicted demand of users: who meets the agreed experience at it, and its cost above the least; takes minutes."""
    from twinloop.studies import evaluate_demand

    show(evaluate_demand(seed, minutes=window, progress=_tell), out, json)


@app.command()
def windows(out: Out = None, json: Json = None, seed: Seed = 0) -> None:
    """Slicing windows that follow the network's dynamics against fixed ones, and the game of groups behind slices."""
    from twinloop.studies import evaluate_windows

    show(evaluate_windows(seed, _tell), out, json)


@app.command()
def qoe(
    dataset: Annotated[str, typer.Option("--dataset", help="waterloo4, or csv.", metavar="NAME")],
    data: DataFolder = None,
    split: Annotated[
        str | None,
        typer.Option("--split", help="trace, content, device or rater; by default trace and rater.", metavar="NAME"),
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", help="A CSV file of users, scores and factors, for csv.", metavar="FILE")
    ] = None,
    scale: ScaleOption = None,
    out: Out = None,
    json: Json = None,
    seed: Seed = 0,
) -> None:
    """Models of what people say of sessions, on traces, contents, devices or ratings that no fit has seen."""
    from twinloop.studies import evaluate_qoe

    judgement = evaluate_qoe(dataset, data, split=split, file=file, scale=scale_from(scale), seed=seed, progress=_tell)
    show(judgement, out, json)


@app.command()
def recovery(
    users: Annotated[int, typer.Option("--users", help="People to draw and to find again.", metavar="N")] = 1000,
    ratings: Annotated[int, typer.Option("--ratings", help="Most scores of a user.", metavar="N")] = 100,
    out: Out = None,
    json: Json = None,
    seed: Seed = 0,
) -> None:
    """Models of experience fitted to drawn scores, against the users they were drawn from."""
    from twinloop.studies import evaluate_recovery

    show(evaluate_recovery(users, ratings, seed, _tell), out, json)


def _tell(line: str) -> None:
    """A line of progress, apart from the results."""
    Console(stderr=True).print(f"[dim]{escape(line)}[/dim]")


def show(judgement: "twinloop.studies.Judgement", out: Path | None, json: Path | None) -> None:
    """Prints a judgement; writes its figures into the folder `out` and its figures as numbers into `json`."""
    console = Console()
    for metrics, rows in _alike(judgement).items():
        table = _table(judgement, metrics, rows)
        _wide_enough(console, table).print(table)
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


def _wide_enough(console: Console, table: Table) -> Console:
    """The console itself on a terminal; in a file or a pipe one as wide as the table, so that no figure is cut."""
    if console.is_terminal:
        return console
    unbounded = console.options.update(width=_WIDEST)
    return Console(width=max(console.width, console.measure(table, options=unbounded).maximum))


def _alike(judgement: "twinloop.studies.Judgement") -> dict[tuple[str, ...], list["twinloop.studies.Row"]]:
    """Rows by what is measured of them: one table where all are alike in some metric, else one for each kind."""
    if set(judgement.metrics) & set.intersection(*({*row.values} for row in judgement.rows)):
        return {judgement.metrics: list(judgement.rows)}
    kinds: dict[tuple[str, ...], list[twinloop.studies.Row]] = {}
    for row in judgement.rows:
        kind = next((kind for kind in kinds if set(row.values) & set(kind)), tuple(row.values))
        wider = (*kind, *(metric for metric in row.values if metric not in kind))
        kinds = {wider if one == kind else one: rows for one, rows in kinds.items()}
        kinds.setdefault(wider, []).append(row)
    return kinds


def _table(
    judgement: "twinloop.studies.Judgement", metrics: tuple[str, ...], rows: list["twinloop.studies.Row"]
) -> Table:
    headers = (*judgement.labels, "role", *metrics)
    table = Table(*headers, box=None, pad_edge=False, title=judgement.title)
    table.title_justify = "left"
    for column in table.columns:
        column.overflow = "fold"
    for row in rows:
        colour = {"proposed": "bold", "baseline": "default", "reference": "dim"}[row.role]
        *about, name = row.names
        figures = (_figure(row.values[metric]) if metric in row.values else "" for metric in metrics)
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
