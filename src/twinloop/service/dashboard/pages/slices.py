"""Slices: what each was promised, what is reserved for it, what it uses, how content its people are; and its orders."""

from collections.abc import Mapping, Sequence
from typing import Any

from nicegui import ui
from starlette.requests import Request

from twinloop.service.dashboard.asking import Answer, path_of
from twinloop.service.dashboard.frame import framed
from twinloop.service.dashboard.visits import Visit
from twinloop.service.dashboard.widgets import (
    Cell,
    Column,
    Guarded,
    Panel,
    Row,
    Table,
    heading,
    legend_of,
    meter,
    plain_button,
    reason,
    shade,
    stack,
    state,
    twin_link,
)
from twinloop.service.dashboard.words import ORDERS, UNKNOWN, number, quantity, reported, share, tone_of
from twinloop.units import bps_from_mbps, ratio_from_percent

_SLOW_S = 3.0
_WAIT_S = 8
_ORDERS = 20
_SLICES = [
    Column("Slice"),
    Column("State"),
    Column("Users", "num"),
    Column("Satisfaction"),
    Column("Rate a user", "num"),
    Column("Bandwidth: demand of reserved", wide=True),
    Column("Computing: demand of reserved", wide=True),
]
_POOLS = [
    Column("Cell or server"),
    Column("Reserved, of the whole", wide=True),
    Column("Not reserved", "num"),
    Column("Used, of the whole"),
]
_ORDERED = [
    Column("Ordered"),
    Column("Change"),
    Column("State"),
    Column("Promises"),
    Column("Answer of the twins", wide=True),
]


def show_slices(visit: Visit, request: Request) -> None:
    """Builds the page."""
    del request
    lead = "What is reserved for each slice, what it needs, and what its people get. The mark on a bar is the reserve."
    with framed(visit, "/slices", "Slices", lead):
        page = _Page(visit)
        _orders(visit, page)


class _Page:
    """What stands; `found` is what the API says of each slice."""

    def __init__(self, visit: Visit) -> None:
        self.found: Sequence[Mapping[str, Any]] = ()
        self._names: list[str] = []
        self._loads: dict[str, float | None] = {}
        self._panel = Panel("Promised, reserved, used")
        with self._panel:
            self._table = Table("Slices", _SLICES, "There is no slice that you may see.", cards=True)
        self._pools = Panel("Where it is reserved", "Of each cell its bandwidth, of each server its computing.")
        with self._pools:
            self._legend = ui.element("div").classes("tl-legend")
            self._reserved = Table("Reserved by cell and server", _POOLS, "Nothing is reserved.", cards=True)
        for kind, load in (("cell", "load"), ("server", "utilisation")):
            visit.watch(
                path_of("twins", kind, limit=1000, fields="reported", attributes=load), self._loads_by(load), _SLOW_S
            )
        visit.watch("/slices", self._show)

    def _loads_by(self, name: str) -> Any:
        def show(answer: Answer) -> None:
            self._loads |= {twin["id"]: reported(twin, name) for twin in answer.get("twins", ())}

        return show

    def _show(self, answer: Answer) -> None:
        there = self._panel.settle(answer)
        if not self._pools.settle(answer) or not there:
            return
        self.found = found = list(answer.body["slices"])
        self._table.fill([_row(one) for one in found])
        standing = {one["name"]: one.get("reserved_share", {}) for one in found if one["state"] == "standing"}
        names = [one["name"] for one in found]
        if names != self._names:
            self._names = names
            legend_of(self._legend, names)
        pools = dict.fromkeys(pool for shares in standing.values() for pool in shares)
        self._reserved.fill([self._pool(pool, standing) for pool in pools])
        if standing and not pools:
            self._pools.tell("Not for your token: what other slices hold is not yours to see.")
        self._pools.body.set_visibility(bool(pools))

    def _pool(self, pool: str, standing: Mapping[str, Mapping[str, float]]) -> Row:
        shares = {name: held.get(pool, 0.0) for name, held in standing.items()}
        used = self._loads.get(pool)
        free = max(1.0 - sum(shares.values()), 0.0)
        return Row(pool, [pool, stack(shares, self._names), share(free), meter("used", used)])


def _row(one: Mapping[str, Any]) -> Row:
    lived: Mapping[str, float] = one.get("lived", {})
    stands = one["state"] == "standing"
    code = f"SST {one['sst']}" + (f", SD {one['sd']}" if one.get("sd") else "")
    owner = f", {one['tenant']}" if one.get("tenant") else ""
    content = lived.get("satisfaction") if lived.get("users") else None
    waiting = len(one.get("orders", ()))
    admitted = state(("admitted", "good") if stands else ("free", "quiet"), f"{waiting} under way" if waiting else "")
    cells: list[Cell] = [
        twin_link("slice", one["name"], code + owner),
        admitted,
        number(lived.get("users")),
        meter("satisfaction", content, tone_of(content, 0.6, 0.8)),
        _rate(lived, one.get("target_bps")),
        _need(lived, "demand_bandwidth_hz", "reserved_bandwidth_hz", "Hz"),
        _need(lived, "demand_cycles_per_s", "reserved_cycles_per_s", "cycles/s"),
    ]
    return Row(one["name"], cells)


def _rate(lived: Mapping[str, float], target_bps: float | None) -> Cell:
    rate_bps, users = lived.get("rate_bps"), lived.get("users")
    each_bps = rate_bps / users if rate_bps is not None and users else None
    told: Cell = {"text": quantity(each_bps, "bit/s")}
    if target_bps is not None:
        told["sub"] = f"target {quantity(target_bps, 'bit/s')}"
        told["tone"] = "warn" if each_bps is not None and each_bps < target_bps else ""
    return told


def _need(lived: Mapping[str, float], demand: str, reserve: str, unit: str) -> Cell:
    needed, held = lived.get(demand), lived.get(reserve)
    if needed is None or held is None:
        return UNKNOWN
    whole = max(needed, held, 1e-9) * 1.1
    text = f"{quantity(needed, unit)} of {quantity(held, unit)}"
    return {"bar": needed / whole, "mark": held / whole, "text": text, "tone": "bad" if needed > held else "good"}


def _orders(visit: Visit, page: _Page) -> None:
    panel = Panel(
        "Orders of slices", "Each is judged by the twins before anything changes; a refusal names what would fit."
    )

    def ask() -> None:
        if page.found:
            _OrderForm(visit, page.found)

    with panel.tools:
        Guarded("Order …", ask, visit.caller.why_not("order_slices"))
    with panel:
        table = Table(
            "Orders of slices", _ORDERED, "Nobody has ordered a slice yet: twinloop slice create --help", cards=True
        )

    def show(answer: Answer) -> None:
        if panel.settle(answer):
            table.fill([_order(one) for one in answer.body["orders"] if not one["check"]])

    visit.watch(path_of("orders", limit=_ORDERS), show, _SLOW_S)


class _OrderForm:
    """A dialog: which slice, what it shall be promised; checked first, or ordered."""

    def __init__(self, visit: Visit, found: Sequence[Mapping[str, Any]]) -> None:
        self._visit = visit
        self._found = {str(one["name"]): one for one in found}
        first = next(iter(self._found))
        with ui.dialog() as self._dialog, ui.element("div").classes("tl-dialog"):
            self._dialog.props["aria-label"] = "Order a slice"
            heading("Order a slice")
            ui.label(
                "A free slice is created, one that stands is adjusted. To check asks the twins and changes nothing."
            ).classes("tl-note")
            self._name = ui.select([*self._found], value=first, label="Slice", on_change=self._fill).props("outlined")
            self._rate = ui.number("Rate of every user, Mbit/s", min=0, step=0.1).props("outlined")
            self._floor = ui.number("Its own share of every cell and server, %", min=0, max=100).props("outlined")
            self._said = ui.label("").classes("tl-notice").props("role=status")
            self._said.set_visibility(False)
            with ui.element("div").classes("tl-actions"):
                plain_button("Close", self._dialog.close).props("autofocus")
                self._check = plain_button("Check", lambda: self._ask(check=True))
                self._order = plain_button("Order", lambda: self._ask(check=False)).classes("primary")
        self._fill()
        self._dialog.on("hide", self._dialog.delete)
        self._dialog.open()

    def _fill(self) -> None:
        one = self._found[str(self._name.value)]
        target_bps, floor = one.get("target_bps"), one.get("floor_share")
        self._rate.set_value(None if target_bps is None else round(target_bps / bps_from_mbps(1.0), 3))
        self._floor.set_value(None if floor is None else round(floor / ratio_from_percent(1.0), 1))

    async def _ask(self, *, check: bool) -> None:
        name = str(self._name.value)
        stands = self._found[name]["state"] == "standing"
        promises = {
            "target_bps": None if self._rate.value is None else bps_from_mbps(float(self._rate.value)),
            "floor_share": None if self._floor.value is None else ratio_from_percent(float(self._floor.value)),
        }
        given = {key: value for key, value in promises.items() if value is not None}
        self._tell("The twins judge it …", "info")
        self._enable(False)
        if stands and not check:
            answer = await self._visit.send("PATCH", path_of("slices", name, wait_s=_WAIT_S), given)
        else:
            path = path_of("slices", "check", wait_s=_WAIT_S) if check else path_of("slices", wait_s=_WAIT_S)
            answer = await self._visit.send("POST", path, {"name": name, **given})
        self._enable(True)
        self._tell(*_answered(answer))

    def _enable(self, on: bool) -> None:
        self._check.set_enabled(on)
        self._order.set_enabled(on)

    def _tell(self, text: str, tone: str) -> None:
        self._said.set_text(text)
        shade(self._said, tone)
        self._said.set_visibility(True)


def _answered(answer: Answer) -> tuple[str, str]:
    if not answer.ok:
        return reason(answer)
    words, tone = ORDERS.get(answer.body["state"], (answer.body["state"], ""))
    why = answer.body.get("reason") or ""
    goes_on = " The answer will stand in the list of orders." if answer.body["state"] == "judging" else ""
    return f"{words[:1].upper()}{words[1:]}{': ' if why else ''}{why}.{goes_on}", tone


def _order(one: Mapping[str, Any]) -> Row:
    told = {"target_bps": ("target", "bit/s"), "floor_share": ("floor", "share"), "weight": ("weight", "1")}
    promised = [
        f"{name} {share(one['promises'][key]) if unit == 'share' else quantity(one['promises'][key], unit)}"
        for key, (name, unit) in told.items()
        if one["promises"].get(key) is not None
    ]
    offer = ""
    if one["state"] == "refused" and one["part"] > 0:
        offer = f"{share(one['part'])} of it would fit: {quantity(one['offer_bps'], 'bit/s')}"
    cells: list[Cell] = [
        {"at": one["made_s"]},
        f"{one['change']} {one['slice']}, by {one['by']}",
        state(ORDERS.get(one["state"], (one["state"], ""))),
        ", ".join(promised) or UNKNOWN,
        {"text": one["reason"] or UNKNOWN, "sub": offer},
    ]
    return Row(one["id"], cells)
