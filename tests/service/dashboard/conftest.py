"""The dashboard over a server without a loop: its slots are told, its decisions can be adopted, and it is served."""

from collections.abc import Iterator

import jax.numpy as jnp
import pytest
from chromium import Chromium
from on_a_socket import OnASocket
from service.acting.conftest import Loop, make_verdict
from twin_stage import CAPACITY, QUIET, Stage, new_stage

from twinloop.entities import Action
from twinloop.service.live_platform import Platform
from twinloop.slicing import SliceSpec, table_from_specs
from twinloop.storage import open_storage

__all__ = ["new_stage"]


class Shop(Stage):
    """A stage with people who walk, a decision that waits, and a socket that it is served on."""

    def __init__(self, platform, clock) -> None:
        super().__init__(platform, clock)
        acting = platform.acting
        specs = [SliceSpec(**entry.model_dump()) for entry in platform.scenario.slices]
        table = acting.slices.restored(table_from_specs(specs, len(specs)))
        acting.slices._ground = acting.decisions._ground = Loop(table=table)
        self.secrets["operator"] = self.token("operator")
        self.tenant("acme", "premium")
        self._served = OnASocket(self.app)
        self.at = self._served.at

    def walk(self, slot: int) -> None:
        """A slot in which everybody has gone ten metres east."""
        people = len(self.users)
        east = [100.0 + 200.0 * row + 10.0 * slot for row in range(people)]
        self.live(slot, position_x_m=east, position_y_m=[300.0] * people, serving_cell=[0.0] * people)

    def decide(self) -> str:
        """The name of a decision that waits: the first slice gains a megahertz of the first cell."""
        picture = self.platform.picture
        held = picture.reserved_bandwidth_hz.copy()
        held[0, 0] += 1e6
        verdict = make_verdict()
        flows = jnp.zeros(CAPACITY)
        action = Action(
            jnp.ones(held.shape[1], bool),
            jnp.asarray(held),
            jnp.asarray(picture.reserved_cycles_per_s),
            jnp.zeros_like(jnp.asarray(picture.reserved_cycles_per_s)),
            flows,
            flows,
        )
        approved = type(verdict.approved)(action, jnp.int32(0))
        made = type(verdict)(approved, verdict.code, verdict.best, verdict.score, verdict.safety)
        return self.platform.decisions.decided(picture, made).id

    def close(self) -> None:
        self._served.close()
        super().close()


@pytest.fixture(scope="module")
def shop(small_site, tmp_path_factory) -> Iterator[Shop]:
    from service.conftest import Clock

    clock = Clock()
    storage = open_storage(str(tmp_path_factory.mktemp("dashboard") / "twins.db"))
    made = Shop(Platform(small_site, storage, clock, QUIET), clock)
    made.walk(10)
    yield made
    made.close()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Chromium]:
    browser = Chromium()
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def signed_in(chromium, shop):
    """A browser of everybody who has signed in, by role."""
    tabs = {}
    yield tabs
    for tab in tabs.values():
        tab.close()


@pytest.fixture
def person(chromium, shop, signed_in):
    """Whoever has a role, with a browser that is signed in; each comes in a clean one the first time."""

    def come(role: str = "admin", width: int = 1280, *, dark: bool = False):
        if role not in signed_in:
            tab = signed_in[role] = chromium.person()
            tab.open(f"{shop.at}/ui/sign-in")
            tab.sees("Paste a token")
            tab.type("#token", shop.secrets[role])
            tab.press("Sign in")
            tab.sees("The network now")
        tab = signed_in[role]
        tab.size(width, dark=dark)
        tab.open(f"{shop.at}/ui/")
        return tab

    return come
