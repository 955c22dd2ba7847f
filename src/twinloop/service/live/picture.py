"""What everybody above the runner reads: the twins after a slot as host arrays, never changed once published."""

from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from twinloop.entities import Attribute
from twinloop.twins import ATTRIBUTES, Kind

KIND_OF = {"user": "users", "cell": "cells", "server": "servers", "slice": "slices"}
"""Table of each kind by the singular noun that stands in addresses and rows."""


class Names:
    """Names of one table: which row each has, and their order."""

    def __init__(self, ids: tuple[str, ...]) -> None:
        self.row = {name: row for row, name in enumerate(ids) if name}

    @cached_property
    def ordered(self) -> tuple[list[str], NDArray[np.int64]]:
        """All names by code point, and the row of each."""
        names = sorted(self.row)
        return names, np.asarray([self.row[name] for name in names], np.int64)


@lru_cache(maxsize=16)
def _names_of(ids: tuple[str, ...]) -> Names:
    return Names(ids)


@dataclass(frozen=True, slots=True)
class KindPicture:
    """The twins of one kind; [entities] or [entities, attributes] with the columns of `attributes`.

    `ids` is "" where a row is free. `value` was reported (of slices: aggregated) and measured in `slot`, -1 for never:
    then it means nothing. `fidelity` in [0, 1] is NaN where emulation was never compared with a report. `emulated` with
    its standard deviation is expected of the next slot, NaN for slices.
    """

    kind: Kind
    ids: tuple[str, ...]
    active: NDArray[np.bool_]
    value: NDArray[np.float32]
    slot: NDArray[np.int32]
    revision: NDArray[np.int32]
    fidelity: NDArray[np.float32]
    emulated: NDArray[np.float32]
    emulated_std: NDArray[np.float32]
    _names: list[Names] = field(init=False, repr=False, compare=False, default_factory=list[Names])

    @property
    def names(self) -> Names:
        """Rows by name: made once for all pictures in which the same twins have the same rows."""
        if not self._names:
            self._names.append(_names_of(self.ids))
        return self._names[0]

    @property
    def attributes(self) -> tuple[Attribute, ...]:
        """The columns."""
        return ATTRIBUTES[self.kind]

    def row(self, name: str) -> int:
        """Row of the twin `name`. Raises KeyError where there is none."""
        return self.names.row[name]


@dataclass(frozen=True, slots=True)
class Picture:
    """All twins after `slot`, which began at `epoch_s` + `slot` * `slot_s` (epoch seconds).

    `reserved_bandwidth_hz` [cells, slices] and `reserved_cycles_per_s` [servers, slices] are desired: the standing
    decision. `requested_revision` is the last one asked of the network, `confirmed_revision` the last that it reported.
    """

    slot: int
    slot_s: float
    epoch_s: float
    users: KindPicture
    cells: KindPicture
    servers: KindPicture
    slices: KindPicture
    user_slice: NDArray[np.int32]
    cell_server: NDArray[np.int32]
    cell_position_m: NDArray[np.float32]
    cell_bandwidth_hz: NDArray[np.float32]
    server_cycles_per_s: NDArray[np.float32]
    area_m: tuple[float, float]
    slice_sst: tuple[int, ...]
    slice_sd: tuple[str, ...]
    slice_active: NDArray[np.bool_]
    target_bps: NDArray[np.float32]
    floor_share: NDArray[np.float32]
    reserved_bandwidth_hz: NDArray[np.float32]
    reserved_cycles_per_s: NDArray[np.float32]
    confirmed_revision: int
    requested_revision: int

    def of(self, kind: str) -> KindPicture:
        """The twins of a kind, by the noun of addresses (`user`) or of tables (`users`). Raises KeyError."""
        name = KIND_OF.get(kind, kind)
        if name not in ATTRIBUTES:
            raise KeyError(kind)
        return getattr(self, name)

    def time_s(self, slot: int | float) -> float:
        """When a slot began, epoch seconds."""
        return self.epoch_s + slot * self.slot_s

    def slot_at(self, time_s: float) -> float:
        """The slot that a time falls into, with its fraction."""
        return (time_s - self.epoch_s) / self.slot_s


@dataclass(frozen=True, slots=True)
class Series:
    """Values of one attribute of one twin: `time_s` (epoch seconds, the start of each step) and the mean over it, NaN
    where nothing is known.
    """

    time_s: NDArray[np.float64]
    value: NDArray[np.float32]


@runtime_checkable
class HistoryPort(Protocol):
    """The past of twins, as kept by the storage."""

    def series(self, kind: str, name: str, attribute: str, from_s: float, to_s: float, step_s: float) -> Series:
        """Values in [from_s, to_s). Raises KeyError for an unknown kind, twin or attribute."""
        ...


@dataclass(frozen=True, slots=True)
class Foretold:
    """What the twins expect of one attribute of entities in coming slots, [steps, entities]: mean and standard
    deviation; `time_s` [steps].
    """

    time_s: NDArray[np.float64]
    mean: NDArray[np.float32]
    std: NDArray[np.float32]


@runtime_checkable
class ForetellPort(Protocol):
    """The future of twins under the standing decision."""

    def foretell(self, kind: str, attribute: str, horizon_s: float) -> Foretold:
        """The next `horizon_s` seconds of every twin of a kind. Raises KeyError for an unknown kind or attribute."""
        ...
