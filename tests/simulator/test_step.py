"""The whole network: conservation at every slot, random numbers, compilation, isolation, and what twins cost."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import fair_action, network, no_overhead, strong, viewers

from twinloop.entities import Action
from twinloop.simulator import Environment, Overhead, Params, RadioTrace, State, init, step

USERS, CELLS, SERVERS, SLICES, SLOTS = 16, 3, 2, 2, 40


def busy(groups: int = 0) -> Params:
    people = viewers(USERS, hazard=0.15, on_p=0.1, off_p=0.03)
    people = replace(people, drift_slot=jnp.array([1000]), preference_after=people.preference[None])
    return network(USERS, CELLS, servers=SERVERS, slice_count=SLICES, groups=groups, people=people)


UNICAST, MULTICAST = busy(), busy(groups=2)


def wild(key: jax.Array, params: Params) -> tuple[Action, Overhead]:
    """Any action at all: too large, zero, negative, slices that end and begin; and reports in large amounts."""
    keys = jax.random.split(key, 8)
    flows = params.user_slice.shape[0] + params.group_slice.shape[0] * CELLS

    def some(key: jax.Array, shape: tuple[int, ...], scale: float) -> jax.Array:
        size, sign = jax.random.split(key)
        return scale * jnp.exp(2 * jax.random.normal(size, shape)) * jnp.sign(jax.random.normal(sign, shape) + 1)

    action = Action(
        slice_active=jax.random.uniform(keys[0], (SLICES,)) < 0.9,
        slice_bandwidth_hz=some(keys[1], (CELLS, SLICES), 5e6),
        slice_cycles_per_s=some(keys[2], (SERVERS, SLICES), 5e9),
        slice_cache_bytes=some(keys[3], (SERVERS, SLICES), 2e7),
        flow_bandwidth_hz=some(keys[4], (flows,), 1e6),
        flow_cycles_per_s=some(keys[5], (flows,), 5e8),
    )
    reports = jnp.abs(some(keys[6], (USERS,), 1e4))
    return action, Overhead(reports, jnp.abs(some(keys[7], (SERVERS,), 1e9)))


@jax.jit
def wild_run(key: jax.Array, params: Params):
    k_init, k_run = jax.random.split(key)
    environment, state = init(k_init, params)

    def body(state: State, key: jax.Array):
        k_action, k_step = jax.random.split(key)
        action, overhead = wild(k_action, params)
        state, outcome = step(k_step, params, environment, state, action, overhead)
        return state, (outcome, state.playback, state.queue_bits, action, overhead)

    return jax.lax.scan(body, state, jax.random.split(k_run, SLOTS))


def run(key: jax.Array, params: Params, action: Action, overhead: Overhead):
    return compiled_run(key, *strong((params, action, overhead)))


@jax.jit
def compiled_run(key: jax.Array, params: Params, action: Action, overhead: Overhead):
    environment, state = init(jax.random.key(0), params)

    def body(state: State, key: jax.Array):
        return step(key, params, environment, state, action, overhead)

    return jax.lax.scan(body, state, jax.random.split(key, SLOTS))


def same(left: object, right: object, rtol: float = 0.0) -> bool:
    pairs = zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True)
    return all(np.allclose(a, b, rtol=rtol, atol=rtol, equal_nan=True) for a, b in pairs)


def alike(left: object, right: object, rtol: float) -> float:
    """Share of entries that agree: a version that rounding tips over takes all that follows of its user along."""
    pairs = zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True)
    return float(np.mean(np.concatenate([np.isclose(a, b, rtol, rtol, equal_nan=True).ravel() for a, b in pairs])))


def by_slice(value: np.ndarray, row: np.ndarray, column: np.ndarray, rows: int) -> np.ndarray:
    total = np.zeros((len(value), rows, SLICES))
    for slot in range(len(value)):
        np.add.at(total[slot], (row[slot], column), value[slot])
    return total


@pytest.mark.parametrize("params", [UNICAST, MULTICAST], ids=["unicast", "multicast"])
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**31 - 1))
def test_conservation_and_limits_hold_at_every_slot(params: Params, seed: int):
    _, (out, playback, queue, action, overhead) = jax.tree.map(np.asarray, wild_run(jax.random.key(seed), params))
    topology, groups = params.topology, params.group_slice.shape[0]
    slack = 1 + 1e-5
    for leaf in jax.tree.leaves(out):
        assert np.all(np.isfinite(leaf))
    for held in (playback.buffer_s, playback.buffer_bits, playback.preload_s, playback.preload_bits, queue):
        assert np.all(held >= 0)
    alone = np.asarray(params.user_group) < 0
    ahead = (playback.buffer_s + playback.preload_s)[:, alone]
    assert np.all(ahead <= float(params.player.buffer_cap_s) + 1e-4)
    assert np.all((out.rebuffer_s >= 0) & (out.rebuffer_s <= params.slot_s + 1e-6))

    flow_slice = np.concatenate([params.user_slice, np.repeat(params.group_slice, CELLS)])
    bearer_cell = np.tile(np.arange(CELLS), (SLOTS, groups))
    flow_cell = np.hstack([out.serving_cell, bearer_cell]).astype(int)
    reserved = np.where(action.slice_active[:, None, :], np.maximum(action.slice_bandwidth_hz, 0), 0)
    granted = by_slice(out.flow_bandwidth_hz, flow_cell, flow_slice, CELLS)
    assert np.all(granted <= reserved * slack + 1)
    free = np.asarray(topology.cell_bandwidth_hz) - out.overhead_bandwidth_hz
    assert np.all(granted.sum(axis=2) <= free * slack + 1)
    assert np.all(out.slice_used_hz <= granted * slack + 1)
    assert np.all(out.load <= slack)

    budget = out.flow_bandwidth_hz * out.flow_spectral_efficiency * params.slot_s
    assert np.all(out.flow_bits <= budget * slack)
    assert np.all(out.delivered_bits <= out.rate_bps * params.slot_s * slack)
    np.testing.assert_allclose(out.delivered_bits[:, alone], out.flow_bits[:, :USERS][:, alone])
    delivered, wasted = np.cumsum(out.delivered_bits, axis=0), np.cumsum(out.wasted_bits, axis=0)
    assert np.all(wasted + playback.buffer_bits + playback.preload_bits <= delivered * slack + 10)

    flow_server = np.asarray(topology.cell_server)[flow_cell]
    cycles = by_slice(out.flow_cycles_per_s, flow_server, flow_slice, SERVERS)
    cycles_reserved = np.where(action.slice_active[:, None, :], np.maximum(action.slice_cycles_per_s, 0), 0)
    assert np.all(cycles <= cycles_reserved * slack + 1e3)
    left = np.maximum(np.asarray(topology.server_cycles_per_s) - overhead.cycles / params.slot_s, 0)
    assert np.all(cycles.sum(axis=2) <= left * slack + 1e4)
    work = out.transcoded_bits * float(params.edge.cycles_per_bit)
    assert np.all(work[:, alone] <= out.flow_cycles_per_s[:, :USERS][:, alone] * params.slot_s * slack)
    assert np.all(out.utilisation <= slack)
    assert np.all(out.throughput_bps <= np.asarray(topology.link_capacity_bps) * slack)
    assert np.all(out.delivered_bits[~out.active] == 0)
    assert np.all(np.diff(out.rebuffer_total_s, axis=0) >= 0)
    assert np.all(np.diff(out.swipes_total, axis=0) == out.swipes[1:])


def test_the_same_key_gives_the_same_trajectory_and_another_key_another():
    first, again, other = (wild_run(jax.random.key(seed), MULTICAST) for seed in (3, 3, 4))
    assert same(first, again)
    assert not np.allclose(first[1][0].sinr_db, other[1][0].sinr_db)
    assert not np.array_equal(first[1][0].swipes, other[1][0].swipes)


def test_the_key_of_the_slot_matters_beside_that_of_the_start():
    action, overhead = fair_action(UNICAST), no_overhead(UNICAST)
    _, first = run(jax.random.key(1), UNICAST, action, overhead)
    _, other = run(jax.random.key(2), UNICAST, action, overhead)
    assert not np.array_equal(first.swipes, other.swipes)
    assert not np.array_equal(first.x_m, other.x_m)


def test_vmap_over_seeds_equals_a_loop():
    keys = jax.random.split(jax.random.key(9), 3)
    _, together = jax.jit(jax.vmap(wild_run, in_axes=(0, None)))(keys, MULTICAST)
    for row in range(3):
        _, alone = wild_run(keys[row], MULTICAST)
        assert alike(jax.tree.map(lambda leaf, row=row: leaf[row], together[0]), alone[0], rtol=2e-3) > 0.98


def test_a_scan_equals_a_python_loop_on_a_donated_state_that_is_traced_once():
    traces = []

    @partial(jax.jit, donate_argnums=2)
    def counted(key: jax.Array, environment: Environment, state: State):
        traces.append(1)
        return step(key, UNICAST, environment, state, fair_action(UNICAST), no_overhead(UNICAST))

    _, scanned = run(jax.random.key(1), UNICAST, fair_action(UNICAST), no_overhead(UNICAST))
    environment, state = jax.jit(init)(jax.random.key(0), UNICAST)
    present = set()
    for slot, key in enumerate(jax.random.split(jax.random.key(1), SLOTS)):
        state, outcome = counted(key, environment, state)
        present.add(int(jnp.sum(outcome.active)))
        assert same(outcome, jax.tree.map(lambda leaf, slot=slot: leaf[slot], scanned), rtol=2e-3)
    assert len(present) > 2
    assert traces == [1]


def test_people_come_and_go_as_often_as_told():
    coming, staying = (
        replace(UNICAST, viewers=replace(UNICAST.viewers, session_on_p=jnp.float32(on), session_off_p=jnp.float32(off)))
        for on, off in ((0.6, 0.2), (0.0, 0.0))
    )
    _, seen = run(jax.random.key(1), coming, fair_action(coming), no_overhead(coming))
    assert float(jnp.mean(seen.active)) == pytest.approx(0.75, abs=0.08)
    _, seen = run(jax.random.key(1), staying, fair_action(staying), no_overhead(staying))
    assert bool(jnp.all(seen.active))


def test_a_flooded_slice_does_not_lower_another_ones_bandwidth():
    action = fair_action(UNICAST)
    mine = np.asarray(UNICAST.user_slice) == 0
    calm = replace(action, flow_bandwidth_hz=jnp.where(mine, 0.5e6, 0.1e6))
    flood = replace(action, flow_bandwidth_hz=jnp.where(mine, 0.5e6, 1e9))
    _, before = run(jax.random.key(1), UNICAST, calm, no_overhead(UNICAST))
    _, after = run(jax.random.key(1), UNICAST, flood, no_overhead(UNICAST))
    np.testing.assert_array_equal(before.flow_bandwidth_hz[:, mine], after.flow_bandwidth_hz[:, mine])
    np.testing.assert_array_equal(before.delivered_bits[0, mine], after.delivered_bits[0, mine])
    assert float(jnp.sum(after.flow_bandwidth_hz[:, ~mine])) > 4 * float(jnp.sum(before.flow_bandwidth_hz[:, ~mine]))


def test_what_twins_use_lowers_what_flows_get():
    action = fair_action(UNICAST)
    reports = Overhead(jnp.full(USERS, 3e5), jnp.full(SERVERS, 5e9))
    _, free = run(jax.random.key(1), UNICAST, action, no_overhead(UNICAST))
    _, debited = run(jax.random.key(1), UNICAST, action, reports)
    assert float(jnp.sum(debited.flow_bandwidth_hz)) < 0.9 * float(jnp.sum(free.flow_bandwidth_hz))
    assert float(jnp.sum(debited.flow_cycles_per_s)) < 0.6 * float(jnp.sum(free.flow_cycles_per_s))
    total = jnp.sum(debited.flow_bandwidth_hz, axis=1) + jnp.sum(debited.overhead_bandwidth_hz, axis=1)
    assert float(jnp.max(total)) <= float(jnp.sum(UNICAST.topology.cell_bandwidth_hz)) * 1.00001


def test_enough_of_everything_satisfies_everybody():
    staying = replace(UNICAST.viewers, session_on_p=jnp.float32(0.0), session_off_p=jnp.float32(0.0))
    wide = replace(
        UNICAST.topology, cell_bandwidth_hz=jnp.full(CELLS, 400e6), server_cycles_per_s=jnp.full(SERVERS, 1e12)
    )
    params = replace(UNICAST, topology=wide, viewers=staying)
    _, seen = run(jax.random.key(1), params, fair_action(params), no_overhead(params))
    steady = jax.tree.map(lambda leaf: leaf[10:], seen)
    ratio = jnp.minimum(steady.delivered_bits / steady.needed_bits, 1.0)
    assert float(jnp.mean(ratio)) > 0.99
    assert float(jnp.mean(steady.rebuffer_s)) < 0.01
    assert int(jnp.min(steady.version)) == 2


def test_measured_links_replace_the_modelled_ones():
    time = jnp.arange(5, dtype=jnp.float32)
    both = jnp.stack([time, 10 + time])
    trace = RadioTrace(0.1 * both, both, both - 100, jnp.arange(USERS) % 2, jnp.arange(USERS) % 3)
    params = replace(UNICAST, radio_trace=trace)
    _, seen = run(jax.random.key(1), params, fair_action(params), no_overhead(params))
    for slot in (0, 1, 7):
        expected = 10 * (np.arange(USERS) % 2) + (np.arange(USERS) % 3 + slot) % 5
        np.testing.assert_allclose(seen.sinr_db[slot], expected)
        np.testing.assert_allclose(seen.spectral_efficiency[slot], 0.1 * expected, rtol=1e-6)
        np.testing.assert_allclose(seen.rsrp_dbm[slot], expected - 100)


def test_tastes_drift_and_change_what_is_watched():
    one, other = (jnp.tile(jax.nn.one_hot(kind, 8)[None], (USERS, 1)) for kind in (0, 5))
    people = replace(UNICAST.viewers, preference=one, drift_slot=jnp.array([2]), preference_after=other[None])
    params = replace(UNICAST, viewers=people)
    _, seen = run(jax.random.key(1), params, fair_action(params), no_overhead(params))
    assert set(np.unique(seen.video_class[:2])) == {0}
    assert float(jnp.mean(seen.video_class[-8:] == 5)) > 0.7
