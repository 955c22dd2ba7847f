"""`twinloop run`: the closed loop from one command."""

import os
import shlex
import signal
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from twinloop.errors import OutputError, ScenarioError

if TYPE_CHECKING:
    import twinloop.scenario

LARGEST_SEED = 2**31 - 1
LONGEST_S = 2.0**24

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
        int | None,
        typer.Option("--seed", min=0, max=LARGEST_SEED, help="Seed of the world; the scenario's if not given."),
    ] = None,
    duration: DurationOption = None,
    policy: Annotated[
        str | None,
        typer.Option(
            "--policy",
            help="agents (by people's experience), or reservation+allocation: equal|greedy|gain|game|convex + "
            "round_robin|proportional_fair|utility|groups|pdrl.",
        ),
    ] = None,
    emulator: Annotated[
        Path | None, typer.Option("--emulator", help="A trained emulator, which joins the others.")
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

    entry = load(scenario) if not resume else _interrupted(scenario, out)
    if policy is not None:
        entry = entry.model_copy(update={"policy": runs.parse_policy(policy, entry.policy)})
    if emulator is not None:
        twin = entry.twin.model_copy(update={"trained_emulator": str(emulator.resolve())})
        entry = entry.model_copy(update={"twin": twin})
    lasting = seconds(duration)
    target = out if out is not None else runs.free_directory(Path("runs"), entry.name)
    console = Console()
    with clean_stop(target), progress_bar(console, "slots") as advance:
        people = f"{entry.user_count:,} users, {len(entry.network.cells)} cells"
        console.print(f"[bold]{escape(entry.title)}[/bold]: {people} -> {escape(str(target))}", soft_wrap=True)
        result = runs.run(
            entry,
            seed=seed,
            duration_s=lasting,
            out=target,
            data=existing(data),
            resume=resume,
            keep_arrays=False,
            progress=advance,
            command=shlex.join(["twinloop", *sys.argv[1:]]),
        )
    report = write_report(target)
    for fault in result.left_out:
        console.print(f"[yellow]note:[/yellow] {escape(fault)}", soft_wrap=True)
    console.print(_table(result.summary))
    for line in _answers(result.summary):
        console.print(escape(line), soft_wrap=True)
    if result.interrupted:
        again = ["twinloop", "run", scenario, *(["--data", str(data)] if data else []), "--out", str(target)]
        done = f"{result.summary['slots']} of {result.summary['planned_slots']} slots"
        console.print(f"stopped after {done}; what was lived is saved", soft_wrap=True)
        console.print(f"go on with: {escape(shlex.join([*again, '--resume']))}", soft_wrap=True)
    console.print(f"report: {escape(str(report))}", soft_wrap=True)
    if result.interrupted:
        raise typer.Exit(130)


def _interrupted(scenario: str, out: Path | None) -> "twinloop.scenario.Scenario":
    """The scenario of the interrupted run in `out` with its seed, duration and policy.

    Raises ScenarioError without `out`, or when `out` holds another scenario; OutputError when there is no run in it.
    """
    from twinloop.scenario import load

    asked = load(scenario)
    if out is None:
        raise ScenarioError("--resume needs the directory of the interrupted run: give --out DIR")
    if not (out / "scenario.yaml").is_file():
        raise OutputError(f"{out} holds no interrupted run to resume; start one without --resume")
    saved = load(str(out / "scenario.yaml"))
    twin = asked.twin.model_copy(update={"trained_emulator": saved.twin.trained_emulator})
    chosen = {"seed": saved.seed, "duration": saved.duration, "policy": saved.policy, "twin": twin}
    if asked.model_copy(update=chosen) != saved:
        raise ScenarioError(
            f"{out} holds a run of another scenario ({saved.name}) than {scenario} now is; "
            f"resume with the unchanged scenario, or start anew in another --out"
        )
    return saved


def seconds(text: str | None) -> float | None:
    """Seconds of an option such as 30min. Raises ScenarioError for anything else."""
    from twinloop.units import seconds_from_text

    if text is None:
        return None
    try:
        lasting = seconds_from_text(text)
    except ValueError as error:
        raise ScenarioError(f"--duration: {error}") from error
    if lasting > LONGEST_S:
        raise ScenarioError(f"--duration: {text!r} is longer than {LONGEST_S / 3600:,.0f}h; give at most that")
    return lasting


@contextmanager
def clean_stop(target: Path) -> Generator[None]:
    """Ends with a line and status 130 when Ctrl-C, or a polite kill, comes before a block is done, or a second time."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        resumable = (target / "progress.json").exists()
        kept = "--resume goes on from the last checkpoint" if resumable else "nothing was saved"
        Console(stderr=True).print(f"stopped at once; {kept}")
        raise typer.Exit(130) from None


def existing(data: Path | None) -> Path | None:
    """The data directory, if one is given. Raises ScenarioError when it does not exist."""
    try:
        there = data is None or data.is_dir()
    except OSError:
        there = False
    if not there:
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


def _kept(told: dict[str, Any] | None) -> list[tuple[str, str, str]]:
    """The row on the upkeep of the twins' model of viewers; none where it was off."""
    if told is None:
        return []
    kinds = [event["kind"] for event in told["events"]]
    done = ", ".join(f"{kinds.count(kind)} {kind}" for kind in ("promoted", "refused", "rolled back"))
    return [("drifts found", str(kinds.count("drift")), f"new versions of the model of viewers: {done}")]


def _felt(summary: dict[str, Any]) -> list[tuple[str, str, str]]:
    """The row on people's experience and their agreements; none where it was not followed."""
    qoe, ela = summary.get("qoe"), summary.get("ela")
    if not qoe:
        return []
    kept = f"; agreed experience reached in {100 * ela['share']:.0f} % of stretches of 3 min" if ela else ""
    return [("experience", f"{qoe['median']:.2f} of 5", f"median of users' minutes, twins err by "
             f"{qoe['belief_error']:.2f}{kept}")]  # fmt: skip


def _answers(summary: dict[str, Any]) -> list[str]:
    """A line for every order of a slice: what was asked for, the answer, and why."""
    orders = summary["orders"]
    rate = {
        order["number"]: f" at {order['target_bps'] / 1e6:g} Mbit/s, floor {order['floor_share']:.0%}"
        for order in orders
        if order["target_bps"]
    }
    offer = {
        order["number"]: f" ({order['offer_bps'] / 1e6:.3g} Mbit/s, floor {order['offer_floor_share']:.0%})"
        for order in orders
        if order["offer_bps"]
    }
    return [
        f"order at {order['slot'] * summary['slot_s']:g} s, {order['change']} {order['slice']}"
        f"{rate.get(order['number'], '')}: {order['reason']}"
        + (offer.get(order["number"], "") if order["answer"] == "refused" else "")
        for order in orders
    ]


def _examined(told: dict[str, int] | None) -> list[tuple[str, str, str]]:
    """The row on models that were examined again; none where nobody's experience was followed."""
    if told is None:
        return []
    changed = f"{told['structures']} changed structure, {told['entered']} gained a factor, {told['left']} lost one"
    return [("examined again", f"{told['users']} users", f"whose swiping or speed moved; {changed}")]


def _table(summary: dict[str, Any]) -> Table:
    table = Table(box=None, show_header=False)
    decisions = summary["decisions"]
    rows = (
        ("satisfaction", f"{summary['satisfaction']:.3f}", "mean over users of min(delivered / needed rate, 1)"),
        *_felt(summary),
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
        *_kept(summary.get("upkeep")),
        *_examined(summary.get("revisions")),
        (
            "speed",
            f"{summary['user_slots_per_s']:,.0f}",
            f"user-slots/s after {summary['compile_s']:.1f} s of compiling",
        ),
    )
    for row in rows:
        table.add_row(*row)
    return table
