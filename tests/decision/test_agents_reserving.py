from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from decision.problems import draw_features, draw_slices

from twinloop.decision import AgentReservation, GameReservation, Prices, Supply, rules_of, store_of
from twinloop.emulation import Prospects
from twinloop.simulator import Player, default_catalogue
from twinloop.slicing import capacity_and_isolation

USERS, MINUTES, SAMPLES = 12, 1, 3
CATALOGUE = default_catalogue(64)
PLAYER = Player(jnp.float32(6.0), jnp.float32(2.0), jnp.float32(0.3), jnp.float32(0.9))
AGENTS = AgentReservation(
    supply=Supply(rules_of(PLAYER, CATALOGUE), store_of(CATALOGUE), jnp.float32(400.0)),
    prices=Prices(jnp.float32(1e-7), jnp.float32(1e-10), jnp.float32(1e-10), jnp.float32(0.01)),
    confidence=jnp.float32(0.7),
    reports_per_s=jnp.array([1.0]),
)
RESERVE = jax.jit(lambda method, features, slices: method.appraised(features, slices))


def foreseen(seed, features, cells=2):
    rng = np.random.default_rng(seed)
    efficiency = np.asarray(features.spectral_efficiency)[None, :, None] * rng.uniform(
        0.8, 1.2, (SAMPLES, USERS, 60 * MINUTES)
    )
    cell = np.broadcast_to(np.asarray(features.flow_cell)[None, :, None], (SAMPLES, USERS, MINUTES))
    return replace(
        features,
        prospects=Prospects(
            jnp.asarray(efficiency, jnp.float32),
            jnp.full((SAMPLES, USERS, MINUTES), 3.0),
            jnp.full((SAMPLES, USERS, MINUTES), 6.0),
            jnp.asarray(cell, jnp.int32),
        ),
    )


@pytest.fixture(scope="module")
def short():
    features = draw_features(4, users=USERS, load=2.0, compute=0.3)
    return foreseen(4, features), draw_slices(floor=0.05)


@pytest.fixture(scope="module")
def decided(short):
    return RESERVE(AGENTS, *short)


def test_what_agents_reserve_fits_and_keeps_floors(short, decided):
    features, slices = short
    reservation, appraisal = decided
    for reserved, capacity, demand in (
        (reservation.bandwidth_hz, features.cell_bandwidth_hz, features.slice_demand_hz),
        (reservation.cycles_per_s, features.server_cycles_per_s, features.slice_demand_cycles_per_s),
        (reservation.cache_bytes, features.server_cache_bytes, features.slice_demand_cache_bytes),
    ):
        found = capacity_and_isolation(slices, reserved, capacity, demand)
        assert not any(np.any(np.asarray(broken)) for broken in vars(found).values())
        assert np.asarray(reserved).sum(axis=1) == pytest.approx(np.asarray(capacity), rel=1e-3)
    assert 0.0 < float(appraisal.value) <= 1.02 * float(appraisal.bound)


def test_a_slice_whose_users_gain_nothing_gives_way(short, decided):
    features, slices = short
    there = np.asarray(features.flow_slice) == 0
    felt = replace(features.felt, agreed=jnp.where(jnp.asarray(there), 1.0, features.felt.agreed))
    models = replace(felt.models, quality_weight=jnp.where(jnp.asarray(there), 0.0, felt.models.quality_weight),
                     stall_weight=jnp.where(jnp.asarray(there), 0.0, felt.models.stall_weight),
                     level=jnp.where(jnp.asarray(there), 1.0, felt.models.level))  # fmt: skip
    idle = replace(features, felt=replace(felt, models=models))
    reservation, _ = RESERVE(AGENTS, idle, slices)
    before, after = (np.asarray(one.bandwidth_hz)[:, 0].sum() for one in (decided[0], reservation))
    assert after < 0.8 * before


def test_demand_that_fits_is_sliced_directly(short):
    features, slices = short
    rich = replace(
        features,
        cell_bandwidth_hz=200.0 * features.cell_bandwidth_hz,
        server_cycles_per_s=200.0 * features.server_cycles_per_s,
        server_cache_bytes=200.0 * features.server_cache_bytes,
    )
    reservation, appraisal = RESERVE(AGENTS, rich, slices)
    demand = appraisal.foretold
    assert np.asarray(demand.feasible).mean() > 0.5
    wanted = np.zeros(np.asarray(reservation.bandwidth_hz).shape)
    active = np.asarray(features.flow_active)
    np.add.at(
        wanted,
        (np.asarray(features.flow_cell)[active], np.asarray(features.flow_slice)[active]),
        np.asarray(demand.bandwidth_hz)[active],
    )
    assert np.all(np.asarray(reservation.bandwidth_hz) >= 0.999 * wanted)


def test_agents_need_prospects(short):
    features, slices = short
    with pytest.raises(ValueError, match="prospects"):
        AGENTS.reserve(replace(features, prospects=None), slices)


def test_the_better_of_prices_and_game_is_proposed_where_demand_does_not_fit(short, decided):
    by_prices = decided[1]
    assert float(by_prices.game.gap) < 1e-3 and not bool(by_prices.by_game)
    packed = foreseen(8, draw_features(8, users=USERS, load=4.0, compute=0.3)), short[1]
    _, by_game = RESERVE(AGENTS, *packed)
    _, timid = RESERVE(replace(AGENTS, game=GameReservation(toll=50.0)), *packed)
    assert bool(by_game.by_game)
    assert float(by_game.value) > float(timid.value)


def test_congestion_that_costs_more_is_avoided(short, decided):
    _, dear = RESERVE(replace(AGENTS, game=GameReservation(toll=5.0)), *short)
    assert float(dear.game.level.sum()) < float(decided[1].game.level.sum())


def test_expected_use_by_cell_and_slice_stays_within_cells(short, decided):
    features, slices = short
    used = decided[1].used
    assert used.total.shape == (SAMPLES * MINUTES, 2, slices.active.shape[0], 2)
    taken = used.mean()[..., 0].sum(axis=1)
    assert np.all(np.asarray(taken) <= 1.2 * np.asarray(features.cell_bandwidth_hz))
