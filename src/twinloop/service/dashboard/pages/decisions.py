"""Decisions: the one that waits first, the evidence for it, consent or refusal, and what became of the others."""

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
    Facts,
    Guarded,
    Panel,
    Row,
    Table,
    confirmed,
    heading,
    legend_of,
    pill,
    shade,
    stack,
    state,
    tell,
)
from twinloop.service.dashboard.words import STATES, UNKNOWN, number, share

_SHOWN = 60
_WAITING = "waiting"
_LIST = [Column("Made"), Column("State")]
_POOLS = [
    Column("Cell or server"),
    Column("Stands", wide=True),
    Column("Proposed", wide=True),
    Column("What would change, in points", wide=True),
]
_CANDIDATES = [
    Column("Candidate"),
    Column("Score", "num"),
    Column("Worth, at most possible", "num"),
    Column("Safety"),
    Column(""),
]
_STEPS = [Column("State"), Column("By"), Column("When"), Column("Comment", wide=True)]
_EFFECT = [Column("Site"), Column("Effect"), Column("What later reports show", wide=True)]
_LEAST_SHOWN = 0.005
_SENT = frozenset({"adopted", "confirmed", "rolled_back", "failed"})


def show_decisions(visit: Visit, request: Request) -> None:
    """Builds the page; `?id=` names the decision that is looked at."""
    lead = "Every window the loop proposes reservations and tests them in the twins."
    with framed(visit, "/decisions", "Decisions", lead), ui.element("div").classes("tl-split"):
        _Page(visit, request.query_params.get("id"))


class _Page:
    def __init__(self, visit: Visit, chosen: str | None) -> None:
        self._visit = visit
        self._chosen = chosen
        self._list = Panel("All decisions", "Waiting first, then newest.")
        with self._list:
            self._table = Table(
                "Decisions", _LIST, "No decision yet. The first one is made about a minute after start."
            )
        self._detail = Panel("Decision")
        with self._detail:
            self._newer = ui.link("It is not the newest: another one waits. Look at that.", "/decisions")
            self._newer.classes("tl-link tl-newer").set_visibility(False)
            self._evidence = _Evidence(visit)
        visit.watch(path_of("decisions", limit=_SHOWN), self._show_list)
        self._one = visit.watch("" if chosen is None else path_of("decisions", chosen), self._show_one)

    def _show_list(self, answer: Answer) -> None:
        there = self._list.settle(answer)
        self._detail.card.set_visibility(there or self._chosen is not None)
        if not there:
            return
        found: list[dict[str, Any]] = sorted(answer.body["decisions"], key=lambda one: one["state"] != _WAITING)
        if self._chosen is None and found:
            self._chosen = found[0]["id"]
            self._one.turn(path_of("decisions", self._chosen))
        if not found:
            self._detail.tell("Nothing was decided yet.")
        waiting = [one["id"] for one in found if one["state"] == _WAITING]
        self._newer.set_visibility(bool(waiting) and self._chosen not in waiting)
        if waiting:
            self._newer.props["href"] = f"/decisions?id={waiting[0]}"
        self._table.fill([_line(one, one["id"] == self._chosen) for one in found])

    def _show_one(self, answer: Answer) -> None:
        if self._detail.settle(answer):
            self._evidence.show(answer.body)


def _line(decision: Mapping[str, Any], chosen: bool) -> Row:
    made: Cell = {"at": decision["made_s"], "href": f"/decisions?id={decision['id']}"}
    about = f"moves {share(decision['largest_change'])}" if decision.get("kind") != "slice" else "order of a slice"
    return Row(decision["id"], [made, state(_words(decision["state"]), about)], "picked" if chosen else "")


class _Evidence:
    """One decision in full."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self._shown: dict[str, Any] = {}
        with ui.element("div").classes("tl-title"):
            self._name = ui.label("").classes("tl-name")
            self._state = pill("")
        self._verdict = ui.label("").classes("tl-notice")
        self._why = ui.label("").classes("tl-note")
        self._actions = ui.element("div").classes("tl-actions")
        with self._actions:
            lacking = visit.caller.why_not("decide")
            Guarded("Approve …", self._ask_approve, lacking, tone="primary", silent=True)
            Guarded("Reject …", self._ask_reject, lacking)
        self._facts = Facts(
            {
                "proposed": "Score of the proposal",
                "standing": "Score of what stands",
                "change": "Moves at most",
                "by": "Decided by",
                "revision": "Order number",
                "satisfaction": "Satisfaction before, after",
            }
        )
        heading("Shares of slices, of each cell's bandwidth and each server's computing", 3)
        self._legend = ui.element("div").classes("tl-legend")
        self._same = ui.label("").classes("tl-note")
        self._pools = Table("Stands against proposed", _POOLS, "It moves nothing between slices.", cards=True)
        heading("Candidates, lived through in the twins", 3)
        self._candidates = Table("Candidates", _CANDIDATES, "No candidates were kept.", cards=True)
        heading("What happened", 3)
        self._steps = Table("What happened", _STEPS, "Nobody has decided yet.", cards=True)
        self._after = heading("What came of it", 3)
        self._effect = Table("What came of it", _EFFECT, "Not known yet.", cards=True)

    def show(self, one: dict[str, Any]) -> None:
        """Shows a decision; what did not change stays as it is."""
        if one == self._shown:
            return
        names = list(one.get("slices") or _names(one))
        if names != list(self._shown.get("slices") or _names(self._shown)):
            legend_of(self._legend, names)
        self._shown = one
        words, tone = _words(one["state"])
        self._name.set_text(one["id"])
        self._state.set_text(words)
        shade(self._state, tone)
        verdict = one.get("verdict") or ""
        self._verdict.set_text(f"Verdict of the twins: {verdict}." if verdict else "No verdict was written.")
        shade(self._verdict, "good" if one.get("code") == 0 else "warn")
        self._why.set_text(_sentence(one.get("why", "")))
        self._why.set_visibility(bool(one.get("why")))
        self._actions.set_visibility(one["state"] == _WAITING)
        self._say_facts(one)
        changing, same = _pools(one, names)
        self._pools.fill(changing)
        self._same.set_text(f"As they are: {', '.join(same)}." if same and changing else "")
        self._same.set_visibility(bool(self._same.text))
        self._candidates.fill(_candidates(one))
        effects = _effects(one.get("effect") or {})
        self._effect.fill(effects)
        for part in (self._after, self._effect):
            part.set_visibility(bool(effects) or one["state"] in _SENT)
        self._steps.fill(_steps(one.get("history", ())))

    def _say_facts(self, one: Mapping[str, Any]) -> None:
        before, after = one.get("satisfaction_before"), one.get("satisfaction_after")
        self._facts.say("proposed", number(one.get("score_proposed")))
        self._facts.say("standing", number(one.get("score_standing")))
        self._facts.say("change", share(one.get("largest_change")))
        self._facts.say("by", one.get("by") or "")
        self._facts.say("revision", "" if one.get("revision") is None else str(one["revision"]))
        told = "" if before is None else share(before) if after is None else f"{share(before)} → {share(after)}"
        self._facts.say("satisfaction", told)

    def _ask_approve(self) -> None:
        self._ask(
            "approve", "Approve this decision?", "It is checked once more and then asked of the network.", "primary"
        )

    def _ask_reject(self) -> None:
        self._ask("reject", "Reject this decision?", "What stands goes on; the next window proposes anew.", "danger")

    def _ask(self, verb: str, title: str, text: str, tone: str) -> None:
        name = self._shown["id"]

        async def act(comment: str) -> None:
            answer = await self._visit.send("POST", path_of("decisions", name, verb), {"comment": comment})
            became = answer.get("state", "")
            tell(answer, f"{verb.capitalize()}: {_words(became)[0]}", caution=became == "refused")
            if answer.ok:
                self.show(answer.body)

        moves = share(self._shown.get("largest_change"))
        text = f"{text} It moves at most {moves} of a cell or server between slices."
        confirmed(f"{title}", text, act, verb=verb.capitalize(), tone=tone, comment=True)


def _words(state_name: str) -> tuple[str, str]:
    return STATES.get(state_name, (state_name, ""))


def _names(one: Mapping[str, Any]) -> list[str]:
    pools = (one.get("standing") or {}) | (one.get("proposal") or {})
    return list(dict.fromkeys(name for shares in pools.values() for name in shares))


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def _pools(one: Mapping[str, Any], names: Sequence[str]) -> tuple[list[Row], list[str]]:
    """Cells and servers in which something would change, and the names of the others."""
    standing, proposal = one.get("standing") or {}, one.get("proposal") or {}
    changing: list[Row] = []
    same: list[str] = []
    for pool in dict.fromkeys([*standing, *proposal]):
        old, new = standing.get(pool, {}), proposal.get(pool, {})
        moved = {name: new.get(name, 0.0) - old.get(name, 0.0) for name in names}
        told = [_moved(name, by) for name, by in moved.items() if abs(by) >= _LEAST_SHOWN]
        if told:
            changing.append(Row(pool, [pool, stack(old, names), stack(new, names), ", ".join(told)]))
        else:
            same.append(pool)
    return changing, same


def _moved(name: str, by: float) -> str:
    sign = "+" if by > 0 else "\N{MINUS SIGN}"
    return f"{name}\N{NO-BREAK SPACE}{sign}{abs(by):.0%}".removesuffix("%")


def _candidates(one: Mapping[str, Any]) -> list[Row]:
    found: Sequence[Mapping[str, Any]] = one.get("proposals") or [
        {"candidate": "standing" if at == 0 else f"proposal {at}", "safety": told}
        for at, told in enumerate(one.get("safety", ()))
    ]
    rows: list[Row] = []
    for entry in found:
        safe = entry.get("safety", "")
        tone = "good" if safe == "safe" else "bad"
        best = state(("best proposal", "info")) if entry.get("best") else ""
        name = str(entry.get("candidate", ""))
        worth = "" if entry.get("worth") is None else f"{number(entry['worth'])} of {number(entry['worth_bound'])}"
        cells: list[Cell] = [name, number(entry.get("score")), worth or UNKNOWN, {"text": safe, "tone": tone}, best]
        rows.append(Row(name, cells))
    return rows


def _effects(effect: Mapping[str, Mapping[str, Any]]) -> list[Row]:
    rows: list[Row] = []
    for site, found in effect.items():
        says = str(found.get("says", UNKNOWN))
        tone = {"seen": "good", "not seen": "bad"}.get(says, "quiet")
        why = "; ".join(str(reason) for reason in found.get("why", ()))
        rows.append(Row(site, [site, state((says, tone)), why or UNKNOWN]))
    return rows


def _steps(history: Sequence[Mapping[str, Any]]) -> list[Row]:
    rows: list[Row] = []
    for at, step in enumerate(history):
        rows.append(
            Row(f"{at}", [state(_words(step["state"])), step["by"], {"at": step["time_s"]}, step["comment"] or UNKNOWN])
        )
    return rows
