"""`twinloop qoe`: models of what people make of sessions, fitted to their scores, and what matters to one of them."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from twinloop.cli.outputs import writable_folder, writable_model
from twinloop.cli.run import LARGEST_SEED
from twinloop.errors import DataError, OutputError

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float64

    import twinloop.training

app = typer.Typer(help="Models of people's experience, fitted to the scores they gave.", no_args_is_help=True)

ScaleOption = Annotated[
    str | None, typer.Option("--scale", help="Scale of the scores, 5 (1-5) or 100 (0-100); else detected.", metavar="N")
]
Seed = Annotated[int, typer.Option("--seed", help="Seed of all that is drawn.", min=0, max=LARGEST_SEED)]


@app.callback()
def qoe() -> None:
    """Models of people's experience, fitted to the scores they gave."""


@app.command()
def fit(
    data: Annotated[Path, typer.Argument(help="The folder waterloo4, a folder that holds it, or a CSV file.")],
    out: Annotated[
        Path, typer.Option("--out", help="File for the model.", metavar="MODEL.safetensors", callback=writable_model)
    ],
    scale: ScaleOption = None,
    any_content: Annotated[
        bool,
        typer.Option("--any-content", help="waterloo4: without chunk sizes, which tell its five contents apart."),
    ] = False,
    seed: Seed = 0,
) -> None:
    """Fit a model of every person who gave scores; a card in JSON is written beside it.

    A CSV file has the columns user and score, and factors with their unit in the name, as stall_s, bitrate_kbps,
    quality, swipes_per_min, speed_kmh, one row a rated minute.
    """
    from twinloop.training import fit_and_save_opinion

    if not data.exists():
        raise DataError(data, "no such file or folder", "the folder waterloo4 or a CSV file of scores")
    console = Console()
    command = " ".join(["twinloop", *sys.argv[1:]])
    contents = "any" if any_content else "known"
    made = fit_and_save_opinion(data, out, scale=scale_from(scale), seed=seed, command=command, contents=contents)
    for line in made.notes:
        console.print(f"[dim]- {escape(line)}[/dim]", soft_wrap=True)
    console.print(
        f"{len(made.users)} users: {escape(', '.join(made.users[:5]))}{' ...' if len(made.users) > 5 else ''}"
    )
    console.print(f"wrote {escape(str(out))} and {escape(str(out.with_suffix('.json')))}", soft_wrap=True)


@app.command()
def explain(
    model: Annotated[Path, typer.Argument(help="A model that `twinloop qoe fit` wrote.", metavar="MODEL.safetensors")],
    user: Annotated[str, typer.Option("--user", help="Whose experience to explain.", metavar="USER")],
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder for the figure (PNG).", metavar="DIR", callback=writable_folder),
    ] = None,
    seed: Seed = 0,
) -> None:
    """Which factors matter to one user: distance correlation, its test, and expected scores along each factor.

    The figure is on 0-100; scores of 1-5 are mapped to it as in ITU-T P.1203.
    """
    from twinloop.training import explain as explain_user

    explained = explain_user(model, user, seed)
    console = Console()
    table = Table("factor", "distance correlation", "p", "p, corrected", "", box=None, pad_edge=False)
    for one in explained.matters:
        if not one.varies:
            table.add_row(escape(one.factor), "", "", "", "constant, or too few ratings: nothing can be told")
            continue
        verdict = "[green]matters[/green]" if one.adjusted <= 0.05 else "[dim]not shown to matter[/dim]"
        figures = (f"{one.correlation:.3f}", f"{one.p_value:.3f}", f"{one.adjusted:.3f}")
        table.add_row(escape(one.factor), *figures, verdict)
    console.print(table)
    for effect in explained.effects:
        console.print(
            f"{escape(effect.factor)} from {effect.x[0]:,.3g} to {effect.x[-1]:,.4g}: expected score "
            f"{_from_to(explained, effect)}",
            soft_wrap=True,
        )
    for line in explained.notes:
        console.print(f"[dim]- {escape(line)}[/dim]", soft_wrap=True)
    if out is not None:
        console.print(f"wrote {escape(str(_draw(explained, out)))}", soft_wrap=True)


def _from_to(explained: "twinloop.training.Explained", effect: "twinloop.training.Effect") -> str:
    """First and last expected score on the scale that people were asked on, and on the other by ITU-T P.1203."""
    import jax.numpy as jnp

    from twinloop.qoe import mos_from_percent, percent_from_mos

    ends = jnp.asarray(effect.score[[0, -1]])
    if explained.scale == "5":
        first, last = percent_from_mos(ends)
        return f"{ends[0]:.2f} to {ends[1]:.2f} on 1-5 (P.1203: {first:.0f} to {last:.0f} on 0-100)"
    first, last = mos_from_percent(ends)
    return f"{ends[0]:.0f} to {ends[1]:.0f} on 0-100 (P.1203: {first:.2f} to {last:.2f} on 1-5)"


def scale_from(text: str | None) -> "twinloop.training.Scale | None":
    """The scale that an option names. Raises DataError for another."""
    if text is None or text == "5" or text == "100":
        return text
    raise DataError("--scale", f"{text!r}", "5 for scores of 1-5, 100 for 0-100")


def _draw(explained: "twinloop.training.Explained", out: Path) -> Path:
    import jax.numpy as jnp
    import numpy as np

    from twinloop.qoe import percent_from_mos
    from twinloop.reporting import EffectCurve, plot_effects

    if not explained.effects:
        raise OutputError(f"{explained.user}: no factor varies, so there is nothing to draw; leave out --out")

    def drawn(score: "Float64[np.ndarray, ' points']") -> "Float64[np.ndarray, ' points']":
        return np.asarray(percent_from_mos(jnp.asarray(score)), np.float64) if explained.scale == "5" else score

    curves = [
        EffectCurve(one.factor, one.x, drawn(one.score), drawn(one.low), drawn(one.high)) for one in explained.effects
    ]
    safe = "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in explained.user)
    path = out / f"experience-of-{safe}.png"
    try:
        out.mkdir(parents=True, exist_ok=True)
        plot_effects(curves, f"Expected experience of {explained.user}").savefig(path, dpi=144)
    except OSError as fault:
        raise OutputError(f"{path}: cannot be written ({fault.strerror or fault}); give another --out") from None
    return path
