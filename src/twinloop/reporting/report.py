"""The report of one run: headline numbers, chapters, how to run it again; one HTML file."""

import json
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from twinloop.reporting import sections
from twinloop.reporting.chapters.changes import order_section, orders, revision_section
from twinloop.reporting.chapters.demands import demand_section
from twinloop.reporting.chapters.experience import ela_section, judged, qoe_section
from twinloop.reporting.page import Folder, Section, Tile, writable
from twinloop.reporting.run import Run, open_run
from twinloop.reporting.upkeep import upkeep_section
from twinloop.reporting.wording import METRICS, clock, count, duration, plain, share, shown, si

_PRIMARY = ("satisfaction", "mean_rate_bps", "rebuffer_ratio", "fidelity")
_FELT_PRIMARY = ("ela_share", "qoe_median", "satisfaction", "rebuffer_ratio")
_SECONDARY = (
    "qoe_median",
    "qoe_belief_error",
    "ela_ratio",
    "ela_users_reached",
    "satisfaction_worst_decile",
    "mean_quality",
    "wasted_ratio",
    "resource_use",
    "load_factor",
    "coverage",
    "mean_age_s",
    "collected_bits",
    "energy_j",
)
_CHAPTERS = (
    sections.map_section,
    sections.user_section,
    sections.slice_section,
    sections.twin_section,
    sections.collection_section,
    upkeep_section,
    sections.value_section,
    sections.decision_section,
    sections.infrastructure_section,
    sections.viewing_section,
)


def write_report(run_dir: Path | str) -> Path:
    """Draw the figures of a run into `figures/` and write `report.html` beside them; returns the page's path.

    Raises OutputError when `run_dir` is no run directory or cannot be written. What a run does not hold (an interrupted
    one, a missing column) becomes a sentence on the page.
    """
    run = open_run(Path(run_dir))
    folder = writable(run.directory)
    chapters = [chapter(run, folder) for chapter in _chapters(run)]
    return folder.write(
        "report.html",
        "report.html.j2",
        title=_title(run),
        subtitle=str(run.scenario.get("title", "")),
        story=story(run),
        notices=_notices(run),
        tiles=_tiles(run),
        sections=chapters,
        stages=_stages(run.summary),
        speed=_speed(run.summary),
        facts=_facts(run),
        command=_command(run.command),
        scenario_text=run.scenario_text,
        summary_text=json.dumps(run.summary, indent=2) if run.summary else "",
        metrics=[METRICS[name] for name in dict.fromkeys((*_PRIMARY, *_SECONDARY))],
    )


def _chapters(run: Run) -> list[Callable[[Run, Folder], Section]]:
    """Chapters of this run; those of experience after users, where the run followed it for long enough."""
    felt = [*([qoe_section] if run.has("experience") else []), *([ela_section] if judged(run) else [])]
    ordered = [order_section] if orders(run) else []
    examined = [revision_section] if run.summary.get("revisions") else []
    needed = [demand_section] if run.has("needs") else []
    return [*_CHAPTERS[:2], *felt, *needed, _CHAPTERS[2], *ordered, _CHAPTERS[3], *examined, *_CHAPTERS[4:]]


def _figures(run: Run) -> dict[str, Any]:
    """The summary with its figures of experience and agreements beside the others, by the names of metrics."""
    nested: dict[str, Mapping[str, Any]] = {kind: run.summary.get(kind) or {} for kind in ("qoe", "ela")}
    return dict(run.summary) | {
        f"{kind}_{name}": value for kind, part in nested.items() for name, value in part.items()
    }


def story(run: Run) -> str:
    """What happened, in a few plain sentences; leaves out what the summary does not say."""
    summary = run.summary
    if not summary:
        return f"{_title(run)} stopped after {count(run.slots, 'slot')}, before its numbers were summed up."
    people = f"{count(int(summary['users']), 'person', 'people')} " if "users" in summary else "people "
    told = [f"For {duration(run.slots * run.slot_s)}, {people}watched videos in the scenario {_title(run)}."]
    if "satisfaction" in summary:
        told.append(f"The network gave them {shown('satisfaction', summary['satisfaction'])} of the rate they needed")
        if "rebuffer_ratio" in summary:
            told[-1] += f", and playback stood still {shown('rebuffer_ratio', summary['rebuffer_ratio'])} of the time"
        told[-1] += "."
    if "satisfaction_bound" in summary:
        told.append(
            f"With the future known, at most {shown('satisfaction', summary['satisfaction_bound'])} was possible."
        )
    told += _felt(_figures(run))
    decided = summary.get("decisions")
    if isinstance(decided, Mapping):
        told.append(_decided(decided))
    if "fidelity" in summary and "mean_age_s" in summary:
        told.append(
            f"The twins foretold the next report to {shown('fidelity', summary['fidelity'])}, from knowledge that was "
            f"{shown('mean_age_s', summary['mean_age_s'])} old on average."
        )
    if "load_factor" in summary:
        told.append(_loaded(float(summary["load_factor"])))
    return " ".join(told)


def _felt(figures: Mapping[str, Any]) -> list[str]:
    if "qoe_median" not in figures:
        return []
    text = f"Half of all minutes felt like {shown('qoe_median', figures['qoe_median'])} of 5 or better"
    if "ela_share" in figures:
        text += (
            f", and in {shown('ela_share', figures['ela_share'])} of stretches of 3 minutes people got what was agreed"
        )
    return [f"{text}."]


def _decided(decided: Mapping[str, Any]) -> str:
    number = {key: int(decided.get(key, 0)) for key in ("proposed", "approved", "refused", "rolled_back")}
    if not number["proposed"]:
        return "No decision was proposed."
    text = (
        f"Policies made {count(number['proposed'], 'proposal')}; the twin's tests approved {number['approved']:,} and "
        f"refused {number['refused']:,}"
    )
    undone = number["rolled_back"]
    return text + (
        f"; {undone:,} {'was' if undone == 1 else 'were'} rolled back." if undone else "; none was rolled back."
    )


def _loaded(load: float) -> str:
    if load > 1.02:
        return f"Demand was {load:.2f} times what the network has, so not everybody could be served in full."
    return f"Demand was {share(load)} of what the network has."


def _title(run: Run) -> str:
    return str(run.summary.get("scenario") or run.scenario.get("name") or run.directory.name)


def _notices(run: Run) -> list[str]:
    notices: list[str] = []
    if run.interrupted:
        planned = int(run.summary.get("planned_slots", 0))
        whole = f" of {planned:,}" if planned else ""
        notices.append(
            f"This run was interrupted after {run.slots:,}{whole} slots ({clock(run.slots * run.slot_s)}). "
            "Everything below covers that part only; the same command with --resume goes on."
        )
    twin: Any = run.scenario.get("twin")
    control = str(twin.get("control", "none")) if isinstance(twin, Mapping) else "none"
    if control != "none":
        notices.append(f"This run is a negative control: its twins were {control} on purpose.")
    return notices


def _tiles(run: Run) -> list[Tile]:
    summary, figures = run.summary, _figures(run)
    primary = _FELT_PRIMARY if "ela_share" in figures else _PRIMARY
    tiles = [
        Tile(METRICS[name].title, shown(name, figures[name]), METRICS[name].meaning, name in primary)
        for name in dict.fromkeys((*primary, *_PRIMARY, *_SECONDARY))
        if name in figures
    ]
    decided = summary.get("decisions")
    if isinstance(decided, Mapping):
        number = {key: f"{int(decided.get(key, 0)):,}" for key in ("proposed", "approved", "refused", "rolled_back")}
        meaning = f"of {number['proposed']} proposed; {number['refused']} refused, {number['rolled_back']} rolled back"
        tiles.append(Tile("Decisions approved", number["approved"], meaning))
    if "user_slots_per_s" in summary:
        pace = f"user-slots a second over {si(float(summary.get('wall_s', 0.0)), 's')}"
        tiles.append(Tile("Speed", plain(float(summary["user_slots_per_s"])), pace))
    return tiles


def _stages(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Seconds spent in each stage with its share of all of them, the longest first."""
    stages = summary.get("stages")
    if not isinstance(stages, Mapping) or not stages:
        return []
    seconds = {str(name): float(value) for name, value in stages.items()}
    total, longest = sum(seconds.values()) or 1.0, max(seconds.values()) or 1.0
    ordered = sorted(seconds.items(), key=lambda item: -item[1])
    return [
        {"name": name.replace("_", " "), "time": si(value, "s"), "share": share(value / total),
         "width": f"{100 * value / longest:.1f}"}
        for name, value in ordered
    ]  # fmt: skip


def _speed(summary: Mapping[str, Any]) -> str:
    if "wall_s" not in summary:
        return ""
    text = f"The run took {si(float(summary['wall_s']), 's')}"
    if "compile_s" in summary:
        text += f", besides {si(float(summary['compile_s']), 's')} to compile"
    if "user_slots_per_s" in summary:
        text += f"; it advanced {plain(float(summary['user_slots_per_s']))} user-slots a second"
    return text + "."


def _facts(run: Run) -> list[tuple[str, str]]:
    facts = [("scenario", _title(run)), ("seed", str(run.summary.get("seed", run.command.get("seed", "not recorded"))))]
    facts.append(("time", f"{count(run.slots, 'slot')} of {si(run.slot_s, 's')}"))
    policy: Any = run.summary.get("policy") or run.scenario.get("policy")
    if policy:
        facts.append(("policy", _flat(policy)))
    versions: Any = run.command.get("versions") or run.summary.get("versions")
    hidden = {"command", "argv", "seed", "scenario", "versions"}
    if versions:
        facts.append(("versions", _flat(versions)))
    facts += [(key.replace("_", " "), _flat(value)) for key, value in run.command.items() if key not in hidden]
    return facts


def _command(command: Mapping[str, Any]) -> str:
    given: Any = command.get("command") or command.get("argv") or ""
    return shlex.join(str(part) for part in given) if isinstance(given, list) else str(given)


def _flat(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{str(key).replace('_', ' ')} {_flat(inner)}" for key, inner in value.items())
    if isinstance(value, list):
        return ", ".join(_flat(inner) for inner in value)
    return str(value)
