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
from jaxtyping import Array, Float, Float64

from twinloop.errors import DataError
from twinloop.qoe import Engagement, Intake, Ratings, behaviour_of, environment_of, take_ratings
from twinloop.training.experience.unrated import Behaviour
from twinloop.units import mps_from_kmh

Scale = Literal["5", "100"]
Values = Float64[np.ndarray, " rows"]


class _Unit(NamedTuple):
    aspect: str
    low: float
    high: float
    to_condition: Callable[[Values], Values]


_LEAST_BPS, _MOST_BPS = 0.5e6, 3e6


def _quality(rate_bps: Values) -> Values:
    """Q = ln(r/r_min)/ln(r_max/r_min) of the catalogue's rates, .5 and 3 Mbit/s, within [0, 1]."""
    return np.clip(np.log(np.maximum(rate_bps, 1.0) / _LEAST_BPS) / np.log(_MOST_BPS / _LEAST_BPS), 0.0, 1.0)


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
        "bitrate_bps": _Unit("quality", 1e4, 1e9, _quality),
        "bitrate_kbps": _Unit("quality", 10.0, 1e6, lambda x: _quality(1e3 * x)),
        "bitrate_mbps": _Unit("quality", 0.01, 1e3, lambda x: _quality(1e6 * x)),
        "swipes_per_min": _Unit("behaviour", 0.0, 120.0, _behaviour),
        "behaviour": _Unit("behaviour", 1.0, 2.0, lambda x: x),
        "speed_kmh": _Unit("environment", 0.0, 500.0, lambda x: _environment(mps_from_kmh(1.0) * x)),
        "speed_mps": _Unit("environment", 0.0, 140.0, _environment),
        "environment": _Unit("environment", 1.0, 2.0, lambda x: x),
    }
)
"""Columns of factors, each with its unit, range and the condition of a rated minute that it gives."""

BEHAVIOUR: Final = ("watch_ratio", "early_swipe_share")
"""Columns of how a minute was used: watched part of its videos, and share of them left early, both in [0, 1]."""

_NEEDED = ("user", "score")
_ENDS: Final[Mapping[str, tuple[float, float]]] = MappingProxyType({"5": (1.0, 5.0), "100": (0.0, 100.0)})
_AGREE = 0.02
_TELLING = 3


@dataclass(frozen=True)
class OwnScores:
    """Ratings by user, the scale that scores were given on, and what was noticed, a line each; `behaviour` where there
    are columns of it.
    """

    intake: Intake
    scale: Scale
    notes: tuple[str, ...]
    behaviour: Behaviour | None = None


def read_own_scores(path: Path, scale: Scale | None = None) -> OwnScores:
    """Ratings from the columns user, score and those of `COLUMNS` that are there.

    A score on 0-100 counts as 1 + score/25. A row without a score makes its user known, no more, unless there are
    columns of `BEHAVIOUR`. Raises DataError,
    naming line, column, value and what is allowed: for scores outside the scale, contradicting scales or units, unknown
    columns close to a known one, and files without users, scores or factors.
    """
    header, lines, cells = _read(path)
    _check_header(path, header)
    users = [row[header.index("user")] for row in cells]
    for line, user in zip(lines, users, strict=True):
        if not user:
            raise DataError(path, "no user", "a name in the column user", line=line)
    score_text = [row[header.index("score")] for row in cells]
    rated = np.array([bool(text) for text in score_text])
    if not rated.any():
        raise DataError(path, "no score at all", "scores in the column score of at least one row")
    at = [line for line, there in zip(lines, rated, strict=True) if there]
    said = _numbers(path, "score", at, [text for text in score_text if text], -np.inf, np.inf)
    who = [user for user, there in zip(users, rated, strict=True) if there]
    used = _settled(path, at, who, said, scale)
    kept = [row for row, there in zip(cells, rated, strict=True) if there]
    conditions, notes = _conditions(path, header, at, kept)
    score = said if used == "5" else 1.0 + said / 25.0
    intake = take_ratings(who, score, conditions, known=users, source=path)
    told = "1-5" if used == "5" else "0-100, counted as 1 + score/25"
    behaviour = None
    if set(header) & set(BEHAVIOUR):
        behaviour = _behaviour_of(path, header, lines, cells, rated, intake)
    return OwnScores(intake, used, (f"scores are on {told}", *notes, *intake.notes), behaviour)


def _behaviour_of(
    path: Path,
    header: Sequence[str],
    lines: Sequence[int],
    cells: Sequence[Sequence[str]],
    rated: np.ndarray,
    intake: Intake,
) -> Behaviour:
    """Behaviour in rated minutes, and conditions and behaviour in all others."""
    parts: dict[bool, tuple[Ratings, Engagement]] = {}
    for scored in (True, False):
        chosen = [row for row, there in enumerate(rated) if bool(there) == scored]
        at, kept = [lines[row] for row in chosen], [cells[row] for row in chosen]
        who = [row[header.index("user")] for row in kept]
        conditions, _ = _conditions(path, header, at, kept)
        minutes = take_ratings(who, np.full(len(who), 3.0), conditions, known=intake.users, source=path).ratings
        used = [
            _numbers(path, name, at, [row[header.index(name)] for row in kept], 0.0, 1.0)
            if name in header
            else np.zeros(len(who))
            for name in BEHAVIOUR
        ]
        watch, early = (_by_user(intake.users, who, column, minutes.score.shape[1]) for column in used)
        parts[scored] = (minutes, Engagement(watch, early, minutes.conditions.stall_s))
    minutes, engagement = parts[False]
    return Behaviour(parts[True][1], engagement, minutes.conditions, minutes.weight)


def _by_user(users: Sequence[str], who: Sequence[str], column: Values, width: int) -> Float[Array, "users periods"]:
    """A column by user, each user's rows in their order, as `take_ratings` sets them."""
    table = np.zeros((len(users), width), np.float32)
    for row, user in enumerate(users):
        own = column[[one == user for one in who]]
        table[row, : len(own)] = own
    return jnp.asarray(table)


def _read(path: Path) -> tuple[list[str], list[int], list[list[str]]]:
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
    return header, [line for line, _ in rows[1:]], [row for _, row in rows[1:]]


def _check_header(path: Path, header: Sequence[str]) -> None:
    for name in _NEEDED:
        if name not in header:
            raise DataError(path, f"no column {name!r}", f"the columns user, score and some of {', '.join(COLUMNS)}")
    twice = next((name for name in header if header.count(name) > 1), None)
    if twice is not None:
        raise DataError(path, f"column {twice!r} stands twice", "each column once", line=1)
    for name in header:
        near = get_close_matches(name, (*COLUMNS, *BEHAVIOUR), n=1, cutoff=0.7)
        if name not in COLUMNS and name not in (*_NEEDED, *BEHAVIOUR) and near:
            raise DataError(path, f"unknown column {name!r}", f"{near[0]}; units stand in the name", line=1)
    if not set(header) & set(COLUMNS):
        raise DataError(path, "no column of a factor", f"some of {', '.join(COLUMNS)}", line=1)


def _numbers(path: Path, name: str, lines: Sequence[int], texts: Sequence[str], low: float, high: float) -> Values:
    values = np.zeros(len(texts))
    for index, text in enumerate(texts):
        try:
            values[index] = float(text)
        except ValueError:
            values[index] = np.nan
        if not (np.isfinite(values[index]) and low <= values[index] <= high):
            within = "a number" if np.isinf(high) else f"a number from {low:g} to {high:g}"
            raise DataError(path, f"{name} is {text!r}", f"{within}; units stand in the name", line=lines[index])
    return values


def _settled(path: Path, lines: Sequence[int], users: Sequence[str], said: Values, scale: Scale | None) -> Scale:
    """The scale that is given, or that the scores show. Raises DataError where scores contradict it or one another."""
    high = float(said.max())
    if scale is None and said.min() >= 0.0 and 5.0 < high <= 100.0:
        few = _on_five(users, said)
        if few is not None:
            raise DataError(
                path, f"scores go up to {high:g}, yet those of {few} are all within 1-5", "one scale; say --scale"
            )
    used: Scale = scale if scale is not None else ("100" if high > 5.0 else "5")
    least, most = _ENDS[used]
    for line, value in zip(lines, said, strict=True):
        if not least <= value <= most:
            told = "" if scale is not None else ", or --scale 100 for scores of 0-100"
            raise DataError(path, f"score is {value:g}", f"a score from {least:g} to {most:g}{told}", line=line)
    return used


def _on_five(users: Sequence[str], said: Values) -> str | None:
    """The first user with several scores, of which all could be on 1-5."""
    for user in dict.fromkeys(users):
        own = said[[one == user for one in users]]
        if len(own) >= _TELLING and own.min() >= 1.0 and own.max() <= 5.0:
            return user
    return None


def _conditions(
    path: Path, header: Sequence[str], lines: Sequence[int], cells: Sequence[Sequence[str]]
) -> tuple[dict[str, Values], list[str]]:
    found: dict[str, Values] = {}
    source: dict[str, str] = {}
    notes: list[str] = []
    for index, name in enumerate(header):
        if name in (*_NEEDED, *BEHAVIOUR):
            continue
        if name not in COLUMNS:
            notes.append(f"column {name} is unknown and not used")
            continue
        unit = COLUMNS[name]
        raw = _numbers(path, name, lines, [row[index] for row in cells], unit.low, unit.high)
        values = unit.to_condition(raw)
        before = found.setdefault(unit.aspect, values)
        first = source.setdefault(unit.aspect, name)
        apart = np.flatnonzero(np.abs(before - values) > _AGREE * np.maximum(np.abs(before), 1.0))
        if len(apart):
            raise DataError(
                path, f"{first} and {name} contradict each other", "one of them, or equal values", line=lines[apart[0]]
            )
    return found, notes
