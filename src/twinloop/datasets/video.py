"""How long short videos are watched, and how large their chunks are: svs_challenge, dashlet_turk, kuairand_explicit."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float64, Int64

from twinloop.datasets.reading import (
    Column,
    Loaded,
    bare_table,
    files_in,
    headed_table,
    load_each,
    set_folder,
    text_of,
)
from twinloop.errors import DataError

SVS_TYPES = {
    "1_tj": "study",
    "2_EDG": "entertainment",
    "3_gy": "life",
    "4_dx": "life",
    "5_ss": "life",
    "6_jt": "entertainment",
    "7_yd": "game",
}
SVS_NOMINAL_BPS = (750e3, 1200e3, 1850e3)


@dataclass(frozen=True)
class LeaveDistribution:
    """When the viewers of one video leave it.

    `leave_probability[t]` is the share of all viewers that leaves in second t + 1 (from t to t + 1), `end_share` the
    share that watches to the end; together they sum to 1. `kind` is the type named by the source, empty where it names
    none; `placeholder` marks a uniform distribution that stands for no measurement.
    """

    name: str
    kind: str
    leave_probability: Float64[np.ndarray, " seconds"]
    end_share: float
    placeholder: bool = False

    @property
    def length_s(self) -> float:
        """Length of the video."""
        return float(len(self.leave_probability))

    @property
    def survival(self) -> Float64[np.ndarray, " points"]:
        """Share of viewers still there after 0, 1, ..., L seconds; the last one is the share that saw the end."""
        return np.concatenate([[1.0], 1.0 - np.cumsum(self.leave_probability)])

    @property
    def rows(self) -> int:
        """Seconds of the video and its end."""
        return len(self.leave_probability) + 1


@dataclass(frozen=True)
class ChunkSizes:
    """Sizes of the one-second chunks of a video in each version; `nominal_bps` is what the set calls the versions."""

    name: str
    kind: str
    nominal_bps: Float64[np.ndarray, " versions"]
    chunk_bits: Float64[np.ndarray, "versions seconds"]

    @property
    def version_bps(self) -> Float64[np.ndarray, " versions"]:
        """Real mean rate of each version; up to 23 % above or below the nominal one."""
        return self.chunk_bits.mean(axis=1)

    @property
    def rows(self) -> int:
        """Chunks over all versions."""
        return int(self.chunk_bits.size)


@dataclass(frozen=True)
class ViewingLog:
    """Views of many users, rated videos only (`liked` or hated): good for differences between users, not for levels.

    A watch time above the duration is a replay. `images_dropped` rows had duration 0 and are left out.
    """

    user_id: Int64[np.ndarray, " views"]
    video_id: Int64[np.ndarray, " views"]
    play_s: Float64[np.ndarray, " views"]
    duration_s: Float64[np.ndarray, " views"]
    liked: Bool[np.ndarray, " views"]
    images_dropped: int

    @property
    def watch_ratio(self) -> Float64[np.ndarray, " views"]:
        """Watch time over duration; above 1 where the viewer replayed."""
        return self.play_s / self.duration_s

    @property
    def replayed(self) -> Bool[np.ndarray, " views"]:
        """Views longer than the video."""
        return self.play_s > self.duration_s

    @property
    def rows(self) -> int:
        """Views of videos."""
        return len(self.user_id)


def load_retention(data: Path) -> Loaded[LeaveDistribution]:
    """Retention curves of the seven labelled videos of `svs_challenge`. Raises DataError when the set is absent."""
    return load_each(files_in(set_folder(data, "svs_challenge"), "user_ret/*"), _retention)


def _retention(path: Path) -> LeaveDistribution:
    table = bare_table(path, text_of(path), ("t_seconds", "survival"))
    time_s = table.numbers(Column("t_seconds", low=0))
    survival = table.numbers(Column("survival", 0, 1))
    last = table.lines[-1]
    if len(time_s) < 3 or survival[-1] != 0:
        raise DataError(path, "the end mark is missing", "a last row `L+1 0`", line=last, column=2)
    if time_s[0] != 0 or survival[0] != 1:
        raise DataError(path, "the curve does not start at 1", "a first row `0 1`", line=table.lines[0], column=2)
    uneven = np.flatnonzero(np.diff(time_s) != 1)
    if uneven.size:
        row = int(uneven[0]) + 1
        expected = f"second {time_s[row - 1] + 1:g}"
        raise DataError(path, f"second {time_s[row]:g}", expected, line=table.lines[row], column=1)
    rising = np.flatnonzero(np.diff(survival) > 0)
    if rising.size:
        row = int(rising[0]) + 1
        raise DataError(path, "survival rises", "a curve that only falls", line=table.lines[row], column=2)
    measured = survival[:-1]
    return LeaveDistribution(path.name, SVS_TYPES.get(path.name, ""), -np.diff(measured), float(measured[-1]))


def load_leave_distributions(data: Path, *, placeholders: bool = False) -> Loaded[LeaveDistribution]:
    """Leave-time distributions of `dashlet_turk`, without the uniform placeholders unless they are asked for.

    Raises DataError when the set is absent.
    """
    loaded = load_each(files_in(set_folder(data, "dashlet_turk"), "*.txt"), _leave_distribution)
    kept = tuple(item for item in loaded.items if placeholders or not item.placeholder)
    return Loaded(kept, loaded.faults)


def _leave_distribution(path: Path) -> LeaveDistribution:
    table = bare_table(path, text_of(path), ("probability",))
    probability = table.numbers(Column("probability", 0, 1))
    total = float(probability.sum())
    if len(probability) < 2 or abs(total - 1) > 1e-6:
        raise DataError(path, f"probabilities sum to {total:.6g}", "a sum of 1", line=table.lines[-1], column=1)
    uniform = bool(np.ptp(probability) < 1e-6)
    return LeaveDistribution(path.stem, "", probability[:-1], float(probability[-1]), placeholder=uniform)


def load_chunk_sizes(data: Path) -> Loaded[ChunkSizes]:
    """Chunk sizes of the seven videos of `svs_challenge`, from bytes to bits. Raises DataError when absent."""
    folder = set_folder(data, "svs_challenge") / "short_video_size"
    videos = sorted({path.parent for path in files_in(folder, "*/video_size_*")})
    return load_each(videos, _chunk_sizes)


def _chunk_sizes(folder: Path) -> ChunkSizes:
    paths = [folder / f"video_size_{version}" for version in range(len(SVS_NOMINAL_BPS))]
    versions = [_sizes_bytes(path) for path in paths]
    for path, version in zip(paths, versions, strict=True):
        if len(version) != len(versions[0]):
            expected = f"{len(versions[0])} chunks as in video_size_0"
            raise DataError(path, f"{len(version)} chunks", expected, line=len(version))
    kind = SVS_TYPES.get(folder.name, "")
    return ChunkSizes(folder.name, kind, np.array(SVS_NOMINAL_BPS), 8.0 * np.stack(versions))


def _sizes_bytes(path: Path) -> Float64[np.ndarray, " seconds"]:
    table = bare_table(path, text_of(path), ("bytes",))
    return table.integers(Column("bytes", low=1)).astype(np.float64)


def load_viewing_log(data: Path) -> Loaded[ViewingLog]:
    """Views of `kuairand_explicit`: videos only, images (duration 0) dropped. Raises DataError when absent."""
    return load_each(files_in(set_folder(data, "kuairand_explicit"), "*.tsv"), _viewing_log)


def _viewing_log(path: Path) -> ViewingLog:
    needed = ("user_id", "video_id", "play_time_ms", "duration_ms", "label")
    table = headed_table(path, text_of(path), needed, delimiter="\t")
    duration_s = table.numbers(Column("duration_ms", low=0)) / 1e3
    video = duration_s > 0
    return ViewingLog(
        user_id=table.integers(Column("user_id", low=0))[video],
        video_id=table.integers(Column("video_id", low=0))[video],
        play_s=table.numbers(Column("play_time_ms", low=0))[video] / 1e3,
        duration_s=duration_s[video],
        liked=table.integers(Column("label", 0, 1))[video] == 1,
        images_dropped=int((~video).sum()),
    )
