"""Sites with their receipts, and lines to other systems."""

from collections.abc import Callable, Mapping
from typing import Any

from nicegui import ui

from twinloop.service.dashboard.asking import Answer, Listener, path_of
from twinloop.service.dashboard.visits import Visit
from twinloop.service.dashboard.widgets import Cell, Column, Guarded, Panel, Row, Table, age, confirmed, state, tell
from twinloop.service.dashboard.words import SITES, UNKNOWN, number

_LINKS = [Column("Line"), Column("State"), Column("Counted", wide=True), Column("Fault", wide=True)]
_NO_LINES = "There are none: no broker was named at the start, and reports and commands go over HTTP."
_COUNTS = ("received", "kept", "repeated", "refused")
_UP = frozenset({"connected", "up"})
_SITES = [
    Column("Site"),
    Column("State"),
    Column("Reported"),
    Column("Asked for work"),
    Column("Wanted order", "num"),
    Column("Answered order", "num"),
    Column("What it said", wide=True),
]


class Sites:
    """Sites, what they say they do, and the way back for one that is not believed."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self._distrusted: list[str] = []
        note = "Nothing is in effect because it was sent: a site says so, then reports show it."
        self._panel = Panel("Sites and receipts", note)
        with self._panel:
            self._silent = ui.label("").classes("tl-notice bad")
            self._table = Table("Sites", _SITES, "The scenario names no sites.", cards=True)
            self._actions = ui.element("div").classes("tl-actions")

    def show(self, answer: Answer) -> None:
        """Shows where each site stands."""
        if not self._panel.settle(answer):
            return
        self._table.fill([_site(one) for one in answer.body["sites"]])
        silent = [one["site"] for one in answer.body["sites"] if one.get("silent")]
        self._silent.set_text(f"Silent: {', '.join(silent)}. What the twins know of their cells and servers is old.")
        self._silent.set_visibility(bool(silent))
        distrusted = [one["site"] for one in answer.body["sites"] if one.get("distrusted")]
        if distrusted != self._distrusted:
            self._distrusted = distrusted
            self._offer()

    def _offer(self) -> None:
        self._actions.clear()
        with self._actions:
            for site in self._distrusted:
                Guarded(f"Believe {site} again …", self._ask(site), self._visit.caller.why_not("mode"))

    def _ask(self, site: str) -> Callable[[], None]:
        async def act(_: str) -> None:
            tell(await self._visit.send("PUT", path_of("sites", site, "trust")), f"{site} is believed again")

        text = "Its receipts count again as said. It was not believed because the effect of its decisions was not seen."
        return lambda: confirmed(f"Believe {site} again?", text, act, verb="Believe", tone="primary")


def _site(one: Mapping[str, Any]) -> Row:
    words = SITES.get(one.get("state", ""), ("follows" if one["follows"] else "does not follow", ""))
    receipt = one["receipt_revision"]
    said = " ".join(part for part in (one["result"], one["detail"]) if part)
    cells: list[Cell] = [
        one["site"],
        state(words),
        age(one.get("reported_s")),
        age(one["heard_s"]),
        UNKNOWN if one["wanted_revision"] is None else str(one["wanted_revision"]),
        str(receipt) if receipt >= 0 else UNKNOWN,
        {"text": said or UNKNOWN, "sub": str(one.get("distrusted") or one.get("fault") or "")},
    ]
    return Row(one["site"], cells)


def show_links() -> Listener:
    """The panel of lines; gives what it is told by."""
    panel = Panel("Lines to other systems")
    with panel:
        table = Table("Lines to other systems", _LINKS, _NO_LINES, cards=True)

    def show(answer: Answer) -> None:
        links: Mapping[str, Mapping[str, Any]] = answer.get("links", {})
        if panel.settle(answer):
            table.fill([_link(name, told) for name, told in links.items()])

    return show


def _link(name: str, told: Mapping[str, Any]) -> Row:
    condition = str(told.get("state", UNKNOWN))
    counts = ", ".join(f"{key} {number(told[key])}" for key in _COUNTS if key in told)
    cells: list[Cell] = [
        {"text": name, "sub": str(told.get("address", ""))},
        state((condition, "good" if condition in _UP else "bad")),
        counts or UNKNOWN,
        str(told.get("fault") or UNKNOWN),
    ]
    return Row(name, cells)
