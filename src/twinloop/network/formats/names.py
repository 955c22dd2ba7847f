"""What a value of a report may be called, and in which unit it then stands: the one table of names."""

import difflib
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from jaxtyping import Bool, Float64, Int64

from twinloop import units
from twinloop.entities import CELL_ATTRIBUTES, SERVER_ATTRIBUTES, USER_ATTRIBUTES, Attribute
from twinloop.network.formats.wire import shown

PRB_WIDTH_HZ = 360_000.0
"""Width of a physical resource block of 12 subcarriers (TS 38.211, 4.4.4.1), 30 kHz each."""

KINDS = MappingProxyType({"user": "users", "cell": "cells", "server": "servers"})
"""Kinds on the wire, and what their tables are called."""

TABLES = MappingProxyType({"user": USER_ATTRIBUTES, "cell": CELL_ATTRIBUTES, "server": SERVER_ATTRIBUTES})


@dataclass(frozen=True)
class Measurement:
    """A name of the standards for an attribute of a kind.

    `unit` is the unit in which the clause reports it; `clause` says where it is defined, TS 28.552 unless another
    document is named.
    """

    name: str
    kind: str
    attribute: str
    unit: str
    clause: str


MEASUREMENTS: tuple[Measurement, ...] = (
    Measurement("DRB.UEThpDl", "user", "rate_bps", "kbit/s", "5.1.1.3.1"),
    Measurement("DRB.RlcSduDelayDl", "user", "delay_s", "0.1 ms", "5.1.3.3.3"),
    Measurement("DRB.PacketLossRateDl", "user", "loss_ratio", "per 10^6", "5.1.3.1, downlink"),
    Measurement("DRB.PacketLossRateUu", "user", "loss_ratio", "per 10^6", "5.1.1.35"),
    Measurement("RSRP", "user", "rsrp_dbm", "dBm", "TS 38.215, 5.1.1"),
    Measurement("L1M.SS-RSRP", "user", "rsrp_dbm", "dBm", "5.1.1.22.1"),
    Measurement("L1M.SS-SINR", "user", "sinr_db", "dB", "TS 38.215, 5.1.5"),
    Measurement("RRU.PrbTotDl", "cell", "load", "%", "5.1.1.2.1"),
    Measurement("RRU.PrbUsedDl", "cell", "used_bandwidth_hz", "PRB", "5.1.1.2.5"),
    Measurement("DRB.PdcpSduVolumeDL", "cell", "throughput_bps", "Mbit", "5.1.2.1.1.1"),
    Measurement("RRC.ConnMean", "cell", "users", "1", "5.1.1.4.1"),
    Measurement("PEE.AvgPower", "cell", "power_w", "W", "5.1.1.19.2.1"),
)

NOT_KEPT: tuple[str, ...] = (
    "CQI",
    "DRB.AirIfDelayDl",
    "DRB.PacketLossRateUl",
    "DRB.PdcpSduVolumeUL",
    "DRB.RlcDelayUl",
    "DRB.RlcPacketDropRateDl",
    "DRB.UEThpUl",
    "PEE.Energy",
    "RRC.ConnMax",
    "RRU.PrbAvailDl",
    "RRU.PrbAvailUl",
    "RRU.PrbTotUl",
    "RRU.PrbUsedUl",
    "RSRQ",
)
"""Names that reporters send beside the others and for which twins have no attribute: read past, and counted."""

_Convert = Callable[[Float64[np.ndarray, " values"]], Float64[np.ndarray, " values"]]

CONVERSIONS: MappingProxyType[str, tuple[str, _Convert]] = MappingProxyType(
    {
        "kbit/s": ("bit/s", units.bps_from_kbps),
        "Mbit/s": ("bit/s", units.bps_from_mbps),
        "byte": ("bit", units.bits_from_bytes),
        "kbit": ("bit", units.bits_from_kbit),
        "Mbit": ("bit", units.bits_from_mbit),
        "MB": ("bit", units.bits_from_mbyte),
        "ms": ("s", units.s_from_ms),
        "us": ("s", units.s_from_us),
        "0.1 ms": ("s", units.s_from_tenths_ms),
        "%": ("1", units.ratio_from_percent),
        "per 10^6": ("1", units.ratio_from_ppm),
    }
)
"""Units that are understood beside the attributes' own, each with the SI unit it becomes."""

_HINTED_CHARACTERS = 64


def base_unit(unit: str) -> str:
    """SI unit that `unit` becomes: `bit/s` for `kbit/s`, `bit` for `MB`, `Hz` for `PRB`, itself where it is one."""
    return "Hz" if unit == "PRB" else CONVERSIONS[unit][0] if unit in CONVERSIONS else unit


def needs_period(unit: str, attribute: Attribute) -> bool:
    """True where `unit` is a volume and the attribute a rate: the row must say over which period it was counted."""
    return base_unit(unit) == "bit" and attribute.unit == "bit/s"


def fits(unit: str, attribute: Attribute) -> bool:
    """Whether a value in `unit` can be turned into the unit of the attribute."""
    return base_unit(unit) == attribute.unit or needs_period(unit, attribute)


def in_own_unit(
    amount: Float64[np.ndarray, " values"],
    unit: str,
    attribute: Attribute,
    period_s: Float64[np.ndarray, " values"] | float,
    prb_width_hz: float,
) -> Float64[np.ndarray, " values"]:
    """Values in the unit of `attribute` from values in `unit`; volumes are divided by `period_s`."""
    if unit == "PRB":
        return amount * prb_width_hz
    converted = CONVERSIONS[unit][1](amount) if unit in CONVERSIONS else amount
    return converted / period_s if needs_period(unit, attribute) else converted


@dataclass(frozen=True)
class Vocabulary:
    """Names of one kind, numbered: attributes first, in the order of their table, then measurements, then not kept.

    `columns` (as an array: `column`) is the attribute that a name stands for, -1 for none. `low`, `high` and `whole`
    are by attribute.
    """

    kind: str
    names: tuple[str, ...]
    code: dict[str, int]
    columns: tuple[int, ...]
    column: Int64[np.ndarray, " names"]
    measured: dict[int, Measurement]
    table: tuple[Attribute, ...]
    low: Float64[np.ndarray, " attributes"]
    high: Float64[np.ndarray, " attributes"]
    whole: Bool[np.ndarray, " attributes"]


@functools.cache
def vocabulary(kind: str) -> Vocabulary:
    """Names that values of a `user`, `cell` or `server` may have. Raises KeyError for another kind."""
    table = TABLES[kind]
    place = {attribute.name: index for index, attribute in enumerate(table)}
    measurements = [m for m in MEASUREMENTS if m.kind == kind]
    names = (*place, *(m.name for m in measurements), *NOT_KEPT)
    columns = [*place.values(), *(place[m.attribute] for m in measurements), *(-1 for _ in NOT_KEPT)]
    return Vocabulary(
        kind=kind,
        names=names,
        code={name: index for index, name in enumerate(names)},
        columns=tuple(columns),
        column=np.array(columns, np.int64),
        measured={len(table) + index: m for index, m in enumerate(measurements)},
        table=table,
        low=np.array([attribute.low for attribute in table]),
        high=np.array([attribute.high for attribute in table]),
        whole=np.array([a.kind in ("label", "count") and a.unit == "1" for a in table]),
    )


def kind_fault(kind: str) -> str:
    """Says that a kind is not known, and which are."""
    return f"kind is {shown(kind)}; allowed: {', '.join(KINDS)}"


def name_fault(kind: str, name: str, near: bool = True) -> str:
    """Why a `kind` cannot have a value called `name`, and what was perhaps meant; `near` False saves the search."""
    for other in KINDS:
        if other != kind and name in vocabulary(other).code:
            return f"{name} is of a {other}, not of a {kind}"
    shown = name if len(name) <= _HINTED_CHARACTERS else name[:_HINTED_CHARACTERS] + "..."
    meant = _near(kind, name) if near and len(name) <= _HINTED_CHARACTERS else ()
    hint = f"did you mean {' or '.join(meant)}?" if meant else "docs/formats.md lists the names"
    return f"{shown!r} is no value of a {kind}; {hint}"


@functools.lru_cache(maxsize=512)
def _near(kind: str, name: str) -> tuple[str, ...]:
    words = vocabulary(kind)
    lowered = {known.lower(): known for known, column in zip(words.names, words.columns, strict=True) if column >= 0}
    return tuple(lowered[match] for match in difflib.get_close_matches(name.lower(), lowered, n=2, cutoff=0.6))


@functools.lru_cache(maxsize=256)
def codes_of(kind: str, names: tuple[str, ...]) -> tuple[int, ...] | None:
    """Codes of the names of a row's values; None where they cannot stand, for which `fault_of` gives the reason."""
    if kind not in KINDS:
        return None
    words = vocabulary(kind)
    codes = tuple(words.code.get(name, -1) for name in names)
    kept = [words.columns[code] for code in codes if words.columns[code] >= 0]
    return None if -1 in codes or len(set(kept)) < len(kept) else codes


def fault_of(kind: str, names: Sequence[str], near: bool = True) -> str:
    """Why there is no row of this kind with these names: the kind or a name is unknown, or two are the same attribute.

    `near` False saves the search for what was perhaps meant. Empty where nothing is wrong.
    """
    if kind not in KINDS:
        return kind_fault(kind)
    words = vocabulary(kind)
    seen: dict[int, str] = {}
    for name in names:
        if name not in words.code:
            return name_fault(kind, name, near)
        column = words.columns[words.code[name]]
        if column >= 0 and column in seen:
            return f"{seen[column]} and {name} are the same; send one of them"
        seen[column] = name
    return ""
