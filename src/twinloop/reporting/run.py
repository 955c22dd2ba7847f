"""A run directory, opened for reading: what was asked, the summary, and the traces by column."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
from numpy.typing import NDArray

from twinloop.errors import OutputError
from twinloop.scenario import fields_of
from twinloop.units import seconds_from_text

Values: TypeAlias = NDArray[Any]
TABLES = (
    "users",
    "experience",
    "cells",
    "servers",
    "slices",
    "twins",
    "forecasts",
    "collection",
    "requests",
    "decisions",
    "needs",
    "foreseen",
    "revisions",
    "looks",
    "value",
    "retention",
)


@dataclass(frozen=True)
class Site:
    """Where a cell stands: one point, or the corners of the path that it flies."""

    name: str
    path_m: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class SliceEvent:
    """A change in the life of a slice that the scenario orders."""

    at_s: float
    change: str
    slice: str


@dataclass(frozen=True)
class Run:
    """A run directory. Columns are read when asked for, once; `summary` is empty where a run ended before it."""

    directory: Path
    summary: Mapping[str, Any]
    command: Mapping[str, Any]
    scenario_text: str
    scenario: Mapping[str, Any]
    _columns: dict[tuple[str, str], Values] = field(
        default_factory=lambda: dict[tuple[str, str], Values](), repr=False, compare=False
    )

    def has(self, table: str) -> bool:
        """Whether the directory holds the trace `table`."""
        return self._source(table).exists()

    def columns(self, table: str, *names: str) -> tuple[Values, ...]:
        """The columns `names` of the trace `table`, in the file's row order.

        Raises OutputError, as a sentence for the reader, when the trace is missing, unreadable or empty, when a column
        is missing, or when a column of numbers holds no number at all.
        """
        missing = [name for name in names if (table, name) not in self._columns]
        if missing:
            self._columns.update({(table, name): values for name, values in self._read(table, missing).items()})
        found = tuple(self._columns[table, name] for name in names)
        if not len(found[0]):
            raise OutputError(f"{table}.parquet is empty: the run ended before anything was recorded there")
        for name, values in zip(names, found, strict=True):
            if values.dtype.kind == "f" and not np.isfinite(values).any():
                raise OutputError(f"column {name} of {table}.parquet holds no number")
        return found

    def optional(self, table: str, name: str) -> Values | None:
        """One column, or None where `columns` would raise."""
        try:
            return self.columns(table, name)[0]
        except OutputError:
            return None

    @property
    def slot_s(self) -> float:
        """Length of a slot in seconds; 1 where the run does not say."""
        return float(self.summary.get("slot_s", 1.0))

    @property
    def slots(self) -> int:
        """Slots that ran, from the summary or else from the longest trace."""
        if "slots" in self.summary:
            return int(self.summary["slots"])
        ends = [self.optional(table, "slot") for table in TABLES if table not in ("value", "retention")]
        return max((int(slot.max()) + 1 for slot in ends if slot is not None), default=0)

    @property
    def interrupted(self) -> bool:
        """Whether the run stopped before its end: the summary says so, fell short of its plan, or was never written."""
        planned = int(self.summary.get("planned_slots", 0))
        return not self.summary or bool(self.summary.get("interrupted", False)) or self.slots < planned

    def names(self, kind: str, ids: Sequence[Any]) -> list[str]:
        """Display names of rows of `cells`, `servers` or `slices`: text as it is, numbers by the scenario's list."""
        listed = [str(item.get("name", "")) for item in _listed(self.scenario, kind)]
        return [_name(kind, listed, identity) for identity in ids]

    def sites(self) -> list[Site]:
        """Positions of the cells as the scenario gives them; empty where it does not."""
        cells = _listed(self.scenario, "cells")
        names = self.names("cells", range(len(cells)))
        paths = [_points(cell.get("path_m") or [cell.get("position_m")]) for cell in cells]
        return [Site(name, path) for name, path in zip(names, paths, strict=True) if path]

    def events(self) -> list[SliceEvent]:
        """Changes of slices that the scenario orders within the time that ran; of refused ones, that they were."""
        found = [(_seconds(event.get("at")), event) for event in _listed(self.scenario, "events")]
        answers = {int(order["number"]): str(order["answer"]) for order in self.summary.get("orders") or []}
        words = {"refused": "refused:"}
        return [
            SliceEvent(
                at_s,
                words.get(answers.get(number, ""), str(event.get("change", "change"))),
                str(event.get("slice", "")).replace("_", " "),
            )
            for number, (at_s, event) in enumerate(found)
            if at_s is not None and at_s < self.slots * self.slot_s and answers.get(number) != "left out"
        ]

    def _source(self, table: str) -> Path:
        """The file of a trace, or the folder of its parts where a run ended before it joined them."""
        path, parts = self.directory / f"{table}.parquet", self.directory / "parts" / table
        return parts if parts.is_dir() and not path.exists() else path

    def _read(self, table: str, names: list[str]) -> dict[str, Values]:
        path = self._source(table)
        if not path.exists():
            raise OutputError(f"this run holds no {path.name}")
        try:
            dataset = ds.dataset(path, format="parquet")
            absent = sorted(set(names) - set(dataset.schema.names))
            if absent:
                raise OutputError(f"{path.name} has no column {', '.join(absent)}")
            read = dataset.to_table(columns=names)
        except (pa.ArrowException, OSError) as error:
            raise OutputError(f"{path.name} cannot be read: {str(error).splitlines()[0]}") from error
        return {name: _numpy(read.column(name)) for name in names}


def open_run(run: "Run | Path | str") -> Run:
    """The run directory `run`, opened; a `Run` is returned as it is.

    Raises OutputError when the directory does not exist, is not a run directory, or a text in it cannot be parsed.
    """
    if isinstance(run, Run):
        return run
    directory = Path(run)
    if not directory.is_dir():
        raise OutputError(f"{directory} is not a directory; give the folder that `twinloop run --out` wrote")
    known = ("summary.json", "scenario.yaml", *(f"{table}.parquet" for table in TABLES))
    if not any((directory / name).exists() for name in known):
        raise OutputError(f"{directory} is not a run directory: it holds neither summary.json nor a trace")
    text = _text(directory / "scenario.yaml")
    return Run(
        directory, read_json(directory / "summary.json"), read_json(directory / "command.json"), text, fields_of(text)
    )


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in `path`, empty when there is no such file. Raises OutputError when it is something else."""
    text = _text(path)
    if not text:
        return {}
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise OutputError(f"{path} is not JSON (line {error.lineno}); delete it or run again") from error
    if not isinstance(content, dict):
        raise OutputError(f"{path} holds no JSON object; delete it or run again")
    return cast("dict[str, Any]", content)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _numpy(column: pa.ChunkedArray) -> Values:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return np.array(["" if text is None else text for text in column.to_pylist()], dtype=object)
    return column.to_numpy()


def _listed(tree: Any, key: str) -> list[Mapping[str, Any]]:
    """First list of mappings under `key` anywhere in the scenario, breadth first."""
    if not isinstance(tree, Mapping):
        return []
    branch = cast("Mapping[str, Any]", tree)
    found = branch.get(key)
    if isinstance(found, list) and all(isinstance(item, Mapping) for item in cast("list[Any]", found)):
        return cast("list[Mapping[str, Any]]", found)
    deeper = (_listed(child, key) for child in branch.values())
    return next((entries for entries in deeper if entries), [])


def _name(kind: str, listed: list[str], identity: Any) -> str:
    if isinstance(identity, str):
        return identity.replace("_", " ")
    index = int(identity)
    named = listed[index] if 0 <= index < len(listed) else ""
    return named.replace("_", " ") or f"{kind.removesuffix('s')} {index}"


def _seconds(value: Any) -> float | None:
    try:
        return seconds_from_text(value) if isinstance(value, str) else float(value)
    except (TypeError, ValueError):
        return None


def _points(path: Any) -> tuple[tuple[float, float], ...]:
    try:
        return tuple((float(x_m), float(y_m)) for x_m, y_m in path)
    except (TypeError, ValueError):
        return ()
