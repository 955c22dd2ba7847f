import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from decision.problems import draw_features, proportional_reservation
from hypothesis import given, settings
from hypothesis import strategies as st

from twinloop.abstraction import Features
from twinloop.decision import ProportionalFair, Reservation, RoundRobin, Utility
from twinloop.decision.allocation.interface import flow_pools
from twinloop.decision.allocation.round_robin import equal_shares
from twinloop.decision.allocation.utility import maximise
from twinloop.qoe import AlphaFair


def one_cell(efficiency, want, *, need=None, average=None, weight=None, per_bit=None, bandwidth=1e6, cycles=1e9):
    """Flows of one slice in one cell; returns features and a reservation of everything."""
    count = len(efficiency)

    def real(value, default):
        return jnp.asarray(default if value is None else value, jnp.float32)

    one, index = jnp.ones((1, 1)), jnp.zeros(count, jnp.int32)
    features = Features(
        flow_active=jnp.ones(count, bool),
        flow_cell=index,
        flow_slice=index,
        members=jnp.ones(count),
        spectral_efficiency=real(efficiency, None),
        need_bps=real(need, want),
        want_bps=real(want, None),
        cycles_per_bit=real(per_bit, np.zeros(count)),
        buffer_s=jnp.zeros(count),
        average_rate_bps=real(average, np.full(count, 1e6)),
        weight=real(weight, np.ones(count)),
        slice_demand_hz=one,
        slice_demand_cycles_per_s=one,
        slice_demand_cache_bytes=one,
        slice_users=one,
        cell_server=jnp.zeros(1, jnp.int32),
        cell_bandwidth_hz=jnp.array([bandwidth]),
        server_cycles_per_s=jnp.array([cycles]),
        server_cache_bytes=jnp.ones(1),
    )
    return features, Reservation(one * bandwidth, one * cycles, one)


def rates(method, features, reservation):
    allocation, _ = jax.jit(lambda f, r: method.allocate(f, r, ()))(features, reservation)
    return np.asarray(allocation.bandwidth_hz * features.spectral_efficiency)


def test_round_robin_shares_equally_and_passes_over_the_served():
    features, reservation = one_cell([1.0, 2.0, 4.0, 1.0], [1e9, 1e9, 4e5, 0.0])
    allocation, _ = RoundRobin().allocate(features, reservation, ())
    assert np.asarray(allocation.bandwidth_hz) == pytest.approx([4.5e5, 4.5e5, 1e5, 0.0])
    allocation, _ = RoundRobin(skip_served=False).allocate(features, reservation, ())
    assert np.asarray(allocation.bandwidth_hz) == pytest.approx([1e6 / 3] * 3 + [0.0], rel=1e-5)


def test_round_robin_shares_cycles_among_those_who_compute():
    features, reservation = one_cell([1.0, 1.0, 1.0], [1e9, 1e9, 1e9], per_bit=[400.0, 0.0, 400.0])
    allocation, _ = RoundRobin().allocate(features, reservation, ())
    assert np.asarray(allocation.cycles_per_s) == pytest.approx([5e8, 0.0, 5e8])


@settings(max_examples=15, deadline=None)
@given(
    caps=st.lists(st.just(0.0) | st.floats(1e-3, 10.0), min_size=6, max_size=6),
    pools=st.lists(st.integers(0, 1), min_size=6, max_size=6),
    capacity=st.floats(0.01, 30.0),
)
def test_equal_shares_are_max_min_fair(caps, pools, capacity):
    cap, pool = np.asarray(caps, np.float32), np.asarray(pools)
    share = np.asarray(
        jax.jit(equal_shares)(jnp.asarray(cap > 0), jnp.asarray(cap), jnp.asarray(pool), jnp.full(2, capacity))
    )
    for p in range(2):
        mine = share[(pool == p) & (cap > 0)]
        limit = cap[(pool == p) & (cap > 0)]
        if mine.size:
            assert mine.sum() == pytest.approx(capacity, rel=1e-4)
        if limit.sum() > capacity:
            assert np.all(mine <= limit * (1 + 1e-4) + 1e-6)
            short = mine < limit * (1 - 1e-3)
            assert np.all(mine[short] >= mine.max() * (1 - 1e-3))


def test_log_utility_without_caps_shares_bandwidth_equally():
    features, reservation = one_cell([0.5, 1.0, 4.0], [1e9] * 3)
    found = rates(Utility(kind="alpha_fair"), features, reservation)
    assert found == pytest.approx(np.array([0.5, 1.0, 4.0]) * 1e6 / 3, rel=1e-3)


def test_large_alpha_approaches_equal_rates_and_small_alpha_throughput():
    features, reservation = one_cell([0.5, 1.0, 4.0], [1e9] * 3)
    fair = rates(Utility(kind="alpha_fair", alpha=8.0), features, reservation)
    greedy = rates(Utility(kind="alpha_fair", alpha=0.2), features, reservation)
    assert fair.max() / fair.min() < 1.5
    assert greedy[2] > 0.9 * 4e6 * 0.9
    assert fair.min() > greedy.min()


def test_weights_and_members_raise_a_share():
    features, reservation = one_cell([1.0, 1.0], [1e9] * 2, weight=[3.0, 1.0])
    assert rates(Utility(kind="alpha_fair"), features, reservation) == pytest.approx([7.5e5, 2.5e5], rel=1e-3)
    features = eqx.tree_at(lambda f: (f.weight, f.members), features, (jnp.ones(2), jnp.array([1.0, 3.0])))
    assert rates(Utility(kind="alpha_fair"), features, reservation) == pytest.approx([2.5e5, 7.5e5], rel=1e-3)


def test_satisfaction_serves_the_cheap_ones_first_and_floors_keep_the_dear_ones():
    features, reservation = one_cell([0.5, 2.0, 4.0], [1e6] * 3)
    assert rates(Utility(curvature=0.02), features, reservation) == pytest.approx([1.25e5, 1e6, 1e6], rel=0.02)
    held = rates(Utility(curvature=0.02, floor=0.3), features, reservation)
    assert held[0] == pytest.approx(3e5, rel=1e-3)
    assert held.sum() < 2.2e6


def test_floors_that_do_not_fit_are_scaled_down():
    features, reservation = one_cell([0.5, 0.5, 0.5], [1e6] * 3)
    found = rates(Utility(floor=1.0), features, reservation)
    assert found == pytest.approx([5e5 / 3] * 3, rel=1e-3)


def test_scarce_cycles_limit_those_who_compute_and_leave_bandwidth_to_the_others():
    features, reservation = one_cell([1.0, 1.0], [1e6, 1e6], per_bit=[400.0, 0.0], cycles=4e7)
    solution = maximise(AlphaFair(1.0), flow_pools(features, reservation), jnp.ones(2), jnp.zeros(2), jnp.ones(2))
    assert np.asarray(solution.rate) == pytest.approx([0.1, 0.9], rel=1e-3)
    assert float(solution.cycle_price[0]) > 0
    assert float(solution.bandwidth_price[0]) == pytest.approx(1 / 0.9, rel=1e-2)


def test_prices_are_zero_when_everything_fits():
    features, reservation = one_cell([1.0, 1.0], [1e5, 1e5])
    solution = maximise(AlphaFair(1.0), flow_pools(features, reservation), jnp.ones(2), jnp.zeros(2), jnp.full(2, 0.1))
    assert np.asarray(solution.rate) == pytest.approx([0.1, 0.1])
    assert np.all(np.asarray(solution.bandwidth_price) == 0)


def test_what_is_left_goes_to_those_who_want_more():
    features, reservation = one_cell([1.0, 1.0], [1e5, 3e5], need=[1e5, 1e5], bandwidth=4e5)
    assert rates(Utility(), features, reservation) == pytest.approx([1e5, 3e5], rel=1e-3)
    kept = rates(Utility(hand_out=False), features, reservation)
    assert kept == pytest.approx([1e5, 1e5], rel=1e-3)


def test_proportional_fair_between_equal_shares_and_the_textbook_rule():
    efficiency, average = [1.0, 1.0, 2.0], [2e6, 1e5, 1e6]
    features, reservation = one_cell(efficiency, [1e9] * 3, average=average)
    equal = rates(ProportionalFair(horizon_slots=1.0), features, reservation)
    assert equal == pytest.approx(np.array(efficiency) * 1e6 / 3, rel=1e-3)
    textbook = rates(ProportionalFair(horizon_slots=1e3), features, reservation)
    assert textbook == pytest.approx([0.0, 1e6, 0.0], abs=1e3)
    capped = eqx.tree_at(lambda f: f.want_bps, features, jnp.array([1e9, 4e5, 1e9]))
    assert rates(ProportionalFair(horizon_slots=1e3), capped, reservation) == pytest.approx([0.0, 4e5, 1.2e6], abs=1e4)


def test_proportional_fair_schedules_the_air_whatever_transcoding_would_need():
    features, reservation = one_cell([1.0, 1.0], [1e9] * 2, per_bit=[400.0, 0.0], cycles=4e7)
    given = ProportionalFair().allocate(features, reservation, ())[0]
    assert np.asarray(given.bandwidth_hz) == pytest.approx([5e5, 5e5], rel=1e-3)
    assert np.asarray(given.cycles_per_s) == pytest.approx([4e7, 0.0])


def test_proportional_fair_evens_out_averages_over_slots():
    features, reservation = one_cell([0.5, 1.0, 3.0], [1e9] * 3, average=[1e4, 1e6, 3e6])
    step = jax.jit(lambda f: ProportionalFair(horizon_slots=2.0).allocate(f, reservation, ())[0].bandwidth_hz)
    average = np.asarray(features.average_rate_bps)
    for _ in range(80):
        here = eqx.tree_at(lambda f: f.average_rate_bps, features, jnp.asarray(average))
        average = 0.5 * average + 0.5 * np.asarray(step(here)) * [0.5, 1.0, 3.0]
    assert average == pytest.approx(np.array([0.5, 1.0, 3.0]) * 1e6 / 3, rel=0.02)


def test_many_cells_in_one_call_equal_cell_by_cell():
    features = draw_features(5, users=48, cells=4, servers=2, compute=1.4)
    reservation = proportional_reservation(features)
    call = jax.jit(lambda f: Utility().allocate(f, reservation, ())[0].bandwidth_hz)
    together = np.asarray(call(features))
    for server in range(2):
        mine = features.cell_server[features.flow_cell] == server
        alone = eqx.tree_at(lambda f: f.flow_active, features, features.flow_active & mine)
        scale = float(together.max())
        assert np.asarray(call(alone))[mine] == pytest.approx(together[mine], abs=1e-2 * scale)
