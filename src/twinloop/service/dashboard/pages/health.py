"""Health: how long a slot takes, why the loop holds if it does, sites and receipts, queues, mode, kill switch."""

from collections.abc import Callable, Mapping
from typing import Any

from nicegui import ui
from starlette.requests import Request

from twinloop.service.dashboard.asking import Answer, path_of
from twinloop.service.dashboard.frame import framed
from twinloop.service.dashboard.visits import Visit
from twinloop.service.dashboard.widgets import (
    Cell,
    Column,
    Facts,
    Guarded,
    Panel,
    Row,
    Table,
    When,
    age,
    confirmed,
    shade,
    state,
    tell,
)
from twinloop.service.dashboard.words import MODES, SITES, UNKNOWN, duration, number, quantity, share

_PARTS = {
    "take": "take what arrived",
    "slot": "live the slot",
    "paint": "copy the picture",
    "act": "tell commands and listeners",
}
_SLOT_S = 1.0
_TIMES = [Column("Part of a slot"), Column("Took, of a second")]
_LINKS = [Column("Line"), Column("State"), Column("Counted"), Column("Fault")]
_COUNTS = ("received", "kept", "repeated", "refused")
_UP = frozenset({"connected", "up"})
_SITES = [
    Column("Site"),
    Column("State"),
    Column("Asked for work"),
    Column("Wanted order", "num"),
    Column("Answered order", "num"),
    Column("What it said"),
]


def show_health(visit: Visit, request: Request) -> None:
    """Builds the page."""
    del request
    with framed(visit, "/health", "Health", "What the server does now, whom it reaches, and who decides."):
        with ui.element("div").classes("tl-columns"):
            loop = _loop()
            mode = _Mode(visit)
        times, sites, links = _times(), _Sites(visit), _links()
    parts = (loop, mode.show, times, sites.show, links)

    def show(answer: Answer) -> None:
        for part in parts:
            part(answer)

    visit.watch("/system", show)
    visit.watch("/mode", mode.show_limits, 5.0)


def _loop() -> Any:
    panel = Panel("The loop")
    with panel:
        facts = Facts(
            {
                "slot": "Slot",
                "deciding": "Decides",
                "held": "Held",
                "users": "Users, room for",
                "order": "Order confirmed / asked",
                "intake": "Waiting to be kept",
                "backlog": "Waiting for a slot",
                "busy": "Turned away, busy",
                "scenario": "Scenario",
                "version": "Version",
            }
        )
        since = When()
        facts.add("Running since", since)

    def show(answer: Answer) -> None:
        if not panel.settle(answer):
            return
        body, intake = answer.body, answer.body["intake"]
        held = body["held"]
        facts.say("slot", number(body["slot"]) if body["slot"] >= 0 else "none yet")
        facts.say("deciding", "yes" if body["deciding"] and not held else "no", "" if body["deciding"] else "warn")
        facts.say("held", f"{held or 'no'} ({number(body['slots_held'])} slots in all)", "warn" if held else "")
        facts.say("users", f"{number(body['users'])} of {number(body['capacity'])}")
        facts.say("order", f"{_order(body['confirmed_revision'])} / {_order(body['requested_revision'])}")
        waiting = f"{number(intake['waiting_events'])} batches, {quantity(float(intake['waiting_bytes']), 'B')}"
        facts.say("intake", waiting)
        facts.say("backlog", f"{number(intake['backlog_events'])} batches")
        facts.say("busy", number(intake["refused_busy"]), "bad" if intake["refused_busy"] else "")
        facts.say("scenario", body["scenario"])
        facts.say("version", body["version"])
        since.set(body["since_s"])

    return show


def _order(revision: int | None) -> str:
    return UNKNOWN if revision is None else str(revision)


def _times() -> Any:
    panel = Panel("Time of the last slot", "A slot has one second; the decision must be ready within .8 s of it.")
    with panel:
        table = Table("Time of the last slot by part", _TIMES, "No slot was lived yet.")

    def show(answer: Answer) -> None:
        if panel.settle(answer):
            table.fill([_time(name, seconds) for name, seconds in answer.body["timing_s"].items()])

    return show


def _time(name: str, seconds: float) -> Row:
    part = seconds / _SLOT_S
    tone = "good" if part < 0.5 else "warn" if part < 0.8 else "bad"
    told = duration(seconds)
    return Row(name, [_PARTS.get(name, name), {"bar": part, "tone": tone, "text": told, "title": told}])


class _Sites:
    """Sites, what they say they do, and the way back for one that is not believed."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self._distrusted: list[str] = []
        note = "Nothing is in effect because it was sent: a site says so, then reports show it."
        self._panel = Panel("Sites and receipts", note)
        with self._panel:
            self._table = Table("Sites", _SITES, "The scenario names no sites.", cards=True)
            self._actions = ui.element("div").classes("tl-actions")

    def show(self, answer: Answer) -> None:
        """Shows where each site stands."""
        if not self._panel.settle(answer):
            return
        self._table.fill([_site(one) for one in answer.body["sites"]])
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
        age(one["heard_s"]),
        _order(one["wanted_revision"]),
        _order(receipt if receipt >= 0 else None),
        {"text": said or UNKNOWN, "sub": str(one.get("distrusted") or one.get("fault") or "")},
    ]
    return Row(one["site"], cells)


def _links() -> Any:
    panel = Panel("Lines to other systems")
    with panel:
        table = Table("Lines to other systems", _LINKS, "There are none.", cards=True)
    panel.card.set_visibility(False)

    def show(answer: Answer) -> None:
        links: Mapping[str, Mapping[str, Any]] = answer.get("links", {})
        panel.card.set_visibility(bool(links))
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


class _Mode:
    """Who decides, and the switch that stops everything new."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self._panel = Panel("Mode and kill switch")
        lacking, no_kill = visit.caller.why_not("mode"), visit.caller.why_not("kill")
        with self._panel:
            self._mode = ui.label("").classes("tl-pill")
            self._limits = ui.label("").classes("tl-note")
            with ui.element("div").classes("tl-actions"):
                self._advise = Guarded("Let people decide …", self._ask_advise, lacking)
                self._act = Guarded("Let the loop act …", self._ask_act, lacking)
            with ui.element("div").classes("tl-actions"):
                self._kill = Guarded("Kill switch …", self._ask_kill, no_kill, tone="danger")
                self._release = Guarded("Release the kill switch …", self._ask_release, no_kill)

    def show(self, answer: Answer) -> None:
        """Shows how decisions are taken now."""
        if not self._panel.settle(answer):
            return
        mode = answer.body["mode"]
        words, tone = MODES.get(mode, (mode, ""))
        self._mode.set_text(words)
        shade(self._mode, tone)
        halted = mode == "halted"
        first = "The kill switch is on; release it first." if halted else ""
        self._advise.allow(first or ("That is so already." if mode == "advise" else ""))
        self._act.allow(first or ("That is so already." if mode == "act" else ""))
        self._kill.display(not halted)
        self._release.display(halted)

    def show_limits(self, answer: Answer) -> None:
        """Shows what may be done without asking."""
        limits: Mapping[str, Any] | None = answer.get("limits")
        if limits is None:
            return
        zone = limits.get("timezone", "UTC")
        parts = [f"Automatic at most {share(limits['largest_change'])} of a cell or server in one window"]
        parts += [f"{slice_} keeps at least {share(least)}" for slice_, least in (limits.get("floors") or {}).items()]
        parts += [
            f"nothing from {one['from']} to {one['to']} {zone} ({', '.join(one['days'])})"
            for one in limits.get("blackout") or ()
        ]
        if "most_per_hour" in limits:
            parts.append(f"at most {limits['most_per_hour']} decisions an hour")
        said = f" It fell back to advise: {answer.body['said']}." if answer.get("said") else ""
        self._limits.set_text("; ".join(parts) + "." + said)

    def _ask_advise(self) -> None:
        self._ask(
            "Let people decide?", "From now on every decision waits for a person.", "PUT", "/mode", {"mode": "advise"}
        )

    def _ask_act(self) -> None:
        text = "From now on decisions inside the limits are sent to the network without asking anybody."
        self._ask("Let the loop act?", text, "PUT", "/mode", {"mode": "act"})

    def _ask_kill(self) -> None:
        text = "From now on nothing new is sent to anybody. Sites keep what they do. Mirroring goes on."
        self._ask("Stop everything new?", text, "PUT", "/kill", None, "danger")

    def _ask_release(self) -> None:
        self._ask("Release the kill switch?", "A person decides from then on.", "DELETE", "/kill", None)

    def _ask(
        self, title: str, text: str, method: str, path: str, body: dict[str, Any] | None, tone: str = "primary"
    ) -> None:
        async def act(_: str) -> None:
            answer = await self._visit.send(method, path, body)
            tell(answer, f"Now: {MODES.get(answer.get('mode', ''), ('', ''))[0]}")

        confirmed(title, text, act, verb=title.rstrip("?"), tone=tone)
