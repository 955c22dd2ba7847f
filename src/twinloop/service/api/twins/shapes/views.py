"""Twins as rows of values: a page of them at once, never all twins times all attributes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinloop.entities import Attribute
from twinloop.network import KindRequest
from twinloop.service.live import KIND_OF, KindPicture, Moment, Picture
from twinloop.service.security import View

PARTS = ("reported", "emulated", "desired")
_NOUN = {table: noun for noun, table in KIND_OF.items()}
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Wanted:
    """Which parts of twins, and which attributes (columns), are to be shown. `asked` gives how a kind is collected,
    None where the caller may not know.
    """

    parts: frozenset[str]
    columns: tuple[int, ...]
    asked: Callable[[str], KindRequest | None]


def tidy(values: NDArray[Any]) -> NDArray[np.float64]:
    """Float32 numbers as the nearest ones with seven digits, which is all that they know."""
    wide = values.astype(np.float64)
    known = np.isfinite(wide) & (wide != 0.0)
    digits = 6 - np.floor(np.log10(np.abs(np.where(known, wide, 1.0))))
    scale = 10.0 ** np.clip(digits, -300, 300)
    return np.where(known, np.round(wide * scale) / scale, wide)


def noun_of(table: KindPicture) -> str:
    """The noun of a kind in addresses."""
    return _NOUN[table.kind]


def twins_of(view: View, table: KindPicture, rows: Rows, wanted: Wanted) -> Iterator[dict[str, Any]]:
    """The twins of `rows` as `forms.Twin`."""
    picture = view.picture
    reported = _reported(picture, table, rows, wanted) if "reported" in wanted.parts else None
    emulated = _emulated(table, rows, wanted) if "emulated" in wanted.parts else None
    desired = _desired(view, table, rows, wanted) if "desired" in wanted.parts else None
    time_s, noun, active, revision = picture.time_s(picture.slot), noun_of(table), table.active, table.revision
    for place, row in enumerate(rows.tolist()):
        twin: dict[str, Any] = {
            "kind": noun,
            "id": table.ids[row],
            "active": bool(active[row]),
            "revision": int(revision[row]),
            "slot": picture.slot,
            "time_s": time_s,
        }
        if noun == "user":
            twin["slice"] = slice_of(picture, row)
        for name, part in (("reported", reported), ("emulated", emulated), ("desired", desired)):
            if part is not None:
                twin[name] = part[place]
        yield twin


def grid(rows: Rows, columns: Sequence[int]) -> tuple[Rows, Rows]:
    """Indices of some rows and columns of a table."""
    return rows[:, None], np.asarray(columns, np.int64)[None, :]


def measured_of(picture: Picture, table: KindPicture, rows: Rows) -> list[dict[str, Any]]:
    """What was reported of the twins of `rows`, as `forms.Measured` by attribute."""
    everything = Wanted(frozenset(), tuple(range(len(table.attributes))), lambda kind: None)
    return [
        {name: {key: value for key, value in told.items() if key != "fidelity"} for name, told in twin.items()}
        for twin in _reported(picture, table, rows, everything)
    ]


def slice_of(picture: Picture, user: int) -> str | None:
    """Name of the slice of the user in a row."""
    of = int(picture.user_slice[user])
    return picture.slices.ids[of] if 0 <= of < len(picture.slices.ids) else None


def past_twin(
    noun: str, name: str, moment: Moment, attributes: Sequence[Attribute], wanted: Wanted, picture: Picture
) -> dict[str, Any]:
    """One twin as it was; of the past only what was reported is kept."""
    reported: dict[str, Any] = {}
    value = tidy(moment.value)
    for at in wanted.columns:
        if moment.slot[at] >= 0 and np.isfinite(value[at]):
            measured_s = picture.time_s(int(moment.slot[at]))
            reported[attributes[at].name] = {
                "value": float(value[at]),
                "unit": attributes[at].unit,
                "measured_s": measured_s,
                "age_s": moment.time_s - measured_s,
                "fidelity": None,
            }
    return {
        "kind": noun,
        "id": name,
        "active": True,
        "revision": moment.revision,
        "slot": round(picture.slot_at(moment.time_s)),
        "time_s": moment.time_s,
        "reported": reported,
    }


def _reported(picture: Picture, table: KindPicture, rows: Rows, wanted: Wanted) -> list[dict[str, Any]]:
    columns = wanted.columns
    at = grid(rows, columns)
    slot = table.slot[at].astype(np.int64)
    value, fidelity = tidy(table.value[at]), tidy(table.fidelity[at])
    measured_s = picture.epoch_s + slot * picture.slot_s
    age_s = (picture.slot - slot) * picture.slot_s
    known = (slot >= 0) & np.isfinite(value)
    names = [(table.attributes[one].name, table.attributes[one].unit) for one in columns]
    lines = zip(*(part.tolist() for part in (value, measured_s, age_s, fidelity, known)), strict=True)
    return [
        {
            name: {"value": v, "unit": unit, "measured_s": m, "age_s": a, "fidelity": f if f == f else None}
            for (name, unit), v, m, a, f, there in zip(names, *line, strict=True)
            if there
        }
        for line in lines
    ]


def _emulated(table: KindPicture, rows: Rows, wanted: Wanted) -> list[dict[str, Any]]:
    columns = wanted.columns
    at = grid(rows, columns)
    value, std = tidy(table.emulated[at]), tidy(table.emulated_std[at])
    known = (table.slot[at] >= 0) & np.isfinite(value) & np.isfinite(std)
    names = [(table.attributes[one].name, table.attributes[one].unit) for one in columns]
    lines = zip(value.tolist(), std.tolist(), known.tolist(), strict=True)
    return [
        {
            name: {"value": v, "std": s, "unit": unit}
            for (name, unit), v, s, there in zip(names, *line, strict=True)
            if there
        }
        for line in lines
    ]


def _desired(view: View, table: KindPicture, rows: Rows, wanted: Wanted) -> list[dict[str, Any]]:
    picture, noun = view.picture, noun_of(table)
    if noun == "user":
        return _collection(view, table, rows, wanted)
    cells, servers, slices = picture.cells.ids, picture.servers.ids, picture.slices.ids
    bandwidth, cycles = tidy(picture.reserved_bandwidth_hz), tidy(picture.reserved_cycles_per_s)

    def by(names: Sequence[str], held: NDArray[np.float64]) -> dict[str, float]:
        return {name: value for name, value in zip(names, held.tolist(), strict=True) if name}

    def of(row: int) -> dict[str, Any]:
        if noun == "slice":
            return {"bandwidth_hz": by(cells, bandwidth[:, row]), "cycles_per_s": by(servers, cycles[:, row])}
        if noun == "cell":
            return {"bandwidth_hz": by(slices, bandwidth[row])}
        return {"cycles_per_s": by(slices, cycles[row])}

    numbers = {"requested_revision": picture.requested_revision, "confirmed_revision": picture.confirmed_revision}
    return [of(row) | numbers for row in rows.tolist()]


def _collection(view: View, table: KindPicture, rows: Rows, wanted: Wanted) -> list[dict[str, Any]]:
    asked = wanted.asked(table.kind)
    if asked is None:
        return [{} for _ in rows]
    origin, columns = view.origin(table.kind)[rows], list(wanted.columns)
    at = grid(origin, columns)
    period_s, alarm, delta = (
        tidy(np.asarray(part)[at]).tolist() for part in (asked.period_s, asked.alarm, asked.delta)
    )
    bits, enabled = np.asarray(asked.bits)[at].tolist(), np.asarray(asked.enabled)[columns].tolist()
    granted = [set(view.attributes(table.kind, table.ids[row])) for row in rows.tolist()]
    names = [table.attributes[one].name for one in columns]
    return [
        {
            "collection": {
                name: {"period_s": p, "bits": b, "delta": d, "alarm": a if np.isfinite(a) else None}
                for name, on, p, b, d, a in zip(names, enabled, *line, strict=True)
                if on and name in may
            }
        }
        for may, *line in zip(granted, period_s, bits, delta, alarm, strict=True)
    ]
