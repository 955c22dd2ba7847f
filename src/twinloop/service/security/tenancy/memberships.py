"""Since when each user has been in its slice: a tenant sees nothing of a user's past in other slices."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twinloop.service.live import Picture


@dataclass(frozen=True, slots=True)
class Memberships:
    """`since_s` [users]: when the user of a row was first seen in its present slice, epoch seconds.

    It starts anew with the server, so that a tenant's view of a user's past is at most as long as the server runs.
    """

    since_s: NDArray[np.float64]
    users: tuple[str, ...]
    slices: tuple[str, ...]
    user_slice: NDArray[np.int32]
    active: NDArray[np.bool_]

    def since(self, row: int, user: str, name: str) -> float:
        """Since when a user in `row` is in the slice `name`, epoch seconds; infinite where it is not, or not now."""
        of = int(self.user_slice[row]) if row < len(self.users) and self.users[row] == user else -1
        there = 0 <= of < len(self.slices) and self.slices[of] == name and bool(self.active[row])
        return float(self.since_s[row]) if there else float("inf")


def advance(before: Memberships | None, picture: Picture) -> Memberships:
    """Memberships after another picture: who is where it was keeps its time, everybody else begins now."""
    now_s = picture.time_s(float(picture.slot))
    begun = np.full(picture.user_slice.shape, now_s, np.float64)
    if before is not None and before.user_slice.shape == picture.user_slice.shape:
        same = (before.user_slice == picture.user_slice) & before.active & picture.users.active
        same &= _same_names(before.users, picture.users.ids)
        count = len(picture.slices.ids)
        known = (picture.user_slice >= 0) & (picture.user_slice < count)
        same &= _same_slices(before.slices, picture.slices.ids)[np.where(known, picture.user_slice, count)]
        begun = np.where(same, before.since_s, begun)
    begun.setflags(write=False)
    return Memberships(begun, picture.users.ids, picture.slices.ids, picture.user_slice, picture.users.active)


def _same_names(before: tuple[str, ...], now: tuple[str, ...]) -> NDArray[np.bool_]:
    """Where two lists of names agree; at once where nobody came or went."""
    if before is now or before == now:
        return np.ones(len(now), np.bool_)
    return np.fromiter((a == b for a, b in zip(before, now, strict=True)), np.bool_, len(now))


def _same_slices(before: tuple[str, ...], now: tuple[str, ...]) -> NDArray[np.bool_]:
    """Where the rows of slices hold the slice they held; the last entry, of users without a slice, is False."""
    same = [row < len(before) and before[row] == name for row, name in enumerate(now)]
    return np.asarray([*same, False], np.bool_)
