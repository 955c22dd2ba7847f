"""Throughput and load over time.

Links: svs_challenge/network_traces, norway_hsdpa, oboe. Networks: tractor_oran (O-RAN key figures), lte_cell_hourly.
A computing cluster: edge_load.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float64, Int64

from twinloop.datasets.reading import (
    Column,
    Loaded,
    bare_table,
    check_increasing,
    files_in,
    headed_table,
    load_each,
    set_folder,
    text_of,
)
from twinloop.errors import DataError

TRACTOR_COLUMNS = 36
TRACTOR_SEPARATORS = 5
TRACTOR_STEP_S = 0.25
EDGE_STEP_S = 300.0
_TRAFFIC_CLASSES = ("embb", "mmtc", "urllc")
_EDGE_COLUMNS = ("cpu_util_percent", "mem_util_percent", "net_in", "net_out", "disk_io_percent")
SVS_FLOOR_BPS = 0.2e6


@dataclass(frozen=True)
class ThroughputTrace:
    """Rate of one link over time; `group` is the class of network or vehicle.

    `floor_bps` is the value below which the source clipped (0: not clipped). `svs_challenge` traces have almost no
    structure in time (lag-1 autocorrelation .15 to .34): an emulated link, no test of a predictor.
    """

    name: str
    group: str
    time_s: Float64[np.ndarray, " samples"]
    rate_bps: Float64[np.ndarray, " samples"]
    floor_bps: float = 0.0

    @property
    def rows(self) -> int:
        """Samples."""
        return len(self.time_s)


def load_svs_throughput(data: Path) -> Loaded[ThroughputTrace]:
    """Traces of `svs_challenge` in classes low, medium, high; 0.5-s steps. Raises DataError when absent."""
    paths = files_in(set_folder(data, "svs_challenge"), "network_traces/*/*")
    return load_each(paths, lambda path: _trace(path, path.parent.name, SVS_FLOOR_BPS))


def load_norway(data: Path) -> Loaded[ThroughputTrace]:
    """Traces of `norway_hsdpa` by vehicle, about 1 s a row. Raises DataError when absent."""
    return load_each(files_in(set_folder(data, "norway_hsdpa"), "*"), _by_name(lambda name: name.split("_")[1]))


def load_oboe(data: Path) -> Loaded[ThroughputTrace]:
    """Traces of `oboe`, about 3.4 s a row. Raises DataError when absent."""
    return load_each(files_in(set_folder(data, "oboe"), "*.txt"), _by_name(lambda _: "oboe"))


def _by_name(group: Callable[[str], str]) -> Callable[[Path], ThroughputTrace]:
    return lambda path: _trace(path, group(path.stem + "_"), 0.0)


def _trace(path: Path, group: str, floor_bps: float) -> ThroughputTrace:
    table = bare_table(path, text_of(path), ("time_s", "mbit_per_s"))
    time_s = table.numbers(Column("time_s", low=0))
    check_increasing(path, table, time_s, "time_s")
    rate_bps = 1e6 * table.numbers(Column("mbit_per_s", low=0))
    return ThroughputTrace(path.stem, group, time_s, rate_bps, floor_bps)


@dataclass(frozen=True)
class KpiTrace:
    """O-RAN key figures of one user, every 250 ms while it is not idle.

    `gap[k]` marks that rows are missing between k and k + 1 (the user was idle). Rates are bursty: 70 % of all samples
    of the set are zero. `time_s` counts from the first row, `epoch_ms` is exact.
    """

    name: str
    traffic_class: str
    capture: str
    epoch_ms: Int64[np.ndarray, " samples"]
    slice_id: Int64[np.ndarray, " samples"]
    slice_prbs: Float64[np.ndarray, " samples"]
    mcs: Float64[np.ndarray, " samples"]
    buffer_bytes: Float64[np.ndarray, " samples"]
    rate_bps: Float64[np.ndarray, " samples"]
    requested_prbs: Float64[np.ndarray, " samples"]
    granted_prbs: Float64[np.ndarray, " samples"]
    cqi: Float64[np.ndarray, " samples"]

    @property
    def time_s(self) -> Float64[np.ndarray, " samples"]:
        """Seconds from the first row."""
        return (self.epoch_ms - self.epoch_ms[0]) / 1e3

    @property
    def gap(self) -> Bool[np.ndarray, " steps"]:
        """Steps longer than one and a half periods."""
        return np.diff(self.time_s) > 1.5 * TRACTOR_STEP_S

    @property
    def rows(self) -> int:
        """Samples."""
        return len(self.epoch_ms)


def load_tractor(data: Path) -> Loaded[KpiTrace]:
    """Captures of `tractor_oran`; the file name gives traffic class and capture. Raises DataError when absent."""
    return load_each(files_in(set_folder(data, "tractor_oran"), "*.csv"), _kpis)


def _kpis(path: Path) -> KpiTrace:
    needed = ("Timestamp", "slice_id", "slice_prb", "dl_mcs", "dl_buffer [bytes]", "tx_brate downlink [Mbps]")
    table = headed_table(path, text_of(path), (*needed, "sum_requested_prbs", "sum_granted_prbs", "dl_cqi"))
    separators = sum(not name for name in table.header)
    if len(table.header) != TRACTOR_COLUMNS or separators != TRACTOR_SEPARATORS:
        found = f"{len(table.header)} columns, {separators} of them empty"
        raise DataError(path, found, f"{TRACTOR_COLUMNS} columns, {TRACTOR_SEPARATORS} of them empty", line=1)
    epoch_ms = table.integers(Column("Timestamp", low=0))
    check_increasing(path, table, epoch_ms.astype(np.float64), "Timestamp")
    traffic_class, _, capture = path.stem.partition("_")
    if traffic_class not in _TRAFFIC_CLASSES:
        raise DataError(path, f"traffic class {traffic_class!r}", f"a file name that starts with {_TRAFFIC_CLASSES}")
    return KpiTrace(
        name=path.stem,
        traffic_class=traffic_class,
        capture=capture,
        epoch_ms=epoch_ms,
        slice_id=table.integers(Column("slice_id", low=0)),
        slice_prbs=table.numbers(Column("slice_prb", 0, 275)),
        mcs=table.numbers(Column("dl_mcs", 0, 31)),
        buffer_bytes=table.numbers(Column("dl_buffer [bytes]", low=0)),
        rate_bps=1e6 * table.numbers(Column("tx_brate downlink [Mbps]", low=0)),
        requested_prbs=table.numbers(Column("sum_requested_prbs", low=0)),
        granted_prbs=table.numbers(Column("sum_granted_prbs", low=0)),
        cqi=table.numbers(Column("dl_cqi", 0, 15)),
    )


@dataclass(frozen=True)
class HourlyTraffic:
    """Traffic of one LTE cell by hour. `part` is train or test (the last week); hours may be missing between rows."""

    cell: str
    part: str
    epoch_s: Int64[np.ndarray, " hours"]
    traffic_bytes: Float64[np.ndarray, " hours"]

    @property
    def missing_hours(self) -> int:
        """Hours between the first and the last row that have none."""
        return int((self.epoch_s[-1] - self.epoch_s[0]) // 3600 + 1 - len(self.epoch_s))

    @property
    def gaps(self) -> int:
        """Places where at least one hour is missing."""
        return int((np.diff(self.epoch_s) > 3600).sum())

    @property
    def rows(self) -> int:
        """Measured hours."""
        return len(self.epoch_s)


def load_cell_traffic(data: Path) -> Loaded[HourlyTraffic]:
    """Cells of `lte_cell_hourly`, megabytes an hour as bytes. Raises DataError when the set is absent."""
    return load_each(files_in(set_folder(data, "lte_cell_hourly"), "*/*.csv"), _hourly)


def _hourly(path: Path) -> HourlyTraffic:
    table = headed_table(path, text_of(path), ("DateTime", "Traffic"))
    epoch_s = table.times_s("DateTime", "%m/%d/%Y %H:%M")
    check_increasing(path, table, epoch_s, "DateTime")
    traffic_bytes = 1e6 * table.numbers(Column("Traffic", low=0))
    part = path.stem.partition("_")[0]
    return HourlyTraffic(path.parent.name, part, epoch_s.astype(np.int64), traffic_bytes)


@dataclass(frozen=True)
class ClusterLoad:
    """Load of a computing cluster every 300 s, shares of 1; the source has no time stamps."""

    name: str
    cpu_ratio: Float64[np.ndarray, " samples"]
    memory_ratio: Float64[np.ndarray, " samples"]
    network_in_ratio: Float64[np.ndarray, " samples"]
    network_out_ratio: Float64[np.ndarray, " samples"]
    disk_ratio: Float64[np.ndarray, " samples"]

    @property
    def time_s(self) -> Float64[np.ndarray, " samples"]:
        """Index times 300 s."""
        return EDGE_STEP_S * np.arange(len(self.cpu_ratio))

    @property
    def rows(self) -> int:
        """Samples."""
        return len(self.cpu_ratio)


def load_edge_load(data: Path) -> Loaded[ClusterLoad]:
    """Cluster of `edge_load`. Raises DataError when the set is absent."""
    return load_each(files_in(set_folder(data, "edge_load"), "*.csv"), _cluster)


def _cluster(path: Path) -> ClusterLoad:
    table = headed_table(path, text_of(path), _EDGE_COLUMNS)
    ratios = [table.numbers(Column(name, 0, 100)) / 100 for name in _EDGE_COLUMNS]
    return ClusterLoad(path.stem, *ratios)
