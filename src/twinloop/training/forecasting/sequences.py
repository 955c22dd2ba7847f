"""Public data sets, and tables of one's own, as sequences on a regular grid: what emulators are trained and judged on.

Nothing is filled in here: a step without a report is NaN, a rate that its source held is no report.
"""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType

import numpy as np
from jaxtyping import Bool, Float64, Int64

from twinloop.datasets import (
    KpiTrace,
    ThroughputTrace,
    load_cell_traffic,
    load_edge_load,
    load_irish5g,
    load_norway,
    load_oboe,
    load_sutd5g,
    load_tractor,
    load_walks,
)
from twinloop.errors import DataError
from twinloop.learning import Quantity

_DAY_S = 86_400.0
_IDLE_S = 5.0

Values = Float64[np.ndarray, " steps"]
Table = Float64[np.ndarray, "steps covariates"]


@dataclass(frozen=True)
class Sequence:
    """One quantity over time; `name` is the file or block it is judged by.

    `value` and `covariates` are NaN where nothing was reported. Only forecasts made in steps that are `scored` count in
    training and judgement; the others give the past of a block. `first` counts the steps before the first one here.
    `truth` is what a simulation knows of every step (NaN: of none), None where reports are the only truth there is.
    """

    name: str
    value: Values
    covariates: Table
    scored: Bool[np.ndarray, " steps"]
    first: int = 0
    truth: Values | None = None


@dataclass(frozen=True)
class SequenceSet:
    """Sequences of one attribute of one kind: `unit`, `step_s` (on average) and what a step is, limits of the value."""

    name: str
    attribute: str
    unit: str
    step_s: float
    step: str
    covariates: tuple[str, ...]
    form: Quantity
    low: float
    high: float
    sequences: tuple[Sequence, ...]

    @property
    def files(self) -> tuple[str, ...]:
        """Names of files or blocks, in order of appearance."""
        return tuple(dict.fromkeys(sequence.name for sequence in self.sequences))

    @property
    def simulated(self) -> bool:
        """True where forecasts are held to a truth that reports only sample."""
        return any(sequence.truth is not None for sequence in self.sequences)

    @property
    def in_blocks(self) -> bool:
        """True where the files are blocks of time of longer recordings."""
        return any(not sequence.scored.all() for sequence in self.sequences)


def load_sequences(name: str, data: Path) -> SequenceSet:
    """The set `name` of `SEQUENCE_SETS` below `data`. Raises DataError where it is unknown, absent or faulty."""
    if name not in SEQUENCE_SETS:
        near = get_close_matches(name, SEQUENCE_SETS, n=1)
        hint = f"did you mean {near[0]}? There are " if near else "one of "
        raise DataError(name, "no such data set", f"{hint}{', '.join(SEQUENCE_SETS)}, or csv with --file")
    return SEQUENCE_SETS[name](data)


def step_means(
    step: Int64[np.ndarray, " rows"], values: Float64[np.ndarray, " rows"], steps: int
) -> Float64[np.ndarray, " steps"]:
    """Mean of the rows that fall into each step, NaN where none does."""
    known = np.isfinite(values)
    total = np.bincount(step[known], weights=values[known], minlength=steps)
    count = np.bincount(step[known], minlength=steps)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def blocks(
    sequence: Sequence, length: int, context: int, name: Callable[[int], str] = "block {}".format
) -> tuple[Sequence, ...]:
    """A long sequence cut into blocks of time of about `length` steps, each after up to `context` steps of its past."""
    steps = len(sequence.value)
    edges = np.linspace(0, steps, max(round(steps / length), 1) + 1).astype(np.int64)
    cut: list[Sequence] = []
    for number, (low, high) in enumerate(itertools.pairwise(edges), start=1):
        first = max(int(low) - context, 0)
        scored = sequence.scored[first:high] & (np.arange(first, high) >= low)
        label = f"{sequence.name} {name(number)}"
        cut.append(Sequence(label, sequence.value[first:high], sequence.covariates[first:high], scored, first))
    return tuple(cut)


def _whole(name: str, value: Values, covariates: Table) -> Sequence:
    return Sequence(name, value, covariates, np.ones(len(value), bool))


def _irish(data: Path) -> SequenceSet:
    """Bulk downloads only (others are limited by the application); duplicate seconds averaged, gaps not filled."""
    names = ("rsrp_dbm", "rsrq_db", "sinr_db", "cqi", "speed_mps", "cell_change", "on_5g")
    sequences: list[Sequence] = []
    for trace in load_irish5g(data).required():
        step = np.floor(trace.time_s).astype(np.int64)
        steps = int(step[-1]) + 1
        change = np.concatenate([[0.0], (np.diff(trace.cell) != 0).astype(np.float64)])
        columns = (trace.rsrp_dbm, trace.rsrq_db, trace.sinr_db, trace.cqi, trace.speed_mps, change)
        covariates = [step_means(step, column, steps) for column in (*columns, trace.is_5g.astype(np.float64))]
        name = "/".join(Path(trace.name).parts[-2:])
        sequences.append(_whole(name, step_means(step, trace.rate_bps, steps), np.stack(covariates, axis=1)))
    form = Quantity(resolution=1e5)
    return SequenceSet("irish5g", "rate_bps", "bit/s", 1.0, "1 s", names, form, 0.0, np.inf, tuple(sequences))


def _reports(name: str, traces: tuple[ThroughputTrace, ...], step_s: float) -> SequenceSet:
    """Traces whose rows come irregularly: a step is a row, and how long it took is a covariate."""
    sequences: list[Sequence] = []
    for trace in traces:
        took = np.diff(trace.time_s, prepend=np.nan)
        sequences.append(_whole(trace.name, trace.rate_bps, np.log(took)[:, None]))
    step = f"a row of the trace, {step_s:g} s on average"
    form = Quantity(resolution=2e4)
    covariates = ("log_row_s",)
    return SequenceSet(name, "rate_bps", "bit/s", step_s, step, covariates, form, 0.0, np.inf, tuple(sequences))


def _norway(data: Path) -> SequenceSet:
    return _reports("norway_hsdpa", load_norway(data).required(), 1.3)


def _oboe(data: Path) -> SequenceSet:
    return _reports("oboe", load_oboe(data).required(), 3.5)


def _sutd(data: Path) -> SequenceSet:
    """Steps of 1.5 s, the median time between updates of the rate; rows that hold the last update are no reports."""
    names = ("sinr_db", "mcs", "prbs", "rsrp_dbm", "rsrq_db")
    cut: list[Sequence] = []
    for trace in load_sutd5g(data).required():
        step = np.floor(trace.time_s / 1.5).astype(np.int64)
        steps = int(step[-1]) + 1
        value = step_means(step, np.where(trace.held, np.nan, trace.rate_bps), steps)
        covariates = np.stack([step_means(step, getattr(trace, name), steps) for name in names], axis=1)
        cut += blocks(_whole(trace.name, value, covariates), 95, 30)
    form = Quantity(resolution=1e6)
    return SequenceSet("sutd5g", "rate_bps", "bit/s", 1.5, "1.5 s", names, form, 0.0, np.inf, tuple(cut))


def _walks(data: Path) -> SequenceSet:
    """East and north of each walk as two sequences of one file; jumps of the receiver are cut to 40 m/s."""
    sequences: list[Sequence] = []
    for walk in load_walks(data).required():
        position = walk.clipped_position_m
        moved = np.linalg.norm(np.diff(position, axis=0, prepend=position[:1]), axis=1)
        covariates = np.log1p(moved)[:, None]
        sequences += [_whole(walk.name, position[:, axis], covariates) for axis in (0, 1)]
    form = Quantity(resolution=1.0, wanders=True)
    names = ("log_step_m",)
    return SequenceSet("kaist_walks", "position_m", "m", 30.0, "30 s", names, form, -np.inf, np.inf, tuple(sequences))


def _kpis(data: Path) -> SequenceSet:
    """Downlink rate every 250 ms; rows are missing while a user is idle, and idling above 5 s parts the sequence."""
    names = ("mcs", "log_buffer_bytes", "requested_prbs", "granted_prbs", "cqi", "slice_prbs")
    sequences: list[Sequence] = []
    for trace in load_tractor(data).required():
        ends = np.flatnonzero(np.diff(trace.time_s) > _IDLE_S) + 1
        for rows in np.split(np.arange(trace.rows), ends):
            sequences.append(_kpi_part(trace, rows))
    form = Quantity(resolution=1e4)
    return SequenceSet("tractor_oran", "rate_bps", "bit/s", 0.25, "250 ms", names, form, 0.0, np.inf, tuple(sequences))


def _kpi_part(trace: KpiTrace, rows: Int64[np.ndarray, " rows"]) -> Sequence:
    step = np.round((trace.time_s[rows] - trace.time_s[rows[0]]) / 0.25).astype(np.int64)
    steps = int(step[-1]) + 1
    columns = (
        *(trace.mcs, np.log1p(trace.buffer_bytes), trace.requested_prbs),
        *(trace.granted_prbs, trace.cqi, trace.slice_prbs),
    )
    covariates = np.stack([step_means(step, column[rows], steps) for column in columns], axis=1)
    return _whole(trace.name, step_means(step, trace.rate_bps[rows], steps), covariates)


def _clock(time_s: Values, periods_s: tuple[float, ...]) -> list[Values]:
    return [wave(2 * np.pi * time_s / period) for period in periods_s for wave in (np.sin, np.cos)]


def _cells(data: Path) -> SequenceSet:
    """Training part and last week of a cell joined (the one follows the other), hours missing between left open."""
    by_cell: dict[str, list[tuple[Int64[np.ndarray, " hours"], Values]]] = {}
    for part in load_cell_traffic(data).required():
        by_cell.setdefault(part.cell, []).append((part.epoch_s, part.traffic_bytes))
    cut: list[Sequence] = []
    for cell, parts in by_cell.items():
        epoch_s = np.concatenate([one for one, _ in parts])
        hour = (epoch_s - epoch_s.min()) // 3600
        steps = int(hour.max()) + 1
        value = step_means(hour, np.concatenate([traffic for _, traffic in parts]), steps)
        time_s = epoch_s.min() + 3600.0 * np.arange(steps)
        covariates = np.stack(_clock(time_s, (_DAY_S, 7 * _DAY_S)), axis=1)
        cut += blocks(_whole(cell, value, covariates), 672, 216)
    form = Quantity(resolution=1e6, periods=(24, 48, 168))
    names = ("sin_day", "cos_day", "sin_week", "cos_week")
    return SequenceSet(
        "lte_cell_hourly", "traffic_bytes", "byte/h", 3600.0, "1 h", names, form, 0.0, np.inf, tuple(cut)
    )


def _servers(data: Path) -> SequenceSet:
    """Share of CPU in use, every 300 s, with the other resources as covariates; a day is 288 steps."""
    cut: list[Sequence] = []
    for load in load_edge_load(data).required():
        others = (load.memory_ratio, load.network_in_ratio, load.network_out_ratio, load.disk_ratio)
        covariates = np.stack([*others, *_clock(load.time_s, (_DAY_S,))], axis=1)
        cut += blocks(_whole(load.name, load.cpu_ratio, covariates), 187, 312)
    form = Quantity(resolution=1e-3, periods=(288,))
    names = ("memory", "network_in", "network_out", "disk", "sin_day", "cos_day")
    return SequenceSet("edge_load", "cpu_ratio", "share of 1", 300.0, "300 s", names, form, 0.0, 1.0, tuple(cut))


SEQUENCE_SETS: Mapping[str, Callable[[Path], SequenceSet]] = MappingProxyType(
    {
        "irish5g": _irish,
        "norway_hsdpa": _norway,
        "oboe": _oboe,
        "kaist_walks": _walks,
        "sutd5g": _sutd,
        "lte_cell_hourly": _cells,
        "edge_load": _servers,
        "tractor_oran": _kpis,
    }
)
"""Data sets that an emulator can be trained and judged on, by name."""
