"""Measured throughput over time: svs_challenge/network_traces, norway_hsdpa, oboe."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from twinloop.datasets.reading import (
    Column,
    Loaded,
    bare_table,
    check_increasing,
    files_in,
    load_each,
    set_folder,
    text_of,
)

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
    """Bus, car, ferry, metro, train and tram traces of `norway_hsdpa`, about 1 s a row. Raises DataError when absent."""
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
