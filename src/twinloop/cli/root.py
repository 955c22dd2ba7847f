"""The root command: registers the groups, and turns every error a person can cause into one line and exit status 2."""

import sys

import typer
from rich.console import Console

from twinloop.cli.compare import compare
from twinloop.cli.data import app as data_app
from twinloop.cli.doctor import doctor
from twinloop.cli.evaluate import app as evaluate_app
from twinloop.cli.run import run
from twinloop.cli.scenario import app as scenario_app
from twinloop.errors import TwinloopError

app = typer.Typer(
    name="twinloop",
    help="A network digital twin that closes the loop: mirror a network, predict, decide, test in the twin, act.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.command()(run)
app.command()(compare)
app.command()(doctor)
app.add_typer(scenario_app, name="scenario")
app.add_typer(data_app, name="data")
app.add_typer(evaluate_app, name="evaluate")


def main() -> None:
    """Entry point of the `twinloop` program."""
    try:
        app()
    except TwinloopError as error:
        Console(stderr=True, highlight=False).print(f"[red]error:[/red] {_plain(str(error))}", soft_wrap=True)
        sys.exit(2)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(141)


def _plain(text: str) -> str:
    return " ".join(text.replace("[", r"\[").split())
