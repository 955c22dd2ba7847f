"""Everything that one server is: the live loop, what keeps it, what comes in and what goes out, wired together once."""

import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from twinloop.decision import Appraisal
from twinloop.errors import TwinloopError
from twinloop.loop import LoopState
from twinloop.network import Plan
from twinloop.scenario import Scenario
from twinloop.service.acting import ENDLESS, Acting, ActingSettings, Chosen, Limits, Patience, sites_of
from twinloop.service.changes import Changes
from twinloop.service.collecting import Collecting
from twinloop.service.intake import Bounds, Intake, Players, owners_of
from twinloop.service.keeping import Keeper, KeepingSettings
from twinloop.service.live import Pace, Picture, Runner, Slot
from twinloop.service.records import Records
from twinloop.service.security import Grants, PrivacySettings, Pseudonyms, Sight, Tenancy, WebhookSettings
from twinloop.service.whatif import Foreteller, WhatIfs
from twinloop.simulator import VERSION_BPS
from twinloop.storage import Storage
from twinloop.validation import Verdict

_log = logging.getLogger("twinloop.platform")


@dataclass(frozen=True)
class Settings:
    """How a server behaves; see docs/live.md. `ladder_bps` are the versions that players choose from."""

    mode: Chosen = "advise"
    pace: Pace = field(default_factory=Pace)
    bounds: Bounds = field(default_factory=Bounds)
    limits: Limits = field(default_factory=Limits)
    patience: Patience = field(default_factory=Patience)
    webhooks: WebhookSettings = field(default_factory=WebhookSettings)
    privacy: PrivacySettings = field(default_factory=PrivacySettings)
    keeping: KeepingSettings = field(default_factory=KeepingSettings)
    plan_every_s: float = 10.0
    ladder_bps: tuple[float, ...] = VERSION_BPS


def steady_clock(
    wall: Callable[[], float] = time.time, tick: Callable[[], float] = time.monotonic
) -> Callable[[], float]:
    """Epoch seconds that go on evenly from now, whatever the machine's clock is set to later."""
    began, ticked = wall(), tick()
    return lambda: began + (tick() - ticked)


class Platform:
    """One server's parts. `clock` gives epoch seconds and must not jump; `wall` is the machine's, which may.

    `server` names the server wherever others must tell it from another; it lasts as long as its database. `tasks` run
    in the event loop that takes reports, for as long as that serves; `links` tell how lines to other systems stand.
    """

    def __init__(
        self,
        scenario: Scenario,
        storage: Storage,
        clock: Callable[[], float],
        settings: Settings,
        wall: Callable[[], float] | None = None,
    ) -> None:
        self.scenario = scenario
        self.storage = storage
        self.clock = clock
        self.wall = wall or clock
        self.settings = settings
        self.server = storage.settings.keep("server", secrets.token_hex(4)).result()
        self.tasks: list[Callable[[], Awaitable[None]]] = []
        self.links: dict[str, Callable[[], dict[str, Any]]] = {}
        self.changes = Changes()
        self.runner = Runner(scenario, clock, settings.pace)
        self.runner.watcher = self
        self.keeper = Keeper(self.runner, storage, clock, settings.keeping, ENDLESS)
        self.keeper.check()
        self.records = Records(storage, clock)
        self.grants = Grants(self.records, clock)
        self.foreteller = Foreteller(lambda: self.runner.present, clock)
        self.whatifs = WhatIfs(lambda: self.runner.present, clock)
        self.sight = Sight(Tenancy(self.grants, Pseudonyms(self.records)), self.keeper, self.foreteller)
        acts = ActingSettings(settings.mode, settings.limits, settings.patience, settings.webhooks)
        self.acting = Acting(scenario, self.runner, self.records, self.grants, clock, acts, self.wall)
        self.dispatcher, self.decisions = self.acting.dispatcher, self.acting.decisions
        self.intake = Intake(
            storage,
            self.runner.members,
            clock,
            self.runner.accept,
            self.acting.receipts,
            lambda: self.runner.backlog,
            settings.bounds,
            owners_of(scenario, sites_of(scenario)),
        )
        self.collecting = Collecting(scenario, sites_of(scenario), self.records, clock, settings.plan_every_s)
        self.intake.observed = self.collecting.observance.heard
        self.acting.quiet_s = self.collecting.quiet_s
        self._planner = ThreadPoolExecutor(1, "plans")
        self._planning: Future[None] | None = None
        known = storage.events.sources()
        self.intake.ledger.remember(
            (one.source, one.highest_sequence, one.received, one.last_received_s) for one in known
        )
        players = f"cmcd:{self.server}"
        last = max((one.highest_sequence for one in known if one.source == players), default=-1)
        self.players = Players(self.intake, storage, clock, players, last + 1, settings.ladder_bps)
        self.held_since: dict[str, float] = {}
        self.slots_held = 0
        self.failed: TwinloopError | None = None
        self.started_s = clock()

    def prepare(self) -> None:
        """Builds, compiles and recovers, so that the first slot finds all that was acknowledged."""
        self.keeper.read_ahead()
        self.runner.prepare()
        self.acting.prepare()
        recovered = self.keeper.recover()
        self.decisions.recovered_slot = recovered.slot
        self.intake.resume(self.runner.event)
        _log.info("recovered slot %d, %d events replayed", recovered.slot, recovered.events)

    def start(self) -> None:
        """Begins slots; `prepare` comes first."""
        self.acting.start()
        self.runner.start()

    def stop(self) -> None:
        """Ends cleanly: the slot under way, then a last snapshot."""
        self.runner.stop()
        self.acting.stop()
        self._planner.shutdown(wait=True)
        self.keeper.close()
        self.whatifs.close()
        self.foreteller.close()

    @property
    def picture(self) -> Picture | None:
        """The twins after the last slot, None before the first."""
        return self.runner.picture

    def plan(self, site: str) -> Plan | None:
        """What a site is asked to report; None before the first slot. Raises KeyError for an unknown site."""
        return self.collecting.plan(site)

    def receipt(self) -> tuple[int, bool]:
        """Number of the last order that the network is known to follow, and whether what is missing may still come."""
        return self.dispatcher.receipt()

    def lived(self, slot: Slot) -> None:
        """After every slot: commands go out, listeners hear, what is to be kept is kept."""
        self.acting.lived(slot)
        self.sight.publish(slot.picture)
        self.foreteller.lived(slot.picture, ready=self.runner.deciding is not None)
        self.changes.publish(slot.picture, slot.held)
        self.slots_held += bool(slot.held)
        if slot.held not in self.held_since:
            self.held_since = {slot.held: self.clock()} if slot.held else {}
            if slot.held:
                _log.warning("holding the standing decision: %s", slot.held)
        if self.acting.moved:
            self.acting.moved = False
            self.keeper.save_soon()
        self.keeper.lived(slot.picture)
        if self.collecting.due and (self._planning is None or self._planning.done()):
            self._planning = self._planner.submit(self._revise_plans, slot.picture, self.runner.state)

    def _revise_plans(self, picture: Picture, state: LoopState) -> None:
        try:
            self.collecting.lived(picture, state.collection.request)
        except Exception:
            _log.exception("collection plans could not be revised; those that stand go on")

    def decided(self, picture: Picture, verdict: Verdict, appraisals: tuple[Appraisal, ...]) -> None:
        """A window's verdict is there."""
        self.acting.decided(picture, verdict, appraisals)
