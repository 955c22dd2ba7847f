"""The agent of a simulated site: it lives a slot a second and speaks to the server about it."""

import logging
import threading
import time
from dataclasses import dataclass

from twinloop.network import Command
from twinloop.runs import use_persistent_cache
from twinloop.scenario import Scenario
from twinloop.service.agent.link import LinkError, LinkPort
from twinloop.service.agent.world import World

_log = logging.getLogger("twinloop.agent")
_PLAN_EVERY_SLOTS = 5
_COMMAND_WAIT_S = 10.0


@dataclass
class Standing:
    """How one site's agent stands; shown to whoever runs it."""

    site: str
    slot: int = 0
    acknowledged: int = 0
    waiting: int = 0
    revision: int = -1
    plan: int = -1
    trouble: str = ""


class SimulatedAgent:
    """Lives one site of a scenario and reports it; commands come by a long poll of their own."""

    def __init__(self, scenario: Scenario, site: str | None, reports: LinkPort, commands: LinkPort, seed: int) -> None:
        self.world = World(scenario, site, seed)
        self.standing = Standing(self.world.name)
        self._reports, self._commands = reports, commands
        self._wanted: Command | None = None
        self._told = -1
        self._stop = threading.Event()
        self._epoch_s = 0.0

    def run(self) -> None:
        """Lives until `stop`."""
        poll = threading.Thread(target=self._follow_commands, name=f"commands-{self.world.name}", daemon=True)
        poll.start()
        slot_s = self.world.params.slot_s
        self._epoch_s = time.time() - self.world.slot * slot_s
        began = time.monotonic() - self.world.slot * slot_s
        while not self._stop.wait(max(began + (self.world.slot + 1) * slot_s - time.monotonic(), 0.0)):
            try:
                self.step()
                self.standing.trouble = ""
            except LinkError as error:
                self.standing.trouble = str(error)
                _log.error("%s", error)
        self._reports.close()

    def step(self) -> None:
        """One slot: lived under the newest command, reported with its receipt."""
        wanted = self._wanted
        if wanted is not None and wanted.revision != self._told:
            unknown = self.world.obey(wanted)
            if unknown:
                _log.warning("the command names what is not here: %s", ", ".join(unknown[:5]))
        report = self.world.live(-1 if wanted is None else wanted.revision)
        receipts = []
        if wanted is not None and wanted.revision != self._told and self.world.revision == wanted.revision:
            receipts.append({"revision": wanted.revision, "result": "applied"})
            self._told = wanted.revision
        self._reports.put(self.world.columns(report, self._epoch_s), receipts)
        self._reports.send()
        if self.world.slot % _PLAN_EVERY_SLOTS == 0:
            plan = self._reports.plan(self.world.name, self.standing.plan)
            if plan is not None:
                self.world.follow(plan)
                self.standing.plan = plan.revision
        self.standing.slot, self.standing.revision = self.world.slot, self._told
        self.standing.acknowledged, self.standing.waiting = self._reports.acknowledged, self._reports.waiting

    def stop(self) -> None:
        """Ends after the slot under way."""
        self._stop.set()

    def _follow_commands(self) -> None:
        after = -1
        while not self._stop.is_set():
            try:
                command = self._commands.command(self.world.name, after, _COMMAND_WAIT_S)
            except LinkError as error:
                _log.error("%s", error)
                command = None
            if command is None:
                self._stop.wait(0.5)
                continue
            self._wanted, after = command, command.revision


def run_agents(agents: list[SimulatedAgent]) -> list[threading.Thread]:
    """Starts every agent in a thread of its own."""
    use_persistent_cache()
    threads = [threading.Thread(target=agent.run, name=agent.world.name, daemon=True) for agent in agents]
    for thread in threads:
        thread.start()
    return threads
