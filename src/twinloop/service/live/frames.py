"""History as it is kept: what all twins of one kind knew at a slot, in one compressed frame; and back as series."""

import zlib
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from twinloop.service.live.picture import KindPicture

VERSION = 1


class _Frame(msgspec.Struct, array_like=True):
    version: int
    ids: list[str]
    revision: bytes
    slot: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class Frame:
    """What twins knew: `ids` by row, [entities] revisions, [entities, attributes] slots and values (NaN: unknown)."""

    ids: list[str]
    revision: NDArray[np.int32]
    slot: NDArray[np.int32]
    value: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Moment:
    """What one twin knew at `time_s` [epoch s]: [attributes] slots (-1: never reported) and values (NaN: unknown)."""

    time_s: float
    revision: int
    slot: NDArray[np.int32]
    value: NDArray[np.float32]


def write_frame(kind: KindPicture) -> bytes:
    """The twins of one kind that are there; others are left out."""
    rows = np.flatnonzero(kind.active & np.array([bool(name) for name in kind.ids]))
    value = np.where(kind.slot[rows] >= 0, kind.value[rows], np.float32(np.nan))
    frame = _Frame(
        VERSION,
        [kind.ids[row] for row in rows],
        np.ascontiguousarray(kind.revision[rows], np.int32).tobytes(),
        np.ascontiguousarray(kind.slot[rows], np.int32).tobytes(),
        np.ascontiguousarray(value, np.float32).tobytes(),
    )
    return zlib.compress(msgspec.msgpack.encode(frame), 1)


def read_frame(blob: bytes, attributes: int) -> Frame:
    """A frame of a kind with so many attributes."""
    frame = msgspec.msgpack.decode(zlib.decompress(blob), type=_Frame)
    shape = (len(frame.ids), attributes)
    return Frame(
        frame.ids,
        np.frombuffer(frame.revision, np.int32),
        np.frombuffer(frame.slot, np.int32).reshape(shape),
        np.frombuffer(frame.value, np.float32).reshape(shape),
    )
