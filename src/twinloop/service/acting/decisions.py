"""The decisions of a live loop: each is kept, waits for a person, or is taken at once inside limits; what the network
then does of it, or does not, is followed to its end. Several people may decide at once, and the kill switch be pressed
in between: every step is taken under one lock, and the loop is only touched on its own thread.
"""

import heapq
import json
import logging
import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from twinloop.decision import Appraisal
from twinloop.service.acting.dispatch import Fate, Mode
from twinloop.service.acting.effect import Aftermath, Held
from twinloop.service.acting.limits import HOUR_S
from twinloop.service.acting.ports import AuthorityPort, EffectsPort, Ground
from twinloop.service.acting.record import (
    FINAL,
    Decision,
    DecisionError,
    Shares,
    decision_of,
    held_by,
    holding,
    holds,
    on_a_line,
    written,
)
from twinloop.service.live import Picture
from twinloop.service.security import OrderedRecordsPort
from twinloop.validation import RESULTS, Approved, Verdict, first_approved

_log = logging.getLogger("twinloop.decisions")
COLLECTION = "decisions"
_ASKED = ("standing", "asked")
MOST_RECENT = 500
"""Decisions at hand; older ones are in the storage."""
_PAGE = 200
_MOST_LOOKED_AT = 5_000
"""Decisions that one page looks at; what is filtered may go on after them."""


@dataclass(frozen=True)
class Consent:
    """What a decision waits with. `check` is asked on the thread of who consents: why it can be no more, "" where it
    can; `act` is done on the loop's thread: why it was not done, and the number under which the network is asked, None
    where it is asked nothing. `ended` hears, on the thread of who decided, how it ended and why. `held` is what slices
    hold before and after it.
    """

    act: Callable[[], tuple[str, int | None]]
    check: Callable[[], str] = lambda: ""
    held: Held | None = None
    ended: Callable[[str, str], None] = lambda state, why: None


class Decisions:
    """The decisions of a live loop. `recent` has the last 500 by id. One of a window waits at most `longest_s`.

    `held` gives what sites said last that they hold. `recovered_slot` is the slot of the snapshot that the loop began
    with: what was asked for since is not in it.
    """

    def __init__(
        self,
        records: OrderedRecordsPort,
        clock: Callable[[], float],
        ground: Ground,
        authority: AuthorityPort,
        effects: EffectsPort,
        longest_s: float = math.inf,
        held: Callable[[Picture], Shares] = lambda picture: {},
    ) -> None:
        self.recovered_slot = math.inf
        self._longest_s = longest_s
        self._held = held
        self.recent: dict[str, Decision] = {}
        self._records = records
        self._clock = clock
        self._ground = ground
        self._authority = authority
        self._effects = effects
        self._consents: dict[str, Consent] = {}
        self._approving: dict[str, tuple[str, Consent]] = {}
        self._confirmed_standing: Approved | None = None
        self._resumed = False
        self._lock = threading.RLock()

    @property
    def mode(self) -> Mode:
        """How decisions are taken now."""
        return self._authority.mode

    @property
    def waiting(self) -> list[Decision]:
        """Decisions that wait for a person, oldest first."""
        with self._lock:
            return [self.recent[name] for name in self._consents]

    def remember(self) -> None:
        """Goes on from what was kept. A window's decision that nobody had taken when the server ended can be taken no
        more: the twins that it was judged in are gone. What was asked of the network: see `resume`.
        """
        with self._lock:
            for record in reversed(self._records.newest(COLLECTION, MOST_RECENT)):
                decision = decision_of(record.body)
                self.recent[decision.id] = decision
                if decision.state not in FINAL | {"adopted"} and decision.kind == "reservation":
                    self._move(decision, "expired", "server", "the server was started anew")
                    self._keep(decision)

    def resume(self, picture: Picture, revision: int) -> bool:
        """After every slot, on the loop's thread: whether the network may be asked for what the loop stands on.

        After a restart that is so once the loop stands on what was asked for last, which the snapshot may not have. A
        decision that was under way then is asked for on, under `revision`, and can be rolled back as before.
        """
        if self._resumed:
            return True
        with self._lock:
            record = self._records.get(*_ASKED)
            kept = None if record is None else json.loads(record.body)
            if kept is not None and self._lags(kept):
                return False
            self._resumed = True
            for decision in [one for one in self.recent.values() if one.state == "adopted"]:
                stands = self._ground.standing()
                if kept is None or kept["decision"] != decision.id or not holds(stands, kept["asked"]):
                    self._move(decision, "expired", "server", "the server was started anew, and something else stands")
                else:
                    self._move(decision, "adopted", "server", "the server was started anew; it is asked for on")
                    self._confirmed_standing = first_approved(holding(stands.action, kept["before"]))
                    decision.revision = revision
                    before, after = (np.asarray(kept[one]["slice_bandwidth_hz"]) for one in ("before", "asked"))
                    self.became(
                        self._effects.asked(
                            decision.id, Held(before, after, picture.cell_bandwidth_hz.astype(np.float64))
                        )
                    )
                self._keep(decision)
        return True

    def _lags(self, kept: Mapping[str, Any]) -> bool:
        """Whether the loop stands on less than was asked for last; if it can, it stands on that from the next slot."""
        decision = self.get(kept["decision"])
        undone = decision is not None and decision.state == "rolled_back"
        stands, wanted = self._ground.standing(), kept["before" if undone else "asked"]
        if kept["slot"] < self.recovered_slot or holds(stands, wanted):
            return False
        try:
            code = self._ground.stand_again(first_approved(holding(stands.action, wanted)))
        except DecisionError:
            return True
        self.recovered_slot = math.inf
        if code:
            _log.warning("decision %s was asked for last and is not safe now: %s", kept["decision"], RESULTS[code])
        return code == 0

    def decided(self, picture: Picture, verdict: Verdict, appraisals: Sequence[Appraisal] = ()) -> Decision:
        """A window's verdict is there: it is kept, waits for a person, or is taken at once. On the loop's thread."""
        now = self._clock()
        found = jax.device_get(verdict)
        decision = written(picture, found, appraisals, now, self.mode)
        with self._lock:
            self.supersede(f"decision {decision.id} is newer")
            if decision.state == "waiting":
                approved = verdict.approved
                consent = Consent(lambda: self._adopt(decision.id, approved), held=_held(picture, found))
                decision.why = self._why_not(decision, now, picture)
                if decision.why:
                    self._consents[decision.id] = consent
                else:
                    self._carry_out(decision, consent, "loop", "automatic, inside limits")
            self._keep(decision)
        return decision

    def ask(self, decision: Decision, consent: Consent) -> None:
        """Has a decision of another kind wait for a person."""
        with self._lock:
            decision.state = "waiting"
            self.recent[decision.id], self._consents[decision.id] = decision, consent
            self._keep(decision)

    def approve(self, name: str, by: str, comment: str = "") -> Decision:
        """A person consents. Raises DecisionError where it does not wait, or no longer, or everything is halted."""
        comment = on_a_line(comment)
        self._require(name)
        with self._lock:
            decision = self._find(name)
            self._require_running()
            consent = self._consents.pop(name)
            self._approving[name] = (by, consent)
            decision.state = "approving"
        try:
            why = consent.check()
            self._ground.run(lambda: self._approved(decision, consent, by, comment, why))
        finally:
            self._let_go(decision)
        consent.ended(decision.state, decision.why)
        return decision

    def reject(self, name: str, by: str, comment: str = "") -> Decision:
        """A person refuses. Raises DecisionError when it does not wait."""
        comment = on_a_line(comment)
        self._require(name)
        with self._lock:
            decision = self._find(name)
            consent = self._consents.pop(name)
            self._decide(decision, "rejected", by, comment)
            self._keep(decision)
        consent.ended("rejected", comment)
        return decision

    def supersede(self, why: str) -> None:
        """Decisions about reservations that wait, or that somebody is about to approve, are overtaken."""
        with self._lock:
            for name in [*self._consents, *self._approving]:
                if self.recent[name].kind == "reservation" and self.recent[name].state in ("waiting", "approving"):
                    self._consents.pop(name, None)
                    self._move(self.recent[name], "superseded", "loop", why)
                    self._keep(self.recent[name])

    def follow(
        self, fate: Callable[[int], Fate], withheld: Callable[[int], Sequence[str]] = lambda revision: ()
    ) -> bool:
        """What became of what was asked of the network, and from which silent sites it is withheld; on the loop's
        thread, after every slot. True where a decision was rolled back.
        """
        with self._lock:
            self._expire()
            for decision in [one for one in self.recent.values() if one.state == "adopted"]:
                found = fate(decision.revision or 0)
                self._note_withheld(decision, withheld(decision.revision or 0))
                if not self._follow(decision, found):
                    continue
                self._keep(decision)
                return decision.state == "rolled_back"
        return False

    def _follow(self, decision: Decision, found: Fate) -> bool:
        """Whether a decision came to its end."""
        try:
            if self.mode == "halted":
                self._roll_back(decision, "the kill switch was pressed before every site had confirmed it")
            elif found.state == "failed":
                self._roll_back(decision, found.why, "the last confirmed decision is asked for again; ")
            elif found.state == "confirmed":
                self._confirm(decision)
        except DecisionError as error:
            _log.warning("decision %s cannot be rolled back yet: %s", decision.id, error)
        return decision.state in FINAL

    def _note_withheld(self, decision: Decision, sites: Sequence[str]) -> None:
        if list(sites) == decision.withheld:
            return
        decision.withheld = list(sites)
        said = f"silent: the order of {', '.join(sites)} waits until cells and servers there are reported again"
        self._move(decision, decision.state, "server", said if sites else "no site is silent any more")
        self._keep(decision)

    def _expire(self) -> None:
        for decision in [self.recent[name] for name in self._consents]:
            if decision.kind == "reservation" and self._clock() - decision.made_s > self._longest_s:
                self._consents.pop(decision.id)
                self._move(decision, "expired", "server", "no newer window was decided since; the twins moved on")
                self._keep(decision)

    def postpone(self, revision: int) -> None:
        """Order `revision` asked for something else in place of a decision; the next one asks for it."""
        with self._lock:
            for decision in self.recent.values():
                if decision.state == "adopted" and decision.revision == revision:
                    decision.revision = revision + 1

    def became(self, news: Sequence[Aftermath]) -> None:
        """What later reports show."""
        with self._lock:
            for one in news:
                decision = self.recent.get(one.name)
                if decision is None:
                    continue
                if one.effect is not None:
                    decision.effect = one.effect
                if one.before is not None and one.after is not None:
                    decision.satisfaction_before, decision.slots_before = one.before
                    decision.satisfaction_after, decision.slots_after = one.after
                self._keep(decision)

    def get(self, name: str) -> Decision | None:
        """A decision, from the storage where it is not at hand; None where there is none."""
        found = self.recent.get(name)
        if found is None:
            record = self._records.get(COLLECTION, name)
            found = None if record is None else decision_of(record.body)
        return found

    def page(
        self, limit: int, *, state: str | None = None, kind: str | None = None, after: str | None = None
    ) -> tuple[list[Decision], str | None]:
        """Decisions, newest first, after the one named `after`; and the name to go on after, None at the end. Where
        many others lie between them a page may have few, or none.

        Raises DecisionError where there is no decision `after`.
        """
        last = None if after is None else self.get(after)
        if after is not None and last is None:
            raise DecisionError(f"there is no decision {after!r} to go on after; begin anew without it")
        found: list[Decision] = []
        for looked_at, one in enumerate(self._all_before(None if last is None else _order(last), state), 1):
            if (state is None or one.state == state) and (kind is None or one.kind == kind):
                found.append(one)
            if len(found) > limit:
                return found[:limit], found[limit - 1].id
            if looked_at == _MOST_LOOKED_AT:
                return found, one.id
        return found, None

    def _all_before(self, last: tuple[float, str] | None, state: str | None) -> Iterator[Decision]:
        """Decisions at hand, which are newer than what is stored of them, and all that is stored besides."""
        at_hand = dict(self.recent)
        here = sorted((one for one in at_hand.values() if last is None or _order(one) < last), key=_order, reverse=True)
        stored = (one for one in self._stored(last, state) if one.id not in at_hand)
        return heapq.merge(here, stored, key=_order, reverse=True)

    def _stored(self, before: tuple[float, str] | None, state: str | None) -> Iterator[Decision]:
        while True:
            records = self._records.newest(COLLECTION, _PAGE, state=state, before=before)
            page = [decision_of(record.body) for record in records]
            yield from page
            if len(page) < _PAGE:
                return
            before = _order(page[-1])

    def _approved(self, decision: Decision, consent: Consent, by: str, comment: str, why: str) -> None:
        """On the loop's thread: what a person consented to is done, if nothing came in between."""
        with self._lock:
            if decision.state != "approving":
                raise DecisionError(f"decision {decision.id} is {decision.state} by now: {decision.why}")
            self._require_running()
            self._carry_out(decision, consent, by, comment, why)
            self._keep(decision)

    def _carry_out(self, decision: Decision, consent: Consent, by: str, comment: str, why: str = "") -> None:
        revision: int | None = None
        if not why:
            why, revision = consent.act()
        if why:
            decision.why = why
            self._decide(decision, "refused", by, comment)
            return
        if revision is None:
            self._decide(decision, "applied", by, comment)
            return
        for earlier in [one for one in self.recent.values() if one.state == "adopted"]:
            self._move(earlier, "superseded", "loop", f"decision {decision.id} was taken before it was confirmed")
            self._keep(earlier)
        decision.revision, decision.why = revision, ""
        self._decide(decision, "adopted", by, comment)
        if consent.held is not None:
            self.became(self._effects.asked(decision.id, consent.held))

    def _adopt(self, name: str, approved: Approved) -> tuple[str, int | None]:
        before = self._ground.standing()
        code, revision = self._ground.adopt(approved)
        if code != 0:
            return RESULTS[code], None
        if self._confirmed_standing is None:
            self._confirmed_standing = before
        asked = {
            "decision": name,
            "slot": self._ground.slot,
            "asked": held_by(self._ground.standing()),
            "before": held_by(self._confirmed_standing),
        }
        self._records.later(*_ASKED, json.dumps(asked)).add_done_callback(_say_failure)
        return "", revision

    def _confirm(self, decision: Decision) -> None:
        self._confirmed_standing = None
        decision.confirmed_s = self._clock()
        self._move(decision, "confirmed", "network", "")
        self._effects.confirmed(decision.id)

    def _roll_back(self, decision: Decision, why: str, done: str = "") -> None:
        """What was confirmed last stands again if it is still safe, said with `done`; else what stands is held."""
        before = self._confirmed_standing
        code = 0 if before is None else self._ground.stand_again(before)
        self._confirmed_standing = None
        self._effects.dropped(decision.id)
        if code == 0:
            self._move(decision, "rolled_back", "network", f"{done}{why}")
        else:
            self._confirmed_standing = before
            said = f"{why}; could not be rolled back: {RESULTS[code]}; it stands until the next window"
            self._move(decision, "failed", "network", said)
        _log.warning("decision %s is %s: %s", decision.id, decision.state, decision.why)

    def _let_go(self, decision: Decision) -> None:
        """Whoever was approving is done; what was not carried out waits again."""
        with self._lock:
            _, consent = self._approving.pop(decision.id)
            if decision.state == "approving":
                decision.state = "waiting"
                self._consents[decision.id] = consent

    def _require_running(self) -> None:
        if self.mode == "halted":
            raise DecisionError("the kill switch is on: nothing is sent; release it first")

    def _require(self, name: str) -> None:
        """Looks in the storage, which takes its time, before anything is held up."""
        if self.get(name) is None:
            raise DecisionError(f"there is no decision {name!r}; see the list of decisions")

    def _find(self, name: str) -> Decision:
        if name in self._approving:
            raise DecisionError(f"decision {name} does not wait any more: {self._approving[name][0]} is approving it")
        decision = self.recent.get(name)
        if decision is None or name not in self._consents:
            state = "long decided" if decision is None else decision.state
            raise DecisionError(f"decision {name} does not wait for anybody: it is {state}")
        return decision

    def _why_not(self, decision: Decision, now_s: float, picture: Picture) -> str:
        """Why a decision is not automatic, "" where it is."""
        if self.mode == "advise":
            return "mode advise: a person decides"
        if self.mode == "halted":
            return "the kill switch is on"
        taken = [one for one in self.recent.values() if one.automatic and one.made_s > now_s - HOUR_S]
        limits = self._authority.limits
        return self._authority.blackout or limits.why_not(decision, len(taken), self._held(picture))

    def _decide(self, decision: Decision, state: str, by: str, comment: str) -> None:
        """Somebody decides: who, when and with what comment stays, whatever becomes of it."""
        self._move(decision, state, by, comment)
        decision.by, decision.comment, decision.decided_s = by, comment, decision.history[-1]["time_s"]

    def _move(self, decision: Decision, state: str, by: str, why: str) -> None:
        decision.state = state
        if why and by in ("loop", "network", "server") and state in FINAL:
            decision.why = why
        decision.history.append({"state": state, "by": by, "comment": why, "time_s": self._clock()})

    def _keep(self, decision: Decision) -> None:
        self.recent[decision.id] = decision
        over = max(len(self.recent) - MOST_RECENT, 0)
        for name in [one.id for one in self.recent.values() if one.state in FINAL][:over]:
            del self.recent[name]
        kept = self._records.later(COLLECTION, decision.id, decision.text(), state=decision.state, at_s=decision.made_s)
        kept.add_done_callback(_say_failure)


def _say_failure(done: "Future[Any]") -> None:
    error = done.exception()
    if error is not None:
        _log.error("a decision could not be kept: %s", error)


def _order(decision: Decision) -> tuple[float, str]:
    return decision.made_s, decision.id


def _held(picture: Picture, verdict: Verdict) -> Held:
    after = np.asarray(verdict.approved.action.slice_bandwidth_hz, np.float64)
    before, whole = picture.reserved_bandwidth_hz, picture.cell_bandwidth_hz
    return Held(before.astype(np.float64), after, whole.astype(np.float64))
