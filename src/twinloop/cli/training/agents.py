"""`twinloop train agents`: level one of `--policy agents+groups` or `agents+pdrl`, trained in the twin's simulator."""

import signal
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from twinloop.cli.outputs import writable_folder
from twinloop.cli.run import LARGEST_SEED
from twinloop.errors import DataError

_TITLES = {"ela_ratio": "ELA ratio", "ela_share": "ELA share", "qoe_median": "median QoE"}
_FEWEST, _MOST = 256, 100_000_000


def agents(
    out: Annotated[
        Path,
        typer.Option("--out", help="Folder for weights, results and figures.", metavar="DIR", callback=writable_folder),
    ],
    scheme: Annotated[
        str, typer.Option("--scheme", help="groups (of users), or pdrl: users, in place of both levels.")
    ] = "groups",
    scenario: Annotated[
        str, typer.Option("--scenario", help="Whose people and network: a shipped scenario or YAML file.")
    ] = "da-qoe",
    steps: Annotated[int | None, typer.Option("--steps", help="Steps of environments.", min=_FEWEST, max=_MOST)] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of training.", min=0, max=LARGEST_SEED)] = 0,
) -> None:
    """Train agents that divide slices among groups of users, or that serve users directly.

    They learn in the twin's own simulator on people of seeds that no run or study uses, and are scored on others. The
    training is kept in DIR until it is over: the same command goes on where it was stopped.
    """
    from twinloop.decision import TACTICS
    from twinloop.runs import use_persistent_cache
    from twinloop.scenario import load
    from twinloop.training import AGENT_STEPS, agent_settings, agents_card, save_agents, train_agents

    console = Console()
    if scheme not in TACTICS:
        raise DataError("--scheme", f"{scheme!r}", f"one of {', '.join(TACTICS)}")
    count, world = AGENT_STEPS if steps is None else steps, load(scenario)
    use_persistent_cache()
    out.mkdir(parents=True, exist_ok=True)
    kept = out / "training.safetensors"
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        trained = train_agents(
            scheme,
            world,
            steps=count,
            seed=seed,
            checkpoint=kept,
            progress=lambda line: console.print(f"[dim]{escape(line)}[/dim]", soft_wrap=True),
        )
    except KeyboardInterrupt:
        console.print(f"stopped; what was trained is kept in {escape(str(out))}, the same command goes on")
        raise typer.Exit(130) from None
    command = f"twinloop train agents --scheme {scheme} --scenario {scenario} --steps {count} --seed {seed} --out DIR"
    path = save_agents(out, scheme, trained, agents_card(world, count, seed, agent_settings(scheme, count), command))
    for spent in (kept, kept.with_suffix(".json")):
        spent.unlink(missing_ok=True)
    table = Table("on people not met", *_TITLES.values())
    for name, score in trained.scores.items():
        table.add_row(name, *(_told(score.told()[metric]) for metric in _TITLES))
    for name, difference in trained.differences.items():
        table.add_row(f"agents less {name}", *(_told(difference[metric]) for metric in _TITLES))
    console.print(table)
    console.print(f"wrote {escape(str(path))}, its card, results.json and learning_curve.png", soft_wrap=True)


def _told(estimate: dict[str, float]) -> str:
    return f"{estimate['mean']:.4f} ({estimate['low']:.4f} to {estimate['high']:.4f})"
