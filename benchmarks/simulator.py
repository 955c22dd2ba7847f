"""The simulated network against mobile-env, and what a user-slot costs from 10^3 to 10^6 users.

Ours runs its full physics with random allocations drawn in every slot; every output is computed. The peer runs its own
scenarios with random actions. Same number of users and cells, best of several windows on both sides.
"""

import json
import os
import resource
import subprocess
import sys
import time
import warnings
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from table import Row, arguments, present

from twinloop.entities import Action
from twinloop.simulator import (
    Edge,
    Environment,
    Mobility,
    Overhead,
    Params,
    Player,
    Radio,
    State,
    Topology,
    Viewers,
    default_catalogue,
    init,
    step,
)
from twinloop.slicing import SliceTable

SIZES = {"small": (5, 3, (200.0, 200.0)), "medium": (15, 7, (200.0, 300.0)), "large": (30, 13, (300.0, 300.0))}
SCALES = (1_000, 10_000, 100_000, 1_000_000)
SLICES = 2
GOALS = {"small": 300, "large": 1000}


def network(users: int, cells: int, area_m: tuple[float, float]) -> Params:
    """Urban cells spread over the area, walkers on random waypoints, 1000 videos, two slices, one edge server."""
    value, each, everyone = jnp.float32, jnp.ones(cells), jnp.ones(users)
    place = np.random.default_rng(0).uniform(0.1, 0.9, (cells, 2)) * np.array(area_m)
    position = np.concatenate([place, np.full((cells, 1), 10.0)], axis=1)[:, None, :]
    topology = Topology(
        models=("umi",) * cells,
        cell_path_m=jnp.asarray(position, jnp.float32),
        cell_speed_mps=0 * each,
        cell_power_dbm=30 * each,
        cell_gain_db=0 * each,
        cell_frequency_hz=2.5e9 * each,
        cell_bandwidth_hz=9e6 * each,
        cell_exponent=3 * each,
        cell_delay_s=1e-5 * each,
        cell_static_w=100 * each,
        cell_amplifier_efficiency=0.3 * each,
        cell_server=jnp.zeros(cells, jnp.int32),
        link_delay_s=2e-3 * each,
        link_capacity_bps=1e9 * each,
        server_cycles_per_s=value(10e9) * jnp.ones(1),
        server_cache_bytes=value(0.5e9) * jnp.ones(1),
        server_kappa=value(1e-28) * jnp.ones(1),
        area_m=jnp.asarray(area_m, jnp.float32),
    )
    radio = Radio(
        noise_figure_db=value(9.0),
        se_factor=value(0.6),
        se_max=value(5.5),
        rician_k=value(0.0),
        hysteresis_db=value(3.0),
        time_to_trigger_s=value(1.0),
        handover_s=value(0.05),
        shadow_grid_m=value(max(area_m) / 16),
        shadow_scale=value(1.0),
        user_height_m=value(1.5),
        interference=value(1.0),
        grid=(16, 16),
    )
    nobody = jnp.zeros(users, jnp.int32)
    mobility = Mobility(
        models=("waypoint",),
        user_model=nobody,
        speed_low_mps=0.5 * everyone,
        speed_high_mps=1.5 * everyone,
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
        user_path=nobody,
        walk_m=jnp.zeros((1, 2, 2)),
        walk_step_s=value(1.0),
        walk_length=jnp.full(1, 2),
        user_walk=nobody,
        walk_start_s=0 * everyone,
    )
    viewers = Viewers(
        hazard=jnp.full((8, 15), 0.08),
        user_factor_spread=value(0.3),
        preference=jnp.full((users, 8), 0.125),
        drift_slot=jnp.zeros(0, jnp.int32),
        preference_after=jnp.zeros((0, users, 8)),
        session_on_p=value(0.02),
        session_off_p=value(0.002),
    )
    rows = jnp.ones(SLICES)
    return Params(
        topology=topology,
        radio=radio,
        mobility=mobility,
        catalogue=default_catalogue(),
        viewers=viewers,
        player=Player(value(6.0), value(2.0), value(0.3), value(0.7)),
        edge=Edge(value(400.0), value(1e-6)),
        slices=SliceTable(rows > 0, 1.7e6 * rows, 0 * rows, rows),
        user_slice=jnp.arange(users) % SLICES,
        user_group=nobody - 1,
        group_slice=jnp.zeros(0, jnp.int32),
    )


def one_slot(key: jax.Array, params: Params, environment: Environment, state: State) -> tuple[State, jax.Array]:
    """A slot under random allocations; all outputs enter the sum, so none is left out of the compiled program."""
    k_action, k_step = jax.random.split(key)
    topology, users = params.topology, params.user_slice.shape[0]
    share = jax.random.uniform(k_action, (users,))
    even = jnp.full((1, SLICES), 1 / SLICES)
    action = Action(
        slice_active=params.slices.active,
        slice_bandwidth_hz=topology.cell_bandwidth_hz[:, None] * even,
        slice_cycles_per_s=topology.server_cycles_per_s[:, None] * even,
        slice_cache_bytes=topology.server_cache_bytes[:, None] * even,
        flow_bandwidth_hz=1e6 * share,
        flow_cycles_per_s=1e9 * share,
    )
    overhead = Overhead(jnp.full(users, 100.0), jnp.full(1, 1e8))
    state, outcome = step(k_step, params, environment, state, action, overhead)
    return state, sum((jnp.sum(leaf) for leaf in jax.tree.leaves(outcome)), jnp.float32(0.0))


@partial(jax.jit, static_argnums=4, donate_argnums=3)
def slots(key: jax.Array, params: Params, environment: Environment, state: State, count: int):
    """`count` slots of a batch of networks."""
    batch = state.time_slot.shape[0]

    def body(state: State, key: jax.Array) -> tuple[State, jax.Array]:
        many = jax.vmap(one_slot, in_axes=(0, None, 0, 0))
        state, total = many(jax.random.split(key, batch), params, environment, state)
        return state, jnp.sum(total)

    return jax.lax.scan(body, state, jax.random.split(key, count))


def seconds_per_slot(params: Params, batch: int, count: int, repeats: int) -> float:
    """Best time of one slot of the whole batch, compilation left out."""
    keys = jax.random.split(jax.random.key(0), batch)
    environment, state = jax.jit(jax.vmap(init, in_axes=(0, None)))(keys, params)
    best = float("inf")
    for repeat in range(repeats + 1):
        begin = time.perf_counter()
        state, total = slots(jax.random.key(repeat), params, environment, state, count)
        jax.block_until_ready((state, total))
        best = min(best, (time.perf_counter() - begin) / count) if repeat else best
    return best


def peer_user_steps_per_s(size: str, seconds: float) -> float | None:
    """User-steps a second of mobile-env with random actions, best of three windows; None where it is not installed."""
    os.environ["PYGAME_HIDE_SUPPORT_PROMPT"] = "1"
    warnings.filterwarnings("ignore")
    try:
        import gymnasium
        import mobile_env  # noqa: F401 - registers its environments
    except ImportError:
        return None
    env = gymnasium.make(f"mobile-{size}-central-v0")
    env.reset(seed=0)
    best = 0.0
    for _ in range(3):
        steps, begin = 0, time.perf_counter()
        while time.perf_counter() - begin < seconds / 3:
            ended = env.step(env.action_space.sample())[2:4]
            steps += 1
            if any(ended):
                env.reset()
        best = max(best, steps / (time.perf_counter() - begin))
    return best * SIZES[size][0]


def comparison(size: str, quick: bool) -> Row:
    """User-steps a second of both on one of the peer's sizes."""
    users, cells, area_m = SIZES[size]
    batch = (4_000 if quick else 60_000) // users
    each = seconds_per_slot(network(users, cells, area_m), batch, 5 if quick else 20, 2 if quick else 5)
    ours = batch * users / each
    peer = peer_user_steps_per_s(size, 1.0 if quick else 6.0)
    work = f"user-steps/s, {size}: {users} users x {cells} cells, {batch} networks at once"
    if peer is None:
        return Row(work, ours, "not installed: pip install 'twinloop[bench]'")
    goal = f" (goal {GOALS[size]:,})" if size in GOALS else ""
    return Row(work, ours, peer, f"{ours / peer:,.0f} x{goal}")


def measure_scale(users: int) -> dict[str, float]:
    """Cost and memory of one network of `users` in this process."""
    params = network(users, 13, (3000.0, 3000.0))
    each = seconds_per_slot(params, 1, max(4, 400_000 // users), 4)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    state = jax.eval_shape(init, jax.random.key(0), replace(params))[1]
    held = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
    return {"ns": 1e9 * each / users, "peak_bytes": peak, "state_bytes": held}


def scaling(quick: bool) -> list[Row]:
    """Cost per user-slot and peak memory, each size in a process of its own."""
    rows, costs = [], []
    for users in SCALES[: 2 if quick else None]:
        command = [sys.executable, __file__, "--one", str(users)]
        seen = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
        costs.append(seen["ns"])
        memory = f"peak {seen['peak_bytes'] / 1e9:.2f} GB, state {seen['state_bytes'] / users:.0f} B a user"
        rows.append(Row(f"ns per user-slot, {users:,} users x 13 cells", f"{seen['ns']:.0f} ({memory})"))
    growth = costs[-1] / costs[0]
    work = f"growth of that cost from {SCALES[0]:,} to {SCALES[len(costs) - 1]:,} users"
    return [*rows, Row(work, f"{growth:.2f} x (goal at most 2)")]


def main() -> None:
    """Runs everything, or with `--one USERS` a single size."""
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--one", type=int, metavar="USERS", help="measure one size and print it as JSON")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure_scale(options.one)))
        return
    rows = [comparison(size, options.quick) for size in SIZES]
    present("simulator", rows + scaling(options.quick), options.json)


if __name__ == "__main__":
    main()
