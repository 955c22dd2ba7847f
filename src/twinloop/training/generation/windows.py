"""Recorded links as windows of equal length, by class and file: what generators are fitted to and judged on."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
from jaxtyping import Bool, Float64, Int64

from twinloop.datasets import load_irish5g, load_norway, on_grid
from twinloop.errors import DataError

WINDOW_STEPS = 64
STRIDE_STEPS = 16
STEP_S = 1.0
LONGEST_GAP_S = 5.0


@dataclass(frozen=True)
class Windows:
    """Windows of recorded series, every `step_s`; `label` indexes `classes`, `file` indexes `files`.

    Windows of one file overlap; no window reaches over a gap of its file.
    """

    value: Float64[np.ndarray, "windows steps channels"]
    label: Int64[np.ndarray, " windows"]
    file: Int64[np.ndarray, " windows"]
    classes: tuple[str, ...]
    files: tuple[str, ...]
    channels: tuple[str, ...]
    step_s: float = STEP_S

    @property
    def count(self) -> int:
        """Number of windows."""
        return len(self.label)

    def only(self, kept: Bool[np.ndarray, " windows"]) -> "Windows":
        """The windows where `kept` is true; classes and files keep their numbers."""
        return replace(self, value=self.value[kept], label=self.label[kept], file=self.file[kept])

    def file_class(self) -> Int64[np.ndarray, " files"]:
        """Class of every file, -1 for a file without a window."""
        found = np.full(len(self.files), -1, dtype=np.int64)
        found[self.file] = self.label
        return found


@dataclass(frozen=True)
class _Series:
    name: str
    group: str
    value: Float64[np.ndarray, "steps channels"]


def load_windows(data: Path, dataset: str, steps: int = WINDOW_STEPS, stride: int = STRIDE_STEPS) -> Windows:
    """Windows of a set in `RECORDED_LINKS`. Raises DataError where the set is absent or no file holds one window."""
    channels, load = RECORDED_LINKS[dataset]
    series = load(data)
    classes = tuple(sorted({one.group for one in series}))
    files = tuple(dict.fromkeys(one.name for one in series))
    values, labels, owners = [], [], []
    for one in series:
        starts = range(0, len(one.value) - steps + 1, stride)
        values += [one.value[start : start + steps] for start in starts]
        labels += [classes.index(one.group)] * len(starts)
        owners += [files.index(one.name)] * len(starts)
    if not values:
        longest = max((len(one.value) for one in series), default=0)
        raise DataError(data / dataset, f"the longest series has {longest} steps", f"at least {steps} steps of 1 s")
    return Windows(np.stack(values), np.array(labels), np.array(owners), classes, files, channels)


def held_out_files(names: Sequence[str], kind: Int64[np.ndarray, " files"]) -> Bool[np.ndarray, " files"]:
    """True for the third of the files that no generator may be fitted to.

    Of each class (`kind`; -1 is none), in the order of sha256(name), the second file and every third one after it: a
    class of two files keeps one to judge by, a class of one none.
    """
    order = sorted(range(len(names)), key=lambda row: hashlib.sha256(names[row].encode()).digest())
    kept = np.zeros(len(names), dtype=np.bool_)
    for number in range(int(kind.max(initial=-1)) + 1):
        mine = [row for row in order if kind[row] == number]
        kept[mine[1::3]] = True
    return kept


def later_part(windows: Windows, share: float = 0.25) -> Bool[np.ndarray, " windows"]:
    """True for the last `share` of every file's windows, on which settings are chosen; windows that overlap them from
    before count as earlier ones.
    """
    late = np.zeros(windows.count, dtype=np.bool_)
    for number in np.unique(windows.file):
        mine = np.flatnonzero(windows.file == number)
        late[mine[len(mine) - int(share * len(mine)) :]] = True
    return late


def _irish5g(data: Path) -> Sequence[_Series]:
    """Drive and static tests on a grid; seconds without a row lie between their neighbours, outages have rate 0."""
    found: list[_Series] = []
    for trace in load_irish5g(data, "Download").required():
        grid = on_grid(trace, STEP_S)
        value = np.stack([grid.rate_bps, grid.sinr_db, grid.rsrp_dbm], axis=1)
        known = np.flatnonzero(grid.measured | grid.outage)
        value = np.stack([np.interp(np.arange(len(value)), known, one[known]) for one in value.T], axis=1)
        found.append(_Series(grid.name, trace.motion.lower(), value))
    return found


def _norway(data: Path) -> Sequence[_Series]:
    """Rows of about 1 s interpolated to a grid of 1 s, in parts without a gap of more than 5 s."""
    found: list[_Series] = []
    for trace in load_norway(data).required():
        cuts = np.flatnonzero(np.diff(trace.time_s) > LONGEST_GAP_S) + 1
        for time_s, rate in zip(np.split(trace.time_s, cuts), np.split(trace.rate_bps, cuts), strict=True):
            at = np.arange(time_s[0], time_s[-1] + 1e-9, STEP_S)
            found.append(_Series(trace.name, trace.group, np.interp(at, time_s, rate)[:, None]))
    return found


RECORDED_LINKS: Mapping[str, tuple[tuple[str, ...], Callable[[Path], Sequence[_Series]]]] = MappingProxyType(
    {
        "irish5g": (("rate_bps", "sinr_db", "rsrp_dbm"), _irish5g),
        "norway_hsdpa": (("rate_bps",), _norway),
    }
)
"""Channels and loader of every recorded set; the first channel is always the rate."""
