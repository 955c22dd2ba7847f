"""Small topologies, radios and mobilities that the tests of this folder start from."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from twinloop.simulator.air.radio import Radio
from twinloop.simulator.mobility import Mobility
from twinloop.simulator.topology import Topology


def topology(
    xyz: list[tuple[float, float, float]],
    models: tuple[str, ...] | None = None,
    area_m: tuple[float, float] = (1000.0, 800.0),
    **changes: Float[Array, "..."],
) -> Topology:
    cells = len(xyz)
    one = jnp.ones(cells)
    fields = {
        "cell_path_m": jnp.asarray(xyz)[:, None, :],
        "cell_speed_mps": 0.0 * one,
        "cell_power_dbm": 43.0 * one,
        "cell_gain_db": 8.0 * one,
        "cell_frequency_hz": 780.5e6 * one,
        "cell_bandwidth_hz": 15e6 * one,
        "cell_exponent": 3.0 * one,
        "cell_delay_s": 0.0 * one,
        "cell_static_w": 130.0 * one,
        "cell_amplifier_efficiency": 0.3 * one,
        "cell_server": jnp.zeros(cells, jnp.int32),
        "link_delay_s": 0.005 * one,
        "link_capacity_bps": 1e9 * one,
        "server_cycles_per_s": jnp.asarray([1e10]),
        "server_cache_bytes": jnp.asarray([5e8]),
        "server_kappa": jnp.asarray([1e-28]),
        "area_m": jnp.asarray(area_m),
    } | changes
    return Topology(models=models or ("umi",) * cells, **fields)


def radio(grid: tuple[int, int] = (64, 64), **changes: float) -> Radio:
    values = {
        "noise_figure_db": 9.0,
        "se_factor": 0.6,
        "se_max": 5.5,
        "rician_k": 0.0,
        "hysteresis_db": 3.0,
        "time_to_trigger_s": 2.0,
        "handover_s": 0.05,
        "shadow_grid_m": 10.0,
        "shadow_scale": 1.0,
        "user_height_m": 1.5,
        "interference": 1.0,
    } | changes
    return Radio(grid=grid, **{name: jnp.float32(value) for name, value in values.items()})


def mobility(users: int, models: tuple[str, ...] = ("levy",), **changes: Float[Array, "..."]) -> Mobility:
    """Users take turns with the models."""
    fields = {
        "user_model": jnp.arange(users, dtype=jnp.int32) % len(models),
        "speed_low_mps": jnp.full(users, 0.5),
        "speed_high_mps": jnp.full(users, 3.0),
        "pause_max_s": jnp.float32(20.0),
        "flight_weight": jnp.ones(1),
        "flight_exponent": jnp.array([1.5]),
        "flight_low_m": jnp.array([5.0]),
        "flight_high_m": jnp.array([500.0]),
        "pause_weight": jnp.ones(1),
        "pause_exponent": jnp.array([1.0]),
        "pause_low_s": jnp.array([2.0]),
        "pause_high_s": jnp.array([100.0]),
        "time_factor": jnp.float32(1.4),
        "time_rho": jnp.float32(0.35),
        "time_spread": jnp.float32(0.0),
        "path_m": jnp.asarray([[[10.0, 10.0], [410.0, 10.0], [410.0, 310.0], [410.0, 310.0]]]),
        "user_path": jnp.zeros(users, jnp.int32),
        "walk_m": jnp.asarray([[[0.0, 0.0], [60.0, 0.0], [60.0, 30.0], [0.0, 0.0]]]),
        "walk_step_s": jnp.float32(30.0),
        "walk_length": jnp.asarray([3], jnp.int32),
        "user_walk": jnp.zeros(users, jnp.int32),
        "walk_start_s": jnp.zeros(users),
    } | changes
    return Mobility(models=models, **fields)
