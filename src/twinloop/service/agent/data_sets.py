"""Public data sets as recordings: measured links as users, hourly traffic as cells, a cluster's load as a server."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np

from twinloop.datasets import (
    load_cell_traffic,
    load_edge_load,
    load_irish5g,
    load_norway,
    load_oboe,
    load_sutd5g,
    load_tractor,
)
from twinloop.errors import DataError
from twinloop.network.formats import Rows
from twinloop.service.agent.recordings import Recording, joined, rows_of
from twinloop.units import bits_from_bytes

_HOUR_S = 3600.0


def recorded_set(name: str, data: Path) -> Recording:
    """The data set `name` of those below `data`; every link begins at time 0. Raises DataError where it is absent."""
    if name not in DATA_SETS:
        raise DataError(name, "no data set that can be replayed has this name", ", ".join(DATA_SETS))
    return joined(DATA_SETS[name](data))


def _norway(data: Path) -> Iterator[Rows]:
    for trace in load_norway(data).required():
        yield rows_of("users", [trace.name] * trace.rows, trace.time_s, {"rate_bps": trace.rate_bps})


def _oboe(data: Path) -> Iterator[Rows]:
    for trace in load_oboe(data).required():
        yield rows_of("users", [trace.name] * trace.rows, trace.time_s, {"rate_bps": trace.rate_bps})


def _tractor(data: Path) -> Iterator[Rows]:
    for trace in load_tractor(data).required():
        yield rows_of("users", [trace.name] * trace.rows, trace.time_s, {"rate_bps": trace.rate_bps})


def _irish(data: Path) -> Iterator[Rows]:
    """All applications: where one limits the rate, that is what its user got."""
    for trace in load_irish5g(data, None).required():
        name = trace.name.removesuffix(".csv").replace("/", "_").replace(" ", "_")
        values = {
            "rsrp_dbm": trace.rsrp_dbm,
            "sinr_db": trace.sinr_db,
            "rate_bps": trace.rate_bps,
            "speed_mps": trace.speed_mps,
        }
        yield rows_of("users", [name] * trace.rows, trace.time_s, values)


def _campus(data: Path) -> Iterator[Rows]:
    for trace in load_sutd5g(data).required():
        values = {"rsrp_dbm": trace.rsrp_dbm, "sinr_db": trace.sinr_db, "rate_bps": trace.rate_bps}
        yield rows_of("users", [trace.name] * trace.rows, trace.time_s, values)


def _hourly(data: Path) -> Iterator[Rows]:
    """Mean throughput of each hour, at its end."""
    for trace in load_cell_traffic(data).required():
        rate_bps = bits_from_bytes(trace.traffic_bytes) / _HOUR_S
        times_s = trace.epoch_s.astype(np.float64) + _HOUR_S
        yield rows_of("cells", [trace.cell] * trace.rows, times_s, {"throughput_bps": rate_bps})


def _cluster(data: Path) -> Iterator[Rows]:
    for load in load_edge_load(data).required():
        yield rows_of("servers", [load.name] * load.rows, load.time_s, {"utilisation": load.cpu_ratio})


DATA_SETS: Mapping[str, Callable[[Path], Iterator[Rows]]] = MappingProxyType(
    {
        "norway_hsdpa": _norway,
        "oboe": _oboe,
        "irish5g": _irish,
        "sutd5g": _campus,
        "tractor_oran": _tractor,
        "lte_cell_hourly": _hourly,
        "edge_load": _cluster,
    }
)
"""Data sets that can be replayed, by name."""
