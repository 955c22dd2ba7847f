"""The map: cells, servers and users where they are, coloured by what the visitor chooses, moving once a second."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nicegui import ui
from nicegui.events import ValueChangeEventArguments
from starlette.requests import Request

from twinloop.service.dashboard.asking import Answer, path_of
from twinloop.service.dashboard.frame import framed
from twinloop.service.dashboard.topology import NETWORK, StandingCell, box_around, cells_of, server_places
from twinloop.service.dashboard.visits import Visit
from twinloop.service.dashboard.widgets import (
    KINDS,
    Cell,
    CityMap,
    Column,
    Crowd,
    Legend,
    Panel,
    Row,
    Scene,
    Table,
    age,
    meter,
    reason,
    twin_link,
)
from twinloop.service.dashboard.words import UNKNOWN, attribute, newest_s, reported, shown

_SLOW_S = 5.0
MOST_USERS = 1000
_LOADS = {"cell": "load", "server": "utilisation"}
_OF_A_PERSON = frozenset({"speed_mps", "sinr_db", "rate_bps", "buffer_s", "quality", "rebuffer_s", "opinion"})
_EAST, _NORTH = "position_x_m", "position_y_m"
_CELLS = [Column("Cell"), Column("Load"), Column("Users", "num"), Column("Used", "num"), Column("Throughput", "num")]
_SERVERS = [Column("Server"), Column("Utilisation"), Column("Cache hits", "num"), Column("Power", "num")]
_PICKED = [Column("What"), Column("Last heard", "num"), Column("Age", "num")]


@dataclass(frozen=True)
class _Colouring:
    """How users are coloured by an attribute: edges of five bins, from bad to good."""

    name: str
    edges: tuple[float, ...]
    bins: tuple[str, ...]


_BY_VALUE = {
    "buffer_s": _Colouring(
        "Buffer, s", (1.0, 3.0, 6.0, 12.0), ("below 1 s", "1 to 3 s", "3 to 6 s", "6 to 12 s", "12 s and more")
    ),
    "rate_bps": _Colouring(
        "Rate, Mbit/s", (5e5, 1e6, 2e6, 5e6), ("below .5 Mbit/s", ".5 to 1", "1 to 2", "2 to 5", "5 Mbit/s and more")
    ),
    "sinr_db": _Colouring(
        "Signal to noise, dB", (0.0, 5.0, 10.0, 18.0), ("below 0 dB", "0 to 5", "5 to 10", "10 to 18", "18 dB and more")
    ),
    "quality": _Colouring(
        "Video quality, %", (0.2, 0.4, 0.6, 0.8), ("below 20 %", "20 to 40", "40 to 60", "60 to 80", "80 % and more")
    ),
    "satisfaction": _Colouring(
        "Satisfaction, %", (0.2, 0.4, 0.6, 0.8), ("below 20 %", "20 to 40", "40 to 60", "60 to 80", "80 % and more")
    ),
}
_BY_KIND = {"serving_cell": "Serving cell", "slice": "Slice"}
_CHOICES = {
    "buffer_s": "Buffer",
    "rate_bps": "Rate",
    "sinr_db": "Signal to noise",
    "quality": "Video quality",
} | _BY_KIND
_FIRST = "buffer_s"


def show_map(visit: Visit, request: Request) -> None:
    """Builds the page; `?by=` chooses the colours."""
    asked = request.query_params.get("by", _FIRST)
    with framed(visit, "/", "Map", "Where cells, servers and people are, as the twins know them. North is up."):
        _Page(visit, asked if asked in _CHOICES else _FIRST)


class _Page:
    def __init__(self, visit: Visit, by: str) -> None:
        self._visit = visit
        self._by = by
        self._cells: tuple[StandingCell, ...] = ()
        self._area_m: Sequence[float] | None = None
        self._users: Answer | None = None
        self._no_cells = ""
        self._person = False
        self._panel = Panel("The network now")
        with self._panel.tools:
            choice = ui.select(_CHOICES, value=by, label="Colour people by", on_change=self._choose)
            choice.props("outlined dense options-dense").classes("tl-choice")
        with self._panel:
            self._map = CityMap("Map of the network. Arrow keys go from person to person, Enter opens the twin.")
            self._map.on_choice(self._pick, lambda kind, name: ui.navigate.to(f"/twins/{path_of(kind, name)[1:]}"))
        self._chosen = Panel("Picked on the map")
        with self._chosen:
            self._open = ui.link("Open the twin", "/").classes("tl-link")
            self._values = Table("Picked twin", _PICKED, "Nothing was ever reported of it.")
        self._chosen.card.set_visibility(False)
        self._one = visit.watch("", self._show_one)
        with ui.element("div").classes("tl-columns"):
            cells = Table("Cells", _CELLS, "No cell has reported yet.", cards=True)
            servers = Table("Servers", _SERVERS, "No server has reported yet.", cards=True)
            self._list_of(visit, "cell", "Cells", cells, _cell_row)
            self._list_of(visit, "server", "Servers", servers, _server_row)
        asked = ",".join((_EAST, _NORTH, "serving_cell", *(name for name in _BY_VALUE if name in _CHOICES)))
        visit.watch(NETWORK, self._show_cells, _SLOW_S)
        visit.watch(path_of("twins", "user", limit=MOST_USERS, fields="reported", attributes=asked), self._show_users)

    def _list_of(self, visit: Visit, kind: str, title: str, table: Table, row: Any) -> None:
        panel = Panel(title)
        table.move(panel.body)

        def show(answer: Answer) -> None:
            if panel.settle(answer):
                twins: list[Mapping[str, Any]] = answer.body["twins"]
                table.fill([row(twin) for twin in twins])
                self._map.describe(kind, {twin["id"]: _state_of(twin, _LOADS[kind]) for twin in twins})

        visit.watch(path_of("twins", kind, limit=MOST_USERS, fields="reported"), show)

    def _choose(self, event: ValueChangeEventArguments[Any]) -> None:
        self._by = str(event.value)
        if self._users is not None:
            self._show_users(self._users)

    def _show_cells(self, answer: Answer) -> None:
        self._cells, self._area_m = cells_of(answer), answer.get("area_m")
        self._no_cells = "" if answer.ok else reason(answer)[0]

    def _show_users(self, answer: Answer) -> None:
        self._users = answer
        if not self._panel.settle(answer):
            return
        twins: list[Mapping[str, Any]] = answer.body["twins"]
        legend, bin_of = self._colours(twins)
        crowd = Crowd()
        for twin in twins:
            east, north = reported(twin, _EAST), reported(twin, _NORTH)
            if east is not None and north is not None:
                said = f"{_CHOICES[self._by]} {self._said(twin)}"
                crowd.add(twin["id"], (east, north), bin_of(twin), newest_s(twin) or 0.0, said)
        places = [*zip(crowd.x_m, crowd.y_m, strict=True)]
        places += [cell.place_m for cell in self._cells if cell.place_m is not None]
        box = box_around(places, self._area_m)
        self._panel.tell(_missing(twins, box is not None))
        self._map.set_visibility(box is not None)
        if box is not None:
            self._map.stage(_scene(box, self._cells))
            self._map.paint(legend)
            self._map.show(crowd, _note(len(twins), len(crowd.ids), self._no_cells))

    def _colours(self, twins: Sequence[Mapping[str, Any]]) -> tuple[Legend, Any]:
        chosen = _BY_VALUE.get(self._by)
        if chosen is not None:

            def bin_of_value(twin: Mapping[str, Any]) -> int | None:
                value = reported(twin, self._by)
                return None if value is None else sum(value >= edge for edge in chosen.edges)

            return Legend(chosen.name, chosen.bins, "value"), bin_of_value
        names = self._kinds(twins)

        def bin_of_kind(twin: Mapping[str, Any]) -> int | None:
            name = self._said(twin)
            return names.index(name) % KINDS if name in names else None

        return Legend(_BY_KIND[self._by], tuple(names[:KINDS]), "kind"), bin_of_kind

    def _kinds(self, twins: Sequence[Mapping[str, Any]]) -> list[str]:
        if self._by == "serving_cell" and self._cells:
            return [cell.name for cell in self._cells]
        return sorted({self._said(twin) for twin in twins} - {UNKNOWN})

    def _said(self, twin: Mapping[str, Any]) -> str:
        if self._by == "slice":
            return str(twin.get("slice") or UNKNOWN)
        if self._by == "serving_cell":
            number = reported(twin, "serving_cell")
            known = number is not None and 0 <= int(number) < len(self._cells)
            return self._cells[int(number or 0)].name if known else shown(twin, "serving_cell")
        return shown(twin, self._by)

    def _pick(self, kind: str, name: str) -> None:
        self._person = kind == "user"
        self._chosen.card.set_visibility(True)
        self._chosen.title.clear()
        with self._chosen.title:
            ui.label(f"{kind.capitalize()} {name}")
        self._open.props["href"] = f"/twins{path_of(kind, name)}"
        self._one.turn(path_of("twins", kind, name))

    def _show_one(self, answer: Answer) -> None:
        if self._chosen.settle(answer):
            told: Mapping[str, Any] = answer.body["reported"]
            self._values.fill(
                [_value_row(name, told[name]) for name in told if name in _OF_A_PERSON or not self._person]
            )


def _scene(box: tuple[float, float, float, float], cells: Sequence[StandingCell]) -> Scene:
    placed = [(cell, cell.place_m) for cell in cells if cell.place_m is not None]
    servers = server_places(cells)
    return Scene(
        box,
        tuple({"kind": "cell", "id": cell.name, "x": place[0], "y": place[1]} for cell, place in placed),
        tuple({"kind": "server", "id": name, "x": place[0], "y": place[1]} for name, place in servers.items()),
        tuple((*place, *servers[cell.server]) for cell, place in placed if cell.server in servers),
    )


def _note(twins: int, placed: int, no_cells: str) -> str:
    parts = [f"{placed} people on the map; press one, or a cell or server, to see what its twin knows"]
    if placed < twins:
        parts.append(f"{twins - placed} have not told where they are")
    if twins >= MOST_USERS:
        parts.append(f"Only the first {MOST_USERS:,} are drawn")
    return ". ".join(parts) + "." + (f" Cells and servers: {no_cells}" if no_cells else "")


def _missing(twins: Sequence[Mapping[str, Any]], placed: bool) -> str:
    if not twins:
        return "Nobody has reported yet. An agent is started by: twinloop agent --help"
    return "" if placed else "Nobody whom you may see has told where they are, or your token may not see it."


def _load_tone(part: float | None) -> str:
    return "" if part is None else "bad" if part > 0.95 else "warn" if part > 0.8 else "good"


def _state_of(twin: Mapping[str, Any], name: str) -> dict[str, str]:
    return {"tone": _load_tone(reported(twin, name)), "said": f"{attribute(name).lower()} {shown(twin, name)}"}


def _bar(twin: Mapping[str, Any], name: str) -> Cell:
    value = reported(twin, name)
    return meter(attribute(name), value, _load_tone(value))


def _cell_row(twin: Mapping[str, Any]) -> Row:
    values = [shown(twin, name) for name in ("users", "used_bandwidth_hz", "throughput_bps")]
    return Row(twin["id"], [twin_link(twin["kind"], twin["id"]), _bar(twin, "load"), *values])


def _server_row(twin: Mapping[str, Any]) -> Row:
    values = [shown(twin, name) for name in ("cache_hit_ratio", "power_w")]
    return Row(twin["id"], [twin_link(twin["kind"], twin["id"]), _bar(twin, "utilisation"), *values])


def _value_row(name: str, entry: Mapping[str, Any]) -> Row:
    twin = {"reported": {name: entry}}
    return Row(name, [attribute(name), shown(twin, name), age(entry["measured_s"])])
