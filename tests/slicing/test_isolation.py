"""A flooded slice does not lower what another one was promised, through reservation and allocation."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from decision.problems import draw_features

from twinloop.decision import ALLOCATIONS, RESERVATIONS
from twinloop.slicing import (
    SliceSpec,
    adjust_slice,
    capacity_and_isolation,
    create_slice,
    end_slice,
    table_from_specs,
)

FLOOR = 0.3


def specs():
    return [
        SliceSpec("calm", 1, "000001", "short_video", 1e6, floor_share=FLOOR),
        SliceSpec("busy", 1, "000002", "short_video", 3e6, floor_share=0.1),
    ]


def flooded(features, factor):
    """Demand of slice 1, its users and what its flows want, times `factor`."""
    more = jnp.array([1.0, factor])
    mine = features.flow_slice == 1
    return eqx.tree_at(
        lambda f: (
            f.slice_demand_hz,
            f.slice_demand_cycles_per_s,
            f.slice_demand_cache_bytes,
            f.slice_users,
            f.want_bps,
            f.weight,
        ),
        features,
        (
            features.slice_demand_hz * more[None, :],
            features.slice_demand_cycles_per_s * more[None, :],
            features.slice_demand_cache_bytes * more[None, :],
            features.slice_users * more[None, :],
            jnp.where(mine, features.want_bps * factor, features.want_bps),
            jnp.where(mine, features.weight * factor, features.weight),
        ),
    )


@pytest.mark.parametrize("reservation", sorted(RESERVATIONS))
def test_flood_leaves_the_reserved_share(reservation):
    slices = table_from_specs(specs(), 2)
    reserve = jax.jit(RESERVATIONS[reservation]().reserve)
    features = draw_features(0, slices=2, load=1.5, compute=1.2)
    for factor in (1.0, 1e3):
        given = reserve(flooded(features, factor), slices)
        for reserved, capacity, demand in (
            (given.bandwidth_hz, features.cell_bandwidth_hz, features.slice_demand_hz),
            (given.cycles_per_s, features.server_cycles_per_s, features.slice_demand_cycles_per_s),
            (given.cache_bytes, features.server_cache_bytes, features.slice_demand_cache_bytes),
        ):
            promised = np.minimum(FLOOR * np.asarray(capacity), np.asarray(demand)[:, 0])
            assert np.all(np.asarray(reserved)[:, 0] >= promised * (1 - 1e-4))


@pytest.mark.parametrize("allocation", sorted(ALLOCATIONS))
def test_flood_leaves_the_other_slice_s_flows_what_they_had(allocation):
    slices = table_from_specs(specs(), 2)
    features = draw_features(0, slices=2, load=1.5, compute=1.2)
    reservation = RESERVATIONS["equal"]().reserve(features, slices)
    allocate = jax.jit(lambda f: ALLOCATIONS[allocation]().allocate(f, reservation, ())[0])
    calm = np.asarray(features.flow_slice) == 0
    before, after = allocate(features), allocate(flooded(features, 1e3))
    scale = float(jnp.max(before.bandwidth_hz))
    assert np.asarray(after.bandwidth_hz)[calm] == pytest.approx(
        np.asarray(before.bandwidth_hz)[calm], abs=1e-3 * scale
    )


def test_life_cycle_of_a_slice():
    table = table_from_specs(specs()[:1], 2)
    table = create_slice(table, 1, specs()[1])
    assert np.asarray(table.active).tolist() == [True, True]
    table = adjust_slice(table, 1, target_bps=5e6, floor_share=0.2, weight=3.0)
    assert [float(table.target_bps[1]), float(table.floor_share[1]), float(table.weight[1])] == pytest.approx(
        [5e6, 0.2, 3]
    )
    table = end_slice(table, 1)
    assert not bool(table.active[1])
    assert float(table.floor_share[1]) == 0.0


def test_impossible_life_cycles_are_refused():
    table = table_from_specs(specs(), 3)
    with pytest.raises(ValueError, match="taken"):
        create_slice(table, 0, specs()[0])
    with pytest.raises(ValueError, match="not active"):
        end_slice(table, 2)
    with pytest.raises(ValueError, match="not active"):
        adjust_slice(table, 2, weight=1.0)
    with pytest.raises(ValueError, match="at most 1"):
        adjust_slice(table, 0, floor_share=0.95)
    with pytest.raises(ValueError, match="do not fit"):
        table_from_specs(specs(), 1)


@pytest.mark.parametrize(
    ("reserved", "broken"),
    [
        ([[3.0, 6.0]], None),
        ([[2.0, 6.0]], "isolation"),
        ([[5.0, 6.0]], "capacity"),
        ([[-1.0, 3.0]], "capacity"),
        ([[float("nan"), 3.0]], "not_finite"),
    ],
)
def test_violations_are_named(reserved, broken):
    table = table_from_specs(specs(), 2)
    found = capacity_and_isolation(table, jnp.array(reserved), jnp.array([10.0]), jnp.array([[4.0, 9.0]]))
    assert bool(found.capacity) == (broken == "capacity")
    assert bool(found.not_finite) == (broken == "not_finite")
    if broken == "isolation":
        assert bool(found.isolation)
    if broken is None:
        assert not bool(found.isolation)


def test_what_an_inactive_slice_holds_is_a_violation():
    table = end_slice(table_from_specs(specs(), 2), 1)
    found = capacity_and_isolation(table, jnp.array([[5.0, 5.0]]), jnp.array([10.0]), jnp.array([[5.0, 5.0]]))
    assert bool(found.isolation)


def test_demand_below_the_floor_caps_it():
    table = table_from_specs(specs(), 2)
    found = capacity_and_isolation(table, jnp.array([[1.0, 9.0]]), jnp.array([10.0]), jnp.array([[1.0, 9.0]]))
    assert not bool(found.isolation)
