"""Killed at any moment, a server has lost nothing that it acknowledged: it is in the database and in the twins."""

import random
import threading
import time
from dataclasses import dataclass, field

import httpx
import pytest
from trials.live_server import LiveServer, Promises, running, wait_until
from trials.watched_site import watched

pytestmark = pytest.mark.trial

REPORTERS = 4


@dataclass
class Told:
    """What a server has told of its slots, of the numbers of its orders, and of the revisions of its twins."""

    slot: int = -1
    revision: int = -1
    twins: dict[str, int] = field(default_factory=dict)

    def read(self, server: LiveServer) -> None:
        """Whatever is told now must not be less than what was told before."""
        twins = {twin["id"]: twin["revision"] for twin in server.get("/twins/user?limit=500")["twins"]}
        system = server.get("/system")
        assert system["slot"] >= self.slot, "slots went back"
        assert system["requested_revision"] >= self.revision, "the numbers of orders went back"
        back = {who: (was, twins.get(who)) for who, was in self.twins.items() if twins.get(who, -1) < was}
        assert back == {}, "revisions of twins went back (told, known)"
        self.slot, self.revision, self.twins = system["slot"], system["requested_revision"], twins


def report_until_gone(server: LiveServer, promises: Promises) -> None:
    """Sends batch after batch until the server is gone."""
    with server.client(server.reporter) as client:
        while True:
            try:
                if promises.send(client) != 200:
                    time.sleep(0.1)
            except httpx.TransportError:
                return


def test_killed_again_and_again_under_load_nothing_acknowledged_is_lost(site_file, site, tmp_path, extent, note):
    promised = [Promises(f"trial{number}") for number in range(REPORTERS)]
    told, rng, restarts_s = Told(), random.Random(11), []

    def kept() -> int:
        return sum(len(promises.acknowledged) for promises in promised)

    with running(site_file, tmp_path) as server, watched(server, site):
        for number in range(extent.kills):
            reporters = [threading.Thread(target=report_until_gone, args=(server, promises)) for promises in promised]
            for reporter in reporters:
                reporter.start()
            before = kept()
            if number % 3 != 2:
                wait_until(lambda before=before: kept() > before, "reports are kept")
            if number % 3 == 1:
                server.wait_for_life()
                told.read(server)
            time.sleep(rng.uniform(0.2, 2.0))
            if number % 3 == 1:
                told.read(server)
            server.kill()
            for reporter in reporters:
                reporter.join()
            begun = time.monotonic()
            server.start()
            restarts_s.append(time.monotonic() - begun)
        for promises in promised:
            promises.require_kept(server)
        told.read(server)
        note(kills=extent.kills, acknowledged=kept(), restart_s=[round(seconds, 1) for seconds in restarts_s])
        assert kept() > 10 * extent.kills
        statuses = {status for promises in promised for status in promises.statuses}
        assert statuses <= {200, 503}, "until what was kept is read, reports have to wait"
        assert server.stop() == 0
