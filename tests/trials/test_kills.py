"""Killed at any moment, a server has lost nothing that it acknowledged: it is in the database and in the twins."""

import random
import threading
import time

import httpx
import pytest
from trials.live_server import LiveServer, Promises, running

pytestmark = pytest.mark.trial
SOURCE = "trial"


def report_until_gone(server: LiveServer, promises: Promises) -> None:
    """Sends batch after batch until the server is gone."""
    with server.client(server.reporter) as client:
        while True:
            batch = promises.batch(SOURCE)
            try:
                answer = client.post("/reports", json=batch)
            except httpx.TransportError:
                return
            if answer.status_code == 200:
                promises.keep(batch)


def known(server: LiveServer) -> dict[str, float]:
    """Every user's count of swipes, as the twins know it."""
    with server.client() as client:
        found = client.get("/twins/user", params={"limit": 100}).json()["twins"]
    return {twin["id"]: twin["reported"]["swipes"]["value"] for twin in found if "swipes" in twin["reported"]}


def lives(server: LiveServer) -> bool:
    with server.client() as client:
        answer = client.get("/twins/user")
        return answer.status_code == 200


def test_killed_again_and_again_under_load_nothing_acknowledged_is_lost(site_file, tmp_path, extent):
    promises, rng = Promises(), random.Random(11)
    with running(site_file, tmp_path) as server:
        for number in range(extent.kills):
            reporter = threading.Thread(target=report_until_gone, args=(server, promises))
            reporter.start()
            if number % 3 == 2:
                server.wait_for(lambda: lives(server))
            time.sleep(rng.uniform(0.2, 2.0))
            server.kill()
            reporter.join()
            server.start()
        server.wait_for(lambda: lives(server))
        twins = known(server)
        late = {
            user: (twins.get(user), count) for user, count in promises.newest.items() if twins.get(user, -1) < count
        }
        assert late == {}, "acknowledged reports that are not in the twins (known, acknowledged)"
        assert len(promises.acknowledged) > 20 * extent.kills
        with server.client(server.reporter) as client:
            again = [
                client.post("/reports", json={"source": SOURCE, "sequence": sequence, "rows": []}).json()["duplicate"]
                for sequence in sorted(promises.acknowledged)[:: max(len(promises.acknowledged) // 200, 1)]
            ]
        assert all(again), "acknowledged batches that the database has lost"
        assert server.stop() == 0
