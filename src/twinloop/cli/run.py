"""`twinloop run`: the closed loop from one command."""

import os
import shlex
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from twinloop.errors import ScenarioError
from twinloop.units import seconds_from_text

ScenarioName = Annotated[
    str, typer.Argument(help="Shipped scenario (twinloop scenario list) or YAML file.", metavar="SCENARIO")
]
DataOption = Annotated[
    Path | None,
    typer.Option("--data", help="Folder of public data sets, for scenarios that read them.", envvar="TWINLOOP_DATA"),
]
DurationOption = Annotated[str | None, typer.Option("--duration", help="How long to live, such as 90s, 30min, 1.5h.")]


def run(
    scenario: ScenarioName,
    data: DataOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Directory for results; runs/SCENARIO-N if not given.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="Seed of the world; the scenario's if not given.")
    ] = None,
    duration: DurationOption = None,
    policy: Annotated[
        str | None,
        typer.Option(
            "--policy", help="reservation+allocation: equal|greedy|convex + round_robin|proportional_fair|utility."
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the interrupted run in --out.")] = False,
) -> None:
    """Run SCENARIO: mirror the network, decide every slot and window, test in the twin, enforce, and report.

    Writes summary.json, Parquet traces, figures and report.html. Ctrl-C ends cleanly with partial results; --resume
    goes on.
    """
    from twinloop import runs
    from twinloop.reporting import write_report
    from twinloop.scenario import load

    entry = load(scenario)
    if policy is not None:
        entry = entry.model_copy(update={"policy": runs.parse_policy(policy, entry.policy)})
    target = out if out is not None else runs.free_directory(Path("runs"), entry.name)
    if resume and out is None:
        raise ScenarioError("--resume needs the directory of the interrupted run: give --out DIR")
    console = Console()
    console.print(
        f"[bold]{entry.title}[/bold]: {entry.user_count:,} users, {len(entry.network.cells)} cells -> {target}"
    )
    with progress_bar(console, "slots") as advance:
        result = runs.run(
            entry,
            seed=seed,
            duration_s=seconds(duration),
            out=target,
            data=existing(data),
            resume=resume,
            progress=advance,
            command=shlex.join(["twinloop", *sys.argv[1:]]),
        )
        advance(result.summary["slots"], result.summary["planned_slots"])
    report = write_report(target)
    console.print(_table(result.summary))
    if result.interrupted:
        console.print(f"interrupted; go on with: twinloop run {scenario} --out {target} --resume")
    console.print(f"report: {report}")
    if result.interrupted:
        raise typer.Exit(130)


def seconds(text: str | None) -> float | None:
    """Seconds of an option such as 30min. Raises ScenarioError for anything else."""
    if text is None:
        return None
    try:
        return seconds_from_text(text)
    except ValueError as error:
        raise ScenarioError(f"--duration: {error}") from error


def existing(data: Path | None) -> Path | None:
    """The data directory, if one is given. Raises ScenarioError when it does not exist."""
    if data is not None and not data.is_dir():
        raise ScenarioError(f"--data {data} is not a directory; twinloop data list tells what it should hold")
    return data


@contextmanager
def progress_bar(console: Console, what: str) -> Generator[Callable[[int, int], None]]:
    """A bar with rate and remaining time; in a pipe a line for every tenth of the work. Yields progress."""
    if not console.is_terminal or os.environ.get("TERM") == "dumb":
        yield _lines(console, what)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("compiling", total=None, rate="")

        def advance(done: int, total: int) -> None:
            speed = bar.tasks[task].speed
            rate = f"{speed:,.0f} {what}/s" if speed else ""
            bar.update(task, description="living", completed=done, total=total, rate=rate)

        yield advance


def _lines(console: Console, what: str) -> Callable[[int, int], None]:
    told = 0

    def advance(done: int, total: int) -> None:
        nonlocal told
        tenth = done * 10 // max(total, 1)
        if tenth > told:
            told = tenth
            console.print(f"{done}/{total} {what}")

    return advance


def _table(summary: dict[str, Any]) -> Table:
    table = Table(box=None, show_header=False)
    decisions = summary["decisions"]
    rows = (
        ("satisfaction", f"{summary['satisfaction']:.3f}", "mean over users of min(delivered / needed rate, 1)"),
        ("rebuffer ratio", f"{summary['rebuffer_ratio']:.3f}", "stalled share of the time"),
        ("mean rate", f"{summary['mean_rate_bps'] / 1e6:.2f} Mbit/s", "delivered to a user"),
        ("wasted", f"{summary['wasted_ratio']:.3f}", "share of delivered bits that a swipe threw away"),
        ("resource use", f"{summary['resource_use']:.3f}", "mean of bandwidth and computing"),
        ("load factor", f"{summary['load_factor']:.2f}", "needed / available bandwidth"),
        ("twin fidelity", f"{summary['fidelity']:.3f}", f"mean age {summary['mean_age_s']:.1f} s"),
        ("collected", f"{summary['collected_bits'] / 8e6:.2f} MB", "reports received"),
        (
            "decisions",
            f"{decisions['proposed']}",
            f"{decisions['approved']} approved, {decisions['refused']} refused, {decisions['rolled_back']} rolled back",
        ),
        (
            "speed",
            f"{summary['user_slots_per_s']:,.0f}",
            f"user-slots/s after {summary['compile_s']:.1f} s of compiling",
        ),
    )
    for row in rows:
        table.add_row(*row)
    return table
