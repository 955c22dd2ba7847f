"""What people's status really was, slot by slot: measured sets replayed, and the simulated campus."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int32

from twinloop.datasets import DriveTrace, held_out, load_irish5g, load_norway, load_walks, on_grid
from twinloop.entities import USER_ATTRIBUTES, Attribute
from twinloop.errors import DataError
from twinloop.runs import run
from twinloop.scenario import Scenario, load

EARTH_RADIUS_M = 6_371_000.0
LONGEST_SLOTS = 1200
_SHORTEST_SLOTS = 60
_TABLE = {attribute.name: attribute for attribute in USER_ATTRIBUTES}
_TRUTH_NAMES = {
    "position_x_m": "x_m",
    "position_y_m": "y_m",
    "rebuffer_s": "rebuffer_total_s",
    "swipes": "views_total",
}
_CAMPUS_SEEDS = {"train": (101,), "test": (1, 2)}


@dataclass(frozen=True)
class Record:
    """Status of entities over time. `measured` is the truth with the sensors' noise, `present` where there is any.

    `noise` is that of the sensors (standard deviation, in the attribute's unit), `group` a person's slice.
    """

    name: str
    table: tuple[Attribute, ...]
    truth: Float32[np.ndarray, "slots entities attributes"]
    measured: Float32[np.ndarray, "slots entities attributes"]
    present: Bool[np.ndarray, "slots entities"]
    group: Int32[np.ndarray, " entities"]
    noise: Float64[np.ndarray, " attributes"]
    slot_s: float

    @property
    def spread(self) -> Float64[np.ndarray, " attributes"]:
        """Standard deviation of every attribute over all entities and slots, at least one step of its precision."""
        step = np.array([(entry.high - entry.low) / (2**entry.bits - 1) for entry in self.table])
        return np.maximum(self.truth[self.present].astype(np.float64).std(axis=0), step)


@dataclass(frozen=True)
class Split:
    """A part to tune on and a part to report."""

    train: Record
    test: Record


def irish5g(data: Path, seed: int, longest: int = LONGEST_SLOTS) -> Split:
    """Drive and static tests of 5G phones, all applications: position, speed, radio, cell and rate every second."""
    table = (
        *(_TABLE[name] for name in ("position_x_m", "position_y_m", "speed_mps", "rsrp_dbm", "sinr_db")),
        Attribute("cqi", "1", 0.0, 15.0, bits=4),
        *(_TABLE[name] for name in ("serving_cell", "rate_bps")),
    )
    del seed
    traces = load_irish5g(data, None).required()
    return _split("irish5g", table, [(trace.name, _driven(trace)) for trace in traces], 1.0, longest)


def norway_hsdpa(data: Path, seed: int, longest: int = LONGEST_SLOTS) -> Split:
    """Rates of phones in buses, trains and trams every second."""
    del seed
    traces = load_norway(data).required()
    tracks = [(t.name, np.interp(np.arange(t.time_s[0], t.time_s[-1]), t.time_s, t.rate_bps)[:, None]) for t in traces]
    return _split("norway_hsdpa", (_TABLE["rate_bps"],), tracks, 1.0, longest)


def kaist_walks(data: Path, seed: int, longest: int = LONGEST_SLOTS) -> Split:
    """Positions of people on a campus every 30 s."""
    del seed
    walks = load_walks(data).required()
    table = (_TABLE["position_x_m"], _TABLE["position_y_m"])
    return _split("kaist_walks", table, [(walk.name, walk.clipped_position_m) for walk in walks], 30.0, longest)


def campus(data: Path | None, seed: int, longest: int = LONGEST_SLOTS) -> Split:
    """Every user attribute of the simulated campus; one seed to tune on, two to report, sensors with their noise."""
    del data
    parts = {
        part: [_lived(load("campus"), longest, seed + offset) for offset in offsets]
        for part, offsets in _CAMPUS_SEEDS.items()
    }
    noise = load("campus").collection
    sensor = {"position_x_m": noise.position_noise_m, "position_y_m": noise.position_noise_m}
    sensor |= {"rsrp_dbm": noise.radio_noise_db, "sinr_db": noise.radio_noise_db}
    std = np.array([sensor.get(attribute.name, 0.0) for attribute in USER_ATTRIBUTES])
    records: list[Record] = []
    for part, lived in parts.items():
        truth = np.concatenate([one[0] for one in lived], axis=1)
        draw = np.random.default_rng((seed, len(records)))
        measured = truth + (std * draw.standard_normal(truth.shape)).astype(np.float32)
        present = np.concatenate([one[1] for one in lived], axis=1)
        group = np.concatenate([one[2] for one in lived])
        records.append(Record(f"campus {part}", USER_ATTRIBUTES, truth, measured, present, group, std, 1.0))
    return Split(*records)


def _lived(
    scenario: Scenario, slots: int, seed: int
) -> tuple[
    Float32[np.ndarray, "slots entities attributes"], Bool[np.ndarray, "slots entities"], Int32[np.ndarray, "_"]
]:
    """Truth of one run with cheap what-ifs and periodic reports: what people do, not how well it is foreseen."""
    judge = scenario.twin.judge.model_copy(update={"samples": 1, "slot_horizon": 1, "window_horizon": 1})
    changes = {
        "twin": scenario.twin.model_copy(update={"judge": judge, "emulator": "last_value"}),
        "policy": scenario.policy.model_copy(update={"reservation": "greedy"}),
        "collection": scenario.collection.model_copy(update={"method": "periodic"}),
    }
    lived = run(scenario.model_copy(update=changes), seed=seed, duration_s=float(slots))
    columns = [lived.arrays[_TRUTH_NAMES.get(entry.name, entry.name)] for entry in USER_ATTRIBUTES]
    names = [entry.name for entry in scenario.slices]
    group = np.repeat([names.index(part.slice) for part in scenario.users], [part.count for part in scenario.users])
    return np.stack(columns, axis=2).astype(np.float32), lived.arrays["active"], group.astype(np.int32)


RECORDS: dict[str, Callable[..., Split]] = {
    "campus": campus,
    "irish5g": irish5g,
    "norway_hsdpa": norway_hsdpa,
    "kaist_walks": kaist_walks,
}


def _driven(trace: DriveTrace) -> Float64[np.ndarray, "slots 8"]:
    grid = on_grid(trace)
    second, steps = trace.time_s, np.arange(grid.rows, dtype=np.float64)
    north = np.radians(trace.latitude_deg - np.nanmean(trace.latitude_deg)) * EARTH_RADIUS_M
    shrink = np.cos(np.radians(np.nanmean(trace.latitude_deg)))
    east = np.radians(trace.longitude_deg - np.nanmean(trace.longitude_deg)) * EARTH_RADIUS_M * shrink
    x_m, y_m, cqi = (_between(second, values, steps) for values in (east, north, trace.cqi))
    columns = (x_m, y_m, grid.speed_mps, grid.rsrp_dbm, grid.sinr_db, np.round(cqi), grid.cell, grid.rate_bps)
    return np.stack([np.asarray(column, np.float64) for column in columns], axis=1)


def _between(
    time_s: Float64[np.ndarray, " samples"], values: Float64[np.ndarray, " samples"], at: Float64[np.ndarray, " slots"]
) -> Float64[np.ndarray, " slots"]:
    known = np.isfinite(values)
    return np.interp(at, time_s[known], values[known]) if known.any() else np.zeros(len(at))


def _split(
    name: str,
    table: tuple[Attribute, ...],
    tracks: Sequence[tuple[str, Float64[np.ndarray, "_ attributes"]]],
    slot_s: float,
    longest: int,
) -> Split:
    """Files held out by their name are reported, the others are tuned on; longer ones are cut, short ones left out."""
    parts: list[Record] = []
    for part, wanted in (("train", False), ("test", True)):
        chosen = [track for of, track in tracks if held_out(of) == wanted and len(track) >= _SHORTEST_SLOTS]
        if not chosen:
            raise DataError(Path(name), f"no file of {_SHORTEST_SLOTS} samples or more to {part} on", "more files")
        slots = min(longest, max(len(track) for track in chosen))
        truth = np.zeros((slots, len(chosen), len(table)), np.float32)
        present = np.zeros((slots, len(chosen)), bool)
        for row, track in enumerate(chosen):
            length = min(len(track), slots)
            truth[:length, row], truth[length:, row], present[:length, row] = track[:length], track[length - 1], True
        group = np.zeros(len(chosen), np.int32)
        noise = np.zeros(len(table))
        parts.append(Record(f"{name} {part}", table, truth, truth, present, group, noise, slot_s))
    return Split(*parts)
