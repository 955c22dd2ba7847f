"""Worlds that are alike in all that is the tenant acme's, and differ in all that is not.

Whoever is acme must not be able to tell one from the other: neither by what it is told nor by what it is refused.
"""

import asyncio
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import httpx
import numpy as np
import pytest
from generated_requests import Asked
from service.acting.conftest import Loop
from service.conftest import Clock
from service.twin_stage import CAPACITY, QUIET, Stage, names_of

from twinloop.service.live import Foretold, KindPicture, Picture
from twinloop.service.live_platform import Platform
from twinloop.service.records import Records
from twinloop.service.security import PERMISSIONS, Identity, Reply, WebhookTargets
from twinloop.slicing import SliceSpec, table_from_specs
from twinloop.storage import open_storage
from twinloop.twins import ATTRIBUTES
from twinloop.validation import Admission

TENANT, SLICE, USERS = "acme", "premium", ("ann", "cy")
GRANTED = ("rate_bps", "delay_s", "buffer_s", "quality", "serving_cell")
INBOX = "https://acme.example/inbox"
SUBSCRIPTIONS = "/nnwdaf-eventssubscription/v1/subscriptions"
SUBSCRIBED = {"eventSubscriptions": [{"event": "NSI_LOAD_LEVEL", "repetitionPeriod": 5}], "notificationURI": INBOX}
LAST = 13

_FREE = (
    (re.compile(r'"correlation": ?"[0-9a-f]+"'), '"correlation":""'),
    (re.compile(r"(?<=subscriptions/)[0-9a-f]{32}|(?<=subscriptionId\": \")[0-9a-f]{32}"), "<subscription>"),
    (re.compile(r"\d{8}T\d{6}-o[0-9a-f]{8}"), "<order>"),
)
"""What is drawn anew for every answer, and says nothing."""


@dataclass(frozen=True)
class Others:
    """Everybody but acme: who they are called, which slices there are, what is measured of them, how much they do."""

    tenant: str
    slices: tuple[tuple[str, int, str], ...]
    users: tuple[tuple[str, int], ...]
    number: float
    first: bool
    deeds: int

    @property
    def canaries(self) -> tuple[str, ...]:
        """Texts that nobody else must ever read."""
        names = (self.tenant, *(name for name, *_ in self.slices), *(name for name, _ in self.users))
        numbers = (f"{self.number:.8g}", f"{self.number + 0.5:.8g}")
        return (*names, *numbers, *(sd for *_, sd in self.slices))


ZETA = Others(
    tenant="zeta-qx",
    slices=(("blue-qx", 1, "c0ffee"), ("green-qx", 2, "beef01")),
    users=(("bob-qx", 0), ("dee-qx", 1)),
    number=7771.25,
    first=False,
    deeds=1,
)
YOTA = Others(
    tenant="yota-jw",
    slices=(("mauve-jw", 3, "decade"), ("ochre-jw", 1, "facade")),
    users=(("hal-jw", 1), ("ida-jw", 0), ("joe-jw", 0), ("kim-jw", 0), ("lea-jw", 1)),
    number=8884.75,
    first=True,
    deeds=3,
)


class Foreseen:
    """Acme's twins are expected to be as many as their name says; others what their world's number is."""

    def __init__(self, world: "World") -> None:
        self.world = world

    def foretell(self, kind: str, attribute: str, horizon_s: float) -> Foretold:
        picture = self.world.platform.runner.picture
        ids = picture.of(kind).ids
        mean = np.asarray([self.world.told_of(name, 0) for name in ids], np.float32)
        steps = int(horizon_s)
        ahead = np.arange(1, steps + 1)
        std = np.outer(ahead, mean / 10).astype(np.float32)
        return Foretold(picture.time_s(picture.slot) + ahead.astype(np.float64), np.tile(mean, (steps, 1)), std)


class World(Stage):
    """A stage where acme has `premium`; `own` are its users, `secrets` has its token."""

    def __init__(self, scenario, folder, others: Others) -> None:
        self.others = others
        clock = Clock()
        storage = open_storage(str(folder / f"{others.tenant}.db"))
        Records(storage, clock).put("keys", "pseudonyms", '"' + "5a" * 32 + '"')
        platform = Platform(_with_slices(scenario, others), storage, clock, QUIET)
        super().__init__(platform, clock)
        platform.sight._future = Foreseen(self)
        self.own = [(name, self.row(SLICE)) for name in USERS]
        self.sent: list[tuple[str, bytes]] = []
        self._stand_in()

    def row(self, name: str) -> int:
        return [entry.name for entry in self.platform.scenario.slices].index(name)

    def told_of(self, name: str, at: int) -> float:
        """The value of an attribute of somebody, by name."""
        if name in USERS or name == SLICE:
            return 1.0 + zlib.crc32(name.encode()) % 7 + at / 100
        return self.others.number

    def show_slot(self, slot: int, others_users: tuple[tuple[str, int], ...] | None = None) -> None:
        """One more slot; `others_users` are there instead of those who were."""
        there = self.others.users if others_users is None else others_users
        rows = [self.row(name) for name, *_ in self.others.slices]
        elsewhere = [(name, rows[of]) for name, of in there]
        self.users = elsewhere + self.own if self.others.first else self.own + elsewhere
        self.show(self.pictured(slot), held=f"because of {self.others.tenant}")

    def pictured(self, slot: int) -> Picture:
        """The picture of a slot, everything in it by name."""
        names = [name for name, _ in self.users] + [""] * (CAPACITY - len(self.users))
        before, number = super().picture(slot), self.others.number
        kinds = {kind: self._by_name(kind, getattr(before, kind), slot) for kind in ("cells", "servers", "slices")}
        mine = np.asarray([name == SLICE for name in before.slices.ids])
        return replace(
            before,
            users=self._by_name("users", replace(before.users, ids=tuple(names)), slot),
            **kinds,
            cell_position_m=before.cell_position_m + np.float32(number),
            cell_bandwidth_hz=before.cell_bandwidth_hz + np.float32(number),
            server_cycles_per_s=before.server_cycles_per_s * np.float32(1 + number),
            area_m=(number, number),
            target_bps=np.where(mine, before.target_bps, np.float32(number)),
            floor_share=np.where(mine, before.floor_share, np.float32(0.1)),
            reserved_bandwidth_hz=np.where(mine, before.reserved_bandwidth_hz, np.float32(number)),
            reserved_cycles_per_s=np.where(mine, before.reserved_cycles_per_s, np.float32(number)),
        )

    def _by_name(self, kind: str, twin: KindPicture, slot: int) -> KindPicture:
        attributes = range(len(ATTRIBUTES[kind]))
        value = np.asarray([[self.told_of(name, at) for at in attributes] for name in twin.ids], np.float32)
        if kind == "users":
            serving = names_of(kind).index("serving_cell")
            value[:, serving] = [zlib.crc32(name.encode()) % 2 for name in twin.ids]
        mine = np.asarray([name == SLICE for name in twin.ids])
        revision = np.where(mine, slot, slot + int(self.others.number)).astype(np.int32)
        return replace(twin, value=value, emulated=value + np.float32(0.5), revision=revision)

    def act(self) -> None:
        """What everybody does: acme the same in every world."""
        self.platform.grants.assign(SLICE, TENANT, attributes=GRANTED)
        self.secrets[TENANT] = self.token("tenant", tenant=TENANT)
        for role in ("operator", "reporter"):
            self.secrets[role] = self.token(role)
        self._others_act()

    def _others_act(self) -> None:
        others, name = self.others, self.others.tenant
        self.tenant(name, others.slices[0][0], attributes=names_of("users"), identity=True)
        where = others.slices[0][0]
        row = {"kind": "user", "id": others.users[0][0], "slice": "none", "values": {"buffer_s": others.number}}
        subscribed = SUBSCRIBED | {"notificationURI": f"https://{name}.example/"}
        for deed in range(others.deeds):
            report = {"source": name, "sequence": deed, "rows": [row]}
            assert self.call("POST", "/reports", json=report).json()["refused"] == 1
            assert self.call("POST", SUBSCRIPTIONS, name, json=subscribed).status_code == 201
            for target_bps, status in ((1e5, 202), (9e9 + deed, 409)):
                order = self.call("PATCH", f"/slices/{where}", name, json={"target_bps": target_bps})
                assert order.status_code == status, order.text
            told = {"role": "tenant", "name": name, "tenant": name}
            assert self.call("POST", "/tokens", json=told).status_code == 201
        wish = self.call("PUT", "/collection/all/buffer_s", "operator", json={"period_s": 2.0 + others.deeds})
        hook = {"url": f"https://{name}.example/", "secret": f"{name} that nobody guesses"}
        hooked = self.call("PUT", "/sites/all/webhook", "operator", json=hook)
        floors = {"floors": {where: 0.01 * others.deeds}}
        limited = self.call("PUT", "/limits", "operator", json=floors)
        assert {wish.status_code, hooked.status_code, limited.status_code} == {200}, hooked.text

    def _stand_in(self) -> None:
        """A loop that is only asked, and twins that refuse every order for the sake of another slice."""
        acting, scenario = self.platform.acting, self.platform.scenario
        specs = [SliceSpec(**entry.model_dump()) for entry in scenario.slices]
        self.ground = Loop(table=acting.slices.restored(table_from_specs(specs, len(specs))))
        acting.slices._ground = acting.decisions._ground = self.ground
        harmed = self.others.slices[0][0]
        acting.slices._judge = lambda *asked: Admission(False, 1, harmed, "bandwidth", self.others.number, 0.5)
        acting.capacity_bps = lambda: 100e6
        acting.webhooks.start()

    def ask(self, request: Asked, who: str | None = TENANT) -> httpx.Response:
        """One request that was made elsewhere; `@order` and `@subscription` in it are acme's own."""
        path = request.path.replace("%40order", self.own_order).replace("%40subscription", self.own_subscription)
        query = f"?{request.query}" if request.query else ""
        return self.call(request.method, path + query, who, headers=dict(request.headers), content=request.body)

    def foreign(self) -> list[str]:
        """What acme might guess and must not learn of: names and numbers of others' things."""
        platform = self.platform
        theirs = [one.id for one in platform.acting.slices.orders.values() if one.tenant != TENANT]
        theirs += [record.key for record in platform.records.list("nnwdaf-subscriptions")]
        theirs += [token.id for token in self.tokens.all()][:3]
        named = [name for name, *_ in self.others.slices] + [name for name, _ in self.others.users]
        return [*named, *(one for one in theirs if one != self.own_subscription)]

    def identity(self, tenant: str) -> Identity:
        """Who a tenant is."""
        return Identity(f"tl_{tenant}", tenant, "tenant", PERMISSIONS["tenant"], tenant=tenant)

    def notified(self) -> list[tuple[str, str]]:
        """A minute later everybody who subscribed is told: addresses and what was sent there."""
        self.clock.now_s += 60.0
        self.sent.clear()

        async def told() -> None:
            tasks = [asyncio.ensure_future(task()) for task in self.platform.tasks]
            while len(self.sent) < len(self.platform.records.list("nnwdaf-subscriptions")):
                await asyncio.sleep(0.01)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run(asyncio.wait_for(told(), 30.0))
        self.clock.now_s -= 60.0
        return [(url, free(body.decode())) for url, body in self.sent]

    def begin(self) -> None:
        """Acme orders and subscribes, so that there is something of its own to ask for."""
        refused = self.call("PATCH", f"/slices/{SLICE}", TENANT, json={"target_bps": 9e6})
        self.own_order = refused.json()["order"]["id"]
        made = self.call("POST", SUBSCRIPTIONS, TENANT, json=SUBSCRIBED)
        self.own_subscription = made.headers["location"].rpartition("/")[2]


def plain(answer: httpx.Response) -> tuple[int, dict[str, str], str]:
    """An answer without what is drawn anew each time."""
    headers = {name: free(value) for name, value in answer.headers.items() if "correlation" not in name}
    return answer.status_code, headers, free(answer.text)


def free(text: str) -> str:
    """A text without what is drawn anew each time."""
    for pattern, plain_text in _FREE:
        text = pattern.sub(plain_text, text)
    return text


def _with_slices(scenario, others: Others):
    """The scenario with the others' slices in the places of those that it has beside acme's."""
    own, *rest = scenario.slices
    theirs = [
        entry.model_copy(update={"name": name, "sst": sst, "sd": sd})
        for entry, (name, sst, sd) in zip(rest, others.slices, strict=True)
    ]
    names = {before.name: after.name for before, after in zip(rest, theirs, strict=True)}
    slices = [theirs[0], own, *theirs[1:]] if others.first else [own, *theirs]
    people = [
        group.model_copy(update={"slice": names.get(group.slice, group.slice), "count": 4}) for group in scenario.users
    ]
    return scenario.model_copy(update={"slices": slices, "users": people})


@pytest.fixture(scope="module")
def worlds(small_site, tmp_path_factory) -> Iterator[tuple[World, World]]:
    """Both worlds after the same four slots. Webhooks reach nobody; what was sent is in `sent` of the world."""
    folder = tmp_path_factory.mktemp("worlds")
    with pytest.MonkeyPatch.context() as patch:
        posted = list[tuple[str, bytes]]()

        async def allowed(self, url: str) -> None:
            del self, url

        async def send(self, url: str, body: bytes, headers=None) -> Reply:
            posted.append((url, body))
            return Reply(204, b"")

        patch.setattr(WebhookTargets, "check", allowed)
        patch.setattr(WebhookTargets, "send", send)
        made = [World(small_site, folder, others) for others in (ZETA, YOTA)]
        for world in made:
            world.sent = posted
            world.show_slot(10)
            world.act()
            world.begin()
            for slot in range(11, LAST + 1):
                world.show_slot(slot)
        yield made[0], made[1]
        for world in made:
            world.platform.acting.stop()
            world.close()
