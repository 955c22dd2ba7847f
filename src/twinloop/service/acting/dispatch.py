"""Commands on their way to sites, and what sites say became of them. Nothing is in effect because it was sent."""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

from twinloop.entities import Action
from twinloop.network import Command
from twinloop.network.formats import Receipt
from twinloop.service.acting.orders import Orders
from twinloop.service.live import Picture

Mode = Literal["advise", "act", "halted"]
_NEVER = float("-inf")


@dataclass
class Site:
    """Where one site stands. `since_s` is when the present command was first wanted; times in epoch seconds."""

    name: str
    wanted: Command | None = None
    since_s: float = _NEVER
    fetched_revision: int = -1
    fetched_s: float = _NEVER
    receipt_revision: int = -1
    receipt_s: float = _NEVER
    result: str = ""
    detail: str = ""
    heard_s: float = _NEVER
    failures: int = 0
    waiters: list[Callable[[], None]] = field(default_factory=list[Callable[[], None]])

    @property
    def follows(self) -> bool:
        """Whether the site says that it does what is wanted now."""
        return self.wanted is not None and (self.receipt_revision, self.result) == (self.wanted.revision, "applied")

    def did(self, revision: int) -> bool:
        """Whether the site says that it does order `revision` or a later one, or that order asked nothing new of it."""
        if self.wanted is not None and self.wanted.revision < revision:
            return self.follows
        return self.result == "applied" and self.receipt_revision >= revision


class Dispatcher:
    """Keeps what every site shall do, hands it out when asked, and knows what the network as a whole follows.

    A site that has been silent for `silent_s` is not waited for. One that has a new command is taken to follow for
    `timeout_s`, after which it must have said so.
    """

    def __init__(
        self, orders: Orders, clock: Callable[[], float], timeout_s: float = 5.0, silent_s: float = 15.0
    ) -> None:
        self.sites = {name: Site(name) for name in orders.sites}
        self.timeout_s = timeout_s
        self.silent_s = silent_s
        self._orders = orders
        self._clock = clock
        self._asked = 0
        self._followed = 0
        self._lock = threading.Lock()

    def offer(self, action: Action, revision: int, picture: Picture, mode: Mode) -> None:
        """What the loop asks for in this slot. Halted, nothing new is wanted of anybody."""
        if mode == "halted":
            return
        now = self._clock()
        commands = self._orders.write(action, revision, picture, now, flows=mode == "act")
        awake: list[Callable[[], None]] = []
        with self._lock:
            self._asked = revision
            for name, command in commands.items():
                site = self.sites[name]
                if not command.same_as(site.wanted):
                    site.wanted, site.since_s = command, now
                    awake, site.waiters = awake + site.waiters, []
        for wake in awake:
            wake()

    def fetch(self, site: str, after: int, wake: Callable[[], None] | None = None) -> Command | None:
        """The command of a site if it is another than number `after`; else None, and `wake` is called once there is
        one. Raises KeyError for an unknown site.
        """
        with self._lock:
            found = self.sites[site]
            found.heard_s = self._clock()
            if found.wanted is not None and found.wanted.revision != after:
                found.fetched_revision, found.fetched_s = found.wanted.revision, self._clock()
                return found.wanted
            if wake is not None:
                found.waiters.append(wake)
            return None

    def leave(self, site: str, wake: Callable[[], None]) -> None:
        """Whoever waited for a command waits no more."""
        with self._lock:
            waiters = self.sites[site].waiters
            if wake in waiters:
                waiters.remove(wake)

    def take(self, site: str, receipts: Iterable[Receipt]) -> None:
        """What a site says became of commands; what is about an older one than it told of last is late news."""
        with self._lock:
            found = self.sites.get(site)
            if found is None:
                return
            found.heard_s = self._clock()
            for receipt in receipts:
                if receipt.revision >= found.receipt_revision:
                    found.receipt_revision, found.receipt_s = receipt.revision, self._clock()
                    found.failures += receipt.result != "applied" and receipt.result != found.result
                    found.result, found.detail = receipt.result, receipt.detail

    def receipt(self) -> int:
        """Number of the last order that every site that is there follows."""
        now = self._clock()
        with self._lock:
            there = [site for site in self.sites.values() if now - site.heard_s < self.silent_s]
            if there and all(site.follows or self._still_time(site, now) for site in there):
                self._followed = self._asked
            return self._followed

    def confirmed(self, revision: int) -> bool:
        """Whether every site that is there has said that it does what order `revision` asked of it."""
        now = self._clock()
        with self._lock:
            there = [site for site in self.sites.values() if now - site.heard_s < self.silent_s]
            return bool(there) and all(site.did(revision) for site in there)

    def _still_time(self, site: Site, now: float) -> bool:
        refused = site.wanted is not None and site.receipt_revision == site.wanted.revision
        return not refused and now - site.since_s < self.timeout_s
