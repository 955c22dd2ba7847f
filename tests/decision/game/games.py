"""Random games of groups for tests, and their payoffs over a grid of levels, written once more in NumPy."""

import itertools

import jax.numpy as jnp
import numpy as np

from twinloop.decision import ResourceGame, resource_game
from twinloop.decision.reference import sigmoid
from twinloop.qoe import SigmoidSatisfaction

SHAPE = SigmoidSatisfaction()


def draw_game(seed: int, groups: int = 4, cells: int = 1, load: float = 1.4, toll: float = 0.1) -> ResourceGame:
    """Groups in cells that share a server: bandwidth and sensing by cell, cycles and cache by server."""
    rng = np.random.default_rng(seed)
    cell = rng.integers(0, cells, groups)
    pool = np.stack([cell, 0 * cell, 0 * cell, cell]).astype(np.int32)
    demand = np.exp(rng.normal(0, 0.6, (4, groups))) * (rng.random((4, groups)) < 0.85)
    demand[0] = np.maximum(demand[0], 0.1)
    size = [cells, 1, 1, cells]
    capacity = tuple(
        jnp.asarray(np.maximum(np.bincount(pool[m], demand[m], n), 1e-2) / (load * part), jnp.float32)
        for m, (n, part) in enumerate(zip(size, (1.0, 0.9, 0.7, 0.5), strict=True))
    )
    worth = jnp.asarray(rng.uniform(0.5, 3.0, groups), jnp.float32)
    given = (jnp.asarray(demand, jnp.float32), jnp.asarray(pool), capacity, jnp.ones(groups, bool))
    return resource_game(worth, *given, toll)


def payoffs(game: ResourceGame, z: np.ndarray, price: np.ndarray | None = None) -> np.ndarray:
    """u_g under the sigmoid for rows of levels, in float64."""
    claim, pool = np.asarray(game.claim, np.float64), np.asarray(game.pool)
    slope = np.asarray(game.slope, np.float64)
    base = np.asarray(game.base, np.float64) + (0.0 if price is None else price)
    cost = np.zeros_like(z)
    for m in range(claim.shape[0]):
        cost += claim[m] * (base + use(game, z) * slope)[:, pool[m]]
    return np.asarray(game.worth) * sigmoid(SHAPE, z)[0] - z * cost


def use(game: ResourceGame, z: np.ndarray) -> np.ndarray:
    """X of every pool for rows of levels."""
    held = np.zeros((len(z), game.base.shape[0]))
    for m in range(game.claim.shape[0]):
        for group in range(z.shape[1]):
            held[:, int(game.pool[m, group])] += float(game.claim[m, group]) * z[:, group]
    return held


def all_levels(game: ResourceGame, points: int) -> np.ndarray:
    """Every combination of levels on a grid."""
    grid = np.linspace(0.0, 1.0, points)
    return np.array(list(itertools.product(*(grid * float(high) for high in game.high))))


def gain_alone(game: ResourceGame, z: np.ndarray, price: np.ndarray | None, *, within: bool) -> float:
    """The most that any group gains alone over 2,001 levels, as a part of its worth."""
    now = payoffs(game, z[None], price)[0]
    most = 0.0
    for group in range(len(z)):
        tried = np.repeat(z[None], 2001, axis=0)
        tried[:, group] = np.linspace(0.0, float(game.high[group]), 2001)
        if within:
            tried = tried[(use(game, tried) <= 1.0 + 1e-6).all(axis=1)]
        gained = payoffs(game, tried, price)[:, group].max(initial=-np.inf) - now[group]
        most = max(most, gained / float(game.worth[group]))
    return most
