"""A person's own CSV of sessions and scores: checked, its units settled, as ratings by user."""

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Float64

from twinloop.errors import DataError
from twinloop.qoe import (
    FACTOR_NAMES,
    FACTORS,
    Engagement,
    Factor,
    Intake,
    Ratings,
    behaviour_of,
    by_user,
    environment_of,
    from_percent,
    take_ratings,
)
from twinloop.training.experience.unrated import Behaviour
from twinloop.units import mps_from_kmh

Scale = Literal["5", "100"]
Values = Float64[np.ndarray, " rows"]


class _Unit(NamedTuple):
    """The condition that a column gives; bitrates give the rate [bit/s] first, as their range is that of the table."""

    aspect: str
    low: float
    high: float
    to_condition: Callable[[Values], Values]


_LEAST_BPS, _MOST_BPS = 0.5e6, 3e6
_BITRATES: Final = ("bitrate_bps", "bitrate_kbps", "bitrate_mbps")


def _behaviour(swipes_per_min: Values) -> Values:
    return np.asarray(behaviour_of(jnp.asarray(swipes_per_min)), np.float64)


def _environment(speed_mps: Values) -> Values:
    return np.asarray(environment_of(jnp.asarray(speed_mps)), np.float64)


COLUMNS: Final[Mapping[str, _Unit]] = MappingProxyType(
    {
        "stall_s": _Unit("stall_s", 0.0, 60.0, lambda x: x),
        "stall_ms": _Unit("stall_s", 0.0, 60e3, lambda x: x / 1e3),
        "quality": _Unit("quality", 0.0, 1.0, lambda x: x),
        "quality_percent": _Unit("quality", 0.0, 100.0, lambda x: x / 100.0),
        "bitrate_bps": _Unit("quality", 1e4, 1e9, lambda x: x),
        "bitrate_kbps": _Unit("quality", 10.0, 1e6, lambda x: 1e3 * x),
        "bitrate_mbps": _Unit("quality", 0.01, 1e3, lambda x: 1e6 * x),
        "swipes_per_min": _Unit("behaviour", 0.0, 120.0, _behaviour),
        "behaviour": _Unit("behaviour", 1.0, 2.0, lambda x: x),
        "speed_kmh": _Unit("environment", 0.0, 500.0, lambda x: _environment(mps_from_kmh(1.0) * x)),
        "speed_mps": _Unit("environment", 0.0, 140.0, _environment),
        "environment": _Unit("environment", 1.0, 2.0, lambda x: x),
    }
)
"""Columns of factors, each with its unit, range and the condition of a rated minute that it gives."""

FURTHER: Final[Mapping[str, Factor]] = MappingProxyType(
    {
        column: FACTORS[FACTOR_NAMES.index(name)]
        for column, name in (
            ("throughput_bps", "throughput"),
            ("rebuffer_count", "rebuffer_count"),
            ("startup_s", "startup"),
            ("quality_change", "quality_change"),
            ("jitter_s", "jitter"),
            ("loss_ratio", "loss"),
            ("device", "device"),
            ("content", "content"),
            ("hour", "hour"),
        )
    }
)
"""Columns of further factors: whether scores depend on them can be told, though E is no function of them."""

BEHAVIOUR: Final = ("watch_ratio", "early_swipe_share")
"""Columns of how a minute was used: watched part of its videos, and share of them left early, both in [0, 1]."""

_NEEDED = ("user", "score")
_KNOWN: Final = (*COLUMNS, *FURTHER, *BEHAVIOUR, *_NEEDED)
_ENDS: Final[Mapping[str, tuple[float, float]]] = MappingProxyType({"5": (1.0, 5.0), "100": (0.0, 100.0)})
_AGREE = 0.02
_TELLING = 3


@dataclass(frozen=True)
class OwnScores:
    """Ratings by user, the scale that scores were given on, and what was noticed, a line each.

    `further` factors by name and unit, as the ratings stand; `behaviour` where there are columns of it.
    """

    intake: Intake
    scale: Scale
    notes: tuple[str, ...]
    further: Mapping[str, Float[np.ndarray, "users ratings"]]
    behaviour: Behaviour | None = None


def read_own_scores(path: Path, scale: Scale | None = None) -> OwnScores:
    """Ratings from the columns user, score and those of `COLUMNS`, `FURTHER` and `BEHAVIOUR` that are there.

    A score on 0-100 counts as 1 + score/25. A row without a score makes its user known, no more, unless there are
    columns of `BEHAVIOUR`. Raises DataError, naming line, column, value and what is allowed: for scores outside the
    scale, contradicting scales or units, unknown columns close to a known one, and files without users, scores or
    factors.
    """
    table = _read(path)
    _check_header(path, table.header)
    users = table.column("user")
    for line, user in zip(table.lines, users, strict=True):
        if not user:
            raise DataError(path, "no user", "a name in the column user", line=line)
    rated = np.array([bool(text) for text in table.column("score")])
    if not rated.any():
        raise DataError(path, "no score at all", "scores in the column score of at least one row")
    scored = table.rows(rated)
    said = _numbers(scored, "score", -np.inf, np.inf)
    used = _settled(scored, said, scale)
    shown = set(table.header) & set(BEHAVIOUR)
    conditions, notes = _conditions(table if shown else scored)
    of_rated = {name: values[rated] if shown else values for name, values in conditions.items()}
    score = said if used == "5" else np.asarray(from_percent(jnp.asarray(said)), np.float64)
    intake = take_ratings(scored.column("user"), score, of_rated, known=users, source=path)
    told = "1-5" if used == "5" else "0-100, counted as 1 + score/25"
    further, unused = _further(scored, intake)
    behaviour = _behaviour_of(table, conditions, rated, intake) if shown else None
    notes = (f"scores are on {told}", *notes, *unused, *intake.notes)
    return OwnScores(intake, used, notes, further, behaviour)


@dataclass(frozen=True)
class _Table:
    """Cells of a file, and the line that each row ends on."""

    path: Path
    header: Sequence[str]
    lines: Sequence[int]
    cells: Sequence[Sequence[str]]

    def column(self, name: str) -> list[str]:
        """Texts of a column."""
        at = self.header.index(name)
        return [row[at] for row in self.cells]

    def rows(self, kept: Bool[np.ndarray, " rows"]) -> "_Table":
        """The rows that are marked."""
        at = [int(row) for row in np.flatnonzero(kept)]
        return _Table(self.path, self.header, [self.lines[row] for row in at], [self.cells[row] for row in at])


def _further(scored: _Table, intake: Intake) -> tuple[dict[str, Float[np.ndarray, "users ratings"]], list[str]]:
    """Further factors by what they are called, and a note for each column of codes that are no numbers."""
    found: dict[str, Float[np.ndarray, "users ratings"]] = {}
    notes: list[str] = []
    who, width = scored.column("user"), intake.ratings.score.shape[1]
    for name in scored.header:
        if name not in FURTHER:
            continue
        factor = FURTHER[name]
        if factor.direction == 0 and not all(map(_is_number, scored.column(name))):
            notes.append(f"column {name} holds no numbers and is not used")
            continue
        values = _numbers(scored, name, factor.low, factor.high)
        told = name if factor.unit in ("1", "code", "h") else f"{factor.name} ({factor.unit})"
        found[told] = by_user(intake.users, who, values, width)
    return found, notes


def _behaviour_of(
    table: _Table, conditions: Mapping[str, Values], rated: Bool[np.ndarray, " rows"], intake: Intake
) -> Behaviour:
    """Behaviour in rated minutes, and conditions and behaviour in all others."""
    parts: list[tuple[Ratings, Engagement]] = []
    for chosen in (rated, ~rated):
        some = table.rows(chosen)
        who = some.column("user")
        of_some = {name: values[chosen] for name, values in conditions.items()}
        minutes = take_ratings(who, np.full(len(who), 3.0), of_some, known=intake.users, source=table.path).ratings
        watch, early = (
            by_user(
                intake.users,
                who,
                _numbers(some, name, 0.0, 1.0) if name in table.header else np.zeros(len(who)),
                minutes.score.shape[1],
            )
            for name in BEHAVIOUR
        )
        parts.append((minutes, Engagement(jnp.asarray(watch), jnp.asarray(early), minutes.conditions.stall_s)))
    minutes, engagement = parts[1]
    return Behaviour(parts[0][1], engagement, minutes.conditions, minutes.weight)


def _read(path: Path) -> _Table:
    try:
        with path.open(encoding="utf-8-sig", newline="") as opened:
            reader = csv.reader(opened)
            rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if any(map(str.strip, row))]
    except (OSError, UnicodeDecodeError, csv.Error) as fault:
        raise DataError(path, f"cannot be read ({fault})", "a CSV file with a header") from None
    if len(rows) < 2:
        raise DataError(path, "no row below the header", "a header and rows")
    header = rows[0][1]
    for line, row in rows:
        if len(row) != len(header):
            raise DataError(path, f"{len(row)} columns", f"{len(header)}, as in the header", line=line)
    return _Table(path, header, [line for line, _ in rows[1:]], [row for _, row in rows[1:]])


def _check_header(path: Path, header: Sequence[str]) -> None:
    for name in _NEEDED:
        if name not in header:
            raise DataError(path, f"no column {name!r}", f"the columns user, score and some of {', '.join(COLUMNS)}")
    twice = next((name for name in header if header.count(name) > 1), None)
    if twice is not None:
        raise DataError(path, f"column {twice!r} stands twice", "each column once", line=1)
    for name in header:
        near = get_close_matches(name, (*COLUMNS, *FURTHER, *BEHAVIOUR), n=1, cutoff=0.7)
        if name not in _KNOWN and near:
            raise DataError(path, f"unknown column {name!r}", f"{near[0]}; units stand in the name", line=1)
    if not set(header) & set(COLUMNS):
        raise DataError(path, "no column of a factor", f"some of {', '.join(COLUMNS)}", line=1)


def _is_number(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False


def _numbers(table: _Table, name: str, low: float, high: float) -> Values:
    texts = table.column(name)
    values = np.zeros(len(texts))
    for index, text in enumerate(texts):
        if not (_is_number(text) and low <= float(text) <= high):
            within = "a number" if np.isinf(high) else f"a number from {low:g} to {high:g}"
            raise DataError(
                table.path, f"{name} is {text!r}", f"{within}; units stand in the name", line=table.lines[index]
            )
        values[index] = float(text)
    return values


def _settled(scored: _Table, said: Values, scale: Scale | None) -> Scale:
    """The scale that is given, or that the scores show. Raises DataError where scores contradict it or one another."""
    high = float(said.max())
    if scale is None and said.min() >= 0.0 and 5.0 < high <= 100.0:
        few = _on_five(scored.column("user"), said)
        if few is not None:
            raise DataError(
                scored.path,
                f"scores go up to {high:g}, yet those of {few} are all within 1-5",
                "one scale; say --scale",
            )
    used: Scale = scale if scale is not None else ("100" if high > 5.0 else "5")
    least, most = _ENDS[used]
    for line, value in zip(scored.lines, said, strict=True):
        if not least <= value <= most:
            told = "" if scale is not None else ", or --scale 100 for scores of 0-100"
            raise DataError(scored.path, f"score is {value:g}", f"a score from {least:g} to {most:g}{told}", line=line)
    return used


def _on_five(users: Sequence[str], said: Values) -> str | None:
    """The first user with several scores, of which all could be on 1-5."""
    own: dict[str, list[float]] = {}
    for user, value in zip(users, said, strict=True):
        own.setdefault(user, []).append(value)
    many = ((user, given) for user, given in own.items() if len(given) >= _TELLING)
    return next((user for user, given in many if min(given) >= 1.0 and max(given) <= 5.0), None)


def _conditions(table: _Table) -> tuple[dict[str, Values], list[str]]:
    found: dict[str, Values] = {}
    source: dict[str, str] = {}
    notes = [f"column {name} is unknown and not used" for name in table.header if name not in _KNOWN]
    columns = {
        name: COLUMNS[name].to_condition(_numbers(table, name, COLUMNS[name].low, COLUMNS[name].high))
        for name in table.header
        if name in COLUMNS
    }
    rates = [name for name in _BITRATES if name in columns]
    if rates:
        least = min(_LEAST_BPS, *(float(columns[name].min()) for name in rates))
        most = max(_MOST_BPS, *(float(columns[name].max()) for name in rates))
        columns |= {name: np.log(columns[name] / least) / np.log(most / least) for name in rates}
        if (least, most) != (_LEAST_BPS, _MOST_BPS):
            notes.append(f"quality is 0 at {least / 1e6:g} and 1 at {most / 1e6:g} Mbit/s, the ends of this table")
    for name, values in columns.items():
        aspect = COLUMNS[name].aspect
        before = found.setdefault(aspect, values)
        first = source.setdefault(aspect, name)
        apart = np.flatnonzero(np.abs(before - values) > _AGREE * np.maximum(np.abs(before), 1.0))
        if len(apart):
            raise DataError(
                table.path,
                f"{first} and {name} contradict each other",
                "one of them, or equal values",
                line=table.lines[apart[0]],
            )
    return found, notes
