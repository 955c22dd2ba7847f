"""The loop: its slots, whether it decides and why not, and how long parts of a slot take."""

from collections import deque
from collections.abc import Mapping
from typing import Any

from twinloop.service.dashboard.asking import Answer, Listener
from twinloop.service.dashboard.gauges import Gauges, gauges_of
from twinloop.service.dashboard.widgets import Cell, Column, Facts, Panel, Row, Table, Trend, When
from twinloop.service.dashboard.words import UNKNOWN, duration, number, quantity

_PARTS = {
    "take": "take what arrived",
    "slot": "live the slot and decide",
    "paint": "copy the picture",
    "act": "tell commands and listeners",
}
_TIMES = [
    Column("Part of a slot"),
    Column("Last, of the slot"),
    Column("Mean", "num"),
    Column("99 in 100 below", "num"),
]
_HISTOGRAM = "twinloop_slot_part_seconds"
_SHOWN = 300


def show_loop() -> Listener:
    """The panel of facts; gives what it is told by."""
    panel = Panel("The loop")
    with panel:
        facts = Facts(
            {
                "slot": "Slot",
                "deciding": "Decides",
                "held": "Held because",
                "slots_held": "Slots held in all",
                "users": "Users, room for",
                "revision": "Revision in effect, asked",
                "intake": "Waiting to be kept",
                "backlog": "Waiting for a slot",
                "busy": "Turned away, busy",
                "scenario": "Scenario",
                "version": "Version",
            }
        )
        since, held_since = When(), When()
        facts.add("Running since", since)
        halt = facts.add("Held since", held_since)

    def show(answer: Answer) -> None:
        if not panel.settle(answer):
            return
        body, intake = answer.body, answer.body["intake"]
        held = body["held"]
        facts.say("slot", str(body["slot"]) if body["slot"] >= 0 else "none yet")
        facts.say("deciding", "yes" if body["deciding"] and not held else "no", "" if body["deciding"] else "warn")
        facts.say("held", held, "warn")
        facts.say("slots_held", number(body["slots_held"]))
        facts.say("users", f"{number(body['users'])} of {number(body['capacity'])}")
        facts.say("revision", f"{_revision(body['confirmed_revision'])}, {_revision(body['requested_revision'])}")
        waiting = f"{number(intake['waiting_events'])} batches, {quantity(float(intake['waiting_bytes']), 'B')}"
        facts.say("intake", waiting)
        facts.say("backlog", f"{number(intake['backlog_events'])} batches")
        facts.say("busy", number(intake["refused_busy"]), "bad" if intake["refused_busy"] else "")
        facts.say("scenario", body["scenario"])
        facts.say("version", body["version"])
        since.set(body["since_s"])
        held_since.set(body["held_since_s"])
        halt.set_visibility(bool(held))

    return show


def _revision(revision: int | None) -> str:
    return UNKNOWN if revision is None else str(revision)


class Times:
    """How long slots take against the deadline, and which part of a slot takes how long."""

    def __init__(self) -> None:
        self._course: deque[tuple[float, float | None]] = deque(maxlen=_SHOWN)
        self._slot = -1
        self._known = Gauges()
        self._panel = Panel("Time of a slot", "Drawn from the moment this page was opened.")
        with self._panel:
            self._trend = Trend("Time that whole slots took", ("whole slot",), limit="deadline")
            self._table = Table("Time of a slot by part", _TIMES, "No slot was lived yet.", cards=True)

    def show(self, answer: Answer) -> None:
        """Goes on with the last slot."""
        if not self._panel.settle(answer):
            return
        body: Mapping[str, Any] = answer.body
        if body["timing_s"] and body["slot"] != self._slot:
            self._slot = body["slot"]
            self._course.append((body["now_s"], sum(body["timing_s"].values())))
        self._trend.draw("Whole slot, s", {"whole slot": tuple(self._course)}, limit=body["deadline_s"])
        self._table.fill([self._row(name, seconds, body["slot_s"]) for name, seconds in body["timing_s"].items()])

    def compare(self, answer: Answer) -> None:
        """Takes in what all slots took."""
        if answer.ok:
            self._known = gauges_of(answer.body)

    def _row(self, name: str, seconds: float, slot_s: float) -> Row:
        whole = seconds / slot_s
        tone = "good" if whole < 0.5 else "warn" if whole < 0.8 else "bad"
        told, mean_s = duration(seconds), self._known.mean(_HISTOGRAM, part=name)
        most_s = self._known.below(_HISTOGRAM, 0.99, part=name)
        cells: list[Cell] = [
            _PARTS.get(name, name),
            {"bar": whole, "tone": tone, "text": told, "title": told},
            UNKNOWN if mean_s is None else duration(mean_s),
            UNKNOWN if most_s is None else duration(most_s),
        ]
        return Row(name, cells)
