"""Measured 5G radio: drive and static tests of irish5g, walks on the private campus network of sutd5g."""

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float64, Int64

from twinloop.datasets.reading import (
    Column,
    Loaded,
    Table,
    check_increasing,
    decoded,
    files_in,
    headed_table,
    load_each,
    set_folder,
    text_of,
)
from twinloop.errors import DataError

_MISSING = frozenset({"-", ""})
_RSRP_SENTINEL_DBM = -200.0
_CLOCK_STEP_S = 5.0
_IRISH_TIME = "%Y.%m.%d_%H.%M.%S"
_IRISH_COLUMNS = ("Timestamp", "Longitude", "Latitude", "Speed", "NetworkMode", "RSRP", "SNR", "CQI", "DL_bitrate")
SUTD_BANDWIDTH_HZ = 128 * 12 * 30e3


@dataclass(frozen=True)
class DriveTrace:
    """One test of `irish5g` as it was logged: about 1 Hz with duplicate seconds and gaps of 2 to 3 s.

    NaN is missing (`-`, and the sentinel of RSRP). `rate_bps` is what arrived; it shows link capacity only where
    `shows_capacity` (a bulk download), elsewhere the application limits it. `cell` numbers the serving cells of the
    trace in order of appearance; `is_5g` marks rows on NR, the others are on LTE or older.
    """

    name: str
    application: str
    motion: str
    content: str
    time_s: Float64[np.ndarray, " samples"]
    longitude_deg: Float64[np.ndarray, " samples"]
    latitude_deg: Float64[np.ndarray, " samples"]
    speed_mps: Float64[np.ndarray, " samples"]
    cell: Int64[np.ndarray, " samples"]
    is_5g: Bool[np.ndarray, " samples"]
    rsrp_dbm: Float64[np.ndarray, " samples"]
    rsrq_db: Float64[np.ndarray, " samples"]
    sinr_db: Float64[np.ndarray, " samples"]
    cqi: Float64[np.ndarray, " samples"]
    rate_bps: Float64[np.ndarray, " samples"]

    @property
    def shows_capacity(self) -> bool:
        """True where the rate is what the link could carry."""
        return self.application == "Download"

    @property
    def rows(self) -> int:
        """Logged rows."""
        return len(self.time_s)


@dataclass(frozen=True)
class RadioGrid:
    """A drive test on a regular grid of `step_s`, without NaN, ready for padding.

    `measured` is False where no row fell into the step and the one before was held; `outage` where the hold is longer
    than the limit given to `on_grid`, so that the rate counts as 0.
    """

    name: str
    step_s: float
    rsrp_dbm: Float64[np.ndarray, " steps"]
    sinr_db: Float64[np.ndarray, " steps"]
    rate_bps: Float64[np.ndarray, " steps"]
    speed_mps: Float64[np.ndarray, " steps"]
    cell: Int64[np.ndarray, " steps"]
    measured: Bool[np.ndarray, " steps"]
    outage: Bool[np.ndarray, " steps"]

    @property
    def rows(self) -> int:
        """Steps of the grid."""
        return len(self.rate_bps)


def load_irish5g(data: Path, application: str | None = "Download") -> Loaded[DriveTrace]:
    """Traces of `irish5g` of one application (Download, Netflix, Amazon_Prime), or of all for None.

    Reads every zip file of the folder, and CSV files that lie there unpacked. Raises DataError when the set is absent.
    """
    folder = set_folder(data, "irish5g")
    items: list[DriveTrace] = []
    faults: list[DataError] = []
    for archive in sorted(folder.glob("*.zip")):
        try:
            members = _members(archive)
        except DataError as fault:
            faults.append(fault)
            continue
        wanted = [member for member in members if application is None or application in Path(member).parts]
        loaded = load_each(wanted, lambda member, archive=archive: _from_archive(archive, member))
        items += loaded.items
        faults += loaded.faults
    loose = [path for path in sorted(folder.rglob("*.csv")) if application is None or application in path.parts]
    loaded = load_each(loose, lambda path: _drive(path, text_of(path)))
    if not items and not faults and not loose:
        raise DataError(folder, "no file found", "irish5g.zip with CSV files of drive tests")
    return Loaded((*items, *loaded.items), (*faults, *loaded.faults))


def _members(archive: Path) -> list[str]:
    try:
        with zipfile.ZipFile(archive) as opened:
            return sorted(name for name in opened.namelist() if name.endswith(".csv"))
    except (zipfile.BadZipFile, OSError) as fault:
        raise DataError(archive, f"cannot be opened ({fault})", "a whole zip file") from None


def _from_archive(archive: Path, member: str) -> DriveTrace:
    path = archive / member
    try:
        with zipfile.ZipFile(archive) as opened:
            raw = opened.read(member)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError) as fault:
        raise DataError(path, f"cannot be unpacked ({fault})", "a whole CSV file in the zip file") from None
    return _drive(path, decoded(path, raw))


def _drive(path: Path, text: str) -> DriveTrace:
    table = headed_table(path, text, (*_IRISH_COLUMNS, "CELLHEX", "NODEHEX", "RSRQ"))
    table, epoch_s = _in_order_of_time(table)
    rsrp_dbm = table.numbers(Column("RSRP", -200, 0, _MISSING))
    nodes = zip(table.texts("NODEHEX"), table.texts("CELLHEX"), strict=True)
    cells: dict[tuple[str, str], int] = {}
    place = {part: path.parts.index(part) for part in ("Static", "Driving") if part in path.parts}
    motion, depth = next(iter(place.items()), ("", 0))
    return DriveTrace(
        name="/".join(path.parts[depth - 1 :]) if depth else path.name,
        application=path.parts[depth - 1] if depth else "",
        motion=motion,
        content=path.parts[depth + 1] if depth and len(path.parts) > depth + 2 else "",
        time_s=epoch_s - epoch_s[0],
        longitude_deg=table.numbers(Column("Longitude", -180, 180, _MISSING)),
        latitude_deg=table.numbers(Column("Latitude", -90, 90, _MISSING)),
        speed_mps=table.numbers(Column("Speed", 0, 500, _MISSING)) / 3.6,
        cell=np.array([cells.setdefault(node, len(cells)) for node in nodes], dtype=np.int64),
        is_5g=np.array([mode == "5G" for mode in table.texts("NetworkMode")]),
        rsrp_dbm=np.where(rsrp_dbm == _RSRP_SENTINEL_DBM, np.nan, rsrp_dbm),
        rsrq_db=table.numbers(Column("RSRQ", -60, 20, _MISSING)),
        sinr_db=table.numbers(Column("SNR", -60, 60, _MISSING)),
        cqi=table.numbers(Column("CQI", 0, 15, _MISSING)),
        rate_bps=1e3 * table.numbers(Column("DL_bitrate", low=0, missing=_MISSING)),
    )


def _in_order_of_time(table: Table) -> tuple[Table, Float64[np.ndarray, " samples"]]:
    """Rows sorted by time (the phone's clock steps back by a second now and then), and their epoch seconds."""
    epoch_s = table.times_s("Timestamp", _IRISH_TIME)
    back = np.flatnonzero(np.diff(epoch_s) < -_CLOCK_STEP_S)
    if back.size:
        row = int(back[0]) + 1
        problem = f"time runs backwards by {epoch_s[row - 1] - epoch_s[row]:g} s"
        expected = f"rows in order of time, but for {_CLOCK_STEP_S:g} s"
        raise DataError(table.path, problem, expected, line=table.lines[row], column=table.index("Timestamp") + 1)
    order = np.argsort(epoch_s, kind="stable")
    lines = tuple(table.lines[row] for row in order)
    cells = tuple(table.cells[row] for row in order)
    return Table(table.path, table.header, lines, cells), epoch_s[order]


def on_grid(trace: DriveTrace, step_s: float = 1.0, longest_hold_s: float = 5.0) -> RadioGrid:
    """Trace on a regular grid: rows of a step are averaged, gaps held, missing radio values last known.

    A radio value missing from the start takes the first known one; where a trace has none at all it is -140 dBm or
    -20 dB. Beyond `longest_hold_s` without a row the step counts as an outage with rate 0.
    """
    step = np.floor(trace.time_s / step_s).astype(np.int64)
    steps = int(step[-1]) + 1
    count = np.bincount(step, minlength=steps)
    measured = count > 0
    newest = np.maximum.accumulate(np.where(measured, np.arange(steps), 0))
    last_row = np.zeros(steps, dtype=np.int64)
    last_row[step] = np.arange(len(step))
    outage = (np.arange(steps) - newest) * step_s > longest_hold_s
    rate_bps = _mean_of_step(trace.rate_bps, step, steps)
    return RadioGrid(
        name=trace.name,
        step_s=step_s,
        rsrp_dbm=_held(_mean_of_step(trace.rsrp_dbm, step, steps), -140.0),
        sinr_db=_held(_mean_of_step(trace.sinr_db, step, steps), -20.0),
        rate_bps=np.where(outage, 0.0, _held(rate_bps, 0.0)),
        speed_mps=_held(_mean_of_step(trace.speed_mps, step, steps), 0.0),
        cell=trace.cell[last_row[newest]],
        measured=measured,
        outage=outage,
    )


def _mean_of_step(
    values: Float64[np.ndarray, " samples"], step: Int64[np.ndarray, " samples"], steps: int
) -> Float64[np.ndarray, " steps"]:
    known = np.isfinite(values)
    total = np.bincount(step[known], weights=values[known], minlength=steps)
    count = np.bincount(step[known], minlength=steps)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _held(values: Float64[np.ndarray, " steps"], absent: float) -> Float64[np.ndarray, " steps"]:
    known = np.flatnonzero(np.isfinite(values))
    if known.size == 0:
        return np.full_like(values, absent)
    position = np.searchsorted(known, np.arange(len(values)), side="right") - 1
    return values[known[np.maximum(position, 0)]]


@dataclass(frozen=True)
class CampusTrace:
    """One walk of `sutd5g`, about 2 Hz: what the phone measured and received.

    `held` marks rows whose rate repeats the one before (the rate is held between its updates); `anomaly` rows that the
    authors labelled as such. `rate_bps` is in bit/s in the source already.
    """

    name: str
    all_units_on: bool
    time_s: Float64[np.ndarray, " samples"]
    rsrp_dbm: Float64[np.ndarray, " samples"]
    rsrq_db: Float64[np.ndarray, " samples"]
    sinr_db: Float64[np.ndarray, " samples"]
    mcs: Float64[np.ndarray, " samples"]
    prbs: Float64[np.ndarray, " samples"]
    rate_bps: Float64[np.ndarray, " samples"]
    held: Bool[np.ndarray, " samples"]
    anomaly: Bool[np.ndarray, " samples"]

    @property
    def rows(self) -> int:
        """Measured rows."""
        return len(self.time_s)


def load_sutd5g(data: Path) -> Loaded[CampusTrace]:
    """Walks of `sutd5g`. Raises DataError when the set is absent."""
    return load_each(files_in(set_folder(data, "sutd5g"), "*.csv"), _campus)


def _campus(path: Path) -> CampusTrace:
    needed = ("Time", "RSRP", "RSRQ", "SINR", "PDSCH_MCS", "PDSCH PRBs", "throughput_DL", "lab_anom")
    table = headed_table(path, text_of(path), needed)
    epoch_s = table.times_s("Time", "%Y-%m-%d %H:%M:%S.%f")
    check_increasing(path, table, epoch_s, "Time")
    rate_bps = table.numbers(Column("throughput_DL", low=0, missing=_MISSING))
    return CampusTrace(
        name=path.stem,
        all_units_on="AllRRU" in path.stem,
        time_s=epoch_s - epoch_s[0],
        rsrp_dbm=table.numbers(Column("RSRP", -200, 0, _MISSING)),
        rsrq_db=table.numbers(Column("RSRQ", -60, 20, _MISSING)),
        sinr_db=table.numbers(Column("SINR", -60, 60, _MISSING)),
        mcs=table.numbers(Column("PDSCH_MCS", 0, 31, _MISSING)),
        prbs=table.numbers(Column("PDSCH PRBs", 0, 275, _MISSING)),
        rate_bps=rate_bps,
        held=np.concatenate([[False], np.diff(rate_bps) == 0]),
        anomaly=table.numbers(Column("lab_anom", 0, 1)) == 1,
    )
