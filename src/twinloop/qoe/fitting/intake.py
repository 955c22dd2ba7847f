"""Ratings from a person's own arrays: checked, padded to one width, and what is odd about them said."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike, NDArray

from twinloop.errors import DataError
from twinloop.qoe.experience import BEST, WORST, Conditions
from twinloop.qoe.fitting.likelihood import Ratings

_RANGES = {
    "stall_s": (0.0, 60.0, 0.0, "seconds of stalling in a rated minute; milliseconds are divided by 1,000"),
    "quality": (0.0, 1.0, 0.0, "a share; per cent are divided by 100"),
    "behaviour": (1.0, 2.0, 1.0, "1 + min(swipes per minute / 12, 1)"),
    "environment": (1.0, 2.0, 1.0, "1 + (40 - v) / 38, v in km/h"),
}


@dataclass(frozen=True)
class Intake:
    """Ratings by user, in the order of `users`, and `notes`: what the data cannot tell, in a line each."""

    ratings: Ratings
    users: tuple[str, ...]
    notes: tuple[str, ...]


def take_ratings(
    user: Sequence[str],
    score: ArrayLike,
    conditions: Mapping[str, ArrayLike],
    *,
    known: Sequence[str] = (),
    source: Path | str = "ratings",
) -> Intake:
    """One row a rating: who gave it, the score in [1, 5], and `stall_s`, `quality`, `behaviour`, `environment`.

    `known` users have a row even without any rating. Conditions that are not given count as harmless (no stalls; 1)
    or, for quality, as .5, with a note. Raises DataError, naming column and line (the first rating is line 2 of a
    table), for scores or conditions outside their range or not finite, and for columns of different lengths.
    """
    values = _column(score, "score", len(user), source)
    _within(
        values, WORST, BEST, "score", "the scale of opinion scores; those of 0-100 are mapped by 1 + score/25", source
    )
    columns, notes = _conditions(conditions, len(user), source)
    users = tuple(dict.fromkeys([*known, *user]))
    if not users:
        raise DataError(source, "there is no user in it", "at least one rating")
    owner, slot, count = _places(users, user)
    width = max(int(count.max()), 1)

    def padded(column: NDArray[np.float64], empty: float) -> NDArray[np.float32]:
        table = np.full((len(users), width), empty, np.float32)
        table[owner, slot] = column
        return table

    named = {name: jnp.asarray(padded(columns[name], _RANGES[name][2])) for name in _RANGES}
    weight = padded(np.ones(len(owner)), 0.0)
    ratings = Ratings(Conditions(**named), jnp.asarray(padded(values, WORST)), jnp.asarray(weight))
    notes += _of_users(users, count) + _constant(
        {name: columns[name] for name in _RANGES if name in conditions}, values
    )
    return Intake(ratings, users, tuple(notes))


def by_user(users: Sequence[str], who: Sequence[str], column: ArrayLike, width: int) -> NDArray[np.float32]:
    """A column as a table, a row a user, each one's values in their order as `take_ratings` sets them; 0 elsewhere."""
    owner, slot, _ = _places(users, who)
    table = np.zeros((len(users), width), np.float32)
    table[owner, slot] = column
    return table


def _places(users: Sequence[str], who: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Row and place within it of every rating, and how many each user has."""
    row = {user: index for index, user in enumerate(users)}
    owner = np.array([row[one] for one in who], np.int64)
    count = np.bincount(owner, minlength=len(users))
    order = np.argsort(owner, kind="stable")
    slot = np.empty(len(owner), np.int64)
    slot[order] = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)
    return owner, slot, count


def _column(values: ArrayLike, name: str, rows: int, source: Path | str) -> NDArray[np.float64]:
    try:
        column = np.asarray(values, np.float64)
    except (TypeError, ValueError):
        raise DataError(source, f"column {name} holds what is no number", "numbers") from None
    if column.shape != (rows,):
        raise DataError(source, f"column {name} has {column.size} values for {rows} ratings", "one a rating")
    if not np.all(np.isfinite(column)):
        line = int(np.flatnonzero(~np.isfinite(column))[0]) + 2
        raise DataError(source, f"column {name} is not a finite number", "a number, or no row", line=line)
    return column


def _within(column: NDArray[np.float64], low: float, high: float, name: str, meaning: str, source: Path | str) -> None:
    outside = np.flatnonzero((column < low) | (column > high))
    if outside.size:
        value = column[outside[0]]
        raise DataError(source, f"{name} {value:g}", f"{low:g} to {high:g}: {meaning}", line=int(outside[0]) + 2)


def _conditions(
    given: Mapping[str, ArrayLike], rows: int, source: Path | str
) -> tuple[dict[str, NDArray[np.float64]], list[str]]:
    unknown = set(given) - set(_RANGES)
    if unknown:
        raise DataError(source, f"unknown condition {sorted(unknown)[0]!r}", f"some of {', '.join(_RANGES)}")
    columns: dict[str, NDArray[np.float64]] = {}
    notes: list[str] = []
    for name, (low, high, harmless, meaning) in _RANGES.items():
        if name not in given:
            columns[name] = np.full(rows, 0.5 if name == "quality" else harmless)
            notes.append(f"{name} is not given: nothing can be told of it")
            continue
        columns[name] = _column(given[name], name, rows, source)
        _within(columns[name], low, high, name, meaning, source)
    return columns, notes


def _of_users(users: Sequence[str], count: NDArray[np.int64]) -> list[str]:
    notes: list[str] = []
    for number, what in ((0, "no rating: the population's model"), (1, "one rating: nearly the population's model")):
        found = [name for name, ratings in zip(users, count, strict=True) if ratings == number]
        if found:
            shown = ", ".join(found[:3]) + (f" and {len(found) - 3:,} more" if len(found) > 3 else "")
            notes.append(f"{shown}: {what} is used")
    return notes


def _constant(columns: Mapping[str, NDArray[np.float64]], score: NDArray[np.float64]) -> list[str]:
    if len(score) < 2:
        return []
    notes = [f"{name} never changes: its effect cannot be told" for name, one in columns.items() if np.ptp(one) == 0]
    return notes + (["all scores are the same: no factor can be told"] if np.ptp(score) == 0 else [])
