"""How the standards write quantities: bit rates as text, delays in whole milliseconds, losses in tenths of a per cent.

3GPP TS 29.571 (BitRate, PacketDelBudget, PacketLossRate, SamplingRatio, DateTime).
"""

import re
from datetime import UTC, datetime

from twinloop.units import bits_from_bytes, bps_from_kbps, bps_from_mbps, ratio_from_percent, s_from_ms

BIT_RATE = r"^\d+(\.\d+)? (bps|Kbps|Mbps|Gbps|Tbps)$"

_UNITS = {
    "bps": 1.0,
    "Kbps": bps_from_kbps(1.0),
    "Mbps": bps_from_mbps(1.0),
    "Gbps": bps_from_mbps(1e3),
    "Tbps": bps_from_mbps(1e6),
}


def bit_rate(rate_bps: float) -> str:
    """`12.5 Mbps` of 12.5e6 bit/s; what is below zero is `0 bps`."""
    rate_bps = max(rate_bps, 0.0)
    unit = next((name for name in reversed(_UNITS) if rate_bps >= _UNITS[name]), "bps")
    digits = f"{rate_bps / _UNITS[unit]:.3f}".rstrip("0").rstrip(".")
    return f"{digits} {unit}"


def bps_of(text: str) -> float:
    """Bit/s of `12.5 Mbps`. Raises ValueError for anything else."""
    if re.match(BIT_RATE, text) is None:
        raise ValueError(f"{text!r} is not a bit rate; write for example 12.5 Mbps")
    number, unit = text.split(" ")
    return float(number) * _UNITS[unit]


def delay_ms(delay_s: float) -> int:
    """Whole milliseconds, at least 1."""
    return max(round(delay_s / s_from_ms(1.0)), 1)


def loss_tenths(ratio: float) -> int:
    """A ratio of lost packets in tenths of a per cent, 0 to 1000."""
    return min(max(round(ratio / ratio_from_percent(0.1)), 0), 1000)


def percent(share: float) -> int:
    """A share in whole per cent, 0 to 100."""
    return min(max(round(share / ratio_from_percent(1.0)), 0), 100)


def ratio_percent(share: float) -> int:
    """A share as SamplingRatio, 1 to 100: the standard has no zero, so less than half a per cent is written as 1."""
    return max(percent(share), 1)


def volume_bytes(bits: float) -> int:
    """Whole bytes, at least 0."""
    return max(round(bits / bits_from_bytes(1.0)), 0)


def instant(time_s: float) -> datetime:
    """A point in time from epoch seconds, to the millisecond."""
    return datetime.fromtimestamp(round(time_s, 3), UTC)
