import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from decision.problems import draw_features, draw_slices

from twinloop.decision import Convex, EqualShare, GreedyDemand
from twinloop.decision.reservation.interface import fill

SOLVE = jax.jit(Convex().solve)


def test_fill_raises_what_lies_below_the_level():
    floor = jnp.array([[0.5, 0.0, 0.0], [0.0, 0.0, 0.0], [0.6, 0.4, 0.0]])
    found = fill(floor, jnp.array([[1.0, 1.0, 1.0], [1.0, 2.0, 0.0], [1.0, 1.0, 1.0]]), jnp.array([1.0, 3.0, 1.0]))
    assert np.asarray(found) == pytest.approx(np.array([[0.5, 0.25, 0.25], [1.0, 2.0, 0.0], [0.6, 0.4, 0.0]]))


def test_equal_share_ignores_demand():
    features = draw_features(0)
    reservation = EqualShare().reserve(features, draw_slices(floor=0.0))
    assert np.asarray(reservation.bandwidth_hz) == pytest.approx(
        np.repeat(np.asarray(features.cell_bandwidth_hz)[:, None] / 3, 3, axis=1), rel=1e-4
    )


def test_greedy_follows_demand():
    features = draw_features(0, load=2.0)
    reservation = GreedyDemand().reserve(features, draw_slices(floor=0.0))
    part = np.asarray(reservation.bandwidth_hz / features.slice_demand_hz)
    assert part == pytest.approx(np.full((2, 3), 0.5), rel=1e-3)


def test_convex_gives_everyone_their_demand_where_it_fits():
    features = draw_features(0, load=0.7, compute=0.5)
    features = eqx.tree_at(lambda f: f.slice_demand_cache_bytes, features, jnp.full((1, 3), 1e8))
    reservation, report = SOLVE(features, draw_slices())
    assert np.asarray(report.z) == pytest.approx(np.ones((2, 3)), abs=1e-4)
    assert np.all(np.asarray(reservation.bandwidth_hz) >= np.asarray(features.slice_demand_hz) * 0.999)
    assert float(report.gap) == pytest.approx(0.0, abs=1e-3 * float(report.surrogate_bound))


def test_convex_is_worth_more_than_greedy_when_bandwidth_is_scarce():
    for seed in range(3):
        features = draw_features(seed, users=40, load=1.5, compute=0.5)
        slices = draw_slices(floor=0.05)
        _, report = SOLVE(features, slices)
        greedy = GreedyDemand().reserve(features, slices)
        z = jnp.minimum(greedy.bandwidth_hz / features.slice_demand_hz, 1.0)
        worth = slices.weight[None, :] * features.slice_users
        from_greedy = float(jnp.sum(worth * jax.nn.sigmoid(10.0 * (z - 0.7))))
        assert float(report.true_value) > from_greedy
        assert float(report.true_value) >= float(report.unpolished_value)
        assert float(report.true_value) <= float(report.surrogate_bound) * (1 + 1e-5)
        assert float(report.surrogate_value) == pytest.approx(float(report.surrogate_bound), rel=1e-4)


def test_cells_of_a_server_share_its_scarce_cycles():
    features = draw_features(3, users=40, load=0.5, compute=2.0)
    reservation, report = SOLVE(features, draw_slices(floor=0.0))
    assert float(jnp.sum(reservation.cycles_per_s)) == pytest.approx(float(features.server_cycles_per_s[0]), rel=1e-3)
    assert float(jnp.min(report.z)) < 0.5 < float(jnp.max(report.z))


def test_prices_leave_resources_unreserved():
    features = draw_features(0, load=0.7, compute=0.5)
    slices = draw_slices(floor=0.1)
    dear = jax.jit(Convex(price_per_mhz=1e3).reserve)(features, slices)
    floor = jnp.minimum(0.1 * features.cell_bandwidth_hz[:, None], features.slice_demand_hz)
    assert np.asarray(dear.bandwidth_hz) == pytest.approx(np.asarray(floor), rel=1e-3)
    assert float(jnp.sum(dear.bandwidth_hz)) < 0.5 * float(jnp.sum(features.cell_bandwidth_hz))


def test_two_slices_that_share_too_little_are_served_one_at_a_time():
    features = draw_features(0, cells=1, slices=2)
    features = eqx.tree_at(
        lambda f: (f.slice_demand_hz, f.slice_users, f.cell_bandwidth_hz, f.slice_demand_cycles_per_s),
        features,
        (jnp.full((1, 2), 1e7), jnp.full((1, 2), 10.0), jnp.array([1e7]), jnp.zeros((1, 2))),
    )
    features = eqx.tree_at(lambda f: f.slice_demand_cache_bytes, features, jnp.zeros((1, 2)))
    slices = eqx.tree_at(lambda s: s.weight, draw_slices(2, 0.0), jnp.ones(2))
    _, report = SOLVE(features, slices)
    assert float(report.unpolished_value) < 4.0
    assert float(report.true_value) > 9.0
    assert sorted(np.asarray(report.z)[0]) == pytest.approx([0.0, 1.0], abs=0.15)
