"""Rows of a batch to arrays by kind: names resolved, units converted, every number checked, bad rows refused whole."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from twinloop.network.formats.blocks import Block, blocks_of
from twinloop.network.formats.decoding import REFUSED_TEXT_CHARACTERS, ROW_TEXT_CHARACTERS
from twinloop.network.formats.few import Line, few_plain
from twinloop.network.formats.names import (
    KINDS,
    PRB_WIDTH_HZ,
    Vocabulary,
    in_own_unit,
    needs_period,
    vocabulary,
)
from twinloop.network.formats.wire import (
    LATEST_S,
    NAME_RULE,
    Batch,
    Receipt,
    Refusal,
    name_is_fit,
    shown,
    time_fault,
)


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Accepted rows of one kind (`users`, `cells`, `servers`), in the order of arrival.

    `time_s` is when each was measured. `value` has the columns of the kind's table of attributes, in its units, NaN
    where the row says nothing. `slices` and `groups` hold names, None where the row names none.
    """

    kind: str
    ids: list[str]
    time_s: Float64[np.ndarray, " rows"]
    value: Float32[np.ndarray, "rows attributes"]
    slices: list[str | None]
    groups: list[str | None]


@dataclass(frozen=True, slots=True, eq=False)
class Accepted:
    """What of a batch goes on: rows by kind, refusals with reasons, receipts.

    `ignored` counts names of the standards for which twins have no attribute.
    """

    rows: tuple[Rows, ...]
    refused: tuple[Refusal, ...]
    receipts: tuple[Receipt, ...]
    ignored: dict[str, int]


def check(batch: Batch, now_s: float, *, prb_width_hz: float = PRB_WIDTH_HZ, shift_s: float = 0.0) -> Accepted:
    """What of a batch can go to the twins.

    `now_s` is the time of arrival in epoch seconds, taken for rows without a time; `shift_s` is added to the time of
    all others, which a clock gave that is so many seconds behind. `prb_width_hz` is the width of the
    resource blocks that `RRU.PrbUsedDl` counts (360 kHz at a subcarrier spacing of 30 kHz). A row is refused whole,
    with the reason, where its kind, a name or its id is unknown or unfit, its time is not finite or negative, or a
    value is not finite, outside of its attribute's range, or not whole where only whole numbers make sense.
    """
    plain = few_plain(batch, now_s, shift_s, LATEST_S)
    if plain is not None:
        rows = tuple(_of_lines(kind, plain[kind]) for kind in KINDS.values() if kind in plain)
        return Accepted(rows, (), tuple(batch.receipts), {})
    refused = list(batch.refused)
    room = REFUSED_TEXT_CHARACTERS - sum(len(refusal.row) for refusal in refused)
    found: dict[str, list[Rows]] = {}
    ignored: dict[str, int] = {}
    for block in blocks_of(batch):
        faults = dict(block.faults)
        if block.kind in KINDS:
            rows = _checked(block, now_s, shift_s, prb_width_hz, faults, ignored)
            if rows.ids:
                found.setdefault(rows.kind, []).append(rows)
        for row in sorted(faults):
            text = block.text(row)[:ROW_TEXT_CHARACTERS] if room > 0 else ""
            room -= len(text)
            refused.append(Refusal(block.places[row], block.kind[:128], block.ids[row][:128], faults[row], text))
    rows = tuple(_joined(found[kind]) for kind in KINDS.values() if kind in found)
    refused.sort(key=lambda refusal: refusal.index)
    return Accepted(rows, tuple(refused), tuple(batch.receipts), ignored)


def _of_lines(kind: str, lines: Sequence[Line]) -> Rows:
    ids, time_s, value, slices, groups = zip(*lines, strict=True)
    return Rows(kind, list(ids), np.array(time_s, np.float64), np.array(value, np.float32), list(slices), list(groups))


def _checked(
    block: Block,
    now_s: float,
    shift_s: float,
    prb_width_hz: float,
    faults: dict[int, str],
    ignored: dict[str, int],
) -> Rows:
    """Rows of a block that are in order; fills `faults` (row to reason, first reason counts) and `ignored`."""
    words = vocabulary(block.kind)
    count = len(block.ids)
    _check_names(block, faults)
    time_s, absent = _numbers(block.time_s, count)
    _note(faults, ~absent & ~((time_s >= 0) & (time_s < LATEST_S)), lambda row: time_fault("time_s", time_s[row]))
    time_s += shift_s
    time_s[absent] = now_s
    number = np.array(block.given, np.float64)
    present = ~np.isnan(number)
    if not present.all():
        _note_nan(block, faults, words, ~present & _told_nan(block.given, present))
    code, owner, given = block.code, block.owner, np.arange(len(number))
    plain = present & (code >= 0) & (code < len(words.table))
    if not plain.all():
        _count_ignored(block, present, words, ignored)
        _convert(block, number, words, prb_width_hz, faults)
        given = np.flatnonzero(present & (code >= 0) & (words.column[code] >= 0))
        code, owner, number = code[given], owner[given], number[given]
    column = words.column[code]
    _check_values(block, given, number, column, words, faults)
    value = np.full((count, len(words.table)), np.nan, np.float32)
    value[owner, column] = np.clip(number, words.low[column], words.high[column])
    return _without(block, time_s, value, faults)


def _check_names(block: Block, faults: dict[int, str]) -> None:
    """Refuses rows whose id, slice or group is no fit name, or that name a slice and are no users."""
    told: list[tuple[str, Sequence[str | None]]] = [("id", block.ids), ("slice", block.slices), ("group", block.groups)]
    for field, names in told:
        if all(name_is_fit(name) for name in set(names) if name is not None):
            continue
        for index, name in enumerate(names):
            if name is not None and not name_is_fit(name):
                faults.setdefault(index, f"{field} is {shown(name)}; allowed are {NAME_RULE}")
    if block.kind != "user":
        for index, pair in enumerate(zip(block.slices, block.groups, strict=True)):
            if pair != (None, None):
                faults.setdefault(index, f"slice and group are for users; a {block.kind} has none")


def _numbers(
    given: list[float | None] | float | None, count: int
) -> tuple[Float64[np.ndarray, " rows"], Bool[np.ndarray, " rows"]]:
    """One number a row, and where there is none."""
    if not isinstance(given, list):
        return np.full(count, np.nan if given is None else given, np.float64), np.full(count, given is None)
    number = np.array(given, np.float64)
    absent = np.isnan(number)
    if absent.any():
        absent &= ~_told_nan(given, ~absent)
    return number, absent


def _told_nan(given: Sequence[float | None], number: Bool[np.ndarray, " values"]) -> Bool[np.ndarray, " values"]:
    """Where NaN was given, which is a fault, and not None, which is an absent value."""
    told = np.zeros(len(given), bool)
    for index in np.flatnonzero(~number).tolist():
        told[index] = given[index] is not None
    return told


def _note(faults: dict[int, str], bad: Bool[np.ndarray, " rows"], reason: Callable[[int], str]) -> None:
    """Puts a reason for every row that is bad and has none yet."""
    if bad.any():
        for row in np.flatnonzero(bad).tolist():
            if row not in faults:
                faults[row] = reason(row)


def _note_nan(block: Block, faults: dict[int, str], words: Vocabulary, bad: Bool[np.ndarray, " values"]) -> None:
    """Refuses the rows of values that are NaN."""
    for index in np.flatnonzero(bad).tolist():
        row, code = int(block.owner[index]), int(block.code[index])
        name = words.names[code] if code >= 0 else "a value"
        faults.setdefault(row, f"{name} is nan; a value is a finite number, or null where there is none")


def _count_ignored(
    block: Block, present: Bool[np.ndarray, " values"], words: Vocabulary, ignored: dict[str, int]
) -> None:
    unkept = int((words.column >= 0).sum())
    past = block.code[present & (block.code >= unkept)]
    for code, times in enumerate(np.bincount(past).tolist() if past.size else ()):
        if times:
            ignored[words.names[code]] = ignored.get(words.names[code], 0) + times


def _convert(
    block: Block,
    number: Float64[np.ndarray, " values"],
    words: Vocabulary,
    prb_width_hz: float,
    faults: dict[int, str],
) -> None:
    """Turns measurements, in place, into the units of their attributes."""
    period_s = None
    for code, measurement in words.measured.items():
        chosen = np.flatnonzero(block.code == code)
        if not chosen.size:
            continue
        attribute = words.table[words.column[code]]
        period: Float64[np.ndarray, " values"] | float = 1.0
        if needs_period(measurement.unit, attribute):
            period_s = _numbers(block.period_s, len(block.ids))[0] if period_s is None else period_s
            period = period_s[block.owner[chosen]]
            lacking = ~((period > 0) & np.isfinite(period)) & ~np.isnan(number[chosen])
            for row in block.owner[chosen[lacking]].tolist():
                faults.setdefault(
                    row, f"{measurement.name} is a volume; give period_s, the seconds it was counted over"
                )
        with np.errstate(all="ignore"):
            number[chosen] = in_own_unit(number[chosen], measurement.unit, attribute, period, prb_width_hz)


def _check_values(
    block: Block,
    given: Int64[np.ndarray, " values"],
    number: Float64[np.ndarray, " values"],
    column: Int64[np.ndarray, " values"],
    words: Vocabulary,
    faults: dict[int, str],
) -> None:
    """Refuses the rows of values out of range or not whole; infinite ones are out of range.

    `number[j]` is the value that stood at `given[j]` of the block.
    """
    bad = ~((number >= words.low[column]) & (number <= words.high[column]))
    bad |= words.whole[column] & (number != np.floor(number))
    if not bad.any():
        return
    for index in np.flatnonzero(bad).tolist():
        place = int(given[index])
        row, code = int(block.owner[place]), int(block.code[place])
        if row not in faults:
            faults[row] = _value_fault(words, code, float(number[index]), block.given[place])


def _value_fault(words: Vocabulary, code: int, number: float, given: float | None) -> str:
    attribute = words.table[words.column[code]]
    unit = "" if attribute.unit == "1" else f" {attribute.unit}"
    told = f"{attribute.name} is {number:.10g}{unit}"
    if code in words.measured:
        of = words.measured[code]
        told = f"{of.name} is {given:.10g}{'' if of.unit == '1' else ' ' + of.unit}, so {told}"
    if not np.isfinite(number):
        return f"{told}; a value is a finite number, or null where there is none"
    if attribute.low <= number <= attribute.high:
        return f"{told}; allowed are whole numbers"
    return f"{told}; allowed are {attribute.low:.10g} to {attribute.high:.10g}{unit}"


def _without(
    block: Block,
    time_s: Float64[np.ndarray, " rows"],
    value: Float32[np.ndarray, "rows attributes"],
    faults: dict[int, str],
) -> Rows:
    """The block's rows without those at fault."""
    kind = KINDS[block.kind]
    if not faults:
        return Rows(kind, block.ids, time_s, value, block.slices, block.groups)
    good = [index for index in range(len(block.ids)) if index not in faults]
    return Rows(
        kind,
        [block.ids[index] for index in good],
        time_s[good],
        value[good],
        [block.slices[index] for index in good],
        [block.groups[index] for index in good],
    )


def _joined(parts: list[Rows]) -> Rows:
    if len(parts) == 1:
        return parts[0]
    return Rows(
        parts[0].kind,
        [name for part in parts for name in part.ids],
        np.concatenate([part.time_s for part in parts]),
        np.concatenate([part.value for part in parts]),
        [name for part in parts for name in part.slices],
        [name for part in parts for name in part.groups],
    )
