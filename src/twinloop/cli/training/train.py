"""`twinloop train`: models from recorded data or a simulated scenario, as files that `twinloop run` and others load."""

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from twinloop.cli.outputs import writable_model
from twinloop.cli.run import LARGEST_SEED, existing, seconds
from twinloop.cli.training.agents import agents
from twinloop.cli.training.generator import generator
from twinloop.errors import DataError

if TYPE_CHECKING:
    import twinloop.training

app = typer.Typer(help="Train models on recorded or simulated data and save them.", no_args_is_help=True)

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
Seed = Annotated[int, typer.Option("--seed", help="Seed of training.", min=0, max=LARGEST_SEED)]
Out = Annotated[
    Path, typer.Option("--out", help="File for the weights.", metavar="MODEL.safetensors", callback=writable_model)
]

_MOST_AHEAD = 1000
_SHORTEST_S, _LONGEST_S = 120.0, 7200.0


@app.callback()
def train() -> None:
    """Train models on recorded or simulated data and save them."""


app.command()(generator)
app.command()(agents)


@app.command()
def emulator(
    out: Out,
    dataset: Annotated[
        str | None, typer.Option("--dataset", help="A data set with sequences, or csv.", metavar="NAME")
    ] = None,
    scenario: Annotated[
        str | None,
        typer.Option("--scenario", help="Or a shipped scenario or YAML file: all levels of its users' twins."),
    ] = None,
    attributes: Annotated[
        str | None,
        typer.Option("--attributes", help="With --scenario: some of the levels, parted by commas.", metavar="A,..."),
    ] = None,
    duration: Annotated[
        str | None, typer.Option("--duration", help="With --scenario: how long to simulate; 20min by default.")
    ] = None,
    data: DataFolder = None,
    model: Models = None,
    horizons: Annotated[
        str | None, typer.Option("--horizons", help="Steps ahead, parted by commas; 1,5,10 by default.")
    ] = None,
    file: OwnFiles = None,
    time: TimeColumn = None,
    value: ValueColumn = None,
    covariate: OwnCovariates = None,
    seed: Seed = 0,
) -> None:
    """Train emulators on every file of a data set, or on what the twins of a scenario simulate by themselves.

    A card in JSON is written beside the weights. `twinloop run --emulator` lets them join the other emulators.
    """
    if scenario is not None:
        _say_nothing(
            "--scenario",
            {"--dataset": dataset, "--file": file, "--time": time, "--value": value, "--covariate": covariate}
            | {"--horizons": horizons},
        )
        _emulators_of_twins(scenario, attributes, duration, out, data, model, seed)
        return
    _say_nothing("--dataset", {"--attributes": attributes, "--duration": duration})
    if dataset is None:
        raise DataError("train emulator", "nothing to train on", "--dataset NAME or --scenario SCENARIO")
    from twinloop.training import train_and_save

    console = Console()
    source = sequences_from(dataset, data, file, time, value, covariate)
    trained = train_and_save(
        source,
        out,
        horizons=steps_ahead(horizons or "1,5,10"),
        settings=settings_from(model),
        seed=seed,
        command=" ".join(["twinloop", *sys.argv[1:]]),
        progress=lambda line: console.print(f"[dim]{escape(line)}[/dim]"),
    )
    for horizon, figures in trained.metrics.items():
        told = ", ".join(f"{name.replace('_', ' ')} {figure:.3f}" for name, figure in figures.items())
        console.print(f"{horizon} steps ahead, on files its members had not seen: {told}")
    console.print(f"wrote {escape(str(out))} and {escape(str(out.with_suffix('.json')))}", soft_wrap=True)


def _emulators_of_twins(
    scenario: str,
    attributes: str | None,
    duration: str | None,
    out: Path,
    data: Path | None,
    models: list[str] | None,
    seed: int,
) -> None:
    from twinloop.scenario import load
    from twinloop.training import checked_attributes, train_and_save_twins

    lasting = seconds(duration or "20min") or 0.0
    if not _SHORTEST_S <= lasting <= _LONGEST_S:
        raise DataError("--duration", f"{duration!r}", "2min to 2h, of which each of two worlds lasts half")
    names = None if attributes is None else [name.strip() for name in attributes.split(",") if name.strip()]
    checked_attributes(names)
    console = Console()
    made = train_and_save_twins(
        load(scenario),
        out,
        attributes=names,
        duration_s=lasting,
        seed=seed,
        settings=twin_settings_from(models),
        data=existing(data),
        command=" ".join(["twinloop", *sys.argv[1:]]),
        progress=lambda line: console.print(f"[dim]{escape(line)}[/dim]", soft_wrap=True),
    )
    console.print(f"{len(made.attributes)} attributes, scored on users that training had not seen")
    console.print(f"wrote {escape(str(out))} and {escape(str(out.with_suffix('.json')))}", soft_wrap=True)


def _say_nothing(beside: str, given: Mapping[str, object]) -> None:
    """Raises DataError where one of the options `given` is set."""
    for option, value in given.items():
        if value:
            raise DataError(option, f"it says nothing beside {beside}", "one or the other")


@app.command()
def viewers(
    data: Annotated[
        Path, typer.Option("--data", help="Folder of the data sets.", envvar="TWINLOOP_DATA", metavar="DIR")
    ],
    out: Out,
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
        out,
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


def twin_settings_from(models: list[str] | None) -> "twinloop.training.EmulatorSettings":
    """Settings for twins, with these kinds of networks if any. Raises DataError for an unknown one."""
    from twinloop.training import TWIN_SETTINGS

    return TWIN_SETTINGS if not models else replace(TWIN_SETTINGS, kinds=settings_from(models).kinds)
