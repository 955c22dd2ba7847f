"""A person's own CSV files as sequences: a column of time, one to forecast, and any number of covariates."""

import csv
from collections.abc import Sequence
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from twinloop.errors import DataError
from twinloop.learning import Quantity
from twinloop.training.forecasting.sequences import Sequence as OneSequence
from twinloop.training.forecasting.sequences import SequenceSet, blocks, step_means

MISSING = frozenset({"", "-", "na", "nan", "null", "none"})
_FEW_FILES = 4
_BLOCKS = 8
_CONTEXT = 30
_SPARSEST = 20
_SHARE_OF_CHANGE = 0.05

Values = Float64[np.ndarray, " rows"]


def read_own_table(paths: Sequence[Path], time: str, value: str, covariates: Sequence[str] = ()) -> SequenceSet:
    """Sequences of the column `value` of each file on a grid of the median step of `time` (seconds, or ISO 8601).

    Fewer than four files are cut into blocks of time, eight in all. Raises DataError naming file, line and column of
    what is no number, and for columns that hold nothing or never change.
    """
    if not paths:
        raise DataError("csv", "no file given", "--file FILE, as often as there are files")
    read = [_columns(path, (time, value, *covariates)) for path in paths]
    seconds = [_seconds(path, time, *columns[time]) for path, columns in zip(paths, read, strict=True)]
    step_s = float(np.median(np.concatenate([np.diff(one)[np.diff(one) > 0] for one in seconds])))
    numbers = [
        {name: _numbers(path, name, *columns[name]) for name in (value, *covariates)}
        for path, columns in zip(paths, read, strict=True)
    ]
    for name in (value, *covariates):
        _check_holds(paths, name, [one[name] for one in numbers], constant=name == value)
    sequences = [
        _on_grid(path, at, columns, value, tuple(covariates), step_s)
        for path, at, columns in zip(paths, seconds, numbers, strict=True)
    ]
    if len(sequences) < _FEW_FILES:
        each = -(-_BLOCKS // len(sequences))
        sequences = [part for whole in sequences for part in blocks(whole, max(len(whole.value) // each, 1), _CONTEXT)]
    changes = np.concatenate([np.abs(np.diff(one[value][np.isfinite(one[value])])) for one in numbers])
    form = Quantity(resolution=float(_SHARE_OF_CHANGE * np.median(changes[changes > 0])))
    step = f"{step_s:g} s, the median between rows"
    return SequenceSet(
        "csv", value, "its unit", step_s, step, tuple(covariates), form, -np.inf, np.inf, tuple(sequences)
    )


Texts = tuple[list[int], list[str]]


def _columns(path: Path, names: Sequence[str]) -> dict[str, Texts]:
    """Line numbers and texts of the columns asked for. Raises DataError where the file or one of them is not there."""
    try:
        rows = list(enumerate(csv.reader(path.read_text(encoding="utf-8-sig").splitlines()), start=1))
    except (OSError, UnicodeDecodeError, csv.Error) as fault:
        raise DataError(path, f"cannot be read ({fault})", "a CSV file with a header") from None
    rows = [(line, row) for line, row in rows if any(field.strip() for field in row)]
    if len(rows) < 2:
        raise DataError(path, "no row below the header", "a header and rows")
    header = [field.strip() for field in rows[0][1]]
    for name in names:
        if name not in header:
            near = get_close_matches(name, header, n=1)
            expected = f"did you mean {near[0]}?" if near else f"one of {', '.join(header)}"
            raise DataError(path, f"no column {name!r}", expected, line=rows[0][0])
    for line, row in rows:
        if len(row) != len(header):
            raise DataError(path, f"{len(row)} columns", f"{len(header)}, as in the header", line=line)
    lines = [line for line, _ in rows[1:]]
    return {name: (lines, [row[header.index(name)].strip() for _, row in rows[1:]]) for name in names}


def _numbers(path: Path, name: str, lines: list[int], texts: list[str]) -> Values:
    values = np.full(len(texts), np.nan)
    for index, text in enumerate(texts):
        if text.lower() in MISSING:
            continue
        try:
            values[index] = float(text)
        except ValueError:
            raise DataError(
                path, f"{name} is {text!r}", "a number, or nothing where it is missing", line=lines[index]
            ) from None
        if not np.isfinite(values[index]):
            raise DataError(path, f"{name} is {text!r}", "a finite number", line=lines[index])
    return values


def _seconds(path: Path, name: str, lines: list[int], texts: list[str]) -> Values:
    """Seconds from the first row on. Raises DataError for what is no time, and where time runs backwards."""
    values = np.zeros(len(texts))
    for index, text in enumerate(texts):
        try:
            values[index] = float(text)
        except ValueError:
            values[index] = _moment(path, name, text, lines[index])
    back = np.flatnonzero(np.diff(values) < 0)
    if back.size:
        row = int(back[0]) + 1
        raise DataError(path, f"{name} {texts[row]} follows {texts[row - 1]}", "rows in order of time", line=lines[row])
    if not np.isfinite(values).all() or values[0] == values[-1]:
        raise DataError(path, f"{name} does not advance", "seconds or ISO times that increase")
    return values - values[0]


def _moment(path: Path, name: str, text: str, line: int) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise DataError(path, f"{name} is {text!r}", "seconds, or a time like 2026-01-31T12:00:00", line=line) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _check_holds(paths: Sequence[Path], name: str, columns: list[Values], *, constant: bool) -> None:
    known = np.concatenate([column[np.isfinite(column)] for column in columns])
    if not known.size:
        raise DataError(paths[0], f"column {name!r} holds no number at all", "a column with values; leave this one out")
    if constant and np.ptp(known) <= 0:
        raise DataError(paths[0], f"column {name!r} is constant ({known[0]:g})", "a quantity that changes")


def _on_grid(
    path: Path, at_s: Values, columns: dict[str, Values], value: str, covariates: tuple[str, ...], step_s: float
) -> OneSequence:
    step = np.floor(at_s / step_s + 0.5).astype(np.int64)
    steps = int(step[-1]) + 1
    if steps > _SPARSEST * len(step) + 100:
        problem = f"{len(step)} rows, {step_s:g} s apart in the median, span {at_s[-1]:g} s"
        raise DataError(path, problem, "rows in most of the steps; part the file at its long gaps")
    beside = [step_means(step, columns[name], steps) for name in covariates]
    table = np.stack(beside, axis=1) if beside else np.zeros((steps, 0))
    return OneSequence(path.stem, step_means(step, columns[value], steps), table, np.ones(steps, bool))
