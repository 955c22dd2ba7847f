"""Runs of the study: worlds of one scheme side by side, saved one by one, so that a study can go on."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32

from twinloop.runs import LaneBlock, Lanes
from twinloop.studies.da_qoe.setting import SCHEMES, present, with_users, world

AT_ONCE = 10
"""Worlds side by side in one compiled call."""

_MINUTE_SLOTS = 60


class Place(NamedTuple):
    """One run: a scheme, a number of users, a seed."""

    scheme: str
    users: int
    seed: int


@dataclass(frozen=True)
class Lived:
    """What one run brought, by minute: true experience and what was agreed, and use of resources.

    `load` is the bandwidth that the top version would have asked for, over what there is; `refused` the share of slots
    in which the internal loop kept the standing decision; `wall_s` the time of the whole call over its worlds.
    """

    experience: Float32[np.ndarray, "minutes users"]
    believed: Float32[np.ndarray, "minutes users"]
    agreed: Float32[np.ndarray, " users"]
    present: Bool[np.ndarray, " users"]
    stall_s: Float32[np.ndarray, "minutes users"]
    quality: Float32[np.ndarray, "minutes users"]
    bandwidth_use: Float32[np.ndarray, " minutes"]
    cycles_use: Float32[np.ndarray, " minutes"]
    load: Float32[np.ndarray, " minutes"]
    reserved_hz: Float32[np.ndarray, "minutes slices"]
    window_won: Float32[np.ndarray, " minutes"]
    refused: Float32[np.ndarray, " minutes"]
    wall_s: Float32[np.ndarray, ""]


def saved(folder: Path, place: Place) -> Path:
    """Where a run is kept."""
    return folder / "runs" / f"{place.scheme}-{place.users}-{place.seed}.npz"


def load_lived(path: Path) -> Lived:
    """A run from its file."""
    with np.load(path) as held:
        return Lived(**{name: held[name] for name in held.files})


def live_all(
    places: Sequence[Place], minutes: int, folder: Path, progress: Callable[[int, int], None]
) -> dict[Place, Lived]:
    """Every run, those on file from file; a file is written as soon as its run is over."""
    folder.joinpath("runs").mkdir(parents=True, exist_ok=True)
    lacking = [place for place in places if not saved(folder, place).exists()]
    done = len(places) - len(lacking)
    progress(done * minutes, len(places) * minutes)
    for scheme in dict.fromkeys(place.scheme for place in lacking):
        mine = [place for place in lacking if place.scheme == scheme]
        for first in range(0, len(mine), AT_ONCE):
            batch = mine[first : first + AT_ONCE]

            def lived(minute: int, before: int = done, count: int = len(batch)) -> None:
                progress(before * minutes + minute * count, len(places) * minutes)

            for place, run in zip(batch, _live(batch, minutes, lived), strict=True):
                _save(saved(folder, place), run)
            done += len(batch)
    return {place: load_lived(saved(folder, place)) for place in places}


def _live(batch: Sequence[Place], minutes: int, lived: Callable[[int], None]) -> list[Lived]:
    """The runs of one scheme; a short batch is filled up with its last world, so that all share one program."""
    filled = [*batch, *[batch[-1]] * (AT_ONCE - len(batch))] if len(batch) > 1 else list(batch)
    numbers = iter([place.users for place in filled])
    scheme = SCHEMES[batch[0].scheme]
    lanes = Lanes(
        [world(scheme, place.seed, minutes) for place in filled],
        minutes * _MINUTE_SLOTS,
        prepare=lambda _, loop, state: with_users(next(numbers), loop, state),
    )
    agreed = lanes.agreed
    compiled = lanes.compile()
    begun = time.perf_counter()
    minute: list[list[dict[str, np.ndarray]]] = [[] for _ in filled]
    for number, blocks in enumerate(lanes.live(compiled)):
        for block in blocks:
            minute[block.lane].append(_minute(block, lanes))
        lived(number + 1)
    wall_s = np.float32((time.perf_counter() - begun) / len(filled))
    return [
        Lived(
            agreed=agreed[row],
            present=present(place.users),
            wall_s=np.asarray(wall_s),
            **{name: np.stack([one[name] for one in minute[row]]).astype(np.float32) for name in minute[row][0]},
        )
        for row, place in enumerate(batch)
    ]


def _minute(block: LaneBlock, lanes: Lanes) -> dict[str, np.ndarray]:
    truth, trace = block.truth, block.trace
    used_hz = truth["used_bandwidth_hz"] + truth["overhead_bandwidth_hz"]
    bandwidth = float(np.sum(np.asarray(lanes.loops[block.lane].network.params.topology.cell_bandwidth_hz)))
    played = np.maximum(1.0 - truth["rebuffer_s"], 0.0)
    won = np.nan if block.verdict is None else float(block.verdict["winner"] >= 0)
    return {
        "experience": truth["experience"][-1],
        "believed": trace["believed"][-1],
        "stall_s": truth["rebuffer_s"].sum(axis=0),
        "quality": (played * truth["quality"]).sum(axis=0) / np.maximum(played.sum(axis=0), 1e-6),
        "bandwidth_use": np.asarray(used_hz.sum(axis=1).mean() / bandwidth),
        "cycles_use": np.asarray(truth["utilisation"].mean()),
        "load": np.asarray(trace["load_hz"].sum(axis=1).mean() / bandwidth),
        "reserved_hz": trace["slice_bandwidth_hz"][-1].sum(axis=0),
        "window_won": np.asarray(won),
        "refused": np.asarray((trace["code"] != 0).mean()),
    }


def _save(path: Path, run: Lived) -> None:
    scratch = path.with_suffix(".new.npz")
    np.savez_compressed(scratch, **vars(run))
    scratch.replace(path)
