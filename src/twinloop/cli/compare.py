"""`twinloop compare`: policies on the same seeds, with intervals, a bound and negative controls."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from twinloop.cli.run import DataOption, DurationOption, ScenarioName, clean_stop, existing, progress_bar, seconds

_SHOWN = (
    ("satisfaction", "satisfaction"),
    ("satisfaction_worst_decile", "worst tenth"),
    ("rebuffer_ratio", "rebuffer"),
    ("mean_quality", "quality"),
    ("wasted_ratio", "wasted"),
    ("resource_use", "resource use"),
)
_FELT = (
    ("ela_share", "ELA kept"),
    ("qoe_median", "median QoE"),
    ("satisfaction", "satisfaction"),
    ("rebuffer_ratio", "rebuffer"),
    ("resource_use", "resource use"),
)


def compare(
    scenario: ScenarioName,
    policies: Annotated[
        str,
        typer.Option(
            "--policies",
            help="Comma-separated: agents, or reservation+allocation pairs; the first is the proposed one.",
        ),
    ] = "convex+utility,greedy+proportional_fair,equal+round_robin",
    seeds: Annotated[int, typer.Option("--seeds", min=2, help="Worlds that every policy meets.")] = 5,
    data: DataOption = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Directory for compare.json and report; runs/SCENARIO-compare-N if not given."),
    ] = None,
    duration: DurationOption = None,
    controls: Annotated[
        bool, typer.Option("--controls/--no-controls", help="Also run shuffled and frozen twins.")
    ] = True,
) -> None:
    """Compare policies on SCENARIO over the same seeds: paired 95 % intervals, clairvoyant bound, negative controls."""
    from twinloop import runs
    from twinloop.reporting import write_comparison
    from twinloop.scenario import load

    entry = load(scenario)
    target = out if out is not None else runs.free_directory(Path("runs"), f"{entry.name}-compare")
    console = Console()
    names = [name.strip() for name in policies.split(",") if name.strip()]
    lasting = seconds(duration)
    console.print(
        f"[bold]{escape(entry.title)}[/bold]: {len(names)} policies, {seeds} seeds -> {escape(str(target))}",
        soft_wrap=True,
    )
    with clean_stop(target), progress_bar(console, "slots") as advance:
        result = runs.compare(
            entry,
            names,
            seeds=seeds,
            duration_s=lasting,
            data=existing(data),
            out=target,
            controls=controls,
            progress=advance,
        )
    report = write_comparison(target)
    console.print(_table(result))
    for metric, title in _shown(result):
        if metric in ("ela_share", "satisfaction"):
            console.print(_differences(result, metric, title))
    console.print(f"report: {escape(str(report))}", soft_wrap=True)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _shown(result: dict[str, Any]) -> list[tuple[str, str]]:
    """Metrics and their titles; those of experience first where it was followed."""
    known = next(iter(result["policies"].values()))
    return [one for one in (_FELT if "qoe_median" in known else _SHOWN) if one[0] in known]


def _table(result: dict[str, Any]) -> Table:
    shown = _shown(result)
    table = Table("policy", *(title for _, title in shown), box=None)
    for name, figures in {**result["policies"], **result["controls"]}.items():
        table.add_row(name, *(f"{_mean(figures[metric]):.3f}" for metric, _ in shown))
    bound = {"satisfaction": f"{_mean(result['bound']['satisfaction']):.3f}"}
    table.add_row("clairvoyant bound", *(bound.get(metric, "") for metric, _ in shown))
    table.caption = f"means over {len(result['seeds'])} seeds; load factor {_mean(result['load_factor']):.2f}"
    return table


def _differences(result: dict[str, Any], metric: str, title: str) -> Table:
    table = Table(f"{title}: difference to", "mean", "95 % interval", "", box=None)
    for row in result["differences"]:
        if row["metric"] != metric:
            continue
        verdict = "better" if row["low"] > 0 else "worse" if row["high"] < 0 else "no difference shown"
        table.add_row(row["b"], f"{row['mean']:+.4f}", f"[{row['low']:+.4f}, {row['high']:+.4f}]", verdict)
    return table
