"""A run's table of experience as arrays by user and minute, and on the grid on which agreements are judged."""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from twinloop.errors import OutputError
from twinloop.qoe import GRID_MINUTES, on_grid
from twinloop.reporting.aggregation import groups
from twinloop.reporting.run import Run, Values

_PERIOD_S = 60.0
CELL_S = 60.0 * GRID_MINUTES


@dataclass(frozen=True)
class Stretch:
    """Cells in a row in which a user's mean experience was below what was agreed, from `first` to `last`."""

    user: int
    first: int
    last: int

    @property
    def lasting_s(self) -> float:
        """Its length."""
        return (self.last - self.first + 1) * CELL_S


@dataclass(frozen=True)
class Felt:
    """Minutes of a run by user: `row` and `minute` of each of the table's rows, whose users they are, and of which
    slice; `agreed` by user.
    """

    run: Run
    row: NDArray[np.intp]
    minute: NDArray[np.intp]
    users: list[int]
    member: NDArray[np.intp]
    names: list[str]
    agreed: NDArray[np.float64]

    @property
    def minutes(self) -> int:
        """Minutes that the table reaches to."""
        return int(self.minute.max()) + 1

    def column(self, name: str) -> Values:
        """A column, row by row. Raises OutputError when the table lacks it."""
        return self.run.columns("experience", name)[0]

    def by_minute(self, name: str) -> NDArray[np.float64]:
        """A column by user and minute, NaN where a user judged nothing."""
        values = np.full((len(self.users), self.minutes), np.nan)
        values[self.row, self.minute] = self.column(name)
        return values

    def cells(self, name: str) -> NDArray[np.float64]:
        """Means on the grid of 3 minutes by user and cell, NaN where a user judged nothing in it.

        Raises OutputError when no cell is full.
        """
        values = self.by_minute(name).astype(np.float32)
        there = np.isfinite(values)
        mean, present = on_grid(jnp.asarray(np.nan_to_num(values)), jnp.asarray(there), round(CELL_S / _PERIOD_S))
        if not mean.shape[1]:
            raise OutputError(f"agreements are judged over {GRID_MINUTES:.0f} minutes, and the run ended before")
        return np.where(np.asarray(present), np.asarray(mean, np.float64), np.nan)

    def ratio(self) -> NDArray[np.float64]:
        """Mean experience over agreement by user and cell."""
        return self.cells("experience") / self.agreed[:, None]

    def below(self) -> list[Stretch]:
        """Stretches in which users were below their agreements, in the order of users and time."""
        low = self.ratio() < 1.0
        edges = np.diff(np.pad(low.astype(np.int8), ((0, 0), (1, 1))), axis=1)
        user, first = np.nonzero(edges == 1)
        _, after = np.nonzero(edges == -1)
        return [Stretch(int(u), int(a), int(z) - 1) for u, a, z in zip(user, first, after, strict=True)]


def felt(run: Run) -> Felt:
    """The experience of a run's users. Raises OutputError when the run holds none."""
    slot, identity, member, agreed = run.columns("experience", "slot", "user", "slice", "agreed")
    row, users = groups(identity)
    of, slices = groups(member)
    first = np.unique(row, return_index=True)[1]
    minute = np.round((slot + 1) * run.slot_s / _PERIOD_S).astype(np.intp) - 1
    names = run.names("slices", slices)
    return Felt(run, row, minute, users, of[first], names, agreed[first].astype(np.float64))
