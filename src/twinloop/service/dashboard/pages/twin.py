"""One twin: each attribute as reported against as emulated, its age and fidelity, its past and what is foretold."""

import math
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from nicegui import ui
from nicegui.events import ValueChangeEventArguments
from starlette.requests import Request

from twinloop.service.dashboard.asking import Answer, path_of
from twinloop.service.dashboard.frame import framed
from twinloop.service.dashboard.visits import Visit
from twinloop.service.dashboard.widgets import (
    Cell,
    Column,
    Facts,
    Panel,
    Row,
    Table,
    Trend,
    age,
    meter,
    pill,
    reason,
    shade,
)
from twinloop.service.dashboard.words import RATIOS, UNKNOWN, attribute, of_attribute, quantity, unit_of

_ATTRIBUTES = [
    Column("Attribute"),
    Column("Reported", "num"),
    Column("Emulated", "num"),
    Column("Differs by", "num"),
    Column("Age", "num"),
    Column("Fidelity"),
]
_COLLECTED = Column("Desired")
_DESIRED = [Column("Slice or place"), Column("Desired", "num")]
_SPANS = {"300": "5 minutes", "3600": "1 hour", "21600": "6 hours", "86400": "1 day"}
_POINTS = 300
_PAST_EVERY_S, _FUTURE_EVERY_S = 15.0, 10.0
_HORIZON_S = 30
_FIRST = {"user": "buffer_s", "cell": "load", "server": "utilisation", "slice": "satisfaction"}
_FAR_OFF = 3.0
_SLOT_S = 1.0
_LINES = ("reported", "emulated", "foretold")
_EXPECTED = "Emulated is drawn from the moment this page was opened."
Point = tuple[float, float | None]


def show_twin(visit: Visit, request: Request) -> None:
    """Builds the page of `/twins/{kind}/{name}`; `?attribute=` chooses the course that is drawn."""
    kind, name = request.path_params["kind"], request.path_params["name"]
    with framed(visit, "/twins/user", f"{kind.capitalize()} {name}"):
        with ui.element("div").classes("tl-title"):
            ui.link(f"All {kind}s", f"/twins/{kind}").classes("tl-link")
            active, slice_of = pill(""), pill("")
            active.set_visibility(False)
            slice_of.set_visibility(False)
        course = _Course(visit, kind, name, request.query_params.get("attribute"))
        panel = Panel("Now", _NOW[kind == "user"])
        with panel:
            columns = [*_ATTRIBUTES, _COLLECTED] if kind == "user" else _ATTRIBUTES
            table = Table("Attributes", columns, "Nothing was reported yet.", cards=True)
        desired = _Desired()

    def show(answer: Answer) -> None:
        course.hear(answer)
        if not panel.settle(answer):
            desired.show({})
            return
        twin = answer.body
        desired.show(twin.get("desired") or {})
        active.set_text("active" if twin["active"] else "not heard for long")
        shade(active, "good" if twin["active"] else "quiet")
        active.set_visibility(True)
        slice_of.set_text(f"slice {twin.get('slice')}")
        slice_of.set_visibility(bool(twin.get("slice")))
        table.fill([_row(kind, name, entry, twin) for entry in twin["reported"]])

    visit.watch(path_of("twins", kind, name), show)


_EMULATED = "Emulated: what the twin expects of the next slot, and its standard deviation."
_NOW = {True: f"{_EMULATED} Desired: how often and how precisely the loop asks for it.", False: _EMULATED}


def _row(kind: str, name: str, key: str, twin: Mapping[str, Any]) -> Row:
    entry, foretold = twin["reported"][key], twin.get("emulated", {}).get(key)
    unit, value, fidelity = entry["unit"], entry["value"], entry["fidelity"]
    link: Cell = {"text": attribute(key), "sub": key, "href": f"/twins{path_of(kind, name, attribute=key)}"}
    expected: Cell = UNKNOWN
    differs: Cell = UNKNOWN
    if foretold is not None:
        expected = {
            "text": of_attribute(key, foretold["value"], unit),
            "sub": f"± {of_attribute(key, foretold['std'], unit)}",
        }
        gap, std = value - foretold["value"], foretold["std"]
        far = std > 0 and abs(gap) > _FAR_OFF * std
        differs = {"text": of_attribute(key, gap, unit), "tone": "warn" if far else ""}
    heard = age(entry["measured_s"])
    trust = meter("fidelity", fidelity)
    cells: list[Cell] = [link, of_attribute(key, value, unit), expected, differs, heard, trust]
    if kind == "user":
        asked = (twin.get("desired") or {}).get("collection", {}).get(key)
        cells.append(UNKNOWN if asked is None else f"every {quantity(asked['period_s'], 's')}, {asked['bits']} bits")
    return Row(key, cells)


class _Desired:
    """What is wanted of cells, servers and slices: what they shall hold, and whether the network says that it is so."""

    def __init__(self) -> None:
        self._panel = Panel("Desired", "What shall be held; what is reported stands above, and may differ.")
        with self._panel:
            self._facts = Facts({"confirmed": "Revision in effect", "requested": "Revision asked"})
            self._table = Table("Desired", _DESIRED, "Nothing is reserved.", cards=True)
        self._panel.card.set_visibility(False)

    def show(self, desired: Mapping[str, Any]) -> None:
        """Shows it; nothing where there is none."""
        numbered = "requested_revision" in desired
        self._panel.card.set_visibility(numbered)
        if not numbered:
            return
        self._panel.settle(Answer(200, desired))
        self._facts.say("confirmed", str(desired["confirmed_revision"]))
        self._facts.say("requested", str(desired["requested_revision"]))
        self._table.fill(
            [
                Row(f"{held}/{name}", [name, of_attribute(held, amount, unit_of(held))])
                for held in ("bandwidth_hz", "cycles_per_s")
                for name, amount in desired.get(held, {}).items()
            ]
        )


class _Course:
    """The past of one attribute and, where it can be had, its future."""

    def __init__(self, visit: Visit, kind: str, name: str, asked: str | None) -> None:
        self._kind, self._name = kind, name
        self._attribute = asked or _FIRST.get(kind, "")
        self._span_s = 300.0
        self._unit = ""
        self._past: list[Point] = []
        self._live: deque[Point] = deque(maxlen=_POINTS)
        self._expected: deque[Point] = deque(maxlen=_POINTS)
        self._mean: list[Point] = []
        self._band: list[tuple[float, float, float]] = []
        self._said: dict[str, str] = {}
        self._panel = Panel("Course")
        with self._panel.tools:
            self._choice = ui.select(
                [self._attribute], value=self._attribute, label="Attribute", on_change=self._choose
            )
            spans = ui.select(_SPANS, value="300", label="Past", on_change=self._stretch)
            for select in (self._choice, spans):
                select.props("outlined dense options-dense").classes("tl-choice")
        with self._panel:
            self._trend = Trend(f"Course of one attribute of {kind} {name} over time", _LINES, banded=True)
            self._note = ui.label("").classes("tl-note").props("role=status")
        self._history = visit.watch("", self._show_past, _PAST_EVERY_S)
        self._forecast = visit.watch("", self._show_future, _FUTURE_EVERY_S)
        self._turn()

    def _choose(self, event: ValueChangeEventArguments[Any]) -> None:
        if event.value and event.value != self._attribute:
            self._attribute = str(event.value)
            self._live.clear()
            self._expected.clear()
            self._turn()

    def _stretch(self, event: ValueChangeEventArguments[Any]) -> None:
        self._span_s = float(event.value)
        self._turn()

    def _turn(self) -> None:
        self._past, self._mean, self._band = [], [], []
        step_s = max(self._span_s / _POINTS, 1.0)
        since = {"from": f"-{self._span_s:g}s", "attribute": self._attribute, "step": f"{step_s:g}"}
        self._history.turn(path_of("twins", self._kind, self._name, "history", **since))
        self._forecast.turn(
            path_of("twins", self._kind, self._name, "forecast", attribute=self._attribute, horizon_s=_HORIZON_S)
        )

    def hear(self, answer: Answer) -> None:
        """Goes on with what the twin says now."""
        there = self._panel.settle(answer)
        self._panel.card.set_visibility(there or self._unit != "")
        if not there:
            return
        told = answer.body["reported"]
        names = {name: attribute(name) for name in told} | {self._attribute: attribute(self._attribute)}
        if names != self._choice.options:
            self._choice.set_options(names, value=self._attribute)
        entry = told.get(self._attribute)
        if entry is not None:
            self._unit = entry["unit"]
            point = (entry["measured_s"], entry["value"])
            if not self._live or self._live[-1][0] < point[0]:
                self._live.append(point)
        foretold = answer.body.get("emulated", {}).get(self._attribute)
        if foretold is not None and (not self._expected or self._expected[-1][0] <= answer.body["time_s"]):
            self._expected.append((answer.body["time_s"] + _SLOT_S, foretold["value"]))
        self._say("emulated", _EXPECTED if self._expected else "")

    def _show_past(self, answer: Answer) -> None:
        self._past = _points(answer.body, "value") if answer.ok else []
        self._say(
            "past",
            "" if answer.ok else f"No history: {reason(answer)[0]} Drawn is what came since the page was opened.",
        )

    def _show_future(self, answer: Answer) -> None:
        self._mean, self._band = [], []
        if answer.ok:
            self._mean = _points(answer.body, "mean")
            self._band = _bands(answer.body)
        self._say("future", "" if answer.ok else f"No forecast: {reason(answer)[0]}")

    def _say(self, about: str, text: str) -> None:
        self._said[about] = text
        self._note.set_text(" ".join(part for part in self._said.values() if part))
        self._note.set_visibility(bool(self._note.text))
        self._draw()

    def _draw(self) -> None:
        ends_s = self._past[-1][0] if self._past else -math.inf
        known = [*self._past, *(point for point in self._live if point[0] > ends_s)]
        since_s = known[-1][0] - self._span_s if known else 0.0
        known = [point for point in known if point[0] >= since_s]
        scale, unit = _scale(self._attribute, self._unit or "1", known)
        expected = [point for point in self._expected if point[0] >= since_s]
        lines = {
            name: [(at, None if value is None else value * scale) for at, value in points]
            for name, points in zip(_LINES, (known, expected, self._mean), strict=True)
        }
        told = attribute(self._attribute)
        band = [(at, low * scale, high * scale) for at, low, high in self._band]
        self._trend.draw(told if unit == "1" else f"{told}, {unit}", lines, band)


def _points(body: Mapping[str, Any], name: str) -> list[Point]:
    return [(float(at), value) for at, value in zip(body["time_s"], body[name], strict=True)]


def _bands(body: Mapping[str, Any]) -> list[tuple[float, float, float]]:
    rows = zip(body["time_s"], body["low90"], body["high90"], strict=True)
    return [(float(at), low, high) for at, low, high in rows if low is not None and high is not None]


def _scale(name: str, unit: str, points: Sequence[Point]) -> tuple[float, str]:
    """What values are multiplied by to be read easily, and their unit then."""
    if name in RATIOS:
        return 100.0, "%"
    largest = max((abs(value) for _, value in points if value is not None), default=0.0)
    shown = quantity(largest, unit).rpartition(" ")[2]
    prefix = shown.removesuffix(unit) if unit != "1" and shown.endswith(unit) else ""
    return {"k": 1e-3, "M": 1e-6, "G": 1e-9, "T": 1e-12}.get(prefix, 1.0), f"{prefix}{unit}" if unit != "1" else "1"
