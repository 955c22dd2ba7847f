"""The game against nashpy's pure equilibria and cvxpy's maximum of the potential."""

import cvxpy as cp
import jax
import jax.numpy as jnp
import nashpy
import numpy as np
import pytest
from decision.game.games import SHAPE, draw_game, payoffs, use

from twinloop.decision import LogGain, SigmoidGain, asynchronous, variational_equilibrium

POINTS = 41


def test_best_responses_end_at_an_equilibrium_that_nashpy_confirms():
    walk = jax.jit(lambda g, z: asynchronous(g, SigmoidGain(SHAPE), z, jnp.zeros_like(g.base), 1e-5).level)
    for seed in range(4):
        game = draw_game(seed, groups=2, load=0.9, toll=0.5)
        grid = np.linspace(0.0, 1.0, POINTS)
        axes = [grid * float(high) for high in game.high]
        levels = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
        table = payoffs(game, levels).reshape(POINTS, POINTS, 2)
        named = nashpy.Game(table[..., 0], table[..., 1])
        found = np.asarray(walk(game, jnp.zeros(2)))
        nearest = [int(np.abs(axis - level).argmin()) for axis, level in zip(axes, found, strict=True)]
        sigma = [np.eye(POINTS)[index] for index in nearest]
        reached = np.asarray(named[sigma[0], sigma[1]])
        row, column = (table[:, nearest[1], 0].max(), table[nearest[0], :, 1].max())
        assert reached == pytest.approx([row, column], abs=2e-2)
        exact = [
            (int(a.argmax()), int(b.argmax()))
            for a in np.eye(POINTS)
            for b in np.eye(POINTS)
            if all(named.is_best_response(a, b))
        ]
        assert exact, "a game with a potential has a pure equilibrium on the grid as well"
        assert min(max(abs(i - nearest[0]), abs(j - nearest[1])) for i, j in exact) <= 1


@pytest.mark.parametrize("load", [0.8, 1.8])
def test_the_variational_equilibrium_is_the_maximum_of_the_potential(load):
    found = jax.jit(lambda g: variational_equilibrium(g, LogGain()))
    for seed in range(2):
        game = draw_game(seed, groups=12, cells=2, load=load)
        z = cp.Variable(12)
        held = np.stack([use(game, row[None])[0] for row in np.eye(12)], axis=1)
        slope, worth = np.asarray(game.slope, np.float64), np.asarray(game.worth, np.float64)
        own = np.asarray(game.own, np.float64)
        potential = worth @ cp.log(1 + 5 * z) / np.log(6) - 0.5 * slope @ cp.square(held @ z) - 0.5 * own @ cp.square(z)
        full = held @ z <= 1
        problem = cp.Problem(cp.Maximize(potential), [full, z >= 0, z <= np.asarray(game.high, np.float64)])
        problem.solve(solver=cp.CLARABEL)
        ours = found(game)
        assert np.asarray(ours.level) == pytest.approx(z.value, abs=2e-3)
        assert np.asarray(ours.price) == pytest.approx(full.dual_value, abs=5e-3 * worth.sum())
