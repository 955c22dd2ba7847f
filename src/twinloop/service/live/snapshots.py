"""A live loop as bytes and back: what twins knew, what waited, who stood where; never half of it."""

import io

import equinox as eqx
import msgspec
import numpy as np

from twinloop.errors import TwinloopError
from twinloop.service.live.members import SavedMembers
from twinloop.service.live.runner import Runner

VERSION = 1


class SnapshotError(TwinloopError):
    """A snapshot does not fit the scenario or this version."""


class Held(msgspec.Struct):
    """An inbox: what had arrived and waited for a later slot."""

    value: bytes
    slot: bytes
    bits: bytes


class Saved(msgspec.Struct):
    """A snapshot. `event` is the number of the last event in it."""

    version: int
    scenario: str
    slot: int
    event: int
    epoch_s: float
    members: SavedMembers
    inboxes: dict[str, Held]
    state: bytes


def save(runner: Runner, scenario: str) -> bytes:
    """The runner between two slots; `scenario` tells which one it belongs to."""
    stream = io.BytesIO()
    eqx.tree_serialise_leaves(stream, runner.state)
    inboxes = {
        kind: Held(inbox.value.tobytes(), inbox.slot.tobytes(), inbox.bits.tobytes())
        for kind, inbox in runner.inboxes.items()
    }
    return msgspec.msgpack.encode(
        Saved(
            VERSION,
            scenario,
            runner.slot,
            runner.event,
            runner.epoch_s,
            runner.members.saved(),
            inboxes,
            stream.getvalue(),
        )
    )


def restore(runner: Runner, blob: bytes, scenario: str) -> None:
    """Brings a prepared runner to where it was saved. Raises SnapshotError where it cannot be."""
    try:
        saved = msgspec.msgpack.decode(blob, type=Saved)
    except msgspec.DecodeError as error:
        raise SnapshotError(
            f"the snapshot cannot be read ({error}); restore a backup or begin a new database"
        ) from None
    if saved.version != VERSION:
        raise SnapshotError(f"the snapshot has version {saved.version}, this program reads {VERSION}")
    if saved.scenario != scenario:
        raise SnapshotError(
            "the database was begun with another scenario, whose twins do not fit this one; give that scenario, or "
            "another --database"
        )
    try:
        runner.state = eqx.tree_deserialise_leaves(io.BytesIO(saved.state), runner.state)
    except (RuntimeError, ValueError, EOFError) as error:
        raise SnapshotError(
            f"the snapshot does not fit the scenario's methods ({error}); give the one it was made with"
        ) from None
    runner.members.restore(saved.members)
    for kind, held in saved.inboxes.items():
        inbox = runner.inboxes[kind]
        inbox.value = np.frombuffer(held.value, np.float32).reshape(inbox.value.shape).copy()
        inbox.slot = np.frombuffer(held.slot, np.int32).reshape(inbox.slot.shape).copy()
        inbox.bits = np.frombuffer(held.bits, np.float32).copy()
    runner.slot, runner.event, runner.epoch_s = saved.slot, saved.event, saved.epoch_s
