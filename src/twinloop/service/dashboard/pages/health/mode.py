"""Who decides, and the kill switch."""

from collections.abc import Mapping
from typing import Any

from nicegui import ui

from twinloop.service.dashboard.asking import Answer
from twinloop.service.dashboard.visits import Visit
from twinloop.service.dashboard.widgets import Guarded, Panel, confirmed, shade, tell
from twinloop.service.dashboard.words import MODES, share


class Mode:
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
