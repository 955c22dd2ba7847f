"""What has arrived and is not in the twins yet, one value an attribute: the newest measurement, in whatever order."""

import jax
import numpy as np
from numpy.typing import NDArray

from twinloop.network import HEADER_BITS, Reports
from twinloop.twins import ATTRIBUTES, Kind

NEVER = -1


class Inbox:
    """Of one kind of entity. `value[e, a]` was measured in `slot[e, a]`, -1 where nothing waits.

    `last_s[e, a]` is when the newest value so far was measured, s since slot 0: what was measured before it is dropped.
    Twins take one value a slot: what was measured in the slot `taken[e, a]` after a value of it was taken, because the
    loop was late, counts as measured in the next one.
    """

    def __init__(self, kind: Kind, entities: int) -> None:
        table = ATTRIBUTES[kind]
        self.value = np.zeros((entities, len(table)), np.float32)
        self.slot = np.full((entities, len(table)), NEVER, np.int32)
        self.bits = np.zeros(entities, np.float32)
        self.taken = np.full((entities, len(table)), NEVER, np.int32)
        self.last_s = np.full((entities, len(table)), -np.inf)
        self._attribute_bits = np.array([entry.bits for entry in table], np.float32)

    @property
    def waiting(self) -> bool:
        """Whether anything waits."""
        return bool(np.any(self.slot >= 0))

    def put(
        self,
        row: NDArray[np.int64],
        value: NDArray[np.float32],
        slot: NDArray[np.int32],
        time_s: NDArray[np.float64],
    ) -> None:
        """Takes in measurements of rows [n], values [n, attributes] (NaN where there is none), of slots and times [n].

        Times are s since slot 0, which go on evenly where the machine's clock does not. A row may come more than once.
        """
        order = np.argsort(time_s, kind="stable")
        row, value, slot, time_s = row[order], value[order], slot[order], time_s[order]
        present = np.isfinite(value)
        np.add.at(self.bits, row, HEADER_BITS + present @ self._attribute_bits)
        at, column = np.nonzero(present)
        newer = time_s[at] >= self.last_s[row[at], column]
        at, column = at[newer], column[newer]
        entity = row[at]
        self.value[entity, column] = value[at, column]
        self.slot[entity, column] = np.maximum(slot[at], self.taken[entity, column] + 1)
        self.last_s[entity, column] = time_s[at]

    def forget(self, row: int) -> None:
        """Drops what waits for a row that its holder leaves."""
        self.slot[row] = self.taken[row] = NEVER
        self.last_s[row] = -np.inf
        self.bits[row] = 0.0

    def take(self, lanes: int) -> Reports:
        """What the next slot reports: of each entity the newest `lanes` measurement times; the rest goes on waiting."""
        shape = (lanes, *self.value.shape)
        value, sent = np.zeros(shape, np.float32), np.zeros(shape, bool)
        slot = np.full(shape[:2], NEVER, np.int32)
        size = np.zeros(shape[:2], np.float32)
        size[0], self.bits = self.bits, np.zeros_like(self.bits)
        for lane in range(lanes):
            newest = self.slot.max(axis=1, initial=NEVER)
            if not np.any(newest >= 0):
                break
            taken = (self.slot == newest[:, None]) & (newest >= 0)[:, None]
            value[lane], sent[lane], slot[lane] = np.where(taken, self.value, 0.0), taken, newest
            self.taken = np.where(taken, newest[:, None], self.taken)
            self.slot[taken] = NEVER
        value, sent, measured, size = jax.device_put((value, sent, slot, size))
        return Reports(value, sent, measured, measured, size)
