"""From a scenario to what people watch and when they leave: embedded figures, or real videos, sizes and swipes."""

from dataclasses import dataclass, replace
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from twinloop.datasets import (
    RadioGrid,
    load_chunk_sizes,
    load_irish5g,
    load_leave_distributions,
    load_retention,
    load_walks,
    on_grid,
    shipped_figures,
    viewer_hazard,
)
from twinloop.errors import ScenarioError
from twinloop.scenario.models import Scenario, Viewing
from twinloop.simulator import (
    DEFAULT_TYPES,
    Catalogue,
    Player,
    RadioTrace,
    Viewers,
    build_catalogue,
    default_catalogue,
)

LONGEST_VIDEO_S = 130
VIDEO_S = 15.0
WALK_STEP_S = 30.0
_TYPES = 8
_PREFERENCE_CONCENTRATION = 0.5


@dataclass(frozen=True)
class Watching:
    """The catalogue, and of every hazard class its hazards [classes, seconds], its name and how long its videos last.

    Classes do not depend on which videos a seed puts into the catalogue, so all seeds have the same shapes.
    """

    catalogue: Catalogue
    hazard: NDArray[np.float64]
    class_names: tuple[str, ...]
    class_length_s: NDArray[np.float64]


def build_watching(scenario: Scenario, data: Path | None, rng: np.random.Generator) -> Watching:
    """What can be watched, and the chance to leave in every second of it."""
    viewing = scenario.viewing
    watching = _real(viewing, _folder(scenario, data), rng) if viewing.source == "real" else _embedded(viewing)
    if viewing.requests == "hazard":
        return watching
    constant = 1.0 - np.exp(-viewing.poisson_per_min / 60.0)
    return replace(watching, hazard=np.full_like(watching.hazard, constant))


def build_viewers(scenario: Scenario, watching: Watching, rng: np.random.Generator) -> Viewers:
    """Viewers with Dirichlet preferences over video types."""
    users, types = scenario.user_count, watching.catalogue.type_size.shape[0]
    preference = rng.dirichlet(np.full(types, _PREFERENCE_CONCENTRATION), size=users)
    return Viewers(
        hazard=jnp.asarray(watching.hazard, jnp.float32),
        user_factor_spread=jnp.float32(shipped_figures().viewing.factor_spread),
        preference=jnp.asarray(_shared_by_groups(scenario, preference), jnp.float32),
        drift_slot=jnp.zeros(0, jnp.int32),
        preference_after=jnp.zeros((0, users, types)),
        session_on_p=jnp.float32(scenario.viewing.session_on_p),
        session_off_p=jnp.float32(scenario.viewing.session_off_p),
    )


def build_player(viewing: Viewing) -> Player:
    """The app's buffer and its rate estimate."""
    if viewing.preload_s >= viewing.buffer_cap_s:
        raise ScenarioError(
            f"viewing.preload_s {viewing.preload_s:g} must be below buffer_cap_s {viewing.buffer_cap_s:g}"
        )
    return Player(
        buffer_cap_s=jnp.float32(viewing.buffer_cap_s),
        preload_s=jnp.float32(viewing.preload_s),
        rate_memory=jnp.float32(0.3),
        safety=jnp.float32(0.9),
    )


def load_recorded_walks(scenario: Scenario, data: Path | None) -> tuple[NDArray[np.float64], ...]:
    """Positions of recorded walks in m, one every 30 s, where a population asks for them; else none."""
    if all(population.mobility != "recorded" for population in scenario.users):
        return ()
    walks = load_walks(_folder(scenario, data)).required()
    return tuple(walk.position_m for walk in walks if walk.step_s == WALK_STEP_S)


def load_radio_trace(scenario: Scenario, data: Path | None, rng: np.random.Generator) -> RadioTrace | None:
    """Measured radio of 5G drive and static tests that takes the place of the channel model, if the scenario asks for
    it.

    Spectral efficiency is the measured rate over the bandwidth of the user's first cell, so that one user alone in a
    cell gets what was measured. Every user follows one trace from a random second on.
    """
    if scenario.replay is None:
        return None
    wanted = scenario.replay.kind
    traces = load_irish5g(_folder(scenario, data), "Download").required()
    grids = [on_grid(trace) for trace in traces if wanted == "all" or trace.motion.lower() == wanted]
    grids = [grid for grid in grids if grid.rows >= 120]
    if not grids:
        raise ScenarioError(f"irish5g holds no {wanted} trace of two minutes or more")
    return _trace_of(grids, scenario, rng)


def _trace_of(grids: list[RadioGrid], scenario: Scenario, rng: np.random.Generator) -> RadioTrace:
    longest = max(grid.rows for grid in grids)
    bandwidth = scenario.network.cells[0].bandwidth_hz

    def table(values: list[NDArray[np.float64]]) -> jnp.ndarray:
        return jnp.asarray([np.resize(value, longest) for value in values], jnp.float32)

    users = scenario.user_count
    row = rng.integers(len(grids), size=users)
    start = np.array([rng.integers(grids[index].rows) for index in row])
    return RadioTrace(
        spectral_efficiency=table([grid.rate_bps / bandwidth for grid in grids]),
        sinr_db=table([grid.sinr_db for grid in grids]),
        rsrp_dbm=table([grid.rsrp_dbm for grid in grids]),
        user_trace=jnp.asarray(row, jnp.int32),
        start=jnp.asarray(start, jnp.int32),
    )


def _folder(scenario: Scenario, data: Path | None) -> Path:
    if data is None:
        raise ScenarioError(
            f"{scenario.name} reads public data sets: give their folder with --data DIR or TWINLOOP_DATA "
            f"(twinloop data list tells what they are and where they come from)"
        )
    return data


def _embedded(viewing: Viewing) -> Watching:
    figures = shipped_figures().viewing
    catalogue = default_catalogue(videos=viewing.videos, length_s=VIDEO_S, zipf_exponent=viewing.zipf)
    hazards = np.array([figures.hazard(figures.names.index(kind), VIDEO_S) for kind in DEFAULT_TYPES])
    return Watching(catalogue, hazards, DEFAULT_TYPES, np.full(len(DEFAULT_TYPES), VIDEO_S))


def _real(viewing: Viewing, data: Path, rng: np.random.Generator) -> Watching:
    """Videos drawn from measured ones: the labelled videos are the most popular of their type, the others follow."""
    labelled = load_retention(data).required()
    others = load_leave_distributions(data).required()
    measured = [video for video in (*labelled, *others) if video.length_s <= LONGEST_VIDEO_S]
    sizes = load_chunk_sizes(data).required()
    drawn = rng.integers(len(measured), size=viewing.videos)
    drawn[: len(labelled)] = np.arange(len(labelled))
    spread = shipped_figures().viewing.factor_spread
    hazards = np.array([_padded(viewer_hazard(video, spread)) for video in measured])
    chunks = np.array([np.resize(size.chunk_bits.T, (LONGEST_VIDEO_S, len(size.chunk_bits))).T for size in sizes])
    own_size = {size.name: row for row, size in enumerate(sizes)}
    size_class = [own_size.get(measured[row].name, int(rng.integers(len(sizes)))) for row in drawn]
    rank = np.arange(viewing.videos) // _TYPES + 1.0
    catalogue = build_catalogue(
        video_class=drawn,
        video_preference=np.arange(viewing.videos) % _TYPES,
        length_s=np.array([measured[row].length_s for row in drawn]),
        size_class=np.array(size_class),
        chunk_bits=chunks,
        version_bps=np.mean([size.version_bps for size in sizes], axis=0),
        popularity=rank**-viewing.zipf,
    )
    return Watching(
        catalogue,
        hazards,
        tuple(video.name for video in measured),
        np.array([video.length_s for video in measured], float),
    )


def _padded(hazard: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.pad(np.clip(hazard, 0.0, 1.0), (0, LONGEST_VIDEO_S - len(hazard)))


def _shared_by_groups(scenario: Scenario, preference: NDArray[np.float64]) -> NDArray[np.float64]:
    """Members of a multicast group watch one playlist, drawn by the mean preference of the group."""
    shared = preference.copy()
    group = user_groups(scenario)
    for number in np.unique(group[group >= 0]):
        shared[group == number] = preference[group == number].mean(axis=0)
    return shared


def user_groups(scenario: Scenario) -> NDArray[np.int64]:
    """Multicast group of every user, -1 for unicast; populations number their groups on."""
    groups: list[NDArray[np.int64]] = []
    first = 0
    for population in scenario.users:
        if population.groups == 0:
            groups.append(np.full(population.count, -1))
            continue
        groups.append(first + np.arange(population.count) % population.groups)
        first += population.groups
    return np.concatenate(groups)


def group_slices(scenario: Scenario) -> NDArray[np.int64]:
    """Slice that carries each multicast group."""
    names = [entry.name for entry in scenario.slices]
    rows = [names.index(population.slice) for population in scenario.users for _ in range(population.groups)]
    return np.asarray(rows, np.int64)


def hazard_class_names(scenario: Scenario, data: Path | None) -> tuple[str, ...]:
    """Name of every hazard class: a video type, or the measured video whose leave times it is."""
    return build_watching(scenario, data, np.random.default_rng(scenario.seed)).class_names
