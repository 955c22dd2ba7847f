"""Network scenes: who stands where on a map and how loaded the cells are, of recorded walks and of simulated people."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float64, Int, Int64, PRNGKeyArray

from twinloop.datasets import load_walks
from twinloop.emulation import TwinModel
from twinloop.errors import DataError
from twinloop.scenario import build_loop, load
from twinloop.simulator import (
    KinematicState,
    Mobility,
    cell_positions,
    init_kinematics,
    link_gains,
    move,
    sinr_and_rate,
)

TILES = 8
SCENE_WIDTH_M = 2000.0
PEOPLE = 12
NEED_BPS = 3e6
_SAMPLE_S = 30.0
_SLOT_S = 5.0
_EVERY_SAMPLES = 10
_SAMPLES = 600
_SIMULATED_CROWDS = 9
_CELL_LOAD = 0.5


@dataclass(frozen=True)
class Scenes:
    """`PEOPLE` people of one crowd at one time; NaN is where somebody is outside the map or gone.

    `label` indexes `classes`, `file` indexes `files`: a crowd, whose people are in no other one.
    """

    position_m: Float64[np.ndarray, "scenes people 2"]
    label: Int64[np.ndarray, " scenes"]
    file: Int64[np.ndarray, " scenes"]
    classes: tuple[str, ...]
    files: tuple[str, ...]

    @property
    def count(self) -> int:
        """Number of scenes."""
        return len(self.label)

    def only(self, kept: Bool[np.ndarray, " scenes"]) -> "Scenes":
        """The scenes where `kept` is true; classes and files keep their numbers."""
        return replace(self, position_m=self.position_m[kept], label=self.label[kept], file=self.file[kept])

    def file_class(self) -> Int64[np.ndarray, " files"]:
        """Class of every file, -1 for one without a scene."""
        found = np.full(len(self.files), -1, dtype=np.int64)
        found[self.file] = self.label
        return found


def scene_world(seed: int) -> tuple[TwinModel, Mobility]:
    """Four macro cells of the shipped campus on the map, as a twin believes them, and how simulated crowds move there:
    half by flights, half by waypoints, as the campus's people do.
    """
    campus = load("campus")
    places = [(x * SCENE_WIDTH_M, y * SCENE_WIDTH_M) for x in (0.25, 0.75) for y in (0.25, 0.75)]
    first = campus.network.cells[0]
    cells = [first.model_copy(update={"name": f"cell-{row}", "position_m": at}) for row, at in enumerate(places)]
    alike = {"count": _SIMULATED_CROWDS * PEOPLE, "slice": campus.slices[0].name, "groups": 0}
    walkers = {population.mobility: population.model_copy(update=alike) for population in campus.users}
    changes = {
        "network": campus.network.model_copy(update={"cells": cells}),
        "area_m": (SCENE_WIDTH_M, SCENE_WIDTH_M),
        "users": list(walkers.values()),
        "seed": seed,
    }
    loop = build_loop(campus.model_copy(update=changes))[0]
    return loop.slot_judge.model, loop.network.params.mobility


def load_scenes(data: Path, mobility: Mobility, seed: int = 0) -> Scenes:
    """Scenes every 5 min over 5 h: crowds of `kaist_walks`, and simulated crowds that move by `mobility`.

    Walks share one origin, the middle of the map of 2 km; who is outside is not in the scene. Times count from the
    start of each walk: what was recorded on several days is laid over each other. Raises DataError when the set is
    absent or has too few walks for two crowds.
    """
    walks = load_walks(data).required()
    order = sorted(walks, key=lambda walk: hashlib.sha256(walk.name.encode()).digest())
    if len(order) < 2 * PEOPLE:
        raise DataError(data / "kaist_walks", f"{len(order)} walks", f"at least {2 * PEOPLE}, two crowds")
    crowds = [order[first : first + PEOPLE] for first in range(0, len(order) - PEOPLE + 1, PEOPLE)]
    tracks = {"recorded": [np.stack([_sampled(walk.clipped_position_m) for walk in crowd], axis=1) for crowd in crowds]}
    tracks |= _simulated(mobility, seed)
    classes = tuple(tracks)
    positions = [crowd for some in tracks.values() for crowd in some]
    label = [row for row, name in enumerate(classes) for _ in tracks[name]]
    files = tuple(f"{name}-{number}" for name in classes for number in range(len(tracks[name])))
    scenes = len(positions[0])
    return Scenes(
        np.concatenate(positions), np.repeat(label, scenes), np.repeat(np.arange(len(files)), scenes), classes, files
    )


def _sampled(position_m: Float64[np.ndarray, "samples 2"]) -> Float64[np.ndarray, "scenes 2"]:
    """Positions at the times of the scenes, from the corner of the map on; NaN outside it and after the end."""
    whole = np.full((_SAMPLES, 2), np.nan)
    known = position_m[:_SAMPLES] + 0.5 * SCENE_WIDTH_M
    whole[: len(known)] = np.where(((known >= 0) & (known < SCENE_WIDTH_M)).all(axis=1, keepdims=True), known, np.nan)
    return whole[::_EVERY_SAMPLES]


def _simulated(mobility: Mobility, seed: int) -> dict[str, list[Float64[np.ndarray, "scenes people 2"]]]:
    """Crowds by model of movement, each of people of its own."""
    track = np.asarray(_track(jax.random.key(seed), mobility), np.float64)
    user_model = np.asarray(mobility.user_model)
    found: dict[str, list[Float64[np.ndarray, "scenes people 2"]]] = {}
    for number, model in enumerate(mobility.models):
        mine = np.flatnonzero(user_model == number)
        found[model] = [track[:, mine[first : first + PEOPLE]] for first in range(0, len(mine), PEOPLE)]
    return found


@jax.jit
def _track(key: PRNGKeyArray, mobility: Mobility) -> Float[Array, "scenes people 2"]:
    area_m = jnp.full(2, SCENE_WIDTH_M, jnp.float32)
    slots = round(_EVERY_SAMPLES * _SAMPLE_S / _SLOT_S)

    def one_slot(state: KinematicState, slot: Int[Array, ""]) -> tuple[KinematicState, None]:
        return move(jax.random.fold_in(key, slot), mobility, area_m, state, _SLOT_S, slot), None

    def one_scene(state: KinematicState, scene: Int[Array, ""]) -> tuple[KinematicState, Float[Array, "people 2"]]:
        moved, _ = jax.lax.scan(one_slot, state, scene * slots + jnp.arange(slots))
        return moved, moved.position_m

    start = init_kinematics(key, mobility, area_m)
    return jax.lax.scan(one_scene, start, jnp.arange(_SAMPLES // _EVERY_SAMPLES))[1]


class SceneView(eqx.Module):
    """Scenes as maps: people by tile (8 x 8 tiles of 250 m, row by row), and load of every cell."""

    density: Float[Array, "scenes tiles"]
    load: Float[Array, "scenes cells"]


@eqx.filter_jit
def scene_view(site: TwinModel, position_m: Float[Array, "scenes people 2"]) -> SceneView:
    """Maps of scenes; NaN is nobody.

    load_b = sum over people u that b serves of need / (se_u W_b): the share of the band that 3 Mbit/s for everybody
    takes, at half load everywhere else; above 1 the cell is overloaded. Left out: shadowing, which a twin cannot know.
    """
    topology, radio = site.params.topology, site.params.radio
    cells = topology.cell_power_dbm.shape[0]
    cell_m = cell_positions(topology, jnp.float32(0.0))

    def one(people: Float[Array, "people 2"]) -> SceneView:
        there = jnp.all(jnp.isfinite(people), axis=1)
        at = jnp.where(there[:, None], people, 0.0)
        rsrp = link_gains(topology, radio, site.environment.maps, at, cell_m)
        serving = jnp.argmax(rsrp, axis=1).astype(jnp.int32)
        busy = jnp.full(cells, _CELL_LOAD, jnp.float32)
        _, efficiency = sinr_and_rate(topology, radio, rsrp, serving, busy, jnp.zeros(len(people)))
        share = jnp.where(there, NEED_BPS / (efficiency * topology.cell_bandwidth_hz[serving]), 0.0)
        tile = jnp.clip(jnp.floor(at * (TILES / SCENE_WIDTH_M)), 0, TILES - 1).astype(jnp.int32)
        row = tile[:, 1] * TILES + tile[:, 0]
        return SceneView(
            jax.ops.segment_sum(there.astype(jnp.float32), row, TILES**2), jax.ops.segment_sum(share, serving, cells)
        )

    return jax.vmap(one)(position_m)
