"""Who stands in which row: names of entities against rows of fixed tables, with the generation of each row."""

from collections import deque
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray


class Directory:
    """Names against `capacity` rows. A row that is let go is given out again last, in a new generation.

    `names[row]` is "" where nobody stands; `generation[row]` counts who stood there, from 0 before anybody did.
    """

    def __init__(self, capacity: int, names: Iterable[str] = ()) -> None:
        self.names: list[str] = [""] * capacity
        self.generation: NDArray[np.int32] = np.zeros(capacity, np.int32)
        self._row: dict[str, int] = {}
        self._free = deque(range(capacity))
        for name in names:
            self.claim(name)

    def __len__(self) -> int:
        return len(self._row)

    def row(self, name: str) -> int | None:
        """The row of `name`, None where it has none."""
        return self._row.get(name)

    def claim(self, name: str) -> int | None:
        """A row for a new name, in its next generation; None where all are taken."""
        if not self._free:
            return None
        row = self._free.popleft()
        self.names[row] = name
        self.generation[row] += 1
        self._row[name] = row
        return row

    def release(self, row: int) -> None:
        """Lets a taken row go."""
        del self._row[self.names[row]]
        self.names[row] = ""
        self._free.append(row)

    def restore(self, names: list[str], generation: Iterable[int]) -> None:
        """Goes back to saved names by row. Raises ValueError where they are not as many as the rows."""
        if len(names) != len(self.names):
            raise ValueError(f"{len(names)} names do not fit {len(self.names)} rows")
        self.names = list(names)
        self.generation = np.asarray(list(generation), np.int32)
        self._row = {name: row for row, name in enumerate(names) if name}
        self._free = deque(row for row, name in enumerate(names) if not name)
