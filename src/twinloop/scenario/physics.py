"""From a scenario to the simulator's parameters of cells, servers, air interface and movement."""

from dataclasses import astuple

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from twinloop.datasets import shipped_figures
from twinloop.scenario.infrastructure import Cell
from twinloop.scenario.models import Scenario
from twinloop.simulator import Mobility, Radio, Topology
from twinloop.units import mps_from_kmh

_GRID_MOST = 512


def build_topology(scenario: Scenario) -> Topology:
    """Cells, backhaul and servers as arrays, in the scenario's order."""
    cells, servers = scenario.network.cells, scenario.network.servers
    row = {server.name: index for index, server in enumerate(servers)}

    def of_cells(values: list[float]) -> jnp.ndarray:
        return jnp.asarray(values, jnp.float32)

    return Topology(
        models=tuple(cell.model for cell in cells),
        cell_path_m=jnp.asarray(_paths(cells), jnp.float32),
        cell_speed_mps=of_cells([cell.speed_mps if cell.kind == "mobile" else 0.0 for cell in cells]),
        cell_power_dbm=of_cells([cell.power_dbm for cell in cells]),
        cell_gain_db=of_cells([cell.gain_db for cell in cells]),
        cell_frequency_hz=of_cells([cell.frequency_hz for cell in cells]),
        cell_bandwidth_hz=of_cells([cell.bandwidth_hz for cell in cells]),
        cell_exponent=of_cells([cell.exponent for cell in cells]),
        cell_delay_s=of_cells([cell.delay_s for cell in cells]),
        cell_static_w=of_cells([cell.static_w for cell in cells]),
        cell_amplifier_efficiency=of_cells([cell.amplifier_efficiency for cell in cells]),
        cell_server=jnp.asarray([row[cell.server] for cell in cells], jnp.int32),
        link_delay_s=of_cells([cell.link.delay_s for cell in cells]),
        link_capacity_bps=of_cells([cell.link.capacity_bps for cell in cells]),
        server_cycles_per_s=of_cells([server.cycles_per_s for server in servers]),
        server_cache_bytes=of_cells([server.cache_bytes for server in servers]),
        server_kappa=of_cells([server.kappa for server in servers]),
        area_m=jnp.asarray(scenario.area_m, jnp.float32),
    )


def build_radio(scenario: Scenario) -> Radio:
    """The air interface; shadowing is drawn on a grid that covers the area, of at most 512 x 512 tiles."""
    part = scenario.network.radio
    width, height = scenario.area_m
    tile = max(part.shadow_grid_m, max(width, height) / _GRID_MOST)
    return Radio(
        noise_figure_db=jnp.float32(part.noise_figure_db),
        se_factor=jnp.float32(part.se_factor),
        se_max=jnp.float32(part.se_max),
        rician_k=jnp.float32(part.rician_k),
        hysteresis_db=jnp.float32(part.hysteresis_db),
        time_to_trigger_s=jnp.float32(part.time_to_trigger_s),
        handover_s=jnp.float32(part.handover_s),
        shadow_grid_m=jnp.float32(tile),
        shadow_scale=jnp.float32(part.shadowing),
        user_height_m=jnp.float32(part.user_height_m),
        interference=jnp.float32(part.interference),
        grid=(int(np.ceil(height / tile)) + 1, int(np.ceil(width / tile)) + 1),
    )


def build_mobility(scenario: Scenario, rng: np.random.Generator, walks: tuple[NDArray[np.float64], ...]) -> Mobility:
    """How every user moves. `walks` are recorded positions in m, 30 s apart, used by `recorded` populations.

    A recorded walk is centred on the area; each user gets one and starts it at a random sample.
    """
    populations = scenario.users
    models = tuple(sorted({population.mobility for population in populations}))
    counts = [population.count for population in populations]
    low = np.repeat([mps_from_kmh(p.speed_kmh[0]) for p in populations], counts)
    high = np.repeat([mps_from_kmh(p.speed_kmh[1]) for p in populations], counts)
    recorded = np.repeat([p.mobility == "recorded" for p in populations], counts)
    figures = shipped_figures().levy
    users = scenario.user_count
    table, length = _walk_table(walks, scenario.area_m)
    walk = rng.integers(len(length), size=users)
    paths = scenario.mobility.paths_m or [[(0.0, 0.0)]]
    flight, pause = (
        np.array([astuple(part) for part in parts]) for parts in (figures.flight_parts, figures.pause_parts)
    )
    if scenario.mobility.levy_exponent:
        flight = np.array([[1.0, scenario.mobility.levy_exponent, figures.flight_low_m, figures.flight_high_m]])
    return Mobility(
        models=models,
        user_model=jnp.asarray(np.repeat([models.index(p.mobility) for p in populations], counts), jnp.int32),
        speed_low_mps=jnp.asarray(np.where(recorded, 0.0, low), jnp.float32),
        speed_high_mps=jnp.asarray(np.where(recorded, 40.0, high), jnp.float32),
        pause_max_s=jnp.float32(scenario.mobility.pause_max_s),
        flight_weight=jnp.asarray(flight[:, 0], jnp.float32),
        flight_exponent=jnp.asarray(flight[:, 1], jnp.float32),
        flight_low_m=jnp.asarray(flight[:, 2], jnp.float32),
        flight_high_m=jnp.asarray(flight[:, 3], jnp.float32),
        pause_weight=jnp.asarray(pause[:, 0], jnp.float32),
        pause_exponent=jnp.asarray(pause[:, 1], jnp.float32),
        pause_low_s=jnp.asarray(pause[:, 2], jnp.float32),
        pause_high_s=jnp.asarray(pause[:, 3], jnp.float32),
        time_factor=jnp.float32(figures.time_factor),
        time_rho=jnp.float32(figures.time_rho),
        time_spread=jnp.float32(figures.time_spread),
        path_m=jnp.asarray(_padded(paths), jnp.float32),
        user_path=jnp.asarray(rng.integers(len(paths), size=users), jnp.int32),
        walk_m=jnp.asarray(table, jnp.float32),
        walk_step_s=jnp.float32(30.0),
        walk_length=jnp.asarray(length, jnp.int32),
        user_walk=jnp.asarray(walk, jnp.int32),
        walk_start_s=jnp.asarray(30.0 * np.floor(rng.random(users) * length[walk]), jnp.float32),
    )


def _paths(cells: list[Cell]) -> NDArray[np.float64]:
    def path(cell: Cell) -> list[tuple[float, float]]:
        if cell.kind == "mobile" and cell.path_m is not None:
            return cell.path_m
        return [cell.position_m or (0.0, 0.0)]

    ground = _padded([path(cell) for cell in cells])
    height = np.broadcast_to(np.array([cell.height_m for cell in cells])[:, None, None], (*ground.shape[:2], 1))
    return np.concatenate([ground, height], axis=2)


def _padded(paths: list[list[tuple[float, float]]]) -> NDArray[np.float64]:
    longest = max(len(path) for path in paths)
    return np.array([path + [path[-1]] * (longest - len(path)) for path in paths], np.float64)


def _walk_table(
    walks: tuple[NDArray[np.float64], ...], area_m: tuple[float, float]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Walks centred on the area, padded with their last place to the longest, and their numbers of samples."""
    if not walks:
        return np.zeros((1, 2, 2)), np.array([1])
    longest = max(len(walk) for walk in walks)
    middle = np.asarray(area_m) / 2
    table = [np.pad(walk, ((0, longest - len(walk)), (0, 0)), mode="edge") for walk in walks]
    centred = [padded - np.median(walk, axis=0) + middle for padded, walk in zip(table, walks, strict=True)]
    return np.array(centred), np.array([len(walk) for walk in walks])
