"""All that acts, wired together: what the loop asks goes out, what sites say comes in, what became of it is told."""

import json
import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import TimeoutError as LateError
from dataclasses import dataclass, field
from typing import Any, TypeVar

import jax
from jaxtyping import PRNGKeyArray

from twinloop.decision import Appraisal
from twinloop.loop import Loop, LoopState
from twinloop.network.formats import Receipt
from twinloop.runs import admission
from twinloop.scenario import SLOT_S, Scenario
from twinloop.service.acting.decisions import COLLECTION as DECISIONS
from twinloop.service.acting.decisions import Decisions
from twinloop.service.acting.dispatch import Chosen, Dispatcher, Patience
from twinloop.service.acting.effect import Aftermath, Effects, Efficiency, capacity_bps
from twinloop.service.acting.limits import Authority, Limits
from twinloop.service.acting.orders import Orders, sites_of
from twinloop.service.acting.record import DecisionError
from twinloop.service.acting.slices import ORDERS, Slices
from twinloop.service.acting.webhooks import Webhooks
from twinloop.service.intake import BusyError
from twinloop.service.live import Picture, Runner, Slot
from twinloop.service.records import Records
from twinloop.service.security import Grants, WebhookSettings, WebhookTargets
from twinloop.slicing import SliceTable
from twinloop.validation import Admission, Approved, Verdict

_log = logging.getLogger("twinloop.acting")
ENDLESS = (DECISIONS, ORDERS)
"""Collections of records that grow as long as a server runs."""
_ROLLED_BACK = 2
_TRUST = "trust"
_BEGUN = ("acting", "begun")
_LONGEST_WAIT_S = 30.0
_ORDER_SALT = 29
TRAVEL_S = 3.0
"""So long a report may be under way; *ours*."""
MOST_UNSEEN = 2
"""So many decisions in a row whose effect later reports do not show, and a site is distrusted."""
Result = TypeVar("Result")


@dataclass(frozen=True)
class ActingSettings:
    """How a server acts."""

    mode: Chosen = "advise"
    limits: Limits = field(default_factory=Limits)
    patience: Patience = field(default_factory=Patience)
    webhooks: WebhookSettings = field(default_factory=WebhookSettings)


class LoopGround:
    """The live loop as decisions and slices touch it; whatever does is done on its own thread. `moved` is told when the
    loop stands on something else.
    """

    def __init__(self, runner: Runner, moved: Callable[[], None] = lambda: None) -> None:
        self._runner = runner
        self._moved = moved

    def run(self, job: Callable[[], Result]) -> Result:
        """Does `job` between two slots. Raises DecisionError where the loop does not come to it within 30 s."""
        if threading.current_thread().name == "runner":
            return job()
        future = self._runner.ask(job)
        try:
            return future.result(timeout=_LONGEST_WAIT_S)
        except LateError:
            if future.cancel():
                raise DecisionError("the loop is busy and did not come to it; try again") from None
            return future.result()

    def adopt(self, approved: Approved) -> tuple[int, int]:
        """See `ports.Ground`."""
        runner = self._runner
        if runner.deciding is not None and runner.distrust:
            raise DecisionError(f"the twins are not trusted now: {runner.distrust}; try again when reports come")
        return self.stand_again(approved), int(runner.state.pending.revision) + 1

    def standing(self) -> Approved:
        """See `ports.Ground`."""
        return self._runner.stands_on

    @property
    def slot(self) -> int:
        """See `ports.Ground`."""
        return self._runner.slot

    def stand_again(self, before: Approved) -> int:
        """See `ports.Ground`. Raises DecisionError where nothing could be decided yet."""
        runner = self._runner
        if runner.deciding is None:
            raise DecisionError("what decides is still being compiled; try again in a minute")
        code = runner.stand_on(runner.deciding, before)
        if code == 0:
            self._moved()
        return code

    def now(self) -> tuple[Loop[Any], LoopState]:
        """See `slices.order.Ground`."""
        return self._runner.loop, self._runner.state

    def change_slices(self, table: SliceTable) -> None:
        """See `slices.order.Ground`."""
        self._runner.change_slices(table)
        self._moved()


class Acting:
    """Dispatcher, decisions, slices, effects, webhooks and the authority over them, of one server.

    `quiet_s` tells how long in s a site that keeps its plan may say nothing of its cells and servers.
    """

    def __init__(
        self,
        scenario: Scenario,
        runner: Runner,
        records: Records,
        grants: Grants,
        clock: Callable[[], float],
        settings: ActingSettings,
        wall: Callable[[], float] | None = None,
    ) -> None:
        settings.limits.require_known([entry.name for entry in scenario.slices])
        ground = LoopGround(runner, self._moved)
        self.orders = Orders(scenario)
        self.dispatcher = Dispatcher(self.orders, clock, settings.patience)
        self.authority = Authority(records, clock, (settings.mode, settings.limits), self.dispatcher, wall)
        self.effects = Effects(_cells_of(scenario), round(scenario.window / SLOT_S))
        longest_s, held = 2 * scenario.window, self.dispatcher.held
        self.decisions = Decisions(records, clock, ground, self.authority, self.effects, longest_s, held)
        judge = _Judge(scenario)
        self.slices = Slices(scenario, records, clock, ground, judge, grants, self.authority, self.decisions)
        self.webhooks = Webhooks(self.dispatcher, records, WebhookTargets(settings.webhooks), clock)
        self.moved = False
        self.quiet_s: Callable[[str], float] = lambda site: 0.0
        self._begun = self.dispatcher.begins_anew = records.get(*_BEGUN) is not None
        self._scenario = scenario
        self._runner = runner
        self._records = records
        self._unseen: dict[str, int] = {}
        self.decisions.remember()
        self.slices.remember()
        self._remember_trust()

    def prepare(self) -> None:
        """Once the loop is built and before it lives: it stands on the slices that stood when the server ended."""
        runner = self._runner
        runner.change_slices(self.slices.restored(runner.loop.slices))
        self.effects.efficiency = Efficiency(runner.loop.abstractor.params.radio)

    def start(self) -> None:
        """Begins to deliver commands."""
        self.webhooks.start()

    def stop(self) -> None:
        """Ends."""
        self.webhooks.stop()
        self.slices.close()

    def receipts(self, source: str, receipts: Sequence[Receipt]) -> None:
        """What a source says became of commands; only a site itself is heard."""
        self.dispatcher.take(source, receipts)

    def lived(self, slot: Slot) -> None:
        """After every slot, on the loop's thread: commands go out, and what became of earlier ones is drawn up.

        Nothing is asked of a network before something was decided, nor after a restart before that stands again. In a
        slot that did not decide, and where nothing is done without asking, users and their flows are left to the sites.
        """
        stale_s, reported_s = self._runner.pace.stale_s, self.orders.reported_s(slot.picture)
        silent_s = {site: max(stale_s, self.quiet_s(site) + TRAVEL_S) for site in reported_s}
        self.dispatcher.mirrored(reported_s, silent_s, withhold=self.authority.mode == "act")
        if self.decisions.resume(slot.picture, slot.revision) and self._begun:
            flows = self.authority.acts and not slot.held
            self.dispatcher.offer(slot.order, slot.revision, slot.picture, flows=flows)
        if int(self._runner.state.pending.effect) == _ROLLED_BACK:
            self.decisions.postpone(slot.revision)
        self.effects.note(slot.picture, self._runner.members.user_group)
        if not self.decisions.follow(self.dispatcher.fate, self.dispatcher.withheld):
            self.dispatcher.set_aside()
        news = self.effects.news()
        self.decisions.became(news)
        self._trust(news)

    def decided(self, picture: Picture, verdict: Verdict, appraisals: tuple[Appraisal, ...]) -> None:
        """A window's verdict is there."""
        self.decisions.decided(picture, verdict, appraisals)

    def capacity_bps(self) -> float:
        """What the network carries now, for orders that are given as throughput. Raises BusyError before the first
        slot.
        """
        picture, efficiency = self._runner.picture, self.effects.efficiency
        if picture is None or efficiency is None:
            raise BusyError("no slot has been lived yet", 2.0)
        return capacity_bps(picture, efficiency)

    def trust(self, site: str) -> None:
        """A person says that a site is to be believed again. Raises KeyError for an unknown site."""
        self.dispatcher.distrust(site, "")
        self._unseen[site] = 0
        self._keep_trust(site, "")

    def _moved(self) -> None:
        """The loop stands on something else than before."""
        self.moved = True
        if not self._begun:
            self._begun = True
            self._records.later(*_BEGUN, "{}").add_done_callback(_say_failure)

    def _trust(self, news: Sequence[Aftermath]) -> None:
        for name, told in [(name, told) for one in news for name, told in (one.effect or {}).items()]:
            if told["says"] == "seen":
                self._unseen[name] = 0
            elif told["says"] == "not seen" and self.dispatcher.sites[name].follows:
                self._unseen[name] = self._unseen.get(name, 0) + 1
                _log.warning("site %s: the effect of what it confirmed is not seen: %s", name, "; ".join(told["why"]))
                if self._unseen[name] >= MOST_UNSEEN and not self.dispatcher.sites[name].distrusted:
                    self._distrust(name)

    def _distrust(self, site: str) -> None:
        why = (
            f"it confirmed {self._unseen[site]} decisions in a row whose effect later reports do not show; its "
            "receipts do not count until a person trusts it again"
        )
        self.dispatcher.distrust(site, why)
        self._keep_trust(site, why)
        self.authority.fall_back(f"site {site} is distrusted: {why}")
        _log.error("site %s is distrusted: %s", site, why)

    def _keep_trust(self, site: str, why: str) -> None:
        self._records.later(_TRUST, site, json.dumps({"distrusted": why})).add_done_callback(_say_failure)

    def _remember_trust(self) -> None:
        for record in self._records.list(_TRUST):
            if record.key in self.dispatcher.sites:
                self.dispatcher.distrust(record.key, json.loads(record.body)["distrusted"])


class _Judge:
    """What the twins answer to orders; each order meets other random numbers."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._key: PRNGKeyArray = jax.random.key(scenario.seed + _ORDER_SALT)

    def __call__(
        self, loop: Loop[Any], state: LoopState, table: SliceTable, order: tuple[int, SliceTable]
    ) -> Admission:
        self._key, key = jax.random.split(self._key)
        return admission(key, self._scenario, loop, state, table, order)


def _cells_of(scenario: Scenario) -> dict[str, list[int]]:
    cells = scenario.network.cells
    return {
        site: [row for row, cell in enumerate(cells) if cell.server in servers]
        for site, servers in sites_of(scenario).items()
    }


def _say_failure(done: Any) -> None:
    error = done.exception()
    if error is not None:
        _log.error("what the next start has to know could not be kept: %s", error)
