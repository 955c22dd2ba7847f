"""Collection: what sites are asked to report and how far they do, what every source sent, what was refused and why."""

from collections.abc import Mapping, Sequence
from typing import Any

from nicegui import ui
from starlette.requests import Request

from twinloop.service.dashboard.asking import Answer, path_of
from twinloop.service.dashboard.frame import framed
from twinloop.service.dashboard.visits import Visit, Watch
from twinloop.service.dashboard.widgets import Cell, Column, Panel, Row, Table, age, meter
from twinloop.service.dashboard.words import UNKNOWN, attribute, number, quantity, tone_of

_SLOW_S = 3.0
_REFUSED = 50
_LONGEST_ROW = 300
_MUCH_SKEW_S = 2.0
_SITES = [
    Column("Site"),
    Column("Last heard"),
    Column("Values heard", "num"),
    Column("Kept to"),
    Column("Bits heard", "num"),
    Column("Never heard", wide=True),
]
_PLAN = [
    Column("Attribute"),
    Column("Asked of", "num"),
    Column("Looked at every", "num"),
    Column("Bits", "num"),
    Column("Values heard", "num"),
    Column("Kept to"),
]
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
_ERRORS = [Column("When"), Column("Source"), Column("Reason", wide=True), Column("The row as it came", wide=True)]


def show_collection(visit: Visit, request: Request) -> None:
    """Builds the page; `?site=` chooses whose plan is shown."""
    lead = (
        "What agents are asked to report and how precisely, what each of them sent, and why something did not arrive."
    )
    with framed(visit, "/collection", "Collection", lead):
        _Plan(visit, request.query_params.get("site"))
        _sources(visit)
        _refused(visit)


class _Plan:
    """What sites are asked and keep to, and the plan of one of them, attribute by attribute."""

    def __init__(self, visit: Visit, site: str | None) -> None:
        self._site = site
        self._sites: tuple[str, ...] = ()
        note = (
            "Over the last minute. What must come does so at every look or after the longest silence; what changes "
            "meanwhile comes besides. Kept to: the share of what must come that came."
        )
        self._all = Panel("Sites", note)
        with self._all:
            self._table = Table("Sites", _SITES, "The scenario names no sites.", cards=True)
        self._panel = Panel("Plan")
        with self._panel.tools:
            self._tabs = ui.element("nav").classes("tl-tabs").props('aria-label="Sites"')
        with self._panel:
            self._wishes = ui.label("").classes("tl-note")
            self._tables = {
                kind: (
                    ui.label(kind).classes("tl-h3"),
                    Table(f"Plan of {kind}s", _PLAN, "Nothing is asked.", cards=True),
                )
                for kind in ("user", "cell", "server")
            }
        self._one: Watch = visit.watch("", self._show_one, _SLOW_S)
        visit.watch("/collection", self._show_all, _SLOW_S)

    def _show_all(self, answer: Answer) -> None:
        if not self._all.settle(answer):
            self._panel.settle(answer)
            return
        told: Sequence[Mapping[str, Any]] = answer.body["sites"]
        self._table.fill([*(_site(one) for one in told), *_elsewhere(answer.get("elsewhere", {}))])
        sites = tuple(str(one["site"]) for one in told)
        if sites and sites != self._sites:
            self._choose(sites)

    def _choose(self, sites: tuple[str, ...]) -> None:
        self._sites = sites
        chosen = self._site if self._site is not None and self._site in sites else sites[0]
        self._tabs.clear()
        with self._tabs:
            for site in sites:
                link = ui.link(site, f"/collection?site={site}")
                if site == chosen:
                    link.props["aria-current"] = "true"
        self._one.turn(path_of("collection", chosen))

    def _show_one(self, answer: Answer) -> None:
        if not self._panel.settle(answer):
            return
        for kind, (title, table) in self._tables.items():
            parts = [one for one in answer.body["attributes"] if one["kind"] == kind]
            table.fill([_attribute(one) for one in parts])
            most = max((one["entities"] for one in parts), default=0)
            title.set_text(f"{kind.capitalize()}s: {number(most)}")
        wishes = ", ".join(_wish(one) for one in answer.get("wishes", ()))
        self._wishes.set_text(f"Wished by operators: {wishes}." if wishes else "")
        self._wishes.set_visibility(bool(wishes))


def _site(one: Mapping[str, Any]) -> Row:
    never = ", ".join(attribute(entry["attribute"]).lower() for entry in one["never_heard"])
    cells: list[Cell] = [
        one["site"],
        age(one["last_heard_s"]),
        _against(f"{number(one['heard_per_s'])} a second", number(one["asked_per_s"])),
        _kept(one["ratio"]),
        _against(quantity(one["heard_bps"], "bit/s"), quantity(one["asked_bps"], "bit/s")),
        never or UNKNOWN,
    ]
    return Row(one["site"], cells)


def _elsewhere(one: Mapping[str, Any]) -> list[Row]:
    if one.get("last_heard_s") is None:
        return []
    values, bits = f"{number(one['heard_per_s'])} a second", quantity(one["heard_bps"], "bit/s")
    name: Cell = {"text": "elsewhere", "sub": "no site of the scenario"}
    return [Row("", [name, age(one["last_heard_s"]), values, UNKNOWN, bits, UNKNOWN])]


def _attribute(one: Mapping[str, Any]) -> Row:
    name = one["attribute"]
    cells: list[Cell] = [
        {"text": attribute(name), "sub": name},
        number(one["entities"]),
        quantity(one["period_s"], "s"),
        number(one["bits"]),
        _against(f"{number(one['heard_per_s'])} a second", number(one["asked_per_s"])),
        _kept(one["ratio"]),
    ]
    return Row(name, cells)


def _against(heard: str, least: str) -> Cell:
    return {"text": heard, "sub": f"at least {least} must come"}


def _kept(ratio: float | None) -> Cell:
    """More than what must come is everything."""
    part = None if ratio is None else min(ratio, 1.0)
    return meter("kept to", part, tone_of(part, 0.6, 0.9))


def _wish(one: Mapping[str, Any]) -> str:
    if not one.get("enabled", True):
        how = "not at all"
    else:
        period_s, bits = one.get("period_s"), one.get("bits")
        parts = (period_s and f"every {quantity(period_s, 's')}", bits and f"in {bits} bits")
        how = " ".join(str(part) for part in parts if part)
    return f"{one['kind']} {attribute(one['attribute']).lower()} {how} (by {one['by']})"


def _sources(visit: Visit) -> None:
    panel = Panel("Sources", "Missing: numbers of batches that were passed over. Doubled: came twice, counted once.")
    with panel:
        empty = "Nobody has reported yet. An agent is started by: twinloop agent --help"
        table = Table("Sources", _SOURCES, empty, cards=True)

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
        _counted(one["missing"], "warn", told),
        _counted(one["duplicates"]),
        _counted(one["disordered"]),
        {"text": UNKNOWN if skew_s is None else f"{skew_s:+.2f} s", "tone": _skewed(skew_s)},
        quantity(one["bytes"], "B"),
    ]
    return Row(one["source"], cells)


def _counted(count: int, tone: str = "", below: str = "") -> Cell:
    return {"text": number(count), "tone": tone if count else "", "sub": below}


def _skewed(skew_s: float | None) -> str:
    return "warn" if skew_s is not None and abs(skew_s) > _MUCH_SKEW_S else ""


def _refused(visit: Visit) -> None:
    panel = Panel("Refused rows", f"The last {_REFUSED}, newest first: why this data did not reach a twin.")
    with panel:
        table = Table("Refused rows", _ERRORS, "Nothing was refused.", cards=True)

    def show(answer: Answer) -> None:
        if panel.settle(answer):
            table.fill([_refusal(one) for one in answer.body["refused"]])

    visit.watch(path_of("ingest", "errors", limit=_REFUSED), show, _SLOW_S)


def _refusal(one: Mapping[str, Any]) -> Row:
    text = str(one["row"])
    shown = text if len(text) <= _LONGEST_ROW else f"{text[:_LONGEST_ROW]} …"
    when: Cell = {"at": one["received_s"]}
    return Row(str(one["id"]), [when, one["source"], one["reason"], {"code": True, "text": shown, "title": text}])
