"""Every window's decision as a record: what was proposed, the verdict with its evidence, who consented, what became of
it. In `advise` a person decides; in `act` it is automatic inside limits; halted, nothing is.
"""

import json
import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np
from numpy.typing import NDArray

from twinloop.errors import TwinloopError
from twinloop.service.acting.dispatch import Mode
from twinloop.service.live import Picture
from twinloop.validation import RESULTS, Approved, Verdict

_log = logging.getLogger("twinloop.decisions")
_LEAST_CHANGE = 1e-3
MOST_RECENT = 500
"""Decisions at hand; older ones are in the storage."""

FINAL = frozenset({"kept", "rejected", "expired", "superseded", "refused", "confirmed", "rolled_back"})


class DecisionError(TwinloopError):
    """A decision is not there, or no longer waits for anybody."""


@runtime_checkable
class Kept(Protocol):
    """A decision as it is kept."""

    @property
    def body(self) -> str:
        """Its text, JSON."""
        ...


@runtime_checkable
class RecordsPort(Protocol):
    """Where decisions are kept."""

    def later(self, collection: str, key: str, body: str, *, state: str) -> "Future[Any]":
        """Keeps a document; the future is done once it is durable."""
        ...

    def newest(self, collection: str, limit: int) -> Sequence[Kept]:
        """Documents, newest first."""
        ...


@dataclass(frozen=True)
class Limits:
    """What may be done without asking anybody: at most `largest_change` of any cell's bandwidth or server's cycles may
    move between slices in one window, and nothing within `blackout` hours, [from, to) of UTC days.
    """

    largest_change: float = 0.25
    blackout: tuple[tuple[float, float], ...] = ()


@dataclass
class Decision:
    """One window's decision. `proposal` and `standing` map cell or server to slice to its share of the whole.

    `state`: kept (the standing decision was better), waiting (for a person), adopted (asked of the network), confirmed
    (the network follows), and the ends: rejected, refused (no longer safe), superseded, expired, rolled_back.
    """

    id: str
    made_s: float
    slot: int
    state: str
    mode: str
    verdict: str
    code: int
    score_proposed: float
    score_standing: float
    safety: list[str]
    largest_change: float
    proposal: dict[str, dict[str, float]]
    standing: dict[str, dict[str, float]]
    why: str = ""
    by: str = ""
    comment: str = ""
    decided_s: float | None = None
    revision: int | None = None
    confirmed_s: float | None = None
    satisfaction_before: float | None = None
    satisfaction_after: float | None = None
    history: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])


class Decisions:
    """The decisions of a live loop. `adopt` asks the loop, on its own thread, to stand on what was approved; it returns
    the code of `RESULTS` and the revision under which the network is asked.
    """

    def __init__(
        self,
        records: RecordsPort,
        clock: Callable[[], float],
        adopt: Callable[[Approved], tuple[int, int]],
        limits: Limits,
        mode: Mode,
    ) -> None:
        self.limits = limits
        self.mode: Mode = mode
        self.recent: dict[str, Decision] = {}
        self._records = records
        self._clock = clock
        self._adopt = adopt
        self._waiting: dict[str, Approved] = {}
        self._lock = threading.RLock()

    def decided(self, picture: Picture, verdict: Verdict) -> Decision:
        """A verdict is there: it is kept, waits for a person, or is adopted at once."""
        now = self._clock()
        decision = _written(picture, jax.device_get(verdict), now, self.mode)
        decision.satisfaction_before = satisfaction(picture)
        with self._lock:
            if decision.state == "waiting":
                self._supersede(decision.id)
                self._waiting[decision.id] = verdict.approved
                decision.why = self._why_not(decision, now)
                if not decision.why:
                    self._go(decision, by="loop", comment="automatic, inside limits")
            self._keep(decision)
        return decision

    def remember(self) -> None:
        """Goes on from what was kept. What waited for a person when the server ended waits no more: the twins that it
        was judged in are gone.
        """
        with self._lock:
            for record in reversed(self._records.newest("decisions", MOST_RECENT)):
                decision = Decision(**json.loads(record.body))
                self.recent[decision.id] = decision
                if decision.state not in FINAL:
                    self._move(decision, "expired", "server", "the server was started anew")
                    self._keep(decision)

    def approve(self, name: str, by: str, comment: str = "") -> Decision:
        """A person consents. Raises DecisionError when it does not wait, or everything is halted."""
        with self._lock:
            decision = self._find(name)
            if self.mode == "halted":
                raise DecisionError("the kill switch is on: nothing is sent; release it first")
            self._go(decision, by, comment)
            self._keep(decision)
            return decision

    def reject(self, name: str, by: str, comment: str = "") -> Decision:
        """A person refuses. Raises DecisionError when it does not wait."""
        with self._lock:
            decision = self._find(name)
            del self._waiting[name]
            self._move(decision, "rejected", by, comment)
            self._keep(decision)
            return decision

    def watch(self, picture: Picture, rolled_back: bool, confirmed: Callable[[int], bool]) -> None:
        """What became of adopted decisions: `confirmed` says whether the network does what a revision asked."""
        with self._lock:
            for decision in [one for one in self.recent.values() if one.state == "adopted"]:
                if rolled_back:
                    self._move(
                        decision, "rolled_back", "network", "the network did not follow; the last confirmed stands"
                    )
                elif decision.revision is not None and confirmed(decision.revision):
                    decision.confirmed_s = self._clock()
                    self._move(decision, "confirmed", "network", "")
                else:
                    continue
                decision.satisfaction_after = satisfaction(picture)
                self._keep(decision)

    def _find(self, name: str) -> Decision:
        decision = self.recent.get(name)
        if decision is None:
            raise DecisionError(f"there is no decision {name!r}; see the list of decisions")
        if name not in self._waiting:
            raise DecisionError(f"decision {name} does not wait for anybody: it is {decision.state}")
        return decision

    def _go(self, decision: Decision, by: str, comment: str) -> None:
        code, revision = self._adopt(self._waiting.pop(decision.id))
        if code != 0:
            decision.why = RESULTS[code]
            self._move(decision, "refused", by, f"no longer safe: {RESULTS[code]}")
            return
        decision.revision = revision
        self._move(decision, "adopted", by, comment)

    def _why_not(self, decision: Decision, now: float) -> str:
        """Why a decision is not automatic, "" where it is."""
        if self.mode == "advise":
            return "mode advise: a person decides"
        if self.mode == "halted":
            return "the kill switch is on"
        hour = (now / 3600.0) % 24.0
        for begin, end in self.limits.blackout:
            if begin <= hour < end or (begin > end and (hour >= begin or hour < end)):
                return f"blackout from {begin:g} to {end:g} h UTC: a person decides"
        if decision.largest_change > self.limits.largest_change:
            return (
                f"it moves {decision.largest_change:.0%} of a cell or server at once, more than the "
                f"{self.limits.largest_change:.0%} that may be moved without asking"
            )
        return ""

    def _supersede(self, by: str) -> None:
        for name in list(self._waiting):
            del self._waiting[name]
            self._move(self.recent[name], "superseded", "loop", f"decision {by} is newer")
            self._keep(self.recent[name])

    def _move(self, decision: Decision, state: str, by: str, comment: str) -> None:
        decision.state, decision.by, decision.comment, decision.decided_s = state, by, comment, self._clock()
        decision.history.append({"state": state, "by": by, "comment": comment, "time_s": decision.decided_s})

    def _keep(self, decision: Decision) -> None:
        self.recent[decision.id] = decision
        while len(self.recent) > MOST_RECENT:
            del self.recent[next(iter(self.recent))]
        text = json.dumps(asdict(decision))
        self._records.later("decisions", decision.id, text, state=decision.state).add_done_callback(_say_failure)


def _say_failure(done: "Future[Any]") -> None:
    error = done.exception()
    if error is not None:
        _log.error("a decision could not be kept: %s", error)


def satisfaction(picture: Picture) -> float | None:
    """Mean satisfaction of the slices' users, None where there are none."""
    slices = picture.slices
    names = [entry.name for entry in slices.attributes]
    users, satisfied = slices.value[:, names.index("users")], slices.value[:, names.index("satisfaction")]
    known = (slices.slot[:, names.index("satisfaction")] >= 0) & (users > 0)
    if not np.any(known):
        return None
    return float(np.average(satisfied[known], weights=users[known]))


def _written(picture: Picture, verdict: Verdict, now: float, mode: Mode) -> Decision:
    action = verdict.approved.action
    bandwidth = _shares(np.asarray(action.slice_bandwidth_hz), picture.cell_bandwidth_hz)
    cycles = _shares(np.asarray(action.slice_cycles_per_s), picture.server_cycles_per_s)
    before = (
        _shares(picture.reserved_bandwidth_hz, picture.cell_bandwidth_hz),
        _shares(picture.reserved_cycles_per_s, picture.server_cycles_per_s),
    )
    change = max(
        float(np.abs(new - old).max(initial=0.0)) for new, old in zip((bandwidth, cycles), before, strict=True)
    )
    changes = int(verdict.code) == 0 and int(verdict.approved.policy) >= 0 and change >= _LEAST_CHANGE
    same = int(verdict.code) == 0 and not changes
    moment = datetime.fromtimestamp(now, UTC)
    return Decision(
        id=f"{moment:%Y%m%dT%H%M%S}-{picture.slot}",
        made_s=now,
        slot=picture.slot,
        state="waiting" if changes else "kept",
        mode=mode,
        verdict=RESULTS[int(verdict.code)],
        code=int(verdict.code),
        score_proposed=float(verdict.score[1 + int(verdict.best)]),
        score_standing=float(verdict.score[0]),
        safety=[RESULTS[int(code)] if int(code) else "safe" for code in verdict.safety],
        largest_change=change,
        proposal=_by_name(picture, bandwidth, cycles),
        standing=_by_name(picture, *before),
        why="the proposal is what stands already" if same else "",
    )


def _shares(held: NDArray[np.float32], whole: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(held / np.maximum(whole, 1e-9)[:, None], np.float32)


def _by_name(
    picture: Picture, bandwidth: NDArray[np.float32], cycles: NDArray[np.float32]
) -> dict[str, dict[str, float]]:
    rows = [*zip(picture.cells.ids, bandwidth, strict=True), *zip(picture.servers.ids, cycles, strict=True)]
    return {
        pool: {name: round(float(share), 4) for name, share in zip(picture.slices.ids, shares, strict=True)}
        for pool, shares in rows
    }
