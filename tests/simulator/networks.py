"""Small networks that several tests of the simulator share."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from twinloop.entities import Action
from twinloop.simulator import (
    Catalogue,
    Edge,
    Mobility,
    Overhead,
    Params,
    Player,
    Radio,
    Topology,
    Viewers,
    default_catalogue,
)
from twinloop.slicing import SliceTable

AREA_M = (800.0, 600.0)


def topology(cells: int, servers: int = 1, bandwidth_hz: float = 10e6) -> Topology:
    where = np.linspace(0.2, 0.8, cells)[:, None] * np.array([AREA_M])
    height = np.full((cells, 1), 10.0)
    each = jnp.ones(cells)
    return Topology(
        models=("umi",) * cells,
        cell_path_m=jnp.asarray(np.hstack([where, height])[:, None, :], jnp.float32),
        cell_speed_mps=0 * each,
        cell_power_dbm=40 * each,
        cell_gain_db=5 * each,
        cell_frequency_hz=2e9 * each,
        cell_bandwidth_hz=bandwidth_hz * each,
        cell_exponent=3 * each,
        cell_delay_s=1e-5 * each,
        cell_static_w=100 * each,
        cell_amplifier_efficiency=0.3 * each,
        cell_server=jnp.arange(cells) % servers,
        link_delay_s=2e-3 * each,
        link_capacity_bps=1e9 * each,
        server_cycles_per_s=jnp.full(servers, 10e9),
        server_cache_bytes=jnp.full(servers, 0.5e9),
        server_kappa=jnp.full(servers, 1e-28),
        area_m=jnp.asarray(AREA_M),
    )


def radio() -> Radio:
    value = jnp.float32
    return Radio(
        noise_figure_db=value(9.0),
        se_factor=value(0.6),
        se_max=value(5.5),
        rician_k=value(0.0),
        hysteresis_db=value(3.0),
        time_to_trigger_s=value(1.0),
        handover_s=value(0.05),
        shadow_grid_m=value(50.0),
        shadow_scale=value(1.0),
        user_height_m=value(1.5),
        interference=value(1.0),
        grid=(16, 16),
    )


def mobility(users: int, speed_mps: float = 2.0) -> Mobility:
    value, rows = jnp.float32, jnp.zeros(users, jnp.int32)
    return Mobility(
        models=("waypoint",),
        user_model=rows,
        speed_low_mps=jnp.full(users, 0.5 * speed_mps),
        speed_high_mps=jnp.full(users, speed_mps),
        pause_max_s=value(10.0),
        flight_weight=jnp.ones(1),
        flight_exponent=jnp.array([1.2]),
        flight_low_m=jnp.array([5.0]),
        flight_high_m=jnp.array([300.0]),
        pause_weight=jnp.ones(1),
        pause_exponent=jnp.array([1.0]),
        pause_low_s=jnp.array([5.0]),
        pause_high_s=jnp.array([60.0]),
        time_factor=value(1.0),
        time_rho=value(0.2),
        time_spread=value(0.0),
        path_m=jnp.zeros((1, 2, 2)),
        user_path=rows,
        walk_m=jnp.zeros((1, 2, 2)),
        walk_step_s=value(1.0),
        walk_length=jnp.full(1, 2),
        user_walk=rows,
        walk_start_s=jnp.zeros(users),
    )


def viewers(users: int, types: int = 8, hazard: float = 0.08, on_p: float = 0.0, off_p: float = 0.0) -> Viewers:
    return Viewers(
        hazard=jnp.full((types, 15), hazard),
        user_factor_spread=jnp.float32(0.0),
        preference=jnp.full((users, types), 1.0 / types),
        drift_slot=jnp.zeros(0, jnp.int32),
        preference_after=jnp.zeros((0, users, types)),
        session_on_p=jnp.float32(on_p),
        session_off_p=jnp.float32(off_p),
    )


def player(cap_s: float = 6.0, preload_s: float = 2.0) -> Player:
    return Player(jnp.float32(cap_s), jnp.float32(preload_s), jnp.float32(0.3), jnp.float32(0.7))


def slices(count: int, target_bps: float = 1.7e6) -> SliceTable:
    each = jnp.ones(count)
    return SliceTable(each > 0, target_bps * each, 0 * each, each)


def network(
    users: int = 24,
    cells: int = 3,
    *,
    servers: int = 1,
    slice_count: int = 2,
    groups: int = 0,
    catalogue: Catalogue | None = None,
    people: Viewers | None = None,
    **sizes: float,
) -> Params:
    """`groups` multicast groups take the first half of the users, in slice 0."""
    member = jnp.arange(users) < users // 2
    return Params(
        topology=topology(cells, servers, **sizes),
        radio=radio(),
        mobility=mobility(users),
        catalogue=catalogue if catalogue is not None else default_catalogue(64),
        viewers=people if people is not None else viewers(users),
        player=player(),
        edge=Edge(jnp.float32(400.0), jnp.float32(1e-6)),
        slices=slices(slice_count),
        user_slice=jnp.arange(users) % slice_count,
        user_group=jnp.where(member, jnp.arange(users) % groups, -1) if groups else jnp.full(users, -1),
        group_slice=jnp.zeros(groups, jnp.int32),
    )


def no_overhead(params: Params) -> Overhead:
    return Overhead(jnp.zeros(params.user_slice.shape[0]), jnp.zeros(params.topology.server_kappa.shape[0]))


def fair_action(params: Params) -> Action:
    """Slices share everything evenly; flows ask for far too much and are cut to even parts."""
    counts = params.slices.active.shape[0]
    topology = params.topology
    flows = params.user_slice.shape[0] + params.group_slice.shape[0] * topology.cell_power_dbm.shape[0]

    def even(pool: jax.Array) -> jax.Array:
        return jnp.broadcast_to(pool[:, None] / counts, (pool.shape[0], counts))

    return Action(
        slice_active=params.slices.active,
        slice_bandwidth_hz=even(topology.cell_bandwidth_hz),
        slice_cycles_per_s=even(topology.server_cycles_per_s),
        slice_cache_bytes=even(topology.server_cache_bytes),
        flow_bandwidth_hz=jnp.full(flows, 1e9),
        flow_cycles_per_s=jnp.full(flows, 1e12),
    )


def strong(tree: PyTree) -> PyTree:
    """The same arrays without JAX's weak types, which would make a compiled function compile again."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, leaf.dtype), tree)
