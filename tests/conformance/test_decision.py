"""What every registered reservation and allocation method keeps, by being registered."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from decision.problems import draw_features, draw_slices, proportional_reservation

from twinloop.decision import ALLOCATIONS, RESERVATIONS, Reservation, assemble_action
from twinloop.slicing import capacity_and_isolation, end_slice

USERS, CELLS, SERVERS, SLICES = 24, 2, 1, 3


def every(methods):
    return pytest.mark.parametrize("name", sorted(methods))


class Traced:
    """A jitted call that counts its traces."""

    def __init__(self, call):
        self.traces = 0

        def counted(*arguments):
            self.traces += 1
            return call(*arguments)

        self.call = jax.jit(counted)


_COMPILED = {}


def stack(cases):
    return jax.tree.map(lambda *rows: jnp.stack(rows), *cases)


def reserve(name):
    return _COMPILED.setdefault(name, Traced(RESERVATIONS[name]().reserve))


def allocate(name):
    method = ALLOCATIONS[name]()
    return _COMPILED.setdefault(name, Traced(lambda f, r: method.allocate(f, r, method.init())[0]))


def draw(seed, **changes):
    return draw_features(seed, USERS, CELLS, SERVERS, SLICES, **changes)


def edge_cases():
    base = draw(7)
    zero = jnp.zeros_like
    nobody = eqx.tree_at(
        lambda f: (f.flow_active, f.want_bps, f.slice_demand_hz, f.slice_demand_cycles_per_s, f.slice_users),
        base,
        (
            zero(base.flow_active),
            zero(base.want_bps),
            zero(base.slice_demand_hz),
            zero(base.slice_demand_cycles_per_s),
            zero(base.slice_users),
        ),
    )
    outage = eqx.tree_at(lambda f: (f.spectral_efficiency, f.cell_bandwidth_hz), base, replace_fn=zero)
    broken = eqx.tree_at(lambda f: f.server_cycles_per_s, base, zero(base.server_cycles_per_s))
    unpromised = eqx.tree_at(lambda f: (f.need_bps, f.average_rate_bps, f.weight), base, replace_fn=zero)
    no_cache = eqx.tree_at(lambda f: f.slice_demand_cache_bytes, base, zero(base.slice_demand_cache_bytes))
    flood = eqx.tree_at(lambda f: f.want_bps, base, base.want_bps * 1e4)
    return {
        "scarce": draw(1, load=1.8, compute=1.5),
        "plenty": draw(2, load=0.3, compute=0.2),
        "nobody": nobody,
        "outage": outage,
        "no_computing": broken,
        "no_need": unpromised,
        "no_cache_demand": no_cache,
        "flood": flood,
    }


CASES = edge_cases()


def check_reservation(features, slices, reservation):
    for reserved, capacity, demand in (
        (reservation.bandwidth_hz, features.cell_bandwidth_hz, features.slice_demand_hz),
        (reservation.cycles_per_s, features.server_cycles_per_s, features.slice_demand_cycles_per_s),
        (reservation.cache_bytes, features.server_cache_bytes, features.slice_demand_cache_bytes),
    ):
        found = capacity_and_isolation(slices, reserved, capacity, demand)
        assert not bool(found.capacity), "capacity"
        assert not bool(found.isolation), "isolation"
        assert not bool(found.not_finite), "finite"


def check_allocation(features, reservation, allocation):
    cell, row = np.asarray(features.flow_cell), np.asarray(features.flow_slice)
    server = np.asarray(features.cell_server)[cell]
    for given, reserved, pool in (
        (allocation.bandwidth_hz, reservation.bandwidth_hz, cell * SLICES + row),
        (allocation.cycles_per_s, reservation.cycles_per_s, server * SLICES + row),
    ):
        given, held = np.asarray(given, np.float64), np.asarray(reserved, np.float64).ravel()
        assert np.all(np.isfinite(given))
        assert np.all(given >= 0)
        assert np.all(np.bincount(pool, given, held.size) <= held * (1 + 1e-4) + 1e-3)
        assert np.all(given[~np.asarray(features.flow_active)] == 0)


@every(RESERVATIONS)
@pytest.mark.parametrize("case", sorted(CASES))
def test_reservation_is_feasible_isolated_and_finite(name, case):
    slices = draw_slices(SLICES, 0.2)
    check_reservation(CASES[case], slices, reserve(name).call(CASES[case], slices))


@every(RESERVATIONS)
def test_inactive_slice_gets_nothing_and_its_share_goes_to_the_others(name):
    features = CASES["scarce"]
    slices = end_slice(draw_slices(SLICES, 0.2), 1)
    reservation = reserve(name).call(features, slices)
    check_reservation(features, slices, reservation)
    assert np.all(np.asarray(reservation.bandwidth_hz)[:, 1] == 0)
    full = np.asarray(reservation.bandwidth_hz).sum(axis=1)
    assert full == pytest.approx(np.asarray(features.cell_bandwidth_hz), rel=1e-3)


@every(RESERVATIONS)
def test_no_slices_at_all(name):
    slices = draw_slices(SLICES)
    slices = eqx.tree_at(lambda s: (s.active, s.floor_share), slices, (slices.active & False, slices.floor_share * 0))
    reservation = reserve(name).call(CASES["scarce"], slices)
    assert all(np.all(np.asarray(part) == 0) for part in jax.tree.leaves(reservation))


@every(RESERVATIONS)
def test_reservation_is_vmapped_and_traced_once(name):
    slices = draw_slices(SLICES, 0.2)
    cases = [CASES["scarce"], CASES["nobody"]]
    many = jax.jit(jax.vmap(RESERVATIONS[name]().reserve, in_axes=(0, None)))(stack(cases), slices)
    for at, case in enumerate(cases):
        alone = reserve(name).call(case, slices)
        for batched, single in zip(jax.tree.leaves(many), jax.tree.leaves(alone), strict=True):
            capacity = max(float(jnp.max(single)), 1.0)
            assert np.asarray(batched[at]) == pytest.approx(np.asarray(single), abs=2e-3 * capacity)
    assert reserve(name).traces == 1


@every(ALLOCATIONS)
@pytest.mark.parametrize("case", sorted(CASES))
def test_allocation_is_feasible_and_finite(name, case):
    features = CASES[case]
    reservation = reserve("equal").call(features, draw_slices(SLICES, 0.2))
    check_allocation(features, reservation, allocate(name).call(features, reservation))


@every(ALLOCATIONS)
def test_nothing_reserved_is_nothing_allocated(name):
    nothing = Reservation(jnp.zeros((CELLS, SLICES)), jnp.zeros((SERVERS, SLICES)), jnp.zeros((SERVERS, SLICES)))
    allocation = allocate(name).call(CASES["scarce"], nothing)
    assert all(np.all(np.asarray(part) == 0) for part in jax.tree.leaves(allocation))


@every(ALLOCATIONS)
def test_flows_that_change_places_get_what_they_got(name):
    features = CASES["scarce"]
    reservation = proportional_reservation(features)
    order = np.random.default_rng(0).permutation(USERS)
    moved = jax.tree.map(lambda row: row[order] if row.shape[:1] == (USERS,) else row, features)
    before = allocate(name).call(features, reservation)
    after = allocate(name).call(moved, reservation)
    scale = float(jnp.max(before.bandwidth_hz))
    assert np.asarray(after.bandwidth_hz) == pytest.approx(np.asarray(before.bandwidth_hz)[order], abs=1e-2 * scale)
    scale = float(jnp.max(before.cycles_per_s))
    assert np.asarray(after.cycles_per_s) == pytest.approx(np.asarray(before.cycles_per_s)[order], abs=1e-2 * scale)


@every(ALLOCATIONS)
def test_allocation_is_vmapped_and_traced_once(name):
    method = ALLOCATIONS[name]()
    cases = [CASES["scarce"], CASES["nobody"]]
    reservations = [proportional_reservation(case) for case in cases]
    batched = jax.jit(jax.vmap(lambda f, r: method.allocate(f, r, method.init())[0]))
    many = batched(stack(cases), stack(reservations))
    for at, (case, reservation) in enumerate(zip(cases, reservations, strict=True)):
        alone = allocate(name).call(case, reservation)
        scale = max(float(jnp.max(alone.bandwidth_hz)), 1.0)
        assert np.asarray(many.bandwidth_hz[at]) == pytest.approx(np.asarray(alone.bandwidth_hz), abs=1e-2 * scale)
    assert allocate(name).traces == 1


@every(set(ALLOCATIONS) - {"experience"})  # by experience nobody is given more than the version that they should take
def test_reserved_bandwidth_is_used_where_somebody_wants_data(name):
    features = CASES["plenty"]
    reservation = proportional_reservation(features)
    allocation = allocate(name).call(features, reservation)
    wants = np.asarray(features.flow_active & (features.want_bps > 0))
    pool = np.asarray(features.flow_cell) * SLICES + np.asarray(features.flow_slice)
    held = np.asarray(reservation.bandwidth_hz).ravel()
    used = np.bincount(pool, np.asarray(allocation.bandwidth_hz), held.size)
    busy = np.bincount(pool, wants, held.size) > 0
    assert used[busy] == pytest.approx(held[busy], rel=1e-3)
    enough = np.asarray(allocation.bandwidth_hz * features.spectral_efficiency) >= 0.99 * np.asarray(features.want_bps)
    assert np.all(enough[wants])


def test_the_assembled_action_leaves_out_inactive_slices():
    features = CASES["scarce"]
    slices = draw_slices(SLICES)
    reservation = proportional_reservation(features)
    allocation = allocate("utility").call(features, reservation)
    action = assemble_action(reservation, allocation, end_slice(slices, 0))
    assert np.all(np.asarray(action.slice_bandwidth_hz)[:, 0] == 0)
    assert np.array_equal(action.slice_bandwidth_hz[:, 1:], reservation.bandwidth_hz[:, 1:])
    assert np.array_equal(action.flow_bandwidth_hz, allocation.bandwidth_hz)
    assert not bool(action.slice_active[0])
