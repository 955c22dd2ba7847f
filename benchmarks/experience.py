"""Models of users' experience and distance correlation in JAX, against loops of SciPy and dcor on the same data.

    python benchmarks/experience.py [--json FILE] [--quick]

Fits: users drawn as in models.md with 100 ratings each, all 12 structures of each user. The peer is a loop of
`scipy.optimize.least_squares` (bounded, derivatives by differences as is its default) over users and structures, on
residuals whose squares add up to the same objective: r = sqrt(2 (loss - least possible loss)) of every rating and
(p - mean)/sd of every parameter's prior. SciPy runs on a few users, and its time is scaled by their number, as a loop
costs each user alike. Rules that are not a user's own have several valleys: `above` is the share of fits in which our
objective lies more than .05 nats above SciPy's, `below` in which it lies below.
Distance correlation: 12 factors, 100 ratings, the bias-corrected one, no permutations on either side; dcor on a few
users, scaled. Times are the least of some calls after one that compiles.
"""

import time
from collections.abc import Callable, Iterator

import dcor
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import least_squares
from scipy.special import ndtr
from table import Row, arguments, present

from twinloop.qoe import Conditions, Ratings, distance_correlation, draw_models, draw_scores, fit_users, vague_prior
from twinloop.qoe.fitting.population import fit_given
from twinloop.qoe.fitting.structures import LEAST, MOST, free_parameters

RATINGS, FACTORS = 100, 12


def draw(users: int) -> Ratings:
    keys = jax.random.split(jax.random.key(0), 6)
    shape = (users, RATINGS)
    stalls = 5.0 * jax.random.exponential(keys[0], shape) * (jax.random.uniform(keys[1], shape) < 0.5)
    other = [jax.random.uniform(key, shape) for key in keys[2:5]]
    conditions = Conditions(stalls, other[0], 1.0 + other[1], 1.0 + other[2])
    mean = jax.vmap(draw_models(keys[5], users).experience, in_axes=1, out_axes=1)(conditions)
    return Ratings(conditions, draw_scores(keys[0], mean, jnp.full(shape, 0.8)), jnp.ones(shape))


def least_s(call: Callable[[], object], repeats: int) -> float:
    """Least time of `call` in seconds, the first run left out."""
    jax.block_until_ready(call())
    times: list[float] = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(call())
        times.append(time.perf_counter() - start)
    return min(times)


class Peer:
    """Residuals of one user and structure in float64."""

    def __init__(self, ratings: Ratings, user: int, structure: int) -> None:
        about = ratings.conditions
        self.q, self.r, b, c, self.y = (
            np.asarray(leaf[user], np.float64)
            for leaf in (about.quality, about.stall_s, about.behaviour, about.environment, ratings.score)
        )
        self.log_b, self.log_c = np.log(b), np.log(c)
        self.kept = free_parameters()[structure]
        prior = vague_prior()
        self.mean = np.asarray(prior.mean[structure // 4], np.float64)[self.kept]
        self.deviation = np.sqrt(np.diagonal(np.asarray(prior.covariance[structure // 4], np.float64)))[self.kept]

    def residuals(self, x: np.ndarray) -> np.ndarray:
        full = np.zeros(6)
        full[self.kept] = x
        level, quality, stall, kappa_b, kappa_c, spread = full
        factor = np.exp(-kappa_b * self.log_b - kappa_c * self.log_c)
        mean = 1 + 4 * np.clip((level + quality * self.q - stall * self.r) * factor, 0, 1)
        inverse = np.exp(-0.5 * spread)
        mass = ndtr((5 - mean) * inverse) - ndtr((1 - mean) * inverse)
        loss = 0.5 * ((self.y - mean) * inverse) ** 2 + np.log(mass) + 0.5 * spread
        least = np.log(0.5) + 0.5 * LEAST[5] - 0.1
        return np.concatenate([np.sqrt(2 * (loss - least)), (x - self.mean) / self.deviation])

    def solve(self) -> np.ndarray:
        bounds = (np.asarray(LEAST)[self.kept], np.asarray(MOST)[self.kept])
        return least_squares(self.residuals, self.mean, bounds=bounds).x

    def objective(self, x: np.ndarray) -> float:
        return 0.5 * float(np.sum(self.residuals(x) ** 2))


def fit_rows(users: int, peers: int, repeats: int) -> Iterator[Row]:
    """All structures under one prior, and with the prior learnt as well."""
    ratings = draw(users)
    given, learnt = eqx.filter_jit(fit_users), eqx.filter_jit(fit_users)
    prior = vague_prior()
    ours_s = least_s(lambda: given(ratings, prior), repeats)
    cases = [[Peer(ratings, user, structure) for structure in range(12)] for user in range(peers)]
    start = time.perf_counter()
    theirs = [[case.solve() for case in row] for row in cases]
    peer_s = (time.perf_counter() - start) * users / peers
    fits = eqx.filter_jit(fit_given)(jax.tree.map(lambda leaf: leaf[:peers], ratings), prior)
    found = np.asarray(fits.parameters, np.float64)
    excess = np.array(
        [
            case.objective(found[user, number][case.kept]) - case.objective(theirs[user][number])
            for user, row in enumerate(cases)
            for number, case in enumerate(row)
        ]
    )
    agree = f"above {np.mean(excess > 0.05):.1%}, below {np.mean(excess < -0.05):.1%}"
    work = f"{users:,} users x 12 structures, s, SciPy least_squares ({peers} users, scaled; {agree})"
    yield Row(work, ours_s, peer_s, peer_s / ours_s)
    yield Row(f"{users:,} users, prior learnt as well, s", least_s(lambda: learnt(ratings), repeats))


def correlation_rows(users: int, peers: int, repeats: int) -> Iterator[Row]:
    """Every user's scores against every factor."""
    draw_ = np.random.default_rng(0)
    x = draw_.normal(size=(users, RATINGS, FACTORS)).astype(np.float32)
    y = (x[..., 0] + draw_.normal(size=(users, RATINGS))).astype(np.float32)
    there = jnp.ones(y.shape, bool)
    call = eqx.filter_jit(lambda x, y: distance_correlation(jax.random.key(0), x, y, there, permutations=0))
    on_device = jnp.asarray(x), jnp.asarray(y)
    ours_s = least_s(lambda: call(*on_device), repeats)
    found = np.asarray(call(*on_device).corrected)
    start = time.perf_counter()
    theirs = np.array(
        [
            [
                dcor.u_distance_correlation_sqr(x[user, :, f].astype(float), y[user].astype(float))
                for f in range(FACTORS)
            ]
            for user in range(peers)
        ]
    )
    peer_s = (time.perf_counter() - start) * users / peers
    error = np.abs(found[:peers] - theirs).max()
    work = (
        f"distance correlation, {users:,} users x {FACTORS} factors, s, dcor ({peers} users, scaled; error {error:.0e})"
    )
    yield Row(work, ours_s, peer_s, peer_s / ours_s)


def main() -> None:
    options = arguments("Models of experience against SciPy, distance correlation against dcor.").parse_args()
    size = (500, 2, 1) if options.quick else (10_000, 20, 3)
    rows = [*fit_rows(*size), *correlation_rows(*size)]
    present("Experience", rows, options.json)


if __name__ == "__main__":
    main()
