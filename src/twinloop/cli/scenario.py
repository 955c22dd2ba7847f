"""`twinloop scenario`: list, show, validate and copy scenarios, and print their JSON Schema."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

app = typer.Typer(help="List, show, check and copy scenarios.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="Name of a shipped scenario, or path of a YAML file.", metavar="SCENARIO")]


@app.command("list")
def list_scenarios() -> None:
    """List the scenarios that twinloop brings."""
    from twinloop.scenario import parse, shipped

    table = Table("name", "cells", "users", "duration", "data", "what it is", box=None)
    for name, text in shipped().items():
        entry = parse(text, name)
        table.add_row(
            name,
            str(len(entry.network.cells)),
            f"{entry.user_count:,}",
            f"{entry.duration / 60:g} min",
            "needed" if entry.needs_data else "embedded",
            entry.title,
        )
    Console().print(table)


@app.command()
def show(scenario: Name) -> None:
    """Print a scenario's YAML."""
    from twinloop.scenario import source_text

    typer.echo(source_text(scenario), nl=False)


@app.command("schema")
def print_schema() -> None:
    """Print the JSON Schema of scenario files, for editors that complete and check."""
    from twinloop.scenario import schema

    typer.echo(json.dumps(schema(), indent=2))


@app.command()
def validate(scenario: Name) -> None:
    """Check a scenario and say what it holds."""
    from twinloop.scenario import load

    entry = load(scenario)
    typer.echo(
        f"{entry.name}: valid; {len(entry.network.cells)} cells, {len(entry.network.servers)} servers, "
        f"{len(entry.slices)} slices, {entry.user_count} users, {entry.duration / 60:g} min"
    )


@app.command()
def copy(
    scenario: Name,
    target: Annotated[Path, typer.Argument(help="File to write; it must not exist.", metavar="FILE")],
) -> None:
    """Start a scenario of your own from an existing one."""
    from twinloop.scenario import copy as copy_scenario

    copy_scenario(scenario, target)
    typer.echo(f"wrote {target}; run it with: twinloop run {target}")
