"""Names of entities and the rows they occupy: a row is reused after its entity left, under the next generation
number.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class EntityId:
    """A name bound to one occupancy of one row; stale once the row has a later generation."""

    name: str
    row: int
    generation: int


@dataclass
class Directory:
    """Names to rows of fixed capacity, on the host. `capacity` rows; joining and leaving never changes array shapes."""

    capacity: int
    _by_name: dict[str, EntityId] = field(default_factory=dict[str, EntityId])
    _generation: dict[int, int] = field(default_factory=dict[int, int])
    _free: list[int] = field(default_factory=list[int])
    _next: int = 0

    def join(self, name: str) -> EntityId:
        """Row for a new entity. Raises ValueError when `name` is present or every row is taken."""
        if name in self._by_name:
            raise ValueError(f"{name!r} is already present")
        if self._free:
            row = self._free.pop()
        elif self._next < self.capacity:
            row = self._next
            self._next += 1
        else:
            raise ValueError(f"all {self.capacity} rows are taken; raise the capacity to admit {name!r}")
        self._generation[row] = self._generation.get(row, -1) + 1
        self._by_name[name] = EntityId(name, row, self._generation[row])
        return self._by_name[name]

    def leave(self, name: str) -> EntityId:
        """Frees the row of `name` and returns its last id. Raises KeyError when absent."""
        entity = self._by_name.pop(name)
        self._free.append(entity.row)
        return entity

    def find(self, name: str) -> EntityId:
        """Id of a present entity. Raises KeyError when absent."""
        return self._by_name[name]

    def is_current(self, entity: EntityId) -> bool:
        """True while the occupancy that `entity` names is still the one in its row."""
        return self._by_name.get(entity.name) == entity

    def names(self) -> list[str]:
        """Present names in row order."""
        return sorted(self._by_name, key=lambda name: self._by_name[name].row)
