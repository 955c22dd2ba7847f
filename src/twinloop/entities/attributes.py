"""The one table of twin attributes: what is measured, in which unit, range and precision, and what the standards call
it.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Attribute:
    """One column of a twin.

    `low` and `high` bound what a report can carry (also the scale of normalised errors); `bits` is the default
    precision and `period_s` the default collection period, both overridable in a scenario. `kind` is `level` (a
    quantity), `count` (only grows) or `label` (a class number). `method` is `periodic` or `on_change`. `kpm` is the
    measurement's name in 3GPP TS 28.552 / O-RAN E2SM-KPM, or its CMCD key, empty where the standards have none.
    """

    name: str
    unit: str
    low: float
    high: float
    bits: int = 16
    period_s: float = 1.0
    kind: Literal["level", "count", "label"] = "level"
    method: Literal["periodic", "on_change"] = "periodic"
    kpm: str = ""


USER_ATTRIBUTES: tuple[Attribute, ...] = (
    Attribute("position_x_m", "m", -50_000.0, 50_000.0, bits=20, period_s=2.0),
    Attribute("position_y_m", "m", -50_000.0, 50_000.0, bits=20, period_s=2.0),
    Attribute("speed_mps", "m/s", 0.0, 50.0, bits=8, period_s=4.0),
    Attribute("rsrp_dbm", "dBm", -156.0, -31.0, bits=7, kpm="RSRP"),
    Attribute("sinr_db", "dB", -23.0, 40.0, bits=7, kpm="L1M.SS-SINR"),
    Attribute("serving_cell", "1", 0.0, 1023.0, bits=10, kind="label"),
    Attribute("rate_bps", "bit/s", 0.0, 1e9, bits=20, kpm="DRB.UEThpDl"),
    Attribute("delay_s", "s", 0.0, 10.0, bits=12, period_s=2.0, kpm="DRB.RlcSduDelayDl"),
    Attribute("jitter_s", "s", 0.0, 10.0, bits=12, period_s=4.0),
    Attribute("loss_ratio", "1", 0.0, 1.0, bits=10, period_s=4.0, kpm="DRB.PacketLossRateDl"),
    Attribute("buffer_s", "s", 0.0, 60.0, bits=10, kpm="CMCD bl"),
    Attribute("version", "1", 0.0, 15.0, bits=4, kind="label", kpm="CMCD br"),
    Attribute("quality", "1", 0.0, 1.0, bits=8, period_s=2.0),
    Attribute("rebuffer_s", "s", 0.0, 1e5, bits=24, period_s=2.0, kind="count", kpm="CMCD bs"),
    Attribute("watch_s", "s", 0.0, 600.0, bits=10),
    Attribute("video_class", "1", 0.0, 65_535.0, bits=16, kind="label", method="on_change", kpm="CMCD cid"),
    Attribute("swipes", "1", 0.0, 65_535.0, bits=16, kind="count", method="on_change"),
    Attribute("last_watch_s", "s", 0.0, 600.0, bits=16, method="on_change"),
    Attribute("last_class", "1", 0.0, 65_535.0, bits=16, kind="label", method="on_change"),
    Attribute("transcode_share", "1", 0.0, 1.0, bits=4, period_s=4.0),
    Attribute("opinion", "MOS", 0.0, 5.0, bits=10, kind="label", method="on_change"),
    Attribute("opinions", "1", 0.0, 65_535.0, bits=16, kind="count", method="on_change"),
)

CELL_ATTRIBUTES: tuple[Attribute, ...] = (
    Attribute("load", "1", 0.0, 1.0, bits=8, kpm="RRU.PrbTotDl"),
    Attribute("used_bandwidth_hz", "Hz", 0.0, 1e9, bits=20, kpm="RRU.PrbUsedDl"),
    Attribute("throughput_bps", "bit/s", 0.0, 1e10, bits=24, kpm="DRB.PdcpSduVolumeDL"),
    Attribute("users", "1", 0.0, 1e6, bits=20, kpm="RRC.ConnMean"),
    Attribute("power_w", "W", 0.0, 1e4, bits=12, period_s=4.0, kpm="PEE.AvgPower"),
)

SERVER_ATTRIBUTES: tuple[Attribute, ...] = (
    Attribute("utilisation", "1", 0.0, 1.0, bits=8),
    Attribute("queue_cycles", "cycles", 0.0, 1e13, bits=24),
    Attribute("cache_hit_ratio", "1", 0.0, 1.0, bits=8),
    Attribute("power_w", "W", 0.0, 1e4, bits=12, period_s=4.0),
)

SLICE_ATTRIBUTES: tuple[Attribute, ...] = (
    Attribute("users", "1", 0.0, 1e6),
    Attribute("demand_bps", "bit/s", 0.0, 1e12),
    Attribute("demand_bandwidth_hz", "Hz", 0.0, 1e11),
    Attribute("demand_cycles_per_s", "cycles/s", 0.0, 1e14),
    Attribute("reserved_bandwidth_hz", "Hz", 0.0, 1e11, kpm="rRMPolicyDedicatedRatio"),
    Attribute("reserved_cycles_per_s", "cycles/s", 0.0, 1e14),
    Attribute("reserved_cache_bytes", "B", 0.0, 1e13),
    Attribute("rate_bps", "bit/s", 0.0, 1e12),
    Attribute("satisfaction", "1", 0.0, 1.0),
    Attribute("buffer_s", "s", 0.0, 60.0),
)


def column(table: tuple[Attribute, ...], name: str) -> int:
    """Column of the attribute `name` in `table`. Raises KeyError, naming what there is, for an unknown name."""
    for index, attribute in enumerate(table):
        if attribute.name == name:
            return index
    raise KeyError(f"no attribute {name!r}; there are {', '.join(a.name for a in table)}")
