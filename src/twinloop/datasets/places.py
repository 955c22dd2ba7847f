"""Where people walk and base stations stand: kaist_walks, eua_melbourne."""

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

JUMP_MPS = 40.0
STATIONARY_M = 4.0
EARTH_RADIUS_M = 6_371_000.0


@dataclass(frozen=True)
class Walk:
    """One person's day, every 30 s, in metres from a point of the campus.

    `jump[k]` marks a step from sample k to k + 1 faster than 40 m/s: the GPS receiver's, not the person's.
    """

    name: str
    time_s: Float64[np.ndarray, " samples"]
    position_m: Float64[np.ndarray, "samples 2"]

    @property
    def step_s(self) -> float:
        """Time between samples."""
        return float(self.time_s[1] - self.time_s[0])

    @property
    def step_m(self) -> Float64[np.ndarray, " steps"]:
        """Length of every step."""
        return np.linalg.norm(np.diff(self.position_m, axis=0), axis=1)

    @property
    def jump(self) -> Bool[np.ndarray, " steps"]:
        """Steps faster than 40 m/s."""
        return self.step_m > JUMP_MPS * np.diff(self.time_s)

    @property
    def stationary(self) -> Bool[np.ndarray, " steps"]:
        """Steps shorter than 4 m in 30 s, the drift of a resting receiver; 56 % of all steps of the set."""
        return self.step_m < STATIONARY_M * np.diff(self.time_s) / 30.0

    @property
    def clipped_position_m(self) -> Float64[np.ndarray, "samples 2"]:
        """Positions with every jump cut to 40 m/s in its direction, so that what follows stays connected.

        The walk after a jump is moved by what was cut away; an excursion that jumps out and back returns to its place
        only where both jumps are cut by the same length.
        """
        step = np.diff(self.position_m, axis=0)
        length = np.maximum(self.step_m, 1e-9)
        limit = JUMP_MPS * np.diff(self.time_s)
        cut = step * np.minimum(1.0, limit / length)[:, None]
        return np.concatenate([self.position_m[:1], self.position_m[0] + np.cumsum(cut, axis=0)])

    @property
    def rows(self) -> int:
        """Samples."""
        return len(self.time_s)


@dataclass(frozen=True)
class Sites:
    """Base-station sites; `position_m` is east and north of their mean, `elevation_m` NaN where the source is empty."""

    name: str
    site_id: Int64[np.ndarray, " sites"]
    title: tuple[str, ...]
    latitude_deg: Float64[np.ndarray, " sites"]
    longitude_deg: Float64[np.ndarray, " sites"]
    elevation_m: Float64[np.ndarray, " sites"]

    @property
    def position_m(self) -> Float64[np.ndarray, "sites 2"]:
        """East and north of the mean site on the tangent plane (good to a metre over a city)."""
        latitude = np.radians(self.latitude_deg)
        longitude = np.radians(self.longitude_deg)
        east = EARTH_RADIUS_M * np.cos(latitude.mean()) * (longitude - longitude.mean())
        return np.stack([east, EARTH_RADIUS_M * (latitude - latitude.mean())], axis=1)

    @property
    def rows(self) -> int:
        """Sites."""
        return len(self.site_id)


def load_walks(data: Path) -> Loaded[Walk]:
    """Walks of `kaist_walks`. Raises DataError when the set is absent."""
    return load_each(files_in(set_folder(data, "kaist_walks"), "*.txt"), _walk)


def _walk(path: Path) -> Walk:
    table = bare_table(path, text_of(path), ("t_s", "x_m", "y_m"))
    time_s = table.numbers(Column("t_s", low=0))
    check_increasing(path, table, time_s, "t_s")
    if len(time_s) < 2:
        raise DataError(path, "one row", "at least two", line=table.lines[0])
    uneven = np.flatnonzero(np.abs(np.diff(time_s) - (time_s[1] - time_s[0])) > 0.01)
    if uneven.size:
        row = int(uneven[0]) + 1
        problem = f"a step of {time_s[row] - time_s[row - 1]:g} s"
        raise DataError(path, problem, f"steps of {time_s[1] - time_s[0]:g} s", line=table.lines[row], column=1)
    far = Column("x_m", -1e6, 1e6), Column("y_m", -1e6, 1e6)
    return Walk(path.stem, time_s, np.stack([table.numbers(column) for column in far], axis=1))


def load_sites(data: Path) -> Loaded[Sites]:
    """Base-station sites of `eua_melbourne`. Raises DataError when the set is absent."""
    return load_each(files_in(set_folder(data, "eua_melbourne"), "*.csv"), _sites)


def _sites(path: Path) -> Sites:
    table = headed_table(path, text_of(path), ("SITE_ID", "LATITUDE", "LONGITUDE", "NAME", "ELEVATION"))
    return Sites(
        name=path.stem,
        site_id=table.integers(Column("SITE_ID", low=0)),
        title=table.texts("NAME"),
        latitude_deg=table.numbers(Column("LATITUDE", -90, 90)),
        longitude_deg=table.numbers(Column("LONGITUDE", -180, 180)),
        elevation_m=table.numbers(Column("ELEVATION", -500, 9000, frozenset({""}))),
    )
