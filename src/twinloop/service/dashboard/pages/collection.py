"""Collection: what agents are asked to report, what came of every source, and what was refused and why."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from nicegui import ui
from starlette.requests import Request

from twinloop.service.dashboard.asking import Answer, path_of
from twinloop.service.dashboard.frame import framed
from twinloop.service.dashboard.visits import Visit, Watch
from twinloop.service.dashboard.widgets import Cell, Column, Facts, Panel, Row, Table, age
from twinloop.service.dashboard.words import UNKNOWN, attribute, number, of_attribute, quantity, unit_of

_SLOW_S = 5.0
_REFUSED = 50
_LONGEST_ROW = 300
_SOURCES = [
    Column("Source"),
    Column("Last heard"),
    Column("Batches", "num"),
    Column("Rows", "num"),
    Column("Refused", "num"),
    Column("Missing", "num"),
    Column("Doubled", "num"),
    Column("Late", "num"),
    Column("Clock off", "num"),
    Column("Volume", "num"),
]
_PLAN = [
    Column("Attribute"),
    Column("Asked of", "num"),
    Column("Looked at every", "num"),
    Column("Sent if it moved by"),
    Column("At once beyond"),
    Column("Bits", "num"),
    Column("At most", "num"),
]
_ERRORS = [Column("When"), Column("Source"), Column("Reason"), Column("The row as it came")]
_MUCH_SKEW_S = 2.0


def show_collection(visit: Visit, request: Request) -> None:
    """Builds the page; `?site=` chooses whose plan is shown."""
    lead = (
        "What agents are asked to report and how precisely, what each of them sent, and why something did not arrive."
    )
    with framed(visit, "/collection", "Collection", lead):
        _sources(visit)
        _Plan(visit, request.query_params.get("site"))
        _refused(visit)


def _sources(visit: Visit) -> None:
    panel = Panel("Sources", "Missing: numbers of batches that were passed over. Doubled: came twice, counted once.")
    with panel:
        table = Table(
            "Sources", _SOURCES, "Nobody has reported yet. An agent is started by: twinloop agent --help", cards=True
        )

    def show(answer: Answer) -> None:
        if panel.settle(answer):
            table.fill([_source(one) for one in sorted(answer.body["sources"], key=lambda one: str(one["source"]))])

    visit.watch("/ingest/sources", show)


def _source(one: Mapping[str, Any]) -> Row:
    skew_s = one.get("skew_s")
    gaps: Sequence[Sequence[int]] = one.get("gaps", ())
    told = ", ".join(f"{first} to {last}" if last > first else f"{first}" for first, last in gaps[-5:])
    cells: list[Cell] = [
        one["source"],
        age(one["last_s"]),
        number(one["batches"]),
        number(one["rows"]),
        _counted(one["refused_rows"], "bad"),
        _counted(one["missing"], "warn") | {"sub": told},
        _counted(one["duplicates"], ""),
        _counted(one["disordered"], ""),
        {"text": UNKNOWN if skew_s is None else f"{skew_s:+.2f} s", "tone": _skewed(skew_s)},
        quantity(float(one["bytes"]), "B"),
    ]
    return Row(one["source"], cells)


def _counted(count: int, tone: str) -> dict[str, Any]:
    return {"text": number(count), "tone": tone if count else ""}


def _skewed(skew_s: float | None) -> str:
    return "warn" if skew_s is not None and abs(skew_s) > _MUCH_SKEW_S else ""


class _Plan:
    """The plan of one site, by kind and attribute, with what it costs at most."""

    def __init__(self, visit: Visit, site: str | None) -> None:
        self._visit = visit
        self._site = site
        self._sites: tuple[str, ...] = ()
        self._panel = Panel("Plan", "At most: bits/s if every value were sent each time that it is looked at.")
        with self._panel.tools:
            self._tabs = ui.element("nav").classes("tl-tabs").props('aria-label="Sites"')
        with self._panel:
            self._facts = Facts(
                {"site": "Site", "revision": "Plan number", "most": "At most", "asked": "Values asked for"}
            )
            self._tables = {
                kind: (
                    ui.label(kind).classes("tl-h3"),
                    Table(f"Plan of {kind}s", _PLAN, "Nothing is asked.", cards=True),
                )
                for kind in ("user", "cell", "server")
            }
        self._watch: Watch = visit.watch("", self._show, _SLOW_S)
        visit.watch("/system", self._find_sites, _SLOW_S)

    def _find_sites(self, answer: Answer) -> None:
        sites = tuple(one["site"] for one in answer.get("sites", ()))
        if not answer.ok:
            self._panel.settle(answer)
        if not sites or sites == self._sites:
            return
        self._sites = sites
        chosen = self._site if self._site is not None and self._site in sites else sites[0]
        self._tabs.clear()
        with self._tabs:
            for site in sites:
                link = ui.link(site, f"/collection?site={site}")
                if site == chosen:
                    link.props["aria-current"] = "true"
        self._watch.turn(path_of("agents", chosen, "plan"))

    def _show(self, answer: Answer) -> None:
        if answer.status == 204:
            self._panel.tell("No plan yet: it is made after the first slots.")
            return
        if not self._panel.settle(answer):
            return
        most_bps, asked = 0.0, 0
        for kind, (title, table) in self._tables.items():
            parts = [part for part in answer.body["parts"] if part["kind"] == kind]
            rows, bps, count = _asked(parts)
            table.fill(rows)
            most_bps, asked = most_bps + bps, asked + count
            title.set_text(
                f"{kind.capitalize()}s: {sum(len(part['ids']) for part in parts)}, at most {quantity(bps, 'bit/s')}"
            )
        self._facts.say("site", answer.body["site"])
        self._facts.say("revision", str(answer.body["revision"]))
        self._facts.say("most", quantity(most_bps, "bit/s"))
        self._facts.say("asked", number(asked))


def _asked(parts: Sequence[Mapping[str, Any]]) -> tuple[list[Row], float, int]:
    """Rows by attribute over all parts of a kind, bits/s at most, values asked for."""
    found: dict[str, list[tuple[int, Mapping[str, Any]]]] = {}
    for part in parts:
        for name, asked in part["attributes"].items():
            found.setdefault(name, []).append((len(part["ids"]), asked))
    rows: list[Row] = []
    total_bps, total = 0.0, 0
    for name, entries in found.items():
        count = sum(many for many, _ in entries)
        bps = sum(many * one["bits"] / max(one["period_s"], 1e-3) for many, one in entries)
        total_bps, total = total_bps + bps, total + count
        cells = [
            {"text": attribute(name), "sub": name},
            number(count),
            _spread([one["period_s"] for _, one in entries], "s"),
            _moved(name, [one.get("delta", -1.0) for _, one in entries]),
            _alarmed(name, [one.get("alarm") for _, one in entries]),
            _spread([float(one["bits"]) for _, one in entries], ""),
            quantity(bps, "bit/s"),
        ]
        rows.append(Row(name, cells))
    return rows, total_bps, total


def _spread(values: Sequence[float], unit: str) -> str:
    low, high = min(values), max(values)
    text = number(low) if low == high else f"{number(low)} to {number(high)}"
    return f"{text} {unit}".strip()


def _amount(name: str, values: Sequence[float]) -> str:
    low, high = (of_attribute(name, value, unit_of(name)) for value in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


def _moved(name: str, deltas: Sequence[float]) -> str:
    known = [delta for delta in deltas if delta >= 0]
    if not known:
        return "always"
    if max(known) == 0:
        return "at all"
    return _amount(name, known) + (" (some always)" if len(known) < len(deltas) else "")


def _alarmed(name: str, alarms: Sequence[float | None]) -> str:
    known = [alarm for alarm in alarms if alarm is not None]
    return _amount(name, known) if known and max(known) > 0 else UNKNOWN


def _refused(visit: Visit) -> None:
    panel = Panel("Refused rows", f"The last {_REFUSED}, newest first: why this data did not reach a twin.")
    with panel:
        table = Table("Refused rows", _ERRORS, "Nothing was refused.", cards=True)

    def show(answer: Answer) -> None:
        if panel.settle(answer):
            table.fill([_refusal(one) for one in answer.body["refused"]])

    visit.watch(path_of("ingest", "errors", limit=_REFUSED), show, _SLOW_S)


def _refusal(one: Mapping[str, Any]) -> Row:
    row = one.get("row", "")
    text = row if isinstance(row, str) else json.dumps(row)
    shown = text if len(text) <= _LONGEST_ROW else f"{text[:_LONGEST_ROW]} …"
    at_s = one.get("received_s") or one.get("time_s")
    return Row(
        str(one["id"]), [{"at": at_s}, one["source"], one["reason"], {"code": True, "text": shown, "title": text}]
    )
