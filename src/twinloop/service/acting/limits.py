"""What may be done without asking anybody: the mode, the limits of what is automatic, and the kill switch; all of it
outlives a restart, and the kill switch waits for nobody.
"""

import json
import logging
import threading
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, Protocol, runtime_checkable
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, field_validator

from twinloop.errors import StorageError, TwinloopError
from twinloop.service.acting.dispatch import Chosen, Mode
from twinloop.service.acting.record import Decision, DecisionError
from twinloop.service.security import RecordsPort

_log = logging.getLogger("twinloop.acting")
COLLECTION, KEY = "acting", "authority"
EVERY_SLICE = "*"
HOUR_S = 3600.0
_ROUNDED = 1e-3
"""Shares of decisions and amounts of commands are rounded, so that they differ by less than this."""
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
_Clock = Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]


class Blackout(BaseModel):
    """From one time of day to another, on `days`, nothing is automatic. One that begins later than it ends goes over
    midnight and belongs to the day on which it begins.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)
    begin: Annotated[_Clock, Field(alias="from")]
    end: Annotated[_Clock, Field(alias="to")]
    days: Annotated[tuple[Day, ...], Field(min_length=1, max_length=7)] = DAYS

    def holds(self, moment: datetime) -> bool:
        """Whether a moment of local time lies within."""
        begin, end, now = (_minutes(text) for text in (self.begin, self.end, f"{moment:%H:%M}"))
        today = DAYS[moment.weekday()] in self.days
        yesterday = DAYS[moment.weekday() - 1] in self.days
        if begin < end:
            return today and begin <= now < end
        return (today and now >= begin) or (yesterday and now < end)


class Limits(BaseModel):
    """What may be done without asking anybody.

    At most `largest_change` of any cell's bandwidth or server's cycles moves to or from a slice in one window; no slice
    that stands is left less of any cell or server than its share in `floors` (by name, `*` for every slice); nothing
    happens in a `blackout`, in hours of `timezone`; and at most `most_per_hour` decisions are automatic in any hour.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    largest_change: Share = 0.25
    floors: Annotated[dict[Annotated[str, Field(max_length=128)], Share], Field(max_length=256)] = {}
    blackout: Annotated[tuple[Blackout, ...], Field(max_length=64)] = ()
    timezone: Annotated[str, Field(max_length=64)] = "UTC"
    most_per_hour: Annotated[int, Field(ge=0, le=3600)] = 60

    @field_validator("timezone")
    @classmethod
    def _known(cls, name: str) -> str:
        zone_of(name)
        return name

    def require_known(self, slices: Collection[str]) -> None:
        """Raises TwinloopError for a floor of a slice that there is not."""
        unknown = sorted(set(self.floors) - set(slices) - {EVERY_SLICE})
        if unknown:
            raise TwinloopError(
                f"floors: no slice {', '.join(unknown)}; there are {', '.join(slices)}, and {EVERY_SLICE} for all"
            )

    def told(self) -> dict[str, Any]:
        """As it is written on the wire and in files."""
        return self.model_dump(mode="json", by_alias=True)

    def why_not(self, decision: Decision, automatic: int, held: Mapping[str, Mapping[str, float]]) -> str:
        """Why a decision is not automatic, "" where it is.

        `automatic`: how many were in the last hour. `held`: what sites confirmed last, by cell or server, then
        slice, as share of the whole: where orders have not arrived, more changes at once than in the window alone.
        """
        bound = f"at once, more than the {self.largest_change:.0%} that may be moved without asking"
        if decision.largest_change > self.largest_change:
            return f"it moves {decision.largest_change:.0%} of a cell or server {bound}"
        for pool, shares in decision.proposal.items():
            there = held.get(pool, {})
            moved = max((abs(share - there.get(name, share)) for name, share in shares.items()), default=0.0)
            if moved > self.largest_change + _ROUNDED:
                return f"with orders that have not arrived it moves {moved:.0%} of {pool} {bound}"
        if automatic >= self.most_per_hour:
            return f"{automatic} decisions were automatic in the last hour, and {self.most_per_hour} may be"
        return self._below_floor(decision)

    def blackout_at(self, now_s: float) -> str:
        """The blackout that a time (epoch seconds) falls into, "" where none."""
        moment = datetime.fromtimestamp(now_s, zone_of(self.timezone))
        for one in self.blackout:
            if one.holds(moment):
                return f"blackout from {one.begin} to {one.end} ({self.timezone}): a person decides"
        return ""

    def _below_floor(self, decision: Decision) -> str:
        least = {name: self.floors.get(name, self.floors.get(EVERY_SLICE, 0.0)) for name in decision.standing_slices}
        for pool, shares in decision.proposal.items():
            for name, floor in least.items():
                if shares.get(name, 0.0) < floor - 1e-4:
                    return f"it leaves {name} {shares.get(name, 0.0):.1%} of {pool}, less than its floor of {floor:.1%}"
        return ""


@runtime_checkable
class Switch(Protocol):
    """What stops and goes on with the kill switch."""

    def halt(self) -> None:
        """From when this returns nothing new is handed out."""
        ...

    def release(self) -> None:
        """Goes on."""
        ...


class Authority:
    """Mode, limits and kill switch of one server.

    Limits that were changed at run time outlive a restart, and so does that a person decides, until the server is
    started with other settings than it was when they were changed: then those count. That the loop acts does not: a
    server that is started to advise advises. One that was halted starts halted whatever it is started with.

    `wall` is the machine's clock, epoch seconds, for the hours of blackouts: `clock` does not follow when it is set.
    """

    def __init__(
        self,
        records: RecordsPort,
        clock: Callable[[], float],
        configured: tuple[Chosen, Limits],
        switch: Switch,
        wall: Callable[[], float] | None = None,
    ) -> None:
        self._records = records
        self._clock = clock
        self._wall = wall or clock
        self._switch = switch
        self._configured = {"mode": configured[0], "limits": configured[1].told()}
        self._mode: Chosen = configured[0]
        self._limits = configured[1]
        self._halted = False
        self._halts = 0
        self.said = ""
        self._changing = threading.Lock()
        self._switching = threading.Lock()
        self._remember()

    @property
    def mode(self) -> Mode:
        """How decisions are taken now."""
        return "halted" if self._halted else self._mode

    @property
    def limits(self) -> Limits:
        """Limits of what is automatic."""
        return self._limits

    @property
    def acts(self) -> bool:
        """Whether anything is done now without asking: in mode act, and in no blackout."""
        return self.mode == "act" and not self.blackout

    @property
    def blackout(self) -> str:
        """The blackout that is now by either clock, "" where none: while they differ, which is right is not known."""
        return self._limits.blackout_at(self._wall()) or self._limits.blackout_at(self._clock())

    def set_mode(self, mode: Chosen) -> None:
        """Changes the mode; durable when this returns. Raises DecisionError while the kill switch is on."""
        with self._changing:
            if self._halted:
                raise DecisionError("the kill switch is on; release it with DELETE /kill")
            self._keep(mode=mode)
            self._mode, self.said = mode, ""

    def fall_back(self, why: str) -> None:
        """From now on a person decides, because of `why`; kept beside operation."""
        if self._mode != "act":
            return
        self._mode, self.said = "advise", why
        _log.warning("mode falls back to advise: %s", why)
        threading.Thread(target=self._keep_later, name="authority", daemon=True).start()

    def set_limits(self, limits: Limits) -> None:
        """Changes the limits; durable when this returns."""
        with self._changing:
            self._keep(limits=limits)
            self._limits = limits

    def halt(self) -> None:
        """The kill switch: when this returns, at once, nothing new is handed out to anybody. `keep_halt` comes next."""
        with self._switching:
            self._halts += 1
            self._halted = True
            self._switch.halt()
        _log.warning("the kill switch is on")

    def keep_halt(self) -> str:
        """Keeps for a restart that the kill switch is on; why it could not be kept, "" where it could."""
        try:
            with self._changing:
                self._keep()
        except StorageError as error:
            _log.error("the kill switch could not be kept for a restart: %s", error)
            return str(error)
        return ""

    def release(self) -> None:
        """Releases the kill switch; a person decides from then on. Changes nothing where it is not on. Raises
        DecisionError where it was pressed again meanwhile.
        """
        with self._changing:
            if not self._halted:
                return
            halts = self._halts
            self._keep(mode="advise", halted=False)
            with self._switching:
                if halts != self._halts:
                    raise DecisionError("the kill switch was pressed again meanwhile; it stays on")
                self._mode, self._halted = "advise", False
                self._switch.release()

    def _keep_later(self) -> None:
        try:
            with self._changing:
                self._keep()
        except StorageError as error:
            _log.error("the mode could not be kept for a restart: %s", error)

    def _keep(self, mode: Chosen | None = None, limits: Limits | None = None, halted: bool | None = None) -> None:
        told = {
            "mode": self._mode if mode is None else mode,
            "limits": (self._limits if limits is None else limits).told(),
            "halted": self._halted if halted is None else halted,
            "configured": self._configured,
            "changed_s": self._clock(),
        }
        self._records.put(COLLECTION, KEY, json.dumps(told))

    def _remember(self) -> None:
        record = self._records.get(COLLECTION, KEY)
        if record is None:
            return
        kept = json.loads(record.body)
        if kept["mode"] == "advise" and kept["configured"]["mode"] == self._mode == "act":
            self._mode, self.said = "advise", "a person decided when the server ended, and does until mode act is set"
            _log.warning("mode advise, not act: %s", self.said)
        elif kept["mode"] == "act" and self._mode == "advise":
            _log.warning("the loop acted when the server ended; it is started to advise")
        if kept["configured"]["limits"] == self._configured["limits"]:
            self._limits = Limits.model_validate(kept["limits"])
        if kept["halted"]:
            self._halted = True
            self._switch.halt()
            _log.warning("the kill switch was on when the server ended, and still is")


def zone_of(name: str) -> ZoneInfo:
    """A time zone by its name in the IANA database. Raises ValueError, which names it, where there is none."""
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        raise ValueError(f"no time zone {name!r}; give one such as UTC or Europe/Berlin") from None


def _minutes(text: str) -> int:
    hours, minutes = text.split(":")
    return 60 * int(hours) + int(minutes)
