"""The root command: registers the groups, and turns every error a person can cause into one line and exit status 2.

No module of this package loads the rest of twinloop before a command needs it, so that help and `twinloop doctor` come
at once, also where JAX is broken.
"""

import importlib
import os
import sys
from typing import Any

import typer
from rich.console import Console

from twinloop.cli.compare import compare
from twinloop.cli.data import app as data_app
from twinloop.cli.doctor import doctor
from twinloop.cli.evaluate import app as evaluate_app
from twinloop.cli.experience import app as qoe_app
from twinloop.cli.live.agent import agent
from twinloop.cli.live.asking.decisions import app as decision_app
from twinloop.cli.live.asking.slices import app as slice_app
from twinloop.cli.live.asking.tokens import app as token_app
from twinloop.cli.live.asking.twins import app as twin_app
from twinloop.cli.live.demo import app as demo_app
from twinloop.cli.live.ingest import ingest
from twinloop.cli.live.keep import backup, restore
from twinloop.cli.live.serve import serve
from twinloop.cli.run import run
from twinloop.cli.scenario import app as scenario_app
from twinloop.cli.studies.study import app as study_app
from twinloop.cli.training.train import app as train_app
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
app.command()(serve)
app.command()(agent)
app.command()(ingest)
app.command()(backup)
app.command()(restore)
app.add_typer(scenario_app, name="scenario")
app.add_typer(data_app, name="data")
app.add_typer(evaluate_app, name="evaluate")
app.add_typer(study_app, name="study")
app.add_typer(train_app, name="train")
app.add_typer(twin_app, name="twin")
app.add_typer(slice_app, name="slice")
app.add_typer(decision_app, name="decision")
app.add_typer(token_app, name="token")
app.add_typer(demo_app, name="demo")
app.add_typer(qoe_app, name="qoe")

# What typer raises for a wrong option or argument; the class has no public name of its own.
_UsageError: Any = typer.BadParameter.__bases__[0]


def main() -> None:
    """Entry point of the `twinloop` program."""
    try:
        status = app(prog_name="twinloop", standalone_mode=False)
        sys.stdout.flush()
    except TwinloopError as error:
        _fail(str(error))
    except _UsageError as error:
        _refuse(error)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except Exception as error:
        broken = error if isinstance(error, ImportError) else _broken_jax()
        if broken is None:
            raise
        _fail(f"a part of twinloop cannot be loaded ({broken}); twinloop doctor says what to mend")
    else:
        sys.exit(status if isinstance(status, int) else 0)


def _refuse(error: Any) -> None:
    """Ends with what is wrong with the options; where help was printed in place of a missing command, that is all."""
    what = error.format_message()
    if not what:
        sys.exit(2)
    command = error.ctx.command_path if error.ctx is not None else "twinloop"
    _fail(f"{what.rstrip('.')}; see: {command} --help")


def _broken_jax() -> Exception | None:
    """What importing JAX raises: anything at all where its installation is broken, None where it is sound."""
    try:
        importlib.import_module("jax")
    except Exception as error:
        return error
    return None


def _fail(text: str) -> None:
    line = " ".join(text.split())
    Console(stderr=True, highlight=False, markup=False).print("error:", line, soft_wrap=True, style="red")
    sys.exit(2)
