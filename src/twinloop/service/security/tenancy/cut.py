"""A picture cut down to what a tenant may see: as if the network had the tenant's slices and users, and nothing else.

Left of it: the tenant's slices with what they reserve; their users with granted attributes; names of cells and servers,
because reservations are by cell and server. Not left: loads, positions, capacities, other slices, other users, how many
there are. The result depends on nothing that it does not show, times and revisions of the whole picture aside.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinloop.entities import USER_ATTRIBUTES
from twinloop.service.live import KindPicture, Picture
from twinloop.service.security.tenancy.grants import Grant

_POSITION = {"position_x_m", "position_y_m"}

Rename = Callable[[Sequence[str]], tuple[str, ...]]
"""Pseudonyms of users, in their order."""


@dataclass(frozen=True, slots=True)
class Cut:
    """What is left of a picture. `users` and `slices` are rows of the whole picture by row of the cut one; `names` are
    the users' true names; `grants` are by row of the slices; `granted` [users, attributes].
    """

    picture: Picture
    users: NDArray[np.int64]
    slices: NDArray[np.int64]
    names: tuple[str, ...]
    grants: tuple[Grant, ...]
    granted: NDArray[np.bool_]


def cut(picture: Picture, grants: Sequence[Grant], rename: Rename) -> Cut:
    """Cuts a picture down to slices with a grant that began before the picture's slot ended, and to their users."""
    ended_s = picture.time_s(float(picture.slot + 1))
    by_name = {grant.slice: grant for grant in grants if grant.since_s < ended_s}
    held = [(row, by_name[name]) for row, name in enumerate(picture.slices.ids) if name in by_name]
    slices = np.asarray([row for row, _ in held], np.int64)
    own = tuple(grant for _, grant in held)
    rows, slice_of = _own_users(picture, slices)
    names = tuple(picture.users.ids[row] for row in rows)
    granted = _granted(own)[slice_of]
    shown = tuple(
        name if own[of].identity else pseudonym
        for name, pseudonym, of in zip(names, rename(names), slice_of, strict=True)
    )
    positions = any(grant.attributes >= _POSITION for grant in own)
    # Every field by name: one that is added to pictures later is missed here, and cannot pass uncut.
    smaller = Picture(
        slot=picture.slot,
        slot_s=picture.slot_s,
        epoch_s=picture.epoch_s,
        users=_own_twins(picture.users, rows, shown, granted),
        cells=_names_only(picture.cells),
        servers=_names_only(picture.servers),
        slices=_rows(picture.slices, slices, tuple(grant.slice for grant in own)),
        user_slice=_fixed(slice_of.astype(np.int32)),
        cell_server=_none(picture.cell_server.shape, -1),
        cell_position_m=_unknown(picture.cell_position_m.shape),
        cell_bandwidth_hz=_unknown(picture.cell_bandwidth_hz.shape),
        server_cycles_per_s=_unknown(picture.server_cycles_per_s.shape),
        area_m=picture.area_m if positions else (0.0, 0.0),
        slice_sst=tuple(picture.slice_sst[row] for row in slices),
        slice_sd=tuple(picture.slice_sd[row] for row in slices),
        slice_active=_fixed(picture.slice_active[slices]),
        target_bps=_fixed(picture.target_bps[slices]),
        floor_share=_fixed(picture.floor_share[slices]),
        reserved_bandwidth_hz=_fixed(picture.reserved_bandwidth_hz[:, slices]),
        reserved_cycles_per_s=_fixed(picture.reserved_cycles_per_s[:, slices]),
        confirmed_revision=picture.confirmed_revision,
        requested_revision=picture.requested_revision,
    )
    return Cut(smaller, rows, slices, names, own, granted)


def _own_users(picture: Picture, slices: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of the active users of `slices`, and the index of each one's slice in it."""
    index = np.full(len(picture.slices.ids) + 1, -1, np.int64)
    index[slices] = np.arange(len(slices))
    count = len(picture.slices.ids)
    of = np.where((picture.user_slice >= 0) & (picture.user_slice < count), picture.user_slice, count)
    own = index[of]
    rows = np.flatnonzero((own >= 0) & picture.users.active)
    return rows, own[rows]


def _granted(grants: Sequence[Grant]) -> NDArray[np.bool_]:
    """Attributes of users that each slice may see, [slices, attributes]."""
    table = [[attribute.name in grant.attributes for attribute in USER_ATTRIBUTES] for grant in grants]
    return np.asarray(table, np.bool_).reshape(len(grants), len(USER_ATTRIBUTES))


def _own_twins(
    users: KindPicture, rows: NDArray[np.int64], shown: tuple[str, ...], granted: NDArray[np.bool_]
) -> KindPicture:
    """The users of `rows` under the names `shown`, without what is not `granted`."""
    kept = _rows(users, rows, shown)
    return replace(
        kept,
        revision=_fixed(revision_of(kept.slot, granted)),
        value=_fixed(np.where(granted, kept.value, np.float32(np.nan))),
        slot=_fixed(np.where(granted, kept.slot, np.int32(-1))),
        fidelity=_fixed(np.where(granted, kept.fidelity, np.float32(np.nan))),
        emulated=_fixed(np.where(granted, kept.emulated, np.float32(np.nan))),
        emulated_std=_fixed(np.where(granted, kept.emulated_std, np.float32(np.nan))),
    )


def revision_of(slot: NDArray[np.int32], granted: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Revisions of twins of which only what is `granted` is seen, [...], from slots, [..., attributes]: they rise with
    every newer value of that. The twin's own counts what is not granted too, and who had its row before.
    """
    newer = np.where(granted, slot.astype(np.int64) + 1, 0).sum(axis=-1)
    return np.asarray(np.minimum(newer, np.iinfo(np.int32).max), np.int32)


def _rows(twins: KindPicture, rows: NDArray[np.int64], names: tuple[str, ...]) -> KindPicture:
    """The twins of `rows`, whole, under other names."""
    return KindPicture(
        kind=twins.kind,
        ids=names,
        active=_fixed(twins.active[rows]),
        value=_fixed(twins.value[rows]),
        slot=_fixed(twins.slot[rows]),
        revision=_fixed(twins.revision[rows]),
        fidelity=_fixed(twins.fidelity[rows]),
        emulated=_fixed(twins.emulated[rows]),
        emulated_std=_fixed(twins.emulated_std[rows]),
    )


def _names_only(twins: KindPicture) -> KindPicture:
    """Twins of which nothing is known but what they are called, and whether there is one."""
    unknown = _unknown(twins.value.shape)
    return KindPicture(
        kind=twins.kind,
        ids=twins.ids,
        active=twins.active,
        value=unknown,
        slot=_none(twins.slot.shape, -1),
        revision=_none(twins.revision.shape, 0),
        fidelity=unknown,
        emulated=unknown,
        emulated_std=unknown,
    )


@lru_cache(maxsize=64)
def _unknown(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """NaN everywhere, shared by all who ask."""
    return _fixed(np.full(shape, np.nan, np.float32))


@lru_cache(maxsize=64)
def _none(shape: tuple[int, ...], value: int) -> NDArray[np.int32]:
    """One number everywhere, shared by all who ask."""
    return _fixed(np.full(shape, value, np.int32))


def _fixed(array: NDArray[Any]) -> NDArray[Any]:
    """The array, which cannot be changed from here on."""
    array.setflags(write=False)
    return array
