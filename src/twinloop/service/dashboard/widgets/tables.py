"""Tables that are filled once a second."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from nicegui.element import Element
from nicegui.events import GenericEventArguments

Cell = str | dict[str, Any]
"""A text, or any of: `text`, `sub` (small, below), `href`, `pill`, `tone`, `at` (epoch seconds, with its age; `only`
"age"), `code`, `title`, `bar` (share of the whole) with a `mark`, `stack` of `{share, tone}`.
"""


@dataclass(frozen=True)
class Column:
    """A column; `key` names it where rows are sorted by it, a `wide` one has a line of its own in cards."""

    label: str
    align: Literal["", "num"] = ""
    key: str = ""
    sortable: bool = False
    wide: bool = False


@dataclass(frozen=True)
class Row:
    """A row; rows keep their identity by `key`."""

    key: str
    cells: list[Cell] = field(default_factory=list[Cell])
    tone: str = ""


class Table(Element, component="table.js", dependencies=["twinloop-format.js"]):
    """A table with a caption for those who cannot see it; narrow screens show rows as `cards`."""

    def __init__(self, caption: str, columns: Sequence[Column], empty: str, *, cards: bool = False) -> None:
        super().__init__()
        self._sort: Callable[[str], None] | None = None
        self._props["caption"] = caption
        self._props["columns"] = _columns(columns)
        self._props["rows"] = []
        self._props["empty"] = empty
        self._props["cards"] = cards

    def fill(self, rows: Sequence[Row]) -> None:
        """Shows these rows."""
        self._set("rows", [asdict(row) for row in rows])

    def head(self, columns: Sequence[Column], empty: str) -> None:
        """Shows other columns, and no rows yet."""
        self._props["empty"] = empty
        self._props["rows"] = []
        self._set("columns", _columns(columns))

    def sorted_by(self, key: str, descending: bool) -> None:
        """Marks the column that rows are sorted by."""
        self._props["descending"] = descending
        self._set("sorted", key)

    def on_sort(self, choose: Callable[[str], None]) -> None:
        """Tells `choose` the key of a column whose head was pressed."""

        def chosen(event: GenericEventArguments) -> None:
            choose(str(event.args))

        self.on("sort", chosen)

    def _set(self, name: str, value: object) -> None:
        if self._props.get(name) != value:
            self._props[name] = value
            self.update()


def _columns(columns: Sequence[Column]) -> list[dict[str, Any]]:
    return [asdict(column) | {"key": column.key or f"{place}"} for place, column in enumerate(columns)]
