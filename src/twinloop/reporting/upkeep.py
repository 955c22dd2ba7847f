"""The chapter on drifts found in a run and what was done about them."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from twinloop.reporting.figures.mirror.kept import drifts, events, plot_upkeep
from twinloop.reporting.page import Folder, Section, Table, guarded, tabled
from twinloop.reporting.run import Run
from twinloop.reporting.wording import clock, count, plain, share, si

_DONE = {
    "drift": "drift found",
    "refresh": "update by calendar",
    "training": "data gathered, training begun",
    "fault": "training failed",
    "refused": "candidate refused",
    "promoted": "version promoted",
    "kept": "version kept",
    "again": "updated once more",
    "rolled back": "version rolled back",
}
_MOST_SHOWN = 20


def upkeep_section(run: Run, folder: Folder) -> Section:
    """Drifts found and what was done."""
    views = [
        folder.view("upkeep", partial(plot_upkeep, run),
                    "Lower is better. Where the twins stay near the network's own hazards, they still know when people "
                    "leave; the distance to the first version is what keeping it current was worth.", wide=True),
    ]  # fmt: skip
    tables = [*tabled(lambda: _drift_table(run)), *tabled(lambda: _event_table(run))]
    return Section("upkeep", "Drifts found, and what was done", guarded(lambda: _lead(run)), views, tables)


def _lead(run: Run) -> str:
    told = run.summary.get("upkeep")
    if not told:
        return "The model of when viewers leave was not kept: upkeep was off, or nobody was seen to leave."
    number = {kind: sum(event["kind"] == kind for event in events(run)) for kind in _DONE}
    drills = sum(str(event["reason"]).startswith("drill") for event in events(run))
    drilled = f" ({count(drills, 'drill')} among them)" if drills else ""
    text = (
        f"The twins' model of when viewers leave was found to have drifted {_times(number['drift'])}. "
        f"{count(number['promoted'], 'new version')} came into service{drilled}. Refused after trial on fresh views: "
        f"{number['refused']}, rolled back: {number['rolled back']}."
    )
    pace: Mapping[str, Any] = run.summary.get("pace") or {}
    if pace:
        late = int(pace["late_slots"])
        text += (
            f" Training and all, the slowest block took {si(float(pace['slowest_slot_s']), 's')} a slot of "
            f"{si(run.slot_s, 's')}: "
            + (f"blocks of {count(late, 'slot')} fell behind." if late else "none fell behind.")
        )
    return text


def _times(number: int) -> str:
    return {0: "at no time", 1: "once", 2: "twice"}.get(number, f"{number} times")


def _drift_table(run: Run) -> Table:
    rows = [
        [
            clock(float(drift["at_s"])),
            str(drift["change"]),
            *(_after(drift[name]) for name in ("found_after_s", "answered_after_s")),
            *(_nats(drift[name]) for name in ("twins_before", "twins_missed", "twins_after", "truth_after")),
            _excess(drift),
        ]
        for drift in drifts(run)
    ]
    heads = ["at", "change", "found after", "new version after", "surprise before", "until then", "at last",
             "network's own, at last", "twins / network's own"]  # fmt: skip
    note = (
        "Surprise in nats a view, before and at last of 60 looks. Another world can be harder or easier to foretell "
        "than the old one, which is why the network's own hazards stand beside it."
    )
    return Table("Changes of behaviour that the scenario put in", heads, rows, note, 2, wide=True)


def _event_table(run: Run) -> Table:
    done = events(run)
    rows = [
        [clock(float(event["slot"]) * run.slot_s), _DONE.get(str(event["kind"]), str(event["kind"])),
         str(event["version"]), str(event["reason"]), _figures(event["figures"])]
        for event in done[:_MOST_SHOWN]
    ]  # fmt: skip
    note = f"{len(done) - _MOST_SHOWN} later ones are left out." if len(done) > _MOST_SHOWN else ""
    return Table("What was done", ["at", "what", "version", "why", "errors (nats)"], rows, note, 9, wide=True)


def _figures(figures: Mapping[str, float]) -> str:
    words = {"error": "its own", "incumbent": "that in service", "parent": "its parent", "level": "level before"}
    return ", ".join(f"{words[name]} {_nats(value)}" for name, value in figures.items() if name in words)


def _after(seconds: float | None) -> str:
    return "never" if seconds is None else si(seconds, "s")


def _nats(value: float | None) -> str:
    return "" if value is None else plain(value)


def _excess(drift: Mapping[str, Any]) -> str:
    twins, truth = drift["twins_after"], drift["truth_after"]
    return share(twins / truth) if twins is not None and truth else ""
