"""Everything that one server is: the live loop, what keeps it, what comes in and what goes out, wired together once."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import jax

from twinloop.decision import Appraisal
from twinloop.errors import TwinloopError
from twinloop.network import Kind, Plan, plan_of
from twinloop.network.formats import Receipt
from twinloop.scenario import Scenario
from twinloop.service.acting import Decisions, Dispatcher, Limits, Mode, Orders, sites_of
from twinloop.service.changes import Changes
from twinloop.service.intake import Bounds, Intake
from twinloop.service.keeping import Keeper
from twinloop.service.live import Pace, Picture, Runner, Slot
from twinloop.service.records import Records
from twinloop.storage import Storage
from twinloop.validation import Approved, Verdict

_log = logging.getLogger("twinloop.platform")
ROLLED_BACK = 2


@dataclass(frozen=True)
class Settings:
    """How a server behaves; see docs/live.md."""

    mode: Mode = "advise"
    pace: Pace = field(default_factory=Pace)
    bounds: Bounds = field(default_factory=Bounds)
    limits: Limits = field(default_factory=Limits)
    snapshot_every_s: float = 30.0
    plan_every_s: float = 10.0


def steady_clock(
    wall: Callable[[], float] = time.time, tick: Callable[[], float] = time.monotonic
) -> Callable[[], float]:
    """Epoch seconds that go on evenly from now, whatever the machine's clock is set to later."""
    began, ticked = wall(), tick()
    return lambda: began + (tick() - ticked)


class Platform:
    """One server's parts. `clock` gives epoch seconds and must not jump."""

    def __init__(self, scenario: Scenario, storage: Storage, clock: Callable[[], float], settings: Settings) -> None:
        self.scenario = scenario
        self.storage = storage
        self.clock = clock
        self.settings = settings
        self.changes = Changes()
        self.runner = Runner(scenario, clock, settings.pace)
        self.runner.watcher = self
        self.dispatcher = Dispatcher(Orders(scenario), clock)
        self.records = Records(storage, clock)
        self.decisions = Decisions(self.records, clock, self._adopt, settings.limits, settings.mode)
        self.keeper = Keeper(self.runner, storage, clock, settings.snapshot_every_s)
        self.keeper.check()
        self.decisions.remember()
        self.intake = Intake(
            storage,
            self.runner.members,
            clock,
            self.runner.accept,
            self._receipts,
            lambda: self.runner.backlog,
            settings.bounds,
        )
        self.intake.ledger.remember(
            (one.source, one.highest_sequence, one.received, one.last_received_s) for one in storage.events.sources()
        )
        self.held_since: dict[str, float] = {}
        self.slots_held = 0
        self.failed: TwinloopError | None = None
        self.plan_revision = 0
        self._plans: dict[str, Plan] = {}
        self._planned_s = float("-inf")
        self._plan_lock = threading.Lock()
        self.started_s = clock()

    def prepare(self) -> None:
        """Builds, compiles and recovers, so that the first slot finds all that was acknowledged."""
        self.runner.prepare()
        recovered = self.keeper.recover()
        _log.info("recovered slot %d, %d events replayed", recovered.slot, recovered.events)

    def start(self) -> None:
        """Begins slots; `prepare` comes first."""
        self.runner.start()

    def stop(self) -> None:
        """Ends cleanly: the slot under way, then a last snapshot."""
        self.runner.stop()
        self.keeper.close()

    @property
    def picture(self) -> Picture | None:
        """The twins after the last slot, None before the first."""
        return self.runner.picture

    def plan(self, site: str) -> Plan | None:
        """What a site is asked to report; None before the first slot. Raises KeyError for an unknown site."""
        if site not in self.dispatcher.sites:
            raise KeyError(site)
        with self._plan_lock:
            return self._plans.get(site)

    def receipt(self) -> int:
        """Number of the last order that the network is known to follow."""
        return self.dispatcher.receipt()

    def lived(self, slot: Slot) -> None:
        """After every slot: commands go out, listeners hear, what is to be kept is kept."""
        mode = self.decisions.mode
        self.dispatcher.offer(slot.order, slot.revision, slot.picture, mode)
        self.decisions.watch(
            slot.picture, int(self.runner.state.pending.effect) == ROLLED_BACK, self.dispatcher.confirmed
        )
        self.changes.publish(slot.picture, slot.held)
        self.slots_held += bool(slot.held)
        if slot.held not in self.held_since:
            self.held_since = {slot.held: self.clock()} if slot.held else {}
            if slot.held:
                _log.warning("holding the standing decision: %s", slot.held)
        self.keeper.lived(slot.picture)
        if self.clock() - self._planned_s >= self.settings.plan_every_s:
            self._replan(slot.picture)

    def decided(self, picture: Picture, verdict: Verdict, appraisals: tuple[Appraisal, ...]) -> None:
        """A window's verdict is there."""
        del appraisals
        self.decisions.decided(picture, verdict)

    def _adopt(self, approved: Approved) -> tuple[int, int]:
        def adopt() -> tuple[int, int]:
            runner = self.runner
            if runner.deciding is None:
                raise RuntimeError("nothing was decided yet")
            runner.state, code = runner.deciding.adopt(runner.loop, runner.state, approved)
            return int(code), int(runner.state.pending.revision) + 1

        if threading.current_thread().name == "runner":
            return adopt()
        return self.runner.ask(adopt).result(timeout=30.0)

    def _receipts(self, source: str, receipts: Sequence[Receipt]) -> None:
        self.dispatcher.take(source.partition(":")[0], receipts)

    def _replan(self, picture: Picture) -> None:
        """Publishes what collection asks now, site by site."""
        self._planned_s = self.clock()
        request = jax.device_get(self.runner.state.collection.request)
        cell_site, server_site = self._site_rows()
        serving = picture.users.value[:, [a.name for a in picture.users.attributes].index("serving_cell")]
        cells = len(picture.cells.ids)
        plans: dict[str, Plan] = {}
        for site in self.dispatcher.sites:
            users = [
                name if name and 0 <= at < cells and cell_site[int(at)] == site else ""
                for name, at in zip(picture.users.ids, serving, strict=True)
            ]
            ids: dict[Kind, list[str]] = {
                "users": users,
                "cells": [n if s == site else "" for n, s in zip(picture.cells.ids, cell_site, strict=True)],
                "servers": [n if s == site else "" for n, s in zip(picture.servers.ids, server_site, strict=True)],
            }
            plans[site] = plan_of(request, ids, 0, site)
        with self._plan_lock:
            changed = any(plans[site].parts != getattr(self._plans.get(site), "parts", None) for site in plans)
            self.plan_revision += changed
            if changed:
                self._plans = {s: Plan(self.plan_revision, s, plan.parts) for s, plan in plans.items()}

    def _site_rows(self) -> tuple[list[str], list[str]]:
        sites = sites_of(self.scenario)
        site_of_server = {server: site for site, servers in sites.items() for server in servers}
        cells = [site_of_server.get(cell.server, "") for cell in self.scenario.network.cells]
        return cells, [site_of_server.get(part.name, "") for part in self.scenario.network.servers]
