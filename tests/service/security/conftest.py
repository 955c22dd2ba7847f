"""A clock that is set by hand, a storage in memory, and pictures of a small network with three slices."""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from twinloop.service.live import KindPicture, Picture
from twinloop.twins import ATTRIBUTES


class Clock:
    """Epoch seconds that stand until they are moved."""

    def __init__(self) -> None:
        self.now_s = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now_s

    def pass_s(self, seconds: float) -> None:
        self.now_s += seconds


@dataclass(frozen=True)
class Kept:
    key: str
    body: str
    revision: int
    state: str = ""
    tenant: str = ""


@dataclass
class Memory:
    """Records and log of a storage; what was put survives whoever put it. `full` refuses what is written."""

    documents: dict[str, dict[str, Kept]] = field(default_factory=dict)
    entries: list[tuple[str, str, str, str, str]] = field(default_factory=list)
    full: bool = False
    writes: int = 0

    def put(self, collection, key, body, *, state="", tenant="", expected_revision=None) -> int:
        if self.full:
            raise OSError("no space left")
        held = self.get(collection, key)
        revision = 0 if held is None else held.revision
        if expected_revision is not None and expected_revision != revision:
            raise RuntimeError("conflict")
        self.documents.setdefault(collection, {})[key] = Kept(key, body, revision + 1, state, tenant)
        self.writes += 1
        return revision + 1

    def get(self, collection, key):
        return self.documents.get(collection, {}).get(key)

    def list(self, collection):
        return tuple(self.documents.get(collection, {}).values())

    def delete(self, collection, key) -> None:
        self.documents.get(collection, {}).pop(key, None)

    def log(self, actor, action, target, outcome, detail) -> None:
        if self.full:
            raise OSError("no space left")
        self.entries.append((actor, action, target, outcome, detail))

    def everything(self) -> str:
        return repr(self.documents) + repr(self.entries)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def memory() -> Memory:
    return Memory()


def twins(kind: str, ids: list[str], seed: int) -> KindPicture:
    """Twins with a different number in every place."""
    rng = np.random.default_rng(seed)
    shape = (len(ids), len(ATTRIBUTES[kind]))
    value, fidelity, emulated, std = (rng.uniform(1, 2, shape).astype(np.float32) for _ in range(4))
    return KindPicture(
        kind=kind,
        ids=tuple(ids),
        active=np.asarray([bool(name) for name in ids]),
        value=value,
        slot=rng.integers(0, 9, shape).astype(np.int32),
        revision=rng.integers(1, 99, len(ids)).astype(np.int32),
        fidelity=fidelity,
        emulated=emulated,
        emulated_std=std,
    )


def build(users: list[tuple[str, int]], slot: int = 10, seed: int = 0, start_s: float = 1_700_000_000.0) -> Picture:
    """A picture of users (name, row of the slice) in slices red, green, blue, two cells and a server."""
    rng = np.random.default_rng(seed + 100)
    number = lambda *shape: rng.uniform(1, 2, shape).astype(np.float32)  # noqa: E731
    people = twins("users", [name for name, _ in users], seed)
    people.value[:, 5] = rng.integers(0, 2, len(users))
    return Picture(
        slot=slot,
        slot_s=1.0,
        epoch_s=start_s,
        users=people,
        cells=twins("cells", ["north", "south"], seed + 1),
        servers=twins("servers", ["edge"], seed + 2),
        slices=twins("slices", ["red", "green", "blue"], seed + 3),
        user_slice=np.asarray([of for _, of in users], np.int32),
        cell_server=np.zeros(2, np.int32),
        cell_position_m=number(2, 2),
        cell_bandwidth_hz=number(2),
        server_cycles_per_s=number(1),
        area_m=(1000.0, 900.0),
        slice_sst=(1, 2, 3),
        slice_sd=("00000a", "00000b", "00000c"),
        slice_active=np.ones(3, np.bool_),
        target_bps=number(3),
        floor_share=number(3),
        reserved_bandwidth_hz=number(2, 3),
        reserved_cycles_per_s=number(1, 3),
        confirmed_revision=3,
        requested_revision=4,
    )


@pytest.fixture
def picture_of():
    return build


@pytest.fixture
def later():
    """The same picture, so many slots later."""
    return lambda picture, slots=1, **changes: replace(picture, slot=picture.slot + slots, **changes)
