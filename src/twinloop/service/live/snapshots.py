"""A live loop as bytes and back: what twins knew, what waited, who stood where; never half of it."""

import io
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import msgspec
import numpy as np

from twinloop.errors import TwinloopError
from twinloop.loop import LoopState
from twinloop.service.live.members import SavedMembers
from twinloop.service.live.runner import Runner

VERSION = 3
_LENGTH_BYTES = 8


class SnapshotError(TwinloopError):
    """A snapshot does not fit the scenario or this version."""


class Held(msgspec.Struct):
    """An inbox: what had arrived and waited for a later slot, and what was taken before."""

    value: bytes
    slot: bytes
    bits: bytes
    taken: bytes
    last_s: bytes


class _Version(msgspec.Struct):
    version: int


class _Head(msgspec.Struct):
    version: int
    scenario: str
    slot: int
    event: int
    epoch_s: float
    members: SavedMembers
    inboxes: dict[str, Held]


@dataclass(frozen=True)
class Captured:
    """A runner between two slots, as of `slot` and after the event `event`; nothing in it changes any more."""

    slot: int
    event: int
    epoch_s: float
    members: SavedMembers
    inboxes: dict[str, Held]
    state: LoopState


def capture(runner: Runner) -> Captured:
    """The runner as it stands; quick, so that the runner's own thread can do it."""
    inboxes = {
        kind: Held(*(getattr(inbox, name).tobytes() for name in Held.__struct_fields__))
        for kind, inbox in runner.inboxes.items()
    }
    return Captured(runner.slot, runner.event, runner.epoch_s, runner.members.saved(), inboxes, runner.state)


def pack(captured: Captured, scenario: str) -> memoryview:
    """A snapshot of the scenario named by `scenario`: the length of its head, the head, and the loop's state."""
    head = _Head(VERSION, scenario, captured.slot, captured.event, captured.epoch_s, captured.members, captured.inboxes)
    encoded, stream = msgspec.msgpack.encode(head), io.BytesIO()
    stream.write(len(encoded).to_bytes(_LENGTH_BYTES, "big"))
    stream.write(encoded)
    eqx.tree_serialise_leaves(stream, captured.state)
    return stream.getbuffer()


def restore(runner: Runner, blob: bytes, scenario: str) -> None:
    """Brings a prepared runner to where it was saved. Raises SnapshotError where it cannot be."""
    after = _LENGTH_BYTES + int.from_bytes(blob[:_LENGTH_BYTES], "big")
    encoded = memoryview(blob)[_LENGTH_BYTES:after]
    try:
        version = msgspec.msgpack.decode(encoded, type=_Version).version
        head = msgspec.msgpack.decode(encoded, type=_Head) if version == VERSION else None
    except msgspec.DecodeError as error:
        raise SnapshotError(
            f"the snapshot cannot be read ({error}); restore a backup or begin a new database"
        ) from None
    if head is None:
        raise SnapshotError(
            f"the snapshot has version {version}, this program reads {VERSION}; start it with the version of twinloop "
            "that kept it, or begin a new database"
        )
    if head.scenario != scenario:
        raise SnapshotError(
            "the database was begun with another scenario, whose twins do not fit this one; give that scenario, or "
            "another --database"
        )
    stream = io.BytesIO(blob)
    stream.seek(after)
    try:
        runner.state = eqx.tree_deserialise_leaves(stream, runner.state, _read_leaf)
    except (RuntimeError, ValueError, EOFError) as error:
        raise SnapshotError(
            f"the snapshot does not fit the scenario's methods ({error}); give the one it was made with"
        ) from None
    runner.members.restore(head.members)
    for kind, held in head.inboxes.items():
        inbox = runner.inboxes[kind]
        for name in Held.__struct_fields__:
            there = getattr(inbox, name)
            setattr(inbox, name, np.frombuffer(getattr(held, name), there.dtype).reshape(there.shape).copy())
    runner.slot, runner.event, runner.epoch_s = head.slot, head.event, head.epoch_s


def _read_leaf(stream: io.BytesIO, leaf: Any) -> Any:
    """Numbers go to their place as they are read; the usual way has a program compiled for every shape."""
    if isinstance(leaf, jax.Array) and not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.device_put(np.load(stream))
    return eqx.default_deserialise_filter_spec(stream, leaf)
