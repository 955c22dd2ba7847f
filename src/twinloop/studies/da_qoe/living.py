"""Runs of the study: worlds of like cases side by side, saved one by one, so that a study can go on."""

import multiprocessing
import os
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float32
from scipy.ndimage import maximum_filter1d

from twinloop.errors import OutputError
from twinloop.loop import Loop, LoopState
from twinloop.network import SimulatedNetwork
from twinloop.qoe import Conditions, behaviour_of, environment_of
from twinloop.runs import LaneBlock, Lanes
from twinloop.scenario import Scenario, agreements
from twinloop.simulator import Params, Raters, true_experience
from twinloop.studies.da_qoe.setting import World, present, with_users, world
from twinloop.studies.da_qoe.variants import CASES

AT_ONCE = 16
"""Most worlds side by side in one compiled call: more is no faster, and keeps what is lived unsaved for longer."""
_FEWEST = 8

_MINUTE_SLOTS = 60
_LOOK_EVERY_S = 0.5
_TOLD: list[Any] = []


class Place(NamedTuple):
    """One run: a case, a number of users, a seed, and how long it lasts."""

    case: str
    users: int
    seed: int
    minutes: int


@dataclass(frozen=True)
class Lived:
    """What one run brought, by minute: true experience and what was agreed, and use of resources.

    `ceiling` is what the user would have experienced in the same minute at the best quality without a stall, `factor`
    the true I(B, C); `hz_per_bps` the bandwidth that a bit per second took in the best of the slots in which it could
    have been sent ahead, and `cell` where. `load` is the bandwidth that the top version would have asked for, over what
    there is; `refused` the share of slots in which the internal loop kept the standing decision; `stage` and `score`
    of adaptive windows, NaN where they were not asked; `decided` where slices were; `game_level` the part of their
    demand that slices have at the game's equilibrium, `game_gap` its gap, `by_game` whether it was proposed, NaN where
    no game was played; `decide_s` what a decision on slices took before the minute, a world's part of it, NaN where
    there was none; `wall_s` and `compile_s` are of the whole call over its worlds.
    """

    experience: Float32[np.ndarray, "minutes users"]
    believed: Float32[np.ndarray, "minutes users"]
    ceiling: Float32[np.ndarray, "minutes users"]
    agreed: Float32[np.ndarray, " users"]
    rule: Float32[np.ndarray, " users"]
    present: Bool[np.ndarray, " users"]
    stall_s: Float32[np.ndarray, "minutes users"]
    quality: Float32[np.ndarray, "minutes users"]
    factor: Float32[np.ndarray, "minutes users"]
    hz_per_bps: Float32[np.ndarray, "minutes users"]
    cell: Float32[np.ndarray, "minutes users"]
    cell_hz: Float32[np.ndarray, " cells"]
    version_bps: Float32[np.ndarray, " versions"]
    bandwidth_use: Float32[np.ndarray, " minutes"]
    cycles_use: Float32[np.ndarray, " minutes"]
    load: Float32[np.ndarray, " minutes"]
    reserved_hz: Float32[np.ndarray, "minutes slices"]
    decided: Float32[np.ndarray, " minutes"]
    window_won: Float32[np.ndarray, " minutes"]
    window_value: Float32[np.ndarray, " minutes"]
    window_bound: Float32[np.ndarray, " minutes"]
    game_level: Float32[np.ndarray, "minutes slices"]
    game_gap: Float32[np.ndarray, " minutes"]
    by_game: Float32[np.ndarray, " minutes"]
    stage: Float32[np.ndarray, " minutes"]
    score: Float32[np.ndarray, " minutes"]
    refused: Float32[np.ndarray, " minutes"]
    twin_bits: Float32[np.ndarray, " minutes"]
    decide_s: Float32[np.ndarray, " minutes"]
    wall_s: Float32[np.ndarray, ""]
    compile_s: Float32[np.ndarray, ""]


def saved(folder: Path, place: Place) -> Path:
    """Where a run is kept."""
    return folder / "runs" / f"{place.case}-{place.users}-{place.seed}-{place.minutes}min.npz"


def load_lived(path: Path) -> Lived | None:
    """A run from its file; None where there is none that can be read, so that it is lived again."""
    try:
        with path.open("rb") as file, np.load(file) as held:
            return Lived(**{name: held[name] for name in held.files})
    except (OSError, EOFError, ValueError, TypeError, KeyError, zipfile.BadZipFile):
        return None


def first_minutes(lived: Lived, minutes: int) -> Lived:
    """The run as far as that minute: what is later cannot have changed it. Its time is the same part of the whole's."""
    whole = len(lived.experience)
    by_minute = [name for name, value in vars(lived).items() if value.ndim and value.shape[0] == whole]
    apart = {"agreed", "rule", "present", "cell_hz", "version_bps"}
    cut = {name: getattr(lived, name)[:minutes] for name in by_minute if name not in apart}
    return replace(lived, **cut, wall_s=np.asarray(lived.wall_s * np.float32(minutes / whole)))


def live_all(
    places: Sequence[Place], folder: Path, progress: Callable[[int, int], None], workers: int
) -> dict[Place, Lived]:
    """Every run, those on file from file; a file is written as soon as its run is over.

    Batches of like cases are lived by `workers`, processes of their own where there are several. Raises OutputError
    where what was just written cannot be read.
    """
    folder.joinpath("runs").mkdir(parents=True, exist_ok=True)
    held = {place: load_lived(saved(folder, place)) for place in places}
    lacking = [place for place, run in held.items() if run is None]
    total, left = (sum(place.minutes for place in some) for some in (places, lacking))
    progress(total - left, total)
    done = total - left
    for minutes in _lived_in_turn(lacking, folder) if workers == 1 else _lived_apart(lacking, folder, workers):
        done += minutes
        progress(done, total)
    there = held | {place: load_lived(saved(folder, place)) for place in lacking}
    runs = {place: run for place, run in there.items() if run is not None}
    lost = next((place for place in places if place not in runs), None)
    if lost is not None:
        raise OutputError(f"{saved(folder, lost)} was written and cannot be read; the same command lives it again")
    return runs


def _lived_in_turn(lacking: Sequence[Place], folder: Path) -> Iterator[int]:
    """Lives all batches here; yields the minutes lived since the last time."""
    for batch in batches_of(lacking):
        yield from _live(batch, folder)


def _lived_apart(lacking: Sequence[Place], folder: Path, workers: int) -> Iterator[int]:
    """As `_lived_in_turn`, in processes that keep to the kind they have compiled as long as there is any of it."""
    context = multiprocessing.get_context("spawn")
    told = context.Queue()
    pools = [
        ProcessPoolExecutor(1, context, initializer=_begin_worker, initargs=(told, number, workers))
        for number in range(workers)
    ]
    try:
        yield from _shared_out(batches_of(lacking), pools, folder, told)
    except BaseException:
        for pool in pools:
            pool.shutdown(wait=False, cancel_futures=True)
        for child in multiprocessing.active_children():
            child.terminate()
        raise
    for pool in pools:
        pool.shutdown()
    yield from _heard(told)


def _shared_out(
    left: list[list[Place]], pools: Sequence[ProcessPoolExecutor], folder: Path, told: "multiprocessing.Queue[int]"
) -> Iterator[int]:
    kinds: list[tuple[object, ...] | None] = [None] * len(pools)
    busy: dict[Future[None], int] = {}
    while left or busy:
        idle = [worker for worker in range(len(pools)) if worker not in busy.values()]
        for worker in idle[: len(left)]:
            batch = next_batch(left, kinds, worker)
            left.remove(batch)
            kinds[worker] = _kind(batch[0])
            busy[pools[worker].submit(_live_and_tell, batch, folder)] = worker
        for over in wait(busy, timeout=_LOOK_EVERY_S, return_when=FIRST_COMPLETED).done:
            del busy[over]
            over.result()
        yield from _heard(told)


def next_batch(left: list[list[Place]], kinds: Sequence[tuple[object, ...] | None], worker: int) -> list[Place]:
    """One of the kind that the worker has compiled; else of that of which most is left, nobody else's if there is."""
    minutes = Counter[tuple[object, ...]]()
    for batch in left:
        minutes[_kind(batch[0])] += sum(place.minutes for place in batch)
    free = [kind for kind in minutes if kind not in kinds] or list(minutes)
    kind = kinds[worker] if kinds[worker] in minutes else max(free, key=lambda one: minutes[one])
    return next(batch for batch in left if _kind(batch[0]) == kind)


def _heard(told: "multiprocessing.Queue[int]") -> Iterator[int]:
    """Minutes that were reported and not yet taken in."""
    while not told.empty():
        yield told.get()


def _begin_worker(queue: "multiprocessing.Queue[int]", number: int, workers: int) -> None:
    """Keeps a worker to its own part of the cores: threads of XLA that share them take half as long again."""
    _TOLD.append(queue)
    mine = sorted(os.sched_getaffinity(0))[number::workers] if hasattr(os, "sched_setaffinity") else []
    if mine:
        os.sched_setaffinity(0, mine)


def _live_and_tell(batch: Sequence[Place], folder: Path) -> None:
    """Lives a batch; ends, with what is not yet saved, when whoever asked is gone."""
    asking = multiprocessing.parent_process()
    for minutes in _live(batch, folder):
        if asking is not None and not asking.is_alive():
            os._exit(1)
        _TOLD[0].put(minutes)


def _kind(place: Place) -> tuple[object, ...]:
    """Runs of one kind share a compiled program when as many live side by side."""
    return CASES[place.case].kin


def batches_of(places: Sequence[Place]) -> list[list[Place]]:
    """Runs of one kind and length side by side, in batches that are all of one size for a kind, so that all share a
    program: the last ones are filled up by repeating a run.
    """
    batches: list[list[Place]] = []
    for kind in dict.fromkeys(_kind(place) for place in places):
        mine = [place for place in places if _kind(place) == kind]
        alike = [[place for place in mine if place.minutes == minutes] for minutes in {place.minutes for place in mine}]
        size = _batch_size([len(some) for some in alike])
        for some in alike:
            parts = [some[at : at + size] for at in range(0, len(some), size)]
            batches += [part + part[-1:] * (size - len(part)) for part in parts]
    return batches


def _batch_size(counts: Sequence[int]) -> int:
    """How many live side by side, so that least is repeated."""
    sizes = range(min(_FEWEST, max(counts)), min(AT_ONCE, max(counts)) + 1)
    return min(sizes, key=lambda size: (sum(-(-count // size) * size for count in counts), -size))


def _live(batch: Sequence[Place], folder: Path) -> Iterator[int]:
    """Lives a batch and saves its runs; yields the minutes that were lived, of all runs together."""
    numbers = iter([place.users for place in batch])
    cases = iter([CASES[place.case] for place in batch])

    def prepare(_: Scenario, loop: Loop[SimulatedNetwork], state: LoopState) -> World:
        return with_users(next(numbers), *next(cases).prepare(loop, state))

    scenarios = [world(CASES[place.case], place.seed, place.minutes) for place in batch]
    lanes = Lanes(scenarios, batch[0].minutes * _MINUTE_SLOTS, prepare=prepare)
    begun = time.perf_counter()
    compiled = lanes.compile()
    compile_s = time.perf_counter() - begun
    begun = time.perf_counter()
    minutes: list[list[dict[str, np.ndarray]]] = [[] for _ in batch]
    for blocks in lanes.live(compiled):
        for block in blocks:
            minutes[block.lane].append(_minute(block, lanes))
        yield len(set(batch))
    times = [np.float32(seconds / len(batch)) for seconds in (time.perf_counter() - begun, compile_s)]
    for lane, (place, scenario) in enumerate(zip(batch, scenarios, strict=True)):
        _save(saved(folder, place), _lived(place, scenario, lanes.loops[lane].network.params, minutes[lane], times))


def _lived(
    place: Place, scenario: Scenario, params: Params, minutes: list[dict[str, np.ndarray]], times: list[np.float32]
) -> Lived:
    columns = {name: np.stack([one[name] for one in minutes]).astype(np.float32) for name in minutes[0]}
    assert params.raters is not None
    ceiling, factor = _ceiling(params.raters, columns.pop("swipes"), columns.pop("speed_mps"))
    return Lived(
        agreed=np.asarray(agreements(scenario)),
        rule=np.asarray(params.raters.models.rule, np.float32),
        present=present(place.users),
        cell_hz=np.asarray(params.topology.cell_bandwidth_hz),
        version_bps=np.asarray(params.catalogue.version_bps),
        ceiling=np.asarray(ceiling),
        factor=np.asarray(factor),
        wall_s=np.asarray(times[0]),
        compile_s=np.asarray(times[1]),
        **columns,
    )


@jax.jit
def _ceiling(
    raters: Raters, swipes: Float[Any, "minutes users"], speed_mps: Float[Any, "minutes users"]
) -> tuple[Array, Array]:
    """E* at the best quality without a stall, and the factor I, of every minute."""

    def one(left: Float[Array, " users"], speed: Float[Array, " users"]) -> tuple[Array, Array]:
        none = jnp.zeros_like(speed)
        best = Conditions(none, none + 1.0, behaviour_of(left), environment_of(speed))
        return true_experience(raters, best), raters.models.factor(best)

    return jax.vmap(one)(swipes, speed_mps)


def _minute(block: LaneBlock, lanes: Lanes) -> dict[str, np.ndarray]:
    truth, trace = block.truth, block.trace
    used_hz = truth["used_bandwidth_hz"] + truth["overhead_bandwidth_hz"]
    params = lanes.loops[block.lane].network.params
    bandwidth = float(np.sum(np.asarray(params.topology.cell_bandwidth_hz)))
    played = np.maximum(1.0 - truth["rebuffer_s"], 0.0)
    efficiency = np.maximum(truth["spectral_efficiency"][:, : truth["experience"].shape[1]], 1e-3)
    ahead = max(round(float(params.player.buffer_cap_s)), 1)
    verdict = block.verdict or {}
    return {
        "experience": truth["experience"][-1],
        "believed": trace["believed"][-1],
        "stall_s": truth["rebuffer_s"].sum(axis=0),
        "quality": (played * truth["quality"]).sum(axis=0) / np.maximum(played.sum(axis=0), 1e-6),
        "swipes": truth["swipes"].sum(axis=0),
        "speed_mps": truth["speed_mps"].mean(axis=0),
        "hz_per_bps": np.mean(1.0 / maximum_filter1d(efficiency, 2 * ahead + 1, axis=0), axis=0),
        "cell": truth["serving_cell"][len(efficiency) // 2],
        "bandwidth_use": np.asarray(used_hz.sum(axis=1).mean() / bandwidth),
        "cycles_use": np.asarray(truth["utilisation"].mean()),
        "load": np.asarray(trace["load_hz"].sum(axis=1).mean() / bandwidth),
        "reserved_hz": trace["slice_bandwidth_hz"][-1].sum(axis=0),
        "decided": np.asarray(float(block.verdict is not None)),
        "window_won": np.asarray(float(verdict["winner"] >= 0) if verdict else np.nan),
        "window_value": np.asarray(verdict.get("value", np.nan)),
        "window_bound": np.asarray(verdict.get("bound", np.nan)),
        "game_level": _level_of_slices(verdict.get("game_level"), trace["slice_bandwidth_hz"].shape[-1]),
        "game_gap": np.asarray(verdict.get("game_gap", np.nan)),
        "by_game": np.asarray(verdict.get("by_game", np.nan)),
        "stage": np.asarray(block.pace.get("stage", np.nan)),
        "score": np.asarray(block.pace.get("score", np.nan)),
        "refused": np.asarray((trace["code"] != 0).mean()),
        "twin_bits": np.asarray(trace["bits"].sum()),
        "decide_s": np.asarray(block.decide_s),
    }


def _level_of_slices(level: np.ndarray | None, slices: int) -> np.ndarray:
    """What part of its demand the game gives a slice, over the cells where it has any; NaN where none was played."""
    if level is None:
        return np.full(slices, np.nan)
    cells = level.reshape(-1, slices)
    return cells.sum(axis=0) / np.maximum((cells > 0).sum(axis=0), 1)


def _save(path: Path, run: Lived) -> None:
    scratch = path.with_suffix(".new.npz")
    np.savez_compressed(scratch, **vars(run))
    scratch.replace(path)
