"""One person's departures from what people say on average, learned from few of that person's scores."""

from typing import Final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from twinloop.training.experience.sessions import Sessions

TRAITS: Final = (
    "shift", "slope", "bend", "stalling", "low chunks", "level", "late level", "HEVC", "any stall", "switching",
)  # fmt: skip
"""What a person's scores may depart in: always, with the average score, and with factors of the session."""

_BRIEF_S: Final = 0.5
_LOW: Final = 2.6
_LOW_WIDTH: Final = 0.4
_ROUNDS: Final = 15
_FIRST_VARIANCE: Final = 20.0
_FIRST_NOISE: Final = 196.0
_NOISE_COUNT: Final = 2.0


class TraitScale(eqx.Module):
    """Means and deviations of the factors, so that one trait's weight is in points per deviation."""

    mean: Float[Array, " traits"]
    deviation: Float[Array, " traits"]


class TraitsPrior(eqx.Module):
    """Weights of a person's traits ~ N(0, `covariance`), scores around them with the variance `noise` [points^2]."""

    scale: TraitScale
    covariance: Float[Array, "traits traits"]
    noise: Float[Array, ""]


def trait_scale(sessions: Sessions, average: Float[Array, " sessions"]) -> TraitScale:
    """The scale of the factors among these sessions."""
    raw = _raw(sessions, average)
    return TraitScale(raw.mean(axis=0).at[0].set(0.0), (raw.std(axis=0) + 1e-6).at[0].set(1.0))


def traits(scale: TraitScale, sessions: Sessions, average: Float[Array, " sessions"]) -> Float[Array, "sessions k"]:
    """The factors of `TRAITS`, scaled; `average` is what people on average say of each session, 0 to 100."""
    return (_raw(sessions, average) - scale.mean[None]) / scale.deviation[None]


def learn_traits(
    scale: TraitScale, factors: Float[Array, "people ratings k"], departure: Float[Array, "people ratings"]
) -> TraitsPrior:
    """Empirical Bayes by expectation-maximisation over people whose `departure` = score - average is known.

    covariance = mean over people of (posterior covariance + mean mean'); every person has an own variance of noise,
    shrunk to 14 points by two ratings' worth; the prior's is their geometric mean.
    """
    people, ratings, k = factors.shape
    gram = jnp.einsum("pri,prj->pij", factors, factors)
    moment = jnp.einsum("pri,pr->pi", factors, departure)

    def body(
        now: tuple[Float[Array, "k k"], Float[Array, " people"]], _: None
    ) -> tuple[tuple[Float[Array, "k k"], Float[Array, " people"]], None]:
        covariance, noise = now
        spread = jnp.linalg.inv(jnp.linalg.inv(covariance)[None] + gram / noise[:, None, None])
        weight = jnp.einsum("pij,pj->pi", spread, moment) / noise[:, None]
        missed = departure - jnp.einsum("pri,pi->pr", factors, weight)
        unsure = jnp.einsum("pij,pji->p", gram, spread)
        noise = ((missed**2).sum(axis=1) + unsure + _NOISE_COUNT * _FIRST_NOISE) / (ratings + _NOISE_COUNT)
        outer = jnp.einsum("pi,pj->ij", weight, weight)
        return ((spread.sum(axis=0) + outer) / people + 1e-4 * jnp.eye(k), noise), None

    first = (_FIRST_VARIANCE * jnp.eye(k), jnp.full(people, _FIRST_NOISE))
    (covariance, noise), _ = jax.lax.scan(body, first, None, length=_ROUNDS)
    return TraitsPrior(scale, covariance, jnp.exp(jnp.log(noise).mean()))


def fit_person(
    prior: TraitsPrior, factors: Float[Array, "ratings k"], departure: Float[Array, " ratings"]
) -> tuple[Float[Array, " k"], Float[Array, "k k"]]:
    """Mean and covariance of a person's weights given ratings; the prior's with none.

    By the ratings' covariance F P F' + noise I, which is well conditioned however few they are.
    """
    reach = factors @ prior.covariance
    gain = jnp.linalg.solve(reach @ factors.T + prior.noise * jnp.eye(factors.shape[0]), reach).T
    return gain @ departure, prior.covariance - gain @ reach


def _raw(sessions: Sessions, average: Float[Array, " sessions"]) -> Float[Array, "sessions k"]:
    stall_s = sessions.stall_s
    mean = sessions.level.mean(axis=1)
    points = (average - 72.0) / 11.0
    columns = (
        jnp.ones_like(points),
        points,
        points**2,
        jnp.log1p(stall_s.sum(axis=1)),
        jax.nn.sigmoid((_LOW - sessions.level) / _LOW_WIDTH).mean(axis=1),
        mean,
        sessions.level[:, -2:].mean(axis=1) - mean,
        sessions.hevc,
        1.0 - jnp.exp(-stall_s.max(axis=1) / _BRIEF_S),
        jnp.abs(jnp.diff(sessions.level, axis=1)).sum(axis=1),
    )
    return jnp.stack(columns, axis=1)
