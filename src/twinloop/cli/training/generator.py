"""`twinloop train generator`: a generator of links as a file that `twinloop evaluate generation --model` judges."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from twinloop.cli.outputs import writable_model
from twinloop.cli.run import LARGEST_SEED
from twinloop.errors import DataError


def generator(
    data: Annotated[
        Path, typer.Option("--data", help="Folder of the data sets.", envvar="TWINLOOP_DATA", metavar="DIR")
    ],
    out: Annotated[
        Path, typer.Option("--out", help="File for the weights.", metavar="MODEL.safetensors", callback=writable_model)
    ],
    dataset: Annotated[str, typer.Option("--dataset", help="irish5g or norway_hsdpa.", metavar="NAME")] = "irish5g",
    method: Annotated[
        str | None,
        typer.Option("--method", help="gan, autoregression or block_bootstrap; what measured best.", metavar="NAME"),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of training.", min=0, max=LARGEST_SEED)] = 0,
) -> None:
    """Fit a generator of links to two thirds of the files of a data set; a card in JSON is written beside it."""
    from twinloop.training import (
        DEFAULT_GENERATOR,
        GENERATORS,
        RECORDED_LINKS,
        held_out_files,
        load_windows,
        save_source,
    )

    console = Console()
    if dataset not in RECORDED_LINKS:
        raise DataError("--dataset", f"{dataset!r}", f"one of {', '.join(RECORDED_LINKS)}")
    method = DEFAULT_GENERATOR if method is None else method
    if method not in GENERATORS:
        raise DataError("--method", f"{method!r}", f"one of {', '.join(GENERATORS)}")
    windows = load_windows(data, dataset)
    fitted = windows.only(~held_out_files(windows.files, windows.file_class())[windows.file])
    console.print(f"[dim]fitting {method} to {fitted.count} windows[/dim]")
    about = {"dataset": dataset, "seed": seed, "command": " ".join(["twinloop", *sys.argv[1:]])}
    card = save_source(out, GENERATORS[method](fitted, seed), fitted, about)
    console.print(f"fitted to {len(card['fitted_on'])} of {len(windows.files)} files, the others are kept to judge by")
    console.print(f"wrote {escape(str(out))} and {escape(str(out.with_suffix('.json')))}", soft_wrap=True)
