"""The only home of unit conversions. Quantities carry their SI unit in the name; decibels appear only as `_db` and
`_dbm`.
"""

import re
from typing import TypeVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

Amount = TypeVar("Amount", float, np.ndarray)

BOLTZMANN_NOISE_DBM_PER_HZ = -174.0
SPEED_OF_LIGHT_MPS = 299_792_458.0

_DURATION = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(s|sec|min|m|h)?\s*", re.IGNORECASE)
_SECONDS = {"s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


def linear_from_db(value_db: Float[Array, "..."]) -> Float[Array, "..."]:
    """Ratio of powers from decibels, 10^(x/10)."""
    return jnp.exp(value_db * 0.23025850929940458)


def db_from_linear(ratio: Float[Array, "..."]) -> Float[Array, "..."]:
    """Decibels from a ratio of powers, 10 log10(x); a ratio below 1e-30 counts as 1e-30."""
    return 4.342944819032518 * jnp.log(jnp.maximum(ratio, 1e-30))


def w_from_dbm(power_dbm: Float[Array, "..."]) -> Float[Array, "..."]:
    """Watts from dBm."""
    return 1e-3 * linear_from_db(power_dbm)


def mps_from_kmh(speed_kmh: float) -> float:
    """Metres per second from kilometres per hour."""
    return speed_kmh / 3.6


def kmh_from_mps(speed_mps: Float[Array, "..."]) -> Float[Array, "..."]:
    """Kilometres per hour from metres per second."""
    return speed_mps * 3.6


def seconds_from_text(text: str) -> float:
    """Seconds from `90`, `90s`, `30min`, `1.5h`.

    Raises ValueError for anything else, zero and negative durations included.
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a duration; write for example 90s, 30min or 1.5h")
    seconds = float(match[1]) * _SECONDS[(match[2] or "s").lower()]
    if seconds <= 0:
        raise ValueError(f"{text!r} is not a duration above zero")
    return seconds


def bps_from_kbps(rate_kbps: Amount) -> Amount:
    """Bits per second from kilobits (1,000 bits) per second."""
    return rate_kbps * 1e3


def bps_from_mbps(rate_mbps: Amount) -> Amount:
    """Bits per second from megabits (10^6 bits) per second."""
    return rate_mbps * 1e6


def bits_from_bytes(volume_bytes: Amount) -> Amount:
    """Bits from bytes of eight bits."""
    return volume_bytes * 8.0


def bits_from_kbit(volume_kbit: Amount) -> Amount:
    """Bits from kilobits, 1,000 bits each."""
    return volume_kbit * 1e3


def bits_from_mbit(volume_mbit: Amount) -> Amount:
    """Bits from megabits, 10^6 bits each."""
    return volume_mbit * 1e6


def bits_from_mbyte(volume_mbyte: Amount) -> Amount:
    """Bits from megabytes, 10^6 bytes each."""
    return volume_mbyte * 8e6


def s_from_ms(time_ms: Amount) -> Amount:
    """Seconds from milliseconds."""
    return time_ms / 1e3


def s_from_us(time_us: Amount) -> Amount:
    """Seconds from microseconds."""
    return time_us / 1e6


def s_from_tenths_ms(time_tenths_ms: Amount) -> Amount:
    """Seconds from tenths of a millisecond, the unit of delays in TS 28.552, 5.1.3.3."""
    return time_tenths_ms / 1e4


def ratio_from_percent(share_percent: Amount) -> Amount:
    """Ratio from per cent."""
    return share_percent / 1e2


def ratio_from_ppm(share_ppm: Amount) -> Amount:
    """Ratio from parts in a million, the unit of loss rates in TS 28.552, 5.1.3.1."""
    return share_ppm / 1e6
