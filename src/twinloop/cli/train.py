"""`twinloop train`: models from recorded data, as files that `twinloop run` and the evaluations load."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from twinloop.cli.train_generator import generator
from twinloop.errors import DataError

if TYPE_CHECKING:
    import twinloop.training

app = typer.Typer(help="Train models on recorded data and save them.", no_args_is_help=True)

DataSetName = Annotated[str, typer.Option("--dataset", help="A data set with sequences, or csv.", metavar="NAME")]
DataFolder = Annotated[
    Path | None, typer.Option("--data", help="Folder of the data sets.", envvar="TWINLOOP_DATA", metavar="DIR")
]
Models = Annotated[
    list[str] | None,
    typer.Option("--model", help="Networks to train: gru, lstm, gru-mixture; all of them by default.", metavar="KIND"),
]
Horizons = Annotated[str, typer.Option("--horizons", help="Steps ahead, parted by commas.", metavar="H,...")]
OwnFiles = Annotated[list[Path] | None, typer.Option("--file", help="A CSV file, for csv.", metavar="FILE")]
TimeColumn = Annotated[str | None, typer.Option("--time", help="Its column of time.", metavar="COLUMN")]
ValueColumn = Annotated[str | None, typer.Option("--value", help="Its column to forecast.", metavar="COLUMN")]
OwnCovariates = Annotated[list[str] | None, typer.Option("--covariate", help="Columns beside it.", metavar="COLUMN")]
Seed = Annotated[int, typer.Option("--seed", help="Seed of training.", min=0)]

_MOST_AHEAD = 1000


@app.callback()
def train() -> None:
    """Train models on recorded data and save them."""


app.command()(generator)


@app.command()
def emulator(
    dataset: DataSetName,
    out: Annotated[Path, typer.Option("--out", help="File for the weights.", metavar="MODEL.safetensors")],
    data: DataFolder = None,
    model: Models = None,
    horizons: Horizons = "1,5,10",
    file: OwnFiles = None,
    time: TimeColumn = None,
    value: ValueColumn = None,
    covariate: OwnCovariates = None,
    seed: Seed = 0,
) -> None:
    """Train the default emulator on every file of a data set; a card in JSON is written beside the weights."""
    from twinloop.training import train_and_save

    console = Console()
    source = sequences_from(dataset, data, file, time, value, covariate)
    trained = train_and_save(
        source,
        checked_output(out),
        horizons=steps_ahead(horizons),
        settings=settings_from(model),
        seed=seed,
        command=" ".join(["twinloop", *sys.argv[1:]]),
        progress=lambda line: console.print(f"[dim]{escape(line)}[/dim]"),
    )
    for horizon, figures in trained.metrics.items():
        told = ", ".join(f"{name.replace('_', ' ')} {figure:.3f}" for name, figure in figures.items())
        console.print(f"{horizon} steps ahead, on files its members had not seen: {told}")
    console.print(f"wrote {escape(str(out))} and {escape(str(out.with_suffix('.json')))}", soft_wrap=True)


@app.command()
def viewers(
    data: Annotated[
        Path, typer.Option("--data", help="Folder of the data sets.", envvar="TWINLOOP_DATA", metavar="DIR")
    ],
    out: Annotated[Path, typer.Option("--out", help="File for the weights.", metavar="MODEL.safetensors")],
    method: Annotated[
        str, typer.Option("--method", help="gail, clone, machine, or gail_alone.", metavar="METHOD")
    ] = "gail",
    seed: Seed = 0,
) -> None:
    """Train emulated viewers on recorded ones; a card in JSON is written beside the weights."""
    from twinloop.training import METHODS, train_and_save_viewers

    if method not in METHODS:
        raise DataError("--method", f"{method!r}", f"one of {', '.join(METHODS)}")
    console = Console()
    metrics = train_and_save_viewers(
        data,
        checked_output(out),
        method,
        seed=seed,
        command=" ".join(["twinloop", *sys.argv[1:]]),
        progress=lambda line: console.print(f"[dim]{escape(line)}[/dim]"),
    )
    for name, figure in metrics.items():
        console.print(f"{name.replace('_', ' ')}: {figure:.4f}")
    console.print(f"wrote {escape(str(out))} and {escape(str(out.with_suffix('.json')))}", soft_wrap=True)


def sequences_from(
    dataset: str,
    data: Path | None,
    files: list[Path] | None,
    time: str | None,
    value: str | None,
    covariates: list[str] | None,
) -> "twinloop.training.SequenceSet":
    """The sequences that the options name. Raises DataError where they contradict or miss something."""
    from twinloop.training import load_sequences, read_own_table

    if dataset == "csv":
        if not files or time is None or value is None:
            raise DataError(
                "--dataset csv",
                "it needs a file, a column of time and one to forecast",
                "--file FILE --time COLUMN --value COLUMN",
            )
        return read_own_table(files, time, value, covariates or [])
    if files or time is not None or value is not None or covariates:
        raise DataError(dataset, "--file, --time, --value and --covariate say nothing here", "them with --dataset csv")
    if data is None:
        raise DataError(dataset, "no folder of data sets given", "--data DIR, or TWINLOOP_DATA")
    return load_sequences(dataset, data)


def steps_ahead(text: str) -> tuple[int, ...]:
    """`(1, 5, 10)` of `1,5,10`. Raises DataError for anything but whole numbers from 1."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and 1 <= int(part) <= _MOST_AHEAD for part in parts):
        raise DataError("--horizons", f"{text!r}", f"whole numbers from 1 to {_MOST_AHEAD} parted by commas, as 1,5,10")
    return tuple(sorted({int(part) for part in parts}))


def settings_from(models: list[str] | None) -> "twinloop.training.EmulatorSettings":
    """Settings with these kinds of networks. Raises DataError for an unknown one."""
    from twinloop.training import NETWORK_KINDS, EmulatorSettings

    if not models:
        return EmulatorSettings()
    for model in models:
        if model not in NETWORK_KINDS:
            raise DataError("--model", f"{model!r}", f"one of {', '.join(NETWORK_KINDS)}")
    return EmulatorSettings(kinds=tuple(kind for kind in NETWORK_KINDS if kind in models))


def checked_output(out: Path) -> Path:
    """`out`, once it is sure that it can be written: training takes minutes. Raises OutputError otherwise."""
    from twinloop.errors import OutputError

    if out.suffix != ".safetensors":
        raise OutputError(f"{out}: the name of a model ends in .safetensors; give another --out")
    if out.is_dir() or not next(parent for parent in out.absolute().parents if parent.exists()).is_dir():
        raise OutputError(f"{out}: cannot be written there; give another --out")
    return out
