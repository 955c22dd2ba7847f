from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import fair_action, network, no_overhead

from twinloop.entities import Action
from twinloop.simulator import Edge, Overhead, Params
from twinloop.simulator import edge as edges
from twinloop.simulator.edge import Flows, report_bandwidth_hz, transcode

deliver, limits, usage = (
    jax.jit(partial(function, slot_s=1.0)) for function in (edges.deliver, edges.limits, edges.usage)
)
EDGE = Edge(jnp.float32(400.0), jnp.float32(1e-6))


def flows(cell: list[int], in_slice: list[int], want_bits: float = 1e9, before: float = 0.0) -> Flows:
    count = len(cell)
    each = jnp.ones(count)
    return Flows(
        active=each > 0,
        cell=jnp.array(cell),
        slice=jnp.array(in_slice),
        spectral_efficiency=2 * each,
        airtime_s=each,
        want_bits=want_bits * each,
        cached_bytes_before=before * each,
        queue_bits=0 * each,
    )


def reserved(params: Params, action: Action, overhead: Overhead | None = None, report_hz: float = 0.0):
    cells = params.topology.cell_power_dbm.shape[0]
    spent = overhead if overhead is not None else no_overhead(params)
    return limits(params.topology, action.slice_active, action, spent, jnp.full(cells, report_hz))


def test_a_flow_never_gets_more_than_it_asks_or_its_slice_has():
    params = network(4, 2)
    action = replace(fair_action(params), flow_bandwidth_hz=jnp.array([1e6, 9e6, 1e6, 1e6]))
    got = deliver(params.topology, EDGE, action, flows([0, 0, 0, 1], [0, 0, 1, 1]), reserved(params, action))
    np.testing.assert_allclose(got.bandwidth_hz, [0.5e6, 4.5e6, 1e6, 1e6], rtol=1e-5)
    np.testing.assert_allclose(got.bits, 2 * got.bandwidth_hz, rtol=1e-6)


def test_a_flooded_slice_does_not_lower_another():
    params = network(4, 1)
    calm = replace(fair_action(params), flow_bandwidth_hz=jnp.array([2e6, 1e6, 0.0, 0.0]))
    flood = replace(calm, flow_bandwidth_hz=jnp.array([2e6, 1e6, 1e9, 1e9]))
    cell, in_slice = [0, 0, 0, 0], [0, 0, 1, 1]
    before, after = (
        deliver(params.topology, EDGE, action, flows(cell, in_slice), reserved(params, action))
        for action in (calm, flood)
    )
    np.testing.assert_array_equal(before.bandwidth_hz[:2], after.bandwidth_hz[:2])
    np.testing.assert_array_equal(before.bits[:2], after.bits[:2])
    assert float(jnp.sum(after.bandwidth_hz[2:])) == pytest.approx(5e6, rel=1e-5)


def test_a_narrow_backhaul_keeps_slices_apart_and_lends_what_is_unused():
    params = network(4, 1)
    narrow = replace(params.topology, link_capacity_bps=jnp.array([4e6]))
    params = replace(params, topology=narrow)
    action = replace(fair_action(params), flow_bandwidth_hz=jnp.array([0.5e6, 0.0, 2.5e6, 2.5e6]))
    got = deliver(narrow, EDGE, action, flows([0] * 4, [0, 0, 1, 1]), reserved(params, action))
    np.testing.assert_allclose(got.bits, [1e6, 0.0, 1.5e6, 1.5e6], rtol=1e-5)


@pytest.mark.parametrize("value", [-1e6, np.nan])
def test_a_senseless_wish_is_no_wish(value: float):
    params = network(2, 1)
    action = replace(fair_action(params), flow_bandwidth_hz=jnp.array([value, 1e6]))
    got = deliver(params.topology, EDGE, action, flows([0, 0], [0, 0]), reserved(params, action))
    np.testing.assert_allclose(got.bandwidth_hz, [0.0, 1e6])


def test_reservations_above_a_pool_are_scaled_down_alike():
    params = network(2, 1)
    action = replace(fair_action(params), slice_bandwidth_hz=jnp.array([[30e6, 5e6]]))
    limit = reserved(params, action)
    np.testing.assert_allclose(limit.bandwidth_hz, [[20e6 / 3, 10e6 / 3]], rtol=1e-5)


def test_an_ended_slice_has_nothing():
    params = network(2, 1)
    action = replace(fair_action(params), slice_active=jnp.array([True, False]))
    limit = reserved(params, action)
    np.testing.assert_allclose(limit.bandwidth_hz, [[5e6, 0.0]])
    np.testing.assert_allclose(limit.cycles_per_s, [[5e9, 0.0]])


def test_what_twins_use_is_taken_from_the_same_bandwidth_and_cycles():
    params = network(2, 2)
    overhead = Overhead(jnp.zeros(2), jnp.array([4e9]))
    limit = reserved(params, fair_action(params), overhead, report_hz=1e6)
    np.testing.assert_allclose(jnp.sum(limit.bandwidth_hz, axis=1), 9e6, rtol=1e-5)
    np.testing.assert_allclose(limit.cycles_per_s[0], [3e9, 3e9], rtol=1e-5)
    hz = report_bandwidth_hz(jnp.array([1e3, 1e3, 1e3]), jnp.array([0, 1, 1]), jnp.array([2.0, 1.0, 0.0]), 2, 0.5)
    np.testing.assert_allclose(hz, [1e3, 2e3 + 40e3], rtol=1e-5)


def test_cells_of_one_server_share_its_cycles():
    params = network(4, 2)
    action = replace(fair_action(params), flow_cycles_per_s=jnp.array([4e9, 4e9, 2e9, 2e9]))
    got = deliver(params.topology, EDGE, action, flows([0, 0, 1, 1], [0, 1, 0, 1]), reserved(params, action))
    np.testing.assert_allclose(got.cycles_per_s, np.array([4, 4, 2, 2]) * 5e9 / 6, rtol=1e-5)


def test_only_what_the_slices_cache_lacks_is_transcoded():
    params = network(2, 1)
    action = replace(fair_action(params), slice_cache_bytes=jnp.array([[1e8, 3e8]]))
    asked = flows([0, 0], [0, 1], want_bits=1e6, before=2e8)
    got = deliver(params.topology, EDGE, action, asked, reserved(params, action))
    np.testing.assert_allclose(got.bits, [1e6, 1e6])
    np.testing.assert_allclose(got.transcoded_bits, [1e6, 0.0])


def test_the_transcoding_queue_fills_and_drains_in_order():
    queue, none = jnp.zeros(1), jnp.zeros(1)
    missing, stored = jnp.array([True]), jnp.array([False])
    done, direct, queue = transcode(queue, jnp.array([10.0]), missing, jnp.array([4.0]))
    assert (float(done[0]), float(direct[0]), float(queue[0])) == (4.0, 0.0, 6.0)
    done, direct, queue = transcode(queue, jnp.array([10.0]), missing, jnp.array([4.0]))
    assert (float(done[0]), float(queue[0])) == (4.0, 6.0)
    done, direct, queue = transcode(queue, jnp.array([10.0]), stored, jnp.array([4.0]))
    assert (float(done[0]), float(direct[0]), float(queue[0])) == (4.0, 0.0, 2.0)
    done, direct, queue = transcode(queue, none, stored, jnp.array([4.0]))
    assert (float(done[0]), float(queue[0])) == (0.0, 2.0)
    done, direct, queue = transcode(queue, jnp.array([10.0]), stored, jnp.array([4.0]))
    assert (float(done[0]), float(direct[0]), float(queue[0])) == (2.0, 8.0, 0.0)


def test_delay_holds_propagation_packet_handover_and_wait():
    params = network(2, 1)
    action = replace(fair_action(params), flow_cycles_per_s=jnp.array([400e3, 0.0]))
    asked = replace(flows([0, 0], [0, 1], want_bits=1e6), airtime_s=jnp.array([0.95, 1.0]))
    asked = replace(asked, cached_bytes_before=jnp.array([1e12, 0.0]))
    got = deliver(params.topology, EDGE, action, asked, reserved(params, action))
    path = 1e-5 + 2e-3
    waiting = (1e6 - 1e3) / 1e3
    assert float(got.delay_s[0]) == 10.0 < waiting
    assert float(got.delay_s[1]) == pytest.approx(path + 12e3 / 10e6, rel=1e-4)
    idle = deliver(params.topology, EDGE, action, replace(asked, want_bits=jnp.zeros(2)), reserved(params, action))
    assert float(idle.delay_s[0]) == pytest.approx(path + 0.05 + 12e3 / (5e6 * 2 * 0.95), rel=1e-3)


def test_power_and_load_follow_their_formulas():
    params = network(2, 1)
    topology = params.topology
    overhead = Overhead(jnp.array([2e3, 4e3]), jnp.array([1e9]))
    action = replace(fair_action(params), flow_bandwidth_hz=jnp.array([3e6, 1e6]))
    limit = reserved(params, action, overhead, report_hz=0.5e6)
    asked = flows([0, 0], [0, 1], before=1e12)
    got = deliver(topology, EDGE, action, asked, limit)
    seen = usage(topology, EDGE, overhead, asked, got, limit)
    load = (4e6 + 0.5e6) / 10e6
    assert float(seen.load[0]) == pytest.approx(load, rel=1e-4)
    assert float(seen.cell_power_w[0]) == pytest.approx(100 + load * 10 / 0.3, rel=1e-4)
    cycles = 8e6 * 400 + 1e9
    assert float(seen.utilisation[0]) == pytest.approx(cycles / 10e9, rel=1e-4)
    assert float(seen.server_power_w[0]) == pytest.approx(1e-28 * 1e20 * cycles, rel=1e-4)
    assert float(seen.report_power_w[0]) == pytest.approx(6e3 * 1e-6, rel=1e-4)
    assert (float(seen.cache_misses_bits[0]), float(seen.cache_hits_bits[0])) == (pytest.approx(8e6), 0.0)
    np.testing.assert_allclose(seen.slice_used_hz, [[3e6, 1e6]], rtol=1e-5)
    assert float(seen.throughput_bps[0]) == pytest.approx(8e6)
