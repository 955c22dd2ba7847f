import jax
import jax.numpy as jnp
import numpy as np
import pytest
from decision.game.games import SHAPE, all_levels, draw_game, gain_alone, payoffs, use

from twinloop.decision import (
    LogGain,
    SigmoidGain,
    asynchronous,
    efficiency,
    jain_index,
    majorant_gain,
    settled_equilibrium,
    shared_equilibrium,
    synchronous,
    variational_equilibrium,
)
from twinloop.decision.reference import sigmoid

RAW = SigmoidGain(SHAPE)


def majorant(game):
    return majorant_gain(SHAPE, game.low, game.high)


@jax.jit
def settled(game):
    return settled_equilibrium(game, RAW, majorant(game))


@jax.jit
def shared(game):
    found = shared_equilibrium(game, RAW, majorant(game))
    return found, efficiency(game, RAW, majorant(game), found.level)


@jax.jit
def variational(game):
    return variational_equilibrium(game, majorant(game)), variational_equilibrium(game, LogGain())


@pytest.mark.parametrize("load", [0.7, 1.4, 3.0])
def test_no_group_of_a_small_game_gains_alone_by_any_level(load):
    for seed in range(4):
        game = draw_game(seed, load=load)
        priced, (free, _) = settled(game), shared(game)
        for found, within in ((priced, False), (free, True)):
            level = np.asarray(found.level, np.float64)
            assert float(found.gap) < 1e-3
            assert gain_alone(game, level, np.asarray(found.price, np.float64), within=within) < 1e-3
            assert np.all(use(game, level[None]) <= 1.0 + 1e-4)


def test_every_equilibrium_on_a_grid_has_a_small_gap_and_no_other_point_has():
    game = draw_game(2, groups=3, load=0.8)
    levels = all_levels(game, 21)
    price = jnp.zeros_like(game.base)
    gaps = np.asarray(jax.jit(jax.vmap(lambda z: game.gap(RAW, z, price)))(jnp.asarray(levels, jnp.float32)))
    picked = np.random.default_rng(0).integers(0, len(levels), 20)
    for row in (*picked, int(np.argmin(gaps))):
        assert gaps[row] == pytest.approx(gain_alone(game, levels[row], None, within=False), abs=2e-3)
    found = np.asarray(shared(game)[0].level)
    assert np.abs(levels[gaps < 5e-3] - found[None]).max(axis=1).min() < 0.1


def test_the_efficiency_of_a_small_game_is_bounded_by_its_best_levels():
    for seed in range(3):
        game = draw_game(seed, load=2.0)
        found, scored = shared(game)
        levels = all_levels(game, 15)
        levels = levels[(use(game, levels) <= 1.0 + 1e-6).all(axis=1)]
        best = payoffs(game, levels).sum(axis=1).max()
        most = (sigmoid(SHAPE, levels)[0] @ np.asarray(game.worth)).max()
        assert float(scored.payoff_bound) >= best * (1 - 1e-4)
        assert float(scored.gain_bound) >= most * (1 - 1e-4)
        assert float(scored.payoff) == pytest.approx(payoffs(game, np.asarray(found.level)[None]).sum(), rel=1e-3)
        assert float(scored.price_of_anarchy) >= best / float(scored.payoff) * (1 - 1e-4)
        assert float(scored.payoff) >= 0.7 * best


def test_the_variational_equilibrium_charges_one_price_a_full_pool_and_none_for_others():
    game = draw_game(3, groups=24, cells=2, load=1.6)
    for found, gain in zip(variational(game), (majorant(game), LogGain()), strict=True):
        held = np.asarray(game.use(found.level))
        assert float(found.gap) < 1e-5
        assert np.all(held <= 1.0 + 1e-5)
        assert np.asarray(found.price)[held < 0.99] == pytest.approx(0.0, abs=1e-4)
        assert float(found.unsold) < 1e-4
        assert np.any(np.asarray(found.price) > 0.01)
        assert float(game.gap(gain, 0.5 * found.level, found.price)) > 1e-2


def test_both_dynamics_end_where_prices_clear_and_the_potential_only_rises():
    game = draw_game(4, groups=24, cells=2, load=1.6)
    found = variational(game)[1]
    start = jnp.zeros_like(game.worth)
    for dynamics in (asynchronous, synchronous):
        path = jax.jit(lambda g, z, p, d=dynamics: d(g, LogGain(), z, p, 1e-6))(game, start, found.price)
        steps = int(path.steps)
        potential = np.asarray(path.potential)[:steps]
        assert np.all(np.diff(potential) >= -1e-5 * abs(potential[-1]))
        assert float(path.gap[steps - 1]) <= 1e-6
        assert np.all(np.isnan(np.asarray(path.gap)[steps:]))
        assert np.asarray(path.level) == pytest.approx(np.asarray(found.level), abs=5e-3)


def test_a_thousand_groups_are_settled_within_capacity():
    game = draw_game(5, groups=1000, cells=8, load=1.5)
    found, scored = shared(game)
    assert float(found.gap) < 1e-3
    assert float(found.fullest) <= 1.0 + 1e-4
    assert float(scored.gain) >= 0.97 * float(scored.gain_bound)


def test_absent_groups_and_pools_without_capacity_change_nothing():
    game = draw_game(6, groups=6, load=1.4)
    pool = jnp.concatenate([game.pool, game.pool[:, :2]], axis=1)
    claim = jnp.concatenate([game.claim, jnp.zeros((4, 2))], axis=1)
    more = [jnp.concatenate([row, jnp.zeros(2)]) for row in (game.worth, game.low, game.high)]
    wider = type(game)(more[0], claim, pool, game.base, game.slope, more[1], more[2])
    found, other = settled(game), settled(wider)
    assert np.asarray(other.level)[:6] == pytest.approx(np.asarray(found.level), abs=1e-3)
    assert np.all(np.asarray(other.level)[6:] == 0)


def test_jain_counts_those_present_alone():
    value = jnp.array([1.0, 1.0, 0.0, 5.0])
    assert float(jain_index(value, jnp.array([True, True, False, False]))) == pytest.approx(1.0)
    assert float(jain_index(value, jnp.array([True, False, True, False]))) == pytest.approx(0.5)
    assert float(jain_index(value * 0, jnp.array([True, True, True, True]))) == 1.0
