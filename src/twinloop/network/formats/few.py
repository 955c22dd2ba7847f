"""A handful of plain rows, of which nothing needs a closer look: arrays pay only for more."""

import functools

from twinloop.network.formats.names import KINDS, vocabulary
from twinloop.network.formats.wire import Batch, Row, name_is_fit

FEW = 16
_NAN = float("nan")

Line = tuple[str, float, list[float], str | None, str | None]
"""Id, time, values by column, slice and group of one row."""


def few_plain(batch: Batch, now_s: float, shift_s: float, latest_s: float) -> dict[str, list[Line]] | None:
    """Lines by kind (`users`, ...) of a small batch whose rows are all in order and use attributes' own names.

    None where anything is otherwise; then `check` finds out what it is. Parameters as in `check`; times are below
    `latest_s` epoch seconds.
    """
    if batch.refused or batch.columns or len(batch.rows) > FEW:
        return None
    found: dict[str, list[Line]] = {}
    for row in batch.rows:
        line = _line(row, now_s, shift_s, latest_s)
        if line is None:
            return None
        found.setdefault(KINDS[row.kind], []).append(line)
    return found


def _line(row: Row, now_s: float, shift_s: float, latest_s: float) -> Line | None:
    if row.kind not in KINDS or not name_is_fit(row.id):
        return None
    if row.kind != "user" and (row.slice is not None or row.group is not None):
        return None
    if any(name is not None and not name_is_fit(name) for name in (row.slice, row.group)):
        return None
    time_s = now_s
    if row.time_s is not None:
        if not 0 <= row.time_s < latest_s:
            return None
        time_s = row.time_s + shift_s
    rules = _rules(row.kind)
    values = [_NAN] * len(rules)
    for name, value in row.values.items():
        rule = rules.get(name)
        if rule is None:
            return None
        if value is not None:
            column, low, high, whole = rule
            if not low <= value <= high or (whole and value != int(value)):
                return None
            values[column] = max(low, value)
    return row.id, time_s, values, row.slice, row.group


@functools.cache
def _rules(kind: str) -> dict[str, tuple[int, float, float, bool]]:
    """By attribute its column, bounds, and whether it is a whole number."""
    words = vocabulary(kind)
    limits = zip(words.low.tolist(), words.high.tolist(), words.whole.tolist(), strict=True)
    return {entry.name: (at, *limit) for at, (entry, limit) in enumerate(zip(words.table, limits, strict=True))}
