"""Commands on their way to sites, and what sites say became of them. Nothing is in effect because it was sent.

The states of a site and what leads from one to another are written down in docs/acting.md.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NamedTuple, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field

from twinloop.entities import Action
from twinloop.network import Command, SliceShare
from twinloop.service.acting.orders import Orders
from twinloop.service.live import Picture

Chosen = Literal["advise", "act"]
"""What a person chooses for decisions of the loop."""
Mode = Literal["advise", "act", "halted"]
_NEVER = float("-inf")
_MOST_UNANSWERED = 64
_log = logging.getLogger("twinloop.acting")


@runtime_checkable
class ReceiptLike(Protocol):
    """What a site says became of a command."""

    @property
    def revision(self) -> int:
        """Number of the command."""
        ...

    @property
    def result(self) -> str:
        """applied, refused or failed."""
        ...

    @property
    def detail(self) -> str:
        """Why, in a sentence."""
        ...


class Fate(NamedTuple):
    """What has become of an order: confirmed, waiting or failed, and at which sites it failed and why."""

    state: Literal["confirmed", "waiting", "failed"]
    why: str = ""


class Patience(BaseModel):
    """A command is asked for again after `timeout_s` without a receipt, `retries` times; a site that has not asked for
    commands for `silent_s` is away.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    timeout_s: Annotated[float, Field(gt=0)] = 5.0
    retries: Annotated[int, Field(ge=0, le=100)] = 1
    silent_s: Annotated[float, Field(gt=0)] = 15.0


@dataclass
class Site:
    """Where one site stands; times in epoch seconds.

    `wanted` is the newest command; its slices have been wanted unchanged since command number `slices_revision`.
    `unanswered` are numbers and times of commands since the last one that the site told of. `fault` is why it does not
    do what is wanted now, and `mute` whether that is because it says nothing. Whoever is set `aside` is not waited for
    until it does what is wanted; whoever is `distrusted` is not believed until a person says so. `pushed` sites get
    commands delivered and are there while that works. Its cells and servers were last measured at `reported_s`; it is
    `silent` where that is too long ago, and its order is then `withheld` if nothing may be asked of such sites; that
    order's slices are wanted since `withheld_revision`. It said last that it holds `held`.
    """

    name: str
    wanted: Command | None = None
    slices_revision: int = -1
    unanswered: list[tuple[int, float]] = field(default_factory=list[tuple[int, float]])
    issued_s: float = _NEVER
    failed: int = 0
    fetched_revision: int = -1
    fetched_s: float = _NEVER
    receipt_revision: int = -1
    receipt_s: float = _NEVER
    result: str = ""
    detail: str = ""
    heard_s: float = _NEVER
    fault: str = ""
    mute: bool = False
    aside: str = ""
    distrusted: str = ""
    pushed: bool = False
    reported_s: float = _NEVER
    silent: bool = False
    withheld: bool = False
    withheld_revision: int = -1
    held: list[SliceShare] = field(default_factory=list[SliceShare])
    waiters: list[Callable[[], None]] = field(default_factory=list[Callable[[], None]])

    @property
    def follows(self) -> bool:
        """Whether the site says that its slices hold what is wanted now."""
        return self.wanted is not None and self.result == "applied" and self.receipt_revision >= self.slices_revision


class Dispatcher:
    """Keeps what every site shall do, hands it out when asked, and knows what the network as a whole follows.

    `halting` is called when the kill switch is pressed, by whoever has what was handed out on its way. `begins_anew`
    holds until the first slot after a restart.
    """

    def __init__(self, orders: Orders, clock: Callable[[], float], patience: Patience | None = None) -> None:
        self.sites = {name: Site(name) for name in orders.sites}
        self.patience = patience or Patience()
        self.halted = False
        self.begins_anew = False
        self.halting: Callable[[], None] = lambda: None
        self._orders = orders
        self._clock = clock
        self._withholding = False
        self._asked = 0
        self._followed = 0
        self._lock = threading.Lock()

    def offer(self, action: Action, revision: int, picture: Picture, *, flows: bool) -> None:
        """What the loop asks for in this slot, under `revision`, with what each user gets or without; what was not
        answered in time is asked for again.
        """
        now = self._clock()
        commands = self._orders.write(action, revision, picture, now, flows=flows)
        awake: list[Callable[[], None]] = []
        with self._lock:
            self._asked = self._asked if self.halted else revision
            for name, command in commands.items():
                site = self.sites[name]
                self._review(site, now)
                if self._take_over(site, command, now) and self._may_ask(site):
                    awake, site.waiters = awake + site.waiters, []
        for wake in awake:
            wake()

    def mirrored(self, reported_s: Mapping[str, float], longest_s: Mapping[str, float], *, withhold: bool) -> None:
        """When each site's cells and servers were last measured, epoch seconds, and after how many seconds without it
        is silent. With `withhold` a silent site is handed nothing, and not waited for, until it is heard of again;
        what was withheld from it is not handed out before, whoever may ask of it then. After a restart
        (`begins_anew`) that is so of every silent site, for something may have been withheld from it before.
        """
        now = self._clock()
        awake: list[Callable[[], None]] = []
        with self._lock:
            self._withholding = withhold
            for site in self.sites.values():
                site.reported_s = reported_s[site.name]
                site.silent = now - site.reported_s > longest_s[site.name]
                if site.silent and (withhold or self.begins_anew):
                    site.withheld, site.withheld_revision = True, site.slices_revision
                elif site.withheld and (not site.silent or site.slices_revision != site.withheld_revision):
                    self._anew(site)
                    awake, site.waiters = awake + site.waiters, []
                    site.withheld = False
            self.begins_anew = False
        for wake in awake:
            wake()

    def held(self, picture: Picture) -> dict[str, dict[str, float]]:
        """What sites said last that they hold: cell or server, then slice, to its share of the whole. Nothing of sites
        that have not said so since the start.
        """
        whole = dict(zip(picture.cells.ids, picture.cell_bandwidth_hz.tolist(), strict=True))
        whole |= zip(picture.servers.ids, picture.server_cycles_per_s.tolist(), strict=True)
        found: dict[str, dict[str, float]] = {}
        with self._lock:
            for part in [part for site in self.sites.values() for part in site.held]:
                for pool, amount in (part.bandwidth_hz | part.cycles_per_s).items():
                    found.setdefault(pool, {})[part.slice] = amount / max(whole[pool], 1e-9)
        return found

    def withheld(self, revision: int) -> list[str]:
        """Sites that order `revision` has to wait for because they are silent."""
        with self._lock:
            return [site.name for site in self.sites.values() if site.withheld and site.slices_revision >= revision]

    def fetch(self, site: str, after: int, wake: Callable[[], None] | None = None) -> Command | None:
        """The command of a site if it is another than number `after`; else None, and `wake` is called once there is
        one. Whoever asks is there. Raises KeyError for an unknown site.
        """
        with self._lock:
            found = self.sites[site]
            self._heard(found)
            return self._handed(found, after, wake)

    def awaited(self, site: str, after: int, wake: Callable[[], None] | None = None) -> Command | None:
        """As `fetch`, by who delivers commands to the site: that says nothing about whether the site is there, which
        `reached` does.
        """
        with self._lock:
            return self._handed(self.sites[site], after, wake)

    def leave(self, site: str, wake: Callable[[], None]) -> None:
        """Whoever waited for a command waits no more."""
        with self._lock:
            waiters = self.sites[site].waiters
            if wake in waiters:
                waiters.remove(wake)

    def reached(self, site: str, reached: bool) -> None:
        """Whether commands that are delivered to a site reach it."""
        with self._lock:
            found = self.sites[site]
            found.pushed = reached
            if reached:
                self._heard(found)

    def take(self, site: str, receipts: Iterable[ReceiptLike]) -> None:
        """What a site says became of commands. What is about an older one than it told of last is late news; what is
        about one that was never handed to it says nothing.
        """
        with self._lock:
            found = self.sites.get(site)
            if found is None:
                return
            self._heard(found)
            for receipt in receipts:
                if found.receipt_revision <= receipt.revision <= found.fetched_revision:
                    self._told(found, receipt)

    def receipt(self) -> tuple[int, bool]:
        """Number of the last order whose slices every site that counts says to hold; and whether the loop should be
        patient: nobody has failed, so that what is missing may still come.
        """
        with self._lock:
            counted = self._counted()
            if counted and all(site.follows and not site.fault for site in counted):
                self._followed = self._asked
            return self._followed, not any(site.fault for site in counted)

    def fate(self, revision: int) -> Fate:
        """What has become of what order `revision` asked."""
        with self._lock:
            if self._asked < revision:
                return Fate("waiting", "it was not sent")
            counted = self._counted()
            faults = [f"{site.name}: {site.fault}" for site in counted if site.fault]
            if faults:
                return Fate("failed", "; ".join(faults))
            asked = [site for site in self.sites.values() if site.slices_revision >= revision]
            if not any(site in counted for site in asked or counted):
                return Fate("waiting", "no site that it is asked of is there with receipts that count")
            late = [site.name for site in counted if not site.follows]
            return Fate("waiting", f"no receipt of {', '.join(late)} yet") if late else Fate("confirmed")

    def set_aside(self) -> None:
        """Waits no longer for sites that do not do what is wanted, until they do."""
        with self._lock:
            for site in self._counted():
                if site.fault:
                    site.aside = site.fault
                    _log.warning("site %s is not waited for until it does what is wanted: %s", site.name, site.fault)

    def distrust(self, site: str, why: str) -> None:
        """Believes no receipt of a site any more; with an empty `why` it is trusted again. Raises KeyError."""
        with self._lock:
            self.sites[site].distrusted = why

    def halt(self) -> None:
        """From when this returns nothing new is handed out."""
        with self._lock:
            self.halted = True
        self.halting()

    def release(self) -> None:
        """Goes on; nobody is late for what could not be fetched."""
        awake: list[Callable[[], None]] = []
        with self._lock:
            self.halted = False
            for site in self.sites.values():
                self._anew(site)
                awake, site.waiters = awake + site.waiters, []
        for wake in awake:
            wake()

    def told(self) -> list[dict[str, Any]]:
        """All sites, for people."""
        with self._lock:
            return [
                {
                    "site": site.name,
                    "state": self._state(site),
                    "heard_s": site.heard_s if site.heard_s > 0 else None,
                    "reported_s": site.reported_s if site.reported_s > 0 else None,
                    "silent": site.silent,
                    "wanted_revision": None if site.wanted is None else site.wanted.revision,
                    "fetched_revision": site.fetched_revision,
                    "receipt_revision": site.receipt_revision,
                    "result": site.result,
                    "detail": site.detail,
                    "follows": site.follows,
                    "fault": site.fault or site.aside,
                    "distrusted": site.distrusted,
                    "webhook": site.pushed,
                }
                for site in self.sites.values()
            ]

    def _state(self, site: Site) -> str:
        if site.distrusted:
            return "distrusted"
        if not self._is_there(site):
            return "away"
        if site.withheld:
            return "silent"
        if site.aside or site.fault:
            return "aside" if site.aside else "failing"
        return "following" if site.follows else "idle" if site.wanted is None else "asked"

    def _is_there(self, site: Site) -> bool:
        return site.pushed or bool(site.waiters) or self._clock() - site.heard_s < self.patience.silent_s

    def _counted(self) -> list[Site]:
        there = [site for site in self.sites.values() if self._is_there(site) and not site.withheld]
        return [site for site in there if not site.aside and not site.distrusted]

    def _may_ask(self, site: Site) -> bool:
        return not self.halted and not site.withheld

    def _heard(self, site: Site) -> None:
        if not self._is_there(site):
            self._anew(site)
        site.heard_s = self._clock()

    def _anew(self, site: Site) -> None:
        """Gives a site its whole time again."""
        now = self._clock()
        site.issued_s = now
        site.unanswered = [(revision, now) for revision, _ in site.unanswered]

    def _handed(self, site: Site, after: int, wake: Callable[[], None] | None) -> Command | None:
        if site.wanted is not None and site.wanted.revision != after and self._may_ask(site):
            site.fetched_revision, site.fetched_s = site.wanted.revision, self._clock()
            return site.wanted
        if wake is not None:
            site.waiters.append(wake)
        return None

    def _take_over(self, site: Site, command: Command, now: float) -> bool:
        """Wants `command` of the site if it is news, or if it has to be asked for again; whether it is."""
        if not command.same_as(site.wanted):
            if site.wanted is None or command.slices != site.wanted.slices:
                self._other_slices(site, command.revision)
        elif not self._again(site, now):
            return False
        site.wanted, site.issued_s = command, now
        site.unanswered.append((command.revision, now))
        if len(site.unanswered) > _MOST_UNANSWERED:
            del site.unanswered[1]
        return True

    def _other_slices(self, site: Site, revision: int) -> None:
        """Other slices are wanted: who refused the last ones may do these; who says nothing is waited for no more."""
        site.slices_revision, site.failed = revision, 0
        if site.withheld and (self._withholding or site.wanted is None):
            site.withheld_revision = revision
        if site.mute:
            site.aside = site.aside or site.fault
        else:
            site.aside = ""
        site.fault = ""

    def _again(self, site: Site, now: float) -> bool:
        if site.fault or site.aside or not self._may_ask(site) or not self._is_there(site):
            return False
        if site.result == "failed" and site.wanted is not None and site.receipt_revision == site.wanted.revision:
            return True
        return bool(site.unanswered) and now - site.issued_s >= self.patience.timeout_s

    def _review(self, site: Site, now: float) -> None:
        """Finds the site at fault where it had all its time and said nothing."""
        asked = self.patience.retries + 1
        if not site.unanswered or site.fault or site.aside or not self._may_ask(site) or not self._is_there(site):
            return
        if now - site.unanswered[0][1] >= self.patience.timeout_s * asked:
            took = "fetched it and" if site.fetched_revision >= site.unanswered[0][0] else "did not fetch it, and"
            site.fault = (
                f"it {took} said nothing for {self.patience.timeout_s * asked:g} s, though asked {asked} time(s)"
            )
            site.mute = True

    def _told(self, site: Site, receipt: ReceiptLike) -> None:
        repeated = (receipt.revision, receipt.result) == (site.receipt_revision, site.result)
        site.receipt_revision, site.receipt_s = receipt.revision, self._clock()
        site.result, site.detail = receipt.result, receipt.detail
        site.unanswered = [entry for entry in site.unanswered if entry[0] > receipt.revision]
        if receipt.revision < site.slices_revision:
            return
        if receipt.result == "applied":
            site.held = [] if site.wanted is None else site.wanted.slices
            site.fault, site.aside, site.mute, site.failed = "", "", False, 0
            return
        site.failed += not repeated
        if receipt.result == "refused" or site.failed > self.patience.retries:
            site.fault = f"{receipt.result}: {receipt.detail}" if receipt.detail else receipt.result
            site.mute = False
