"""Acting on three sites without a loop: pictures, verdicts and actions of their shape, a loop that is only asked."""

from dataclasses import dataclass, field
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from twinloop.entities import SLICE_ATTRIBUTES, USER_ATTRIBUTES, Action, column
from twinloop.network.formats import Receipt
from twinloop.service.acting import DecisionError, Dispatcher, Orders, Patience
from twinloop.service.live import KindPicture, Picture
from twinloop.service.records import Records
from twinloop.storage import open_storage
from twinloop.twins import ATTRIBUTES
from twinloop.validation import Verdict, first_approved

CELLS, SERVERS, SLICES = 6, 3, 3
SITES = ("west", "centre", "east")
CELL_HZ = 8e6


@pytest.fixture
def records(tmp_path, clock):
    with open_storage(str(tmp_path / "acting.db")) as storage:
        yield Records(storage, clock)


def blank(kind: str, ids: list[str]) -> KindPicture:
    shape = (len(ids), len(ATTRIBUTES[kind]))
    number, none = np.zeros(shape, np.float32), np.full(shape, np.nan, np.float32)
    return KindPicture(
        kind=kind,
        ids=tuple(ids),
        active=np.ones(len(ids), bool),
        value=number,
        slot=np.full(shape, -1, np.int32),
        revision=np.zeros(len(ids), np.int32),
        fidelity=none,
        emulated=none,
        emulated_std=none,
    )


def even(share: float = 1 / 3) -> np.ndarray:
    return np.full((CELLS, SLICES), share * CELL_HZ, np.float32)


def make_picture(
    slot: int = 100,
    reserved_hz: np.ndarray | None = None,
    users: list[dict] | None = None,
    satisfaction: float | None = None,
    epoch_s: float = 1.7e9,
) -> Picture:
    """`users`: dictionaries with slice, cell, rate_bps, sinr_db, and slot where it is another than the picture's."""
    told = users or []
    people = blank("users", [f"u{number}" for number in range(len(told))])
    for row, user in enumerate(told):
        for name, value in (
            ("serving_cell", user["cell"]),
            ("rate_bps", user["rate_bps"]),
            ("sinr_db", user["sinr_db"]),
        ):
            at = column(USER_ATTRIBUTES, name)
            people.value[row, at], people.slot[row, at] = value, user.get("slot", slot)
    slices = blank("slices", ["premium", "standard", "multicast"])
    if satisfaction is not None:
        for name, value in (("users", 4.0), ("satisfaction", satisfaction)):
            at = column(SLICE_ATTRIBUTES, name)
            slices.value[:, at], slices.slot[:, at] = value, slot
    return Picture(
        slot=slot,
        slot_s=1.0,
        epoch_s=epoch_s,
        users=people,
        cells=blank("cells", [f"{site}-{kind}" for site in SITES for kind in ("macro", "small")]),
        servers=blank("servers", [f"{site}-edge" for site in SITES]),
        slices=slices,
        user_slice=np.array([user["slice"] for user in told], np.int32),
        cell_server=np.repeat(np.arange(SERVERS), 2).astype(np.int32),
        cell_position_m=np.zeros((CELLS, 2), np.float32),
        cell_bandwidth_hz=np.full(CELLS, CELL_HZ, np.float32),
        server_cycles_per_s=np.full(SERVERS, 1e10, np.float32),
        area_m=(2700.0, 600.0),
        slice_sst=(1, 1, 1),
        slice_sd=("000001", "000002", "000003"),
        slice_active=np.ones(SLICES, bool),
        target_bps=np.array([3e6, 1e6, 1.7e6], np.float32),
        floor_share=np.full(SLICES, 0.1, np.float32),
        reserved_bandwidth_hz=even() if reserved_hz is None else reserved_hz,
        reserved_cycles_per_s=np.full((SERVERS, SLICES), 1e10 / 3, np.float32),
        confirmed_revision=0,
        requested_revision=0,
    )


def make_action(bandwidth_hz: np.ndarray | None = None, flow_hz: float = 0.0) -> Action:
    flows = jnp.full(84 + 3 * CELLS, flow_hz)
    return Action(
        jnp.ones(SLICES, bool),
        jnp.asarray(even() if bandwidth_hz is None else bandwidth_hz),
        jnp.full((SERVERS, SLICES), 1e10 / 3),
        jnp.full((SERVERS, SLICES), 1e8),
        flows,
        flows,
    )


def moved(share: float = 0.1, cells: tuple[int, ...] = (0,)) -> np.ndarray:
    """Reservations where `premium` gave so much of cells to `standard`."""
    held = even()
    held[cells, 0] -= share * CELL_HZ
    held[cells, 1] += share * CELL_HZ
    return held


def make_verdict(bandwidth_hz: np.ndarray | None = None, code: int = 0) -> Verdict:
    """A verdict for moving a tenth of the first cell, or as given."""
    approved = first_approved(make_action(moved() if bandwidth_hz is None else bandwidth_hz))
    approved = type(approved)(approved.action, jnp.int32(0))
    number = jnp.array([0.5, 0.6])
    return Verdict(approved, jnp.int32(code), jnp.int32(0), number, jnp.zeros(2, jnp.int32))


@dataclass
class Loop:
    """What acting sees of a loop: what it stands on, whether an adoption is still safe, and its table of slices.
    `between` happens before the next job.
    """

    code: int = 0
    revision: int = 100
    stands: object = field(default_factory=lambda: first_approved(make_action()))
    table: object = None
    changes: int = 0
    adopted: list = field(default_factory=list)
    between: object = None
    compiling: bool = False
    slot: int = 100

    def run(self, job):
        if self.between is not None:
            between, self.between = self.between, None
            between()
        return job()

    def adopt(self, approved):
        if self.code == 0:
            self.adopted.append(approved)
            self.revision += 1
            self.stands = approved
        return self.code, self.revision

    def now(self):
        return SimpleNamespace(slices=self.table), None

    def change_slices(self, table):
        self.table, self.changes = table, self.changes + 1

    def standing(self):
        return self.stands

    def stand_again(self, approved):
        if self.compiling:
            raise DecisionError("what decides is still being compiled")
        if self.code == 0:
            self.stands = approved
        return self.code


class Sleepers:
    """Effects that only note what they are told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def asked(self, name, held):
        self.told.append(("asked", name))
        return []

    def confirmed(self, name):
        self.told.append(("confirmed", name))

    def dropped(self, name):
        self.told.append(("dropped", name))


@pytest.fixture
def ground() -> Loop:
    return Loop()


@pytest.fixture
def sleepers() -> Sleepers:
    return Sleepers()


@pytest.fixture
def dispatcher(three_sites, clock) -> Dispatcher:
    return Dispatcher(Orders(three_sites), clock, Patience(timeout_s=5.0, retries=1, silent_s=15.0))


class Network:
    """Sites that follow what the dispatcher wants: every `slot` an action is offered, and each site does as it is."""

    def __init__(self, dispatcher: Dispatcher, clock) -> None:
        self.dispatcher, self.clock, self.revision = dispatcher, clock, 0
        self.after = dict.fromkeys(SITES, -1)
        self.answers: dict[str, str | None] = dict.fromkeys(SITES, "applied")
        self.action = make_action()
        self.mode = "advise"
        self.picture = make_picture()

    def slot(self, slots: int = 1) -> int:
        """The last order's number."""
        for _ in range(slots):
            self.revision += 1
            self.clock.now_s += 1.0
            self.dispatcher.offer(self.action, self.revision, self.picture, flows=self.mode == "act")
            for site in SITES:
                self.ask(site)
        return self.revision

    def pass_s(self, seconds: float) -> int:
        """A slot after so long."""
        self.clock.now_s += seconds - 1.0
        return self.slot()

    def ask(self, site: str):
        """What a site does in a slot: silent for good where its answer is "gone"."""
        answer = self.answers[site]
        if answer == "gone":
            return
        command = self.dispatcher.fetch(site, self.after[site])
        if command is None:
            return
        self.after[site] = command.revision
        if answer is not None:
            self.dispatcher.take(site, [Receipt(revision=command.revision, result=answer, detail=f"{answer} so")])

    def told(self, site: str) -> dict:
        return next(one for one in self.dispatcher.told() if one["site"] == site)


def reported(network, withhold=True, **ages_s) -> None:
    """When sites were last measured; those that are not named, now."""
    now = network.clock()
    network.dispatcher.mirrored(
        {site: now - ages_s.get(site, 0.0) for site in SITES}, dict.fromkeys(SITES, 10.0), withhold=withhold
    )


@pytest.fixture
def network(dispatcher, clock) -> Network:
    return Network(dispatcher, clock)
