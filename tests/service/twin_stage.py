"""A server without a loop: pictures are shown to it as if slots had been lived, and asked for as clients do.

Fixtures are for the conftest of whoever wants them.
"""

import asyncio
from dataclasses import replace

import httpx
import numpy as np
import pytest
from service.conftest import Clock

from twinloop.service.api import build_app
from twinloop.service.keeping import KeepingSettings
from twinloop.service.live import Foretold, KindPicture, Picture
from twinloop.service.live_platform import Platform, Settings
from twinloop.service.security import (
    ROLES,
    Audit,
    Guard,
    Limits,
    LimitSettings,
    Pseudonyms,
    Rate,
    Sight,
    Tenancy,
    Tokens,
)
from twinloop.storage import open_storage
from twinloop.twins import ATTRIBUTES

CAPACITY = 12
QUIET = Settings(keeping=KeepingSettings(snapshot_every_s=1e9))
ANY = Rate(per_s=1e6, burst=1e9)
PLENTY = LimitSettings(roles=dict.fromkeys(ROLES, ANY), unknown=ANY, failures=ANY)


def names_of(kind: str) -> list[str]:
    return [attribute.name for attribute in ATTRIBUTES[kind]]


def twins(kind: str, ids: list[str], slot: int, revision: int) -> KindPicture:
    """Twins of which everything was reported in `slot`: row r, attribute a is r + a / 100."""
    shape = (len(ids), len(ATTRIBUTES[kind]))
    value = (np.arange(shape[0])[:, None] + np.arange(shape[1])[None, :] / 100).astype(np.float32)
    return KindPicture(
        kind=kind,
        ids=tuple(ids),
        active=np.asarray([bool(name) for name in ids]),
        value=value,
        slot=np.full(shape, slot, np.int32),
        revision=np.full(len(ids), revision, np.int32),
        fidelity=np.full(shape, 0.875, np.float32),
        emulated=value + np.float32(0.5),
        emulated_std=np.full(shape, 0.25, np.float32),
    )


class Future:
    """Everything is expected to be as many as its row, give or take one more with every slot."""

    def __init__(self, platform) -> None:
        self.platform = platform

    def foretell(self, kind: str, attribute: str, horizon_s: float) -> Foretold:
        picture = self.platform.runner.picture
        steps, entities = int(horizon_s), len(picture.of(kind).ids)
        ahead = np.arange(1, steps + 1)
        mean = np.tile(np.arange(entities, dtype=np.float32), (steps, 1))
        std = np.tile(ahead[:, None].astype(np.float32), (1, entities))
        return Foretold(picture.time_s(picture.slot) + ahead.astype(np.float64), mean, std)


class Stage:
    """A platform whose slots are told; `users` are (id, slice row) by row."""

    def __init__(self, platform, clock) -> None:
        self.platform, self.clock = platform, clock
        tenancy = Tenancy(platform.grants, Pseudonyms(platform.records))
        platform.sight = Sight(tenancy, platform.keeper, Future(platform))
        self.tokens = Tokens(platform.records, clock)
        self.guard = Guard(self.tokens, Limits(PLENTY, clock), clock)
        self.app = build_app(platform, self.guard, self.tokens, Audit(platform.records))
        self.secrets = {role: self.token(role) for role in ("admin", "viewer")}
        self.users = [("ann", 0), ("bob", 1), ("cy", 0), ("dee", 2)]
        self.epoch_s = platform.runner.epoch_s

    def token(self, role: str, **limits) -> str:
        _, secret = self.tokens.create(role, f"a {role}", **limits)
        return secret

    def tenant(self, name: str, *slices: str, **grants) -> str:
        for one in slices:
            self.platform.grants.assign(one, name, **grants)
        self.secrets[name] = self.token("tenant", tenant=name)
        return name

    def picture(self, slot: int, **users) -> Picture:
        """The picture after a slot; `users` gives columns of users by attribute."""
        scenario = self.platform.scenario
        network = scenario.network
        ids = [name for name, _ in self.users] + [""] * (CAPACITY - len(self.users))
        people = twins("users", ids, slot, slot)
        for name, column in users.items():
            people.value[: len(column), names_of("users").index(name)] = column
        cells, servers = [cell.name for cell in network.cells], [server.name for server in network.servers]
        slices = [entry.name for entry in scenario.slices]
        return Picture(
            slot=slot,
            slot_s=1.0,
            epoch_s=self.epoch_s,
            users=people,
            cells=twins("cells", cells, slot, slot),
            servers=twins("servers", servers, slot, slot),
            slices=twins("slices", slices, slot, slot),
            user_slice=np.asarray([of for _, of in self.users] + [0] * (CAPACITY - len(self.users)), np.int32),
            cell_server=np.asarray([servers.index(cell.server) for cell in network.cells], np.int32),
            cell_position_m=np.zeros((len(cells), 2), np.float32),
            cell_bandwidth_hz=np.asarray([cell.bandwidth_hz for cell in network.cells], np.float32),
            server_cycles_per_s=np.asarray([server.cycles_per_s for server in network.servers], np.float32),
            area_m=scenario.area_m,
            slice_sst=tuple(entry.sst for entry in scenario.slices),
            slice_sd=tuple(entry.sd for entry in scenario.slices),
            slice_active=np.ones(len(slices), np.bool_),
            target_bps=np.asarray([entry.target_bps for entry in scenario.slices], np.float32),
            floor_share=np.asarray([entry.floor_share for entry in scenario.slices], np.float32),
            reserved_bandwidth_hz=np.full((len(cells), len(slices)), 2e6, np.float32),
            reserved_cycles_per_s=np.full((len(servers), len(slices)), 3e9, np.float32),
            confirmed_revision=3,
            requested_revision=4,
        )

    def show(self, picture: Picture, held: str = "") -> Picture:
        """Another slot is over; what history keeps of it is kept when this ends."""
        self.clock.now_s = self.epoch_s + picture.slot + 1
        platform = self.platform
        platform.runner.picture = picture
        platform.runner.slot = picture.slot
        platform.sight.publish(picture)
        platform.changes.publish(picture, held)
        platform.keeper.lived(picture)
        platform.keeper.wait()
        return picture

    def live(self, slot: int, **users) -> Picture:
        return self.show(self.picture(slot, **users))

    def call(self, method: str, path: str, who: str | None = "admin", **parts) -> httpx.Response:
        """One request."""
        headers = {"Authorization": f"Bearer {self.secrets[who]}"} if who else {}
        headers |= parts.pop("headers", {})

        async def asked() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://twins.example") as client:
                return await client.request(method, path, headers=headers, **parts)

        return asyncio.run(asked())

    def get(self, path: str, who: str | None = "admin", accept: str | None = None, **query) -> httpx.Response:
        headers = {} if accept is None else {"Accept": accept}
        return self.call("GET", path, who, params=query, headers=headers)

    def known(self, path: str, who: str = "admin", **query):
        """What a request that succeeds is answered."""
        answer = self.get(path, who, **query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def refused(self, path: str, status: int, who: str | None = "admin", **query) -> dict:
        """The problem that a request meets."""
        answer = self.get(path, who, **query)
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        return answer.json()

    def changed(self, picture: Picture, kind: str, row: int, **values) -> Picture:
        """A picture one slot later in which these values of one twin were reported."""
        twin = picture.of(kind)
        value, slot, revision = twin.value.copy(), twin.slot.copy(), twin.revision.copy()
        for name, given in values.items():
            at = names_of(twin.kind).index(name)
            value[row, at], slot[row, at] = given, picture.slot + 1
        revision[row] += 1
        after = replace(twin, value=value, slot=slot, revision=revision)
        return replace(picture, slot=picture.slot + 1, **{twin.kind: after})

    def close(self) -> None:
        self.platform.runner.slot = -1
        self.platform.stop()
        self.platform.storage.close()


@pytest.fixture(scope="module")
def new_stage(small_site, tmp_path_factory):
    """Servers that nothing was shown to yet; all end with the module."""
    made = []

    def make(**keeping) -> Stage:
        clock = Clock()
        storage = open_storage(str(tmp_path_factory.mktemp("stage") / "twins.db"))
        settings = replace(QUIET, keeping=QUIET.keeping.model_copy(update=keeping))
        made.append(Stage(Platform(small_site, storage, clock, settings), clock))
        return made[-1]

    yield make
    for stage in made:
        stage.close()


@pytest.fixture
def stage(new_stage):
    """A server that nothing was shown to yet."""
    return new_stage()


@pytest.fixture(scope="module")
def shown(new_stage):
    """A server after one slot, number 10; to be looked at only: ann and dee are in the north, bob and cy not."""
    made = new_stage()
    made.live(10, serving_cell=[0, 1, 1, 0])
    return made
