"""Clocks that jump by an hour: of an agent, of the machine while a server lives, and between its end and its start."""

import asyncio
import itertools
import time

import pytest
from trials.live_server import LiveServer, wait_until

from twinloop.network.formats import Batch, Row
from twinloop.service.live_platform import Platform, Settings, steady_clock
from twinloop.storage import open_storage

pytestmark = pytest.mark.trial
HOUR_S = 3600.0


def known(server: LiveServer, who: str) -> dict:
    told = server.get(f"/twins/user?prefix={who}")["twins"]
    return next((twin["reported"]["swipes"] for twin in told if twin["id"] == who), {"value": None})


def test_an_agent_whose_clock_jumps_is_understood(served, served_site):
    """With `sent_s` its times are shifted, where the clock went back once that is known to be no delay; without, what
    claims to be of the future counts as measured on arrival.
    """
    jumps = (0.0, HOUR_S, -HOUR_S, 23 * HOUR_S)
    numbers = itertools.count()
    with served.client(served.reporter) as client:

        def arrives(value: int, jump_s: float) -> bool:
            at = time.time() + jump_s
            row = {"kind": "user", "id": "jumper", "slice": "standard", "time_s": at, "values": {"swipes": value}}
            batch = {"source": "jumpy", "sequence": next(numbers), "sent_s": at, "rows": [row]}
            told = client.post("/reports", json=batch)
            assert told.json()["accepted"] == 1, told.text
            time.sleep(1.0)
            return known(served, "jumper")["value"] == value

        for number, jump_s in enumerate(jumps):
            wait_until(lambda value=number + 1, jump_s=jump_s: arrives(value, jump_s), f"jump {jump_s}")
            assert abs(known(served, "jumper")["age_s"]) < 5.0
        for number, ahead_s in enumerate((HOUR_S, 0.0)):
            at, values = time.time() + ahead_s, {"swipes": 100 + number}
            row = {"kind": "user", "id": "jumper", "slice": "standard", "time_s": at, "values": values}
            client.post("/reports", json={"source": "ahead", "sequence": number, "rows": [row]})
            wait_until(lambda number=number: known(served, "jumper")["value"] == 100 + number, f"ahead {ahead_s}")
            time.sleep(1.0)
    sources = {one["source"]: one for one in served.get("/ingest/sources")["sources"]}
    assert sources["jumpy"]["skewed"] >= sum(jump != 0.0 for jump in jumps)


class Machine:
    """A machine's two clocks: the one that people set, and the one that only counts."""

    def __init__(self) -> None:
        self.wall_s, self.tick_s = 1.7e9, 5.0

    def pass_s(self, seconds: float) -> None:
        self.wall_s, self.tick_s = self.wall_s + seconds, self.tick_s + seconds


def report(platform: Platform, sequence: int, ahead_s: float = 0.0) -> None:
    about = {"kind": "user", "id": "ann", "slice": "standard", "values": {"swipes": float(sequence)}}
    batch = Batch("west", sequence, [Row(time_s=platform.clock() + ahead_s, **about)])
    assert asyncio.run(platform.intake.submit(batch, 100)).accepted == 1


def live(platform: Platform, machine: Machine, slots: int) -> None:
    for _ in range(slots):
        machine.pass_s(1.0)
        platform.runner.tick(max(int(platform.clock() - platform.runner.epoch_s), platform.runner.slot + 1))


def swipes(platform: Platform) -> float:
    users = platform.picture.users
    at = [entry.name for entry in users.attributes].index("swipes")
    return float(users.value[users.ids.index("ann"), at])


def test_a_machine_whose_clock_jumps_lives_and_recovers(site, tmp_path, programs):
    machine = Machine()

    def begin() -> Platform:
        clock = steady_clock(lambda: machine.wall_s, lambda: machine.tick_s)
        platform = Platform(site, open_storage(str(tmp_path / "live.db")), clock, Settings())
        platform.prepare()
        return platform

    platform = begin()
    for number, jump_s in enumerate((0.0, HOUR_S, -2 * HOUR_S)):
        machine.wall_s += jump_s
        report(platform, number)
        live(platform, machine, 2)
        assert platform.runner.slot < 20 and swipes(platform) == number
    report(platform, 10, ahead_s=HOUR_S)
    report(platform, 11)
    told, row = platform.picture, platform.picture.users.ids.index("ann")
    platform.storage.close()

    machine.wall_s -= HOUR_S
    again = begin()
    live(again, machine, 1)
    assert again.picture.slot > told.slot and again.picture.requested_revision > told.requested_revision
    assert again.picture.users.revision[row] > told.users.revision[row]
    assert swipes(again) == 11
    report(again, 12)
    live(again, machine, 1)
    assert swipes(again) == 12
    again.stop()
    again.storage.close()
