"""Twins of a kind: found by name, sorted by any column, fifty at a time."""

from collections.abc import Mapping, Sequence
from typing import Any

from nicegui import ui
from nicegui.events import ValueChangeEventArguments
from starlette.requests import Request

from twinloop.service.dashboard.asking import Answer, path_of
from twinloop.service.dashboard.frame import framed
from twinloop.service.dashboard.topology import NETWORK, StandingCell, cells_of
from twinloop.service.dashboard.visits import Visit
from twinloop.service.dashboard.widgets import Cell, Column, Panel, Row, Table, age, meter, plain_button, twin_link
from twinloop.service.dashboard.words import attribute, fidelity, newest_s, reported, shown

KINDS = {"user": "Users", "cell": "Cells", "server": "Servers", "slice": "Slices"}
_SHOWN = {
    "user": ("serving_cell", "buffer_s", "rate_bps", "sinr_db", "quality"),
    "cell": ("load", "users", "used_bandwidth_hz", "throughput_bps", "power_w"),
    "server": ("utilisation", "queue_cycles", "cache_hit_ratio", "power_w"),
    "slice": ("users", "satisfaction", "demand_bandwidth_hz", "reserved_bandwidth_hz", "rate_bps"),
}
_PAGE = 50
MOST_LISTED = 500
_LIST_S = 2.0
_SLOW_S = 5.0


def show_twins(visit: Visit, request: Request) -> None:
    """Builds the page of `/twins/{kind}`; an unknown kind shows users."""
    asked = request.path_params["kind"]
    kind = asked if asked in KINDS else "user"
    with framed(
        visit, "/twins/user", "Twins", "What the twins know of each, how old it is, and how well they foretell it."
    ):
        with ui.element("nav").classes("tl-tabs").props('aria-label="Kinds"'):
            links = {name: ui.link(title, f"/twins/{name}") for name, title in KINDS.items()}
        links[kind].props["aria-current"] = "page"
        _List(visit, kind)


class _List:
    def __init__(self, visit: Visit, kind: str) -> None:
        self._kind = kind
        self._page = 0
        self._sort, self._descending = "name", False
        self._search, self._slice, self._all = "", "", 0
        self._twins: Sequence[Mapping[str, Any]] = ()
        self._cells: tuple[StandingCell, ...] = ()
        self._panel = Panel(KINDS[kind])
        with self._panel.tools:
            if kind == "user":
                self._slices = ui.select({"": "all"}, value="", label="Slice", on_change=self._narrow)
                self._slices.props("outlined dense options-dense").classes("tl-choice")
            ui.input("Find by name", on_change=self._find).props("outlined dense clearable debounce=200")
        with self._panel:
            self._table = Table(KINDS[kind], _columns(kind), "Nobody here yet, or nobody with that name.", cards=True)
            self._table.on_sort(self._sort_by)
            self._table.sorted_by(self._sort, self._descending)
            with ui.element("div").classes("tl-actions"):
                self._before = plain_button("Before", lambda: self._turn(-1))
                self._count = ui.label("").classes("tl-note").props("role=status")
                self._after = plain_button("Next", lambda: self._turn(1))
        if kind == "user":
            visit.watch(NETWORK, self._know_cells, _SLOW_S)
            visit.watch("/slices", self._know_slices, _SLOW_S)
        self._watch = visit.watch(self._address(), self._show, _LIST_S)

    def _address(self) -> str:
        prefix = self._search if self._all > MOST_LISTED else ""
        asked = {"slice": self._slice or None, "prefix": prefix or None, "attributes": ",".join(_SHOWN[self._kind])}
        return path_of("twins", self._kind, limit=MOST_LISTED, fields="reported", **asked)

    def _know_slices(self, answer: Answer) -> None:
        names = {"": "all"} | {str(one["name"]): str(one["name"]) for one in answer.get("slices", ())}
        if answer.ok and names != self._slices.options:
            self._slices.set_options(names, value=self._slice)

    def _know_cells(self, answer: Answer) -> None:
        self._cells = cells_of(answer)

    def _show(self, answer: Answer) -> None:
        if self._panel.settle(answer):
            self._twins = answer.body["twins"]
            self._all = max(self._all, answer.get("matching", 0))
            self._fill()

    def _narrow(self, event: ValueChangeEventArguments[Any]) -> None:
        self._slice, self._page = str(event.value or ""), 0
        self._watch.turn(self._address())

    def _find(self, event: ValueChangeEventArguments[Any]) -> None:
        self._search, self._page = str(event.value or "").strip(), 0
        self._watch.turn(self._address())
        self._fill()

    def _sort_by(self, key: str) -> None:
        self._descending = key == self._sort and not self._descending
        self._sort, self._page = key, 0
        self._table.sorted_by(key, self._descending)
        self._fill()

    def _turn(self, pages: int) -> None:
        self._page += pages
        self._fill()

    def _fill(self) -> None:
        found = [twin for twin in self._twins if self._search.lower() in str(twin["id"]).lower()]
        found.sort(key=self._rank, reverse=self._descending)
        last = max((len(found) - 1) // _PAGE, 0)
        self._page = min(max(self._page, 0), last)
        first = self._page * _PAGE
        here = found[first : first + _PAGE]
        self._table.fill([self._row(twin) for twin in here])
        span = f"{first + 1} to {first + len(here)} of {len(found)}" if here else "none"
        many = self._all > MOST_LISTED
        more = f"; of {self._all:,} the first {MOST_LISTED} are listed, find others by how they begin" if many else ""
        self._count.set_text(f"{span}{more}")
        self._before.set_enabled(self._page > 0)
        self._after.set_enabled(self._page < last)

    def _rank(self, twin: Mapping[str, Any]) -> tuple[bool, Any]:
        if self._sort == "name":
            return (False, str(twin["id"]))
        value = {"heard": newest_s, "fidelity": fidelity}.get(self._sort, lambda one: reported(one, self._sort))(twin)
        return (value is None, 0.0 if value is None else value)

    def _row(self, twin: Mapping[str, Any]) -> Row:
        name, known = str(twin["id"]), fidelity(twin)
        link = twin_link(self._kind, name, str(twin.get("slice") or ""))
        values = [self._value(twin, attribute) for attribute in _SHOWN[self._kind]]
        return Row(name, [link, *values, age(newest_s(twin)), meter("fidelity", known)])

    def _value(self, twin: Mapping[str, Any], name: str) -> Cell:
        number = reported(twin, name)
        if name == "serving_cell" and number is not None and 0 <= int(number) < len(self._cells):
            return self._cells[int(number)].name
        return shown(twin, name)


def _columns(kind: str) -> list[Column]:
    middle = [
        Column(attribute(name), "" if name in {"serving_cell"} else "num", name, sortable=True) for name in _SHOWN[kind]
    ]
    return [
        Column(KINDS[kind][:-1], key="name", sortable=True),
        *middle,
        Column("Heard", "num", "heard", sortable=True),
        Column("Fidelity", "", "fidelity", sortable=True),
    ]
