"""Numbers and states in words for people: quantities with a readable prefix, shares, states with their tone."""

import math
from collections.abc import Mapping
from typing import Any

_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_PREFIXED = frozenset({"bit/s", "Hz", "cycles/s", "cycles", "B", "bit", "W"})
_ENDINGS = {
    "cycles_per_s": "cycles/s",
    "_cycles": "cycles",
    "_bytes": "B",
    "_mps": "m/s",
    "_bps": "bit/s",
    "_dbm": "dBm",
    "_db": "dB",
    "_hz": "Hz",
    "_s": "s",
    "_m": "m",
    "_w": "W",
}
_DECIMALS_BELOW = ((1.0, 3), (10.0, 2), (100.0, 1))
UNKNOWN = "\N{EN DASH}"
Number = int | float

ATTRIBUTES: Mapping[str, str] = {
    "position_x_m": "Position east",
    "position_y_m": "Position north",
    "speed_mps": "Speed",
    "rsrp_dbm": "Received power (RSRP)",
    "sinr_db": "Signal to noise (SINR)",
    "serving_cell": "Serving cell",
    "rate_bps": "Rate",
    "delay_s": "Delay",
    "jitter_s": "Jitter",
    "loss_ratio": "Loss",
    "buffer_s": "Buffer",
    "version": "Video version",
    "quality": "Video quality",
    "rebuffer_s": "Stalled, in all",
    "watch_s": "Watched of this video",
    "video_class": "Video class",
    "swipes": "Swipes",
    "last_watch_s": "Watched of the last video",
    "last_class": "Class of the last video",
    "transcode_share": "Transcoded share",
    "opinion": "Last opinion",
    "opinions": "Opinions given",
    "load": "Load",
    "used_bandwidth_hz": "Used bandwidth",
    "throughput_bps": "Throughput",
    "users": "Users",
    "power_w": "Power",
    "utilisation": "Utilisation",
    "queue_cycles": "Queue",
    "cache_hit_ratio": "Cache hits",
    "demand_bps": "Demand",
    "demand_bandwidth_hz": "Bandwidth demand",
    "demand_cycles_per_s": "Computing demand",
    "reserved_bandwidth_hz": "Reserved bandwidth",
    "reserved_cycles_per_s": "Reserved computing",
    "reserved_cache_bytes": "Reserved cache",
    "satisfaction": "Satisfaction",
}
"""Names of attributes for people."""

RATIOS = frozenset({"loss_ratio", "quality", "load", "utilisation", "cache_hit_ratio", "satisfaction"})
"""Attributes that are shown in per cent."""

COUNTS = frozenset({"users", "swipes", "opinions", "version", "video_class", "last_class", "serving_cell"})
"""Attributes that are whole, though reports may be too coarse to be."""

STATES: Mapping[str, tuple[str, str]] = {
    "waiting": ("waiting", "warn"),
    "approving": ("being asked", "info"),
    "applied": ("applied", "good"),
    "adopted": ("sent, not yet confirmed", "info"),
    "confirmed": ("in effect", "good"),
    "kept": ("standing kept", "quiet"),
    "rejected": ("rejected", "quiet"),
    "refused": ("no longer safe", "bad"),
    "superseded": ("superseded", "quiet"),
    "expired": ("expired", "quiet"),
    "rolled_back": ("rolled back", "bad"),
    "failed": ("failed, still stands", "bad"),
}
"""What a decision's state means, and its tone."""

ORDERS: Mapping[str, tuple[str, str]] = {
    "judging": ("the twins judge it", "info"),
    "waiting": ("waits for consent", "warn"),
    "applied": ("applied", "good"),
    "refused": ("refused", "bad"),
    "rejected": ("rejected", "quiet"),
    "failed": ("could not be judged", "bad"),
    "feasible": ("would be admitted", "good"),
    "infeasible": ("would not be admitted", "bad"),
}
"""What an order's state means, and its tone."""

SITES: Mapping[str, tuple[str, str]] = {
    "following": ("follows", "good"),
    "idle": ("asked nothing", "quiet"),
    "asked": ("has not confirmed", "warn"),
    "failing": ("fails", "bad"),
    "aside": ("not waited for", "warn"),
    "away": ("away", "bad"),
    "silent": ("silent, asked nothing", "bad"),
    "distrusted": ("not believed", "bad"),
}
"""What a site's state means, and its tone."""

MODES: Mapping[str, tuple[str, str]] = {
    "advise": ("advise: a person decides", "info"),
    "act": ("act: automatic inside limits", "good"),
    "halted": ("kill switch on", "bad"),
}


def number(value: Number | None) -> str:
    """About three significant figures, thousands apart; a dash for what is not known."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    size = abs(value)
    if size == 0 or (size >= 1 and float(value).is_integer()):
        return f"{value:,.0f}"
    decimals = next((places for below, places in _DECIMALS_BELOW if size < below), 0)
    text = f"{value:,.{decimals}f}"
    return "0" if not text.strip("-0.,") else text


def quantity(value: Number | None, unit: str) -> str:
    """A value with its unit, `12.4 Mbit/s`."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    if unit == "1":
        return number(value)
    factor, prefix = 1.0, ""
    if unit in _PREFIXED:
        factor, prefix = next(((f, p) for f, p in _PREFIXES if abs(value) >= f), (1.0, ""))
    return f"{number(value / factor)} {prefix}{unit}"


def share(value: Number | None) -> str:
    """Per cent of the whole."""
    return UNKNOWN if value is None or not math.isfinite(value) else f"{value:.0%}"


def duration(seconds: Number) -> str:
    """A short time, `12 ms`."""
    if seconds >= 1:
        return f"{number(seconds)} s"
    return f"{seconds * 1e3:,.0f} ms" if seconds >= 5e-4 else "< 1 ms"


def attribute(name: str) -> str:
    """An attribute's name for people."""
    return ATTRIBUTES.get(name, name.replace("_", " "))


def unit_of(name: str) -> str:
    """The unit that an attribute's name ends in, "1" where it has none."""
    return next((unit for ending, unit in _ENDINGS.items() if name.endswith(ending)), "1")


def of_attribute(name: str, value: Number | None, unit: str) -> str:
    """An attribute's value for people."""
    if name in RATIOS and value is not None and 0 < abs(value) < 0.01:
        return f"{value:.2%}"
    if name in COUNTS and value is not None and math.isfinite(value):
        return f"{value:,.0f}"
    return share(value) if name in RATIOS else quantity(value, unit)


def reported(twin: Mapping[str, Any], name: str) -> Number | None:
    """What a twin last heard of an attribute, None where it never did."""
    entry = twin.get("reported", {}).get(name)
    return None if entry is None else entry.get("value")


def shown(twin: Mapping[str, Any], name: str) -> str:
    """What a twin last heard of an attribute, for people."""
    entry = twin.get("reported", {}).get(name)
    return UNKNOWN if entry is None else of_attribute(name, entry.get("value"), entry.get("unit", "1"))


def newest_s(twin: Mapping[str, Any]) -> Number | None:
    """When a twin was last heard of, epoch seconds."""
    return max((entry["measured_s"] for entry in twin.get("reported", {}).values()), default=None)


def fidelity(twin: Mapping[str, Any]) -> Number | None:
    """Mean fidelity over the attributes that were compared."""
    known = [e["fidelity"] for e in twin.get("reported", {}).values() if e.get("fidelity") is not None]
    return sum(known) / len(known) if known else None


def tone_of(value: Number | None, fair: Number, good: Number) -> str:
    """`good` from `good` up, `warn` from `fair` up, `bad` below; nothing for what is not known."""
    if value is None or not math.isfinite(value):
        return ""
    return "good" if value >= good else "warn" if value >= fair else "bad"
