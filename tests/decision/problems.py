"""Random decision problems for tests: features, slices and reservations of any size."""

import jax.numpy as jnp
import numpy as np

from twinloop.abstraction import Features, Felt
from twinloop.decision import Reservation
from twinloop.qoe import UserModels
from twinloop.slicing import SliceTable


def draw_features(
    seed: int,
    users: int = 24,
    cells: int = 2,
    servers: int = 1,
    slices: int = 3,
    load: float = 1.4,
    compute: float = 0.6,
) -> Features:
    """`load` is demand per bandwidth, `compute` demand per computing capacity."""
    rng = np.random.default_rng(seed)
    cell, row = rng.integers(0, cells, users), rng.integers(0, slices, users)
    efficiency = np.exp(rng.normal(0.8, 0.6, users)).clip(0.2, 7.0)
    need = rng.choice([0.5e6, 1e6, 1.7e6, 3e6], users)
    want = need * rng.choice([0.0, 0.5, 1.0, 1.0, 2.0], users)
    per_bit = np.where(rng.random(users) < 0.5, 400.0, 0.0)
    server = np.arange(cells) % servers
    hertz, cycles, count = np.zeros((cells, slices)), np.zeros((servers, slices)), np.zeros((cells, slices))
    np.add.at(hertz, (cell, row), need / efficiency)
    np.add.at(cycles, (server[cell], row), need * per_bit)
    np.add.at(count, (cell, row), 1.0)

    def real(value: object) -> jnp.ndarray:
        return jnp.asarray(value, jnp.float32)

    return Features(
        flow_active=jnp.asarray(rng.random(users) < 0.95),
        flow_cell=jnp.asarray(cell, jnp.int32),
        flow_slice=jnp.asarray(row, jnp.int32),
        members=real(rng.choice([1.0, 1.0, 3.0], users)),
        spectral_efficiency=real(efficiency),
        need_bps=real(need),
        want_bps=real(want),
        cycles_per_bit=real(per_bit),
        buffer_s=real(rng.uniform(0, 10, users)),
        average_rate_bps=real(need * rng.uniform(0.3, 1.2, users)),
        weight=real(rng.choice([0.5, 1.0, 2.0], users)),
        slice_demand_hz=real(hertz),
        slice_demand_cycles_per_s=real(cycles),
        slice_demand_cache_bytes=real(rng.uniform(0.5e8, 3e8, (servers, slices))),
        slice_users=real(count),
        cell_server=jnp.asarray(server, jnp.int32),
        cell_bandwidth_hz=real(np.maximum(hertz.sum(1), 1e5) / load),
        server_cycles_per_s=real(np.maximum(cycles.sum(1), 1e6) / compute),
        server_cache_bytes=real(np.full(servers, 5e8)),
        felt=draw_felt(seed, users),
    )


def draw_felt(seed: int, users: int) -> Felt:
    """People with rules of all kinds at any moment of the minutes that are held against what was agreed."""
    rng = np.random.default_rng((seed, 1))

    def real(value: object) -> jnp.ndarray:
        return jnp.asarray(value, jnp.float32)

    rule, kappa = rng.integers(0, 3, users), rng.uniform(0.0, 0.2, users)
    done = rng.integers(0, 3, users)
    versions = np.array([0.5e6, 1e6, 1.7e6, 3e6])
    missing = np.sort(rng.random((users, 4)), axis=1)[:, ::-1] * np.array([1.0, 1.0, 1.0, 0.0])
    models = UserModels(
        rule=jnp.asarray(rule, jnp.int32),
        impact=jnp.full(users, 3, jnp.int32),
        level=real(rule == 0),
        stall_weight=real(np.where(rule == 1, 0.0, 0.1)),
        quality_weight=real(rule > 0),
        kappa_b=real(kappa),
        kappa_c=real(kappa),
    )
    return Felt(
        models=models,
        structure=jnp.asarray(4 * rule + 3, jnp.int32),
        agreed=real(rng.uniform(3.0, 5.0, users)),
        spread=real(rng.uniform(0.0, 0.5, users)),
        periods=real(3.0),
        done=real(done),
        experience_sum=real(done * rng.uniform(1.0, 5.0, users)),
        elapsed_s=real(rng.uniform(0.0, 60.0, users)),
        stall_s=real(rng.exponential(2.0, users)),
        quality=real(rng.random(users)),
        factor=real(rng.uniform(0.7, 1.0, users)),
        version_bps=real(versions),
        cycles_per_bit=real(400.0 * missing),
        version=real(rng.integers(0, 4, users)),
    )


def draw_slices(slices: int = 3, floor: float = 0.1) -> SliceTable:
    return SliceTable(
        active=jnp.ones(slices, bool),
        target_bps=jnp.full(slices, 1.7e6),
        floor_share=jnp.full(slices, floor),
        weight=jnp.linspace(1.0, 2.0, slices),
    )


def proportional_reservation(features: Features) -> Reservation:
    """Every pool's capacity in proportion to the slices' demand."""

    def parts(capacity: jnp.ndarray, demand: jnp.ndarray) -> jnp.ndarray:
        return capacity[:, None] * demand / jnp.maximum(jnp.sum(demand, axis=1, keepdims=True), 1e-9)

    return Reservation(
        parts(features.cell_bandwidth_hz, features.slice_demand_hz),
        parts(features.server_cycles_per_s, features.slice_demand_cycles_per_s),
        parts(features.server_cache_bytes, features.slice_demand_cache_bytes),
    )
