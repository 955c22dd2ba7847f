"""From a scenario to how its people feel, what they were promised, and what they said before the run."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import NDArray

from twinloop.qoe import (
    WORST,
    Conditions,
    Ratings,
    UserModels,
    behaviour_of,
    draw_scores,
    environment_of,
    vague_prior,
)
from twinloop.scenario.models import Experience, Scenario
from twinloop.simulator import Raters, true_experience
from twinloop.twins import ExperienceTwins, begin_experience
from twinloop.units import mps_from_kmh

_SALT = 77
_HISTORY_SALT = 78
_SMOOTH_SHARE = 0.5
_STALL_MEAN_S = 4.0
_SWIPES_PER_MIN = 6.0


def build_raters(scenario: Scenario) -> Raters:
    """Everybody's own rule, drawn from the scenario's seed apart from everything else that is."""
    part, users = scenario.experience, scenario.user_count
    rng = np.random.default_rng((scenario.seed, _SALT))
    shares = np.array(part.rules) / sum(part.rules)
    rule = rng.choice(len(shares), size=users, p=shares)
    minds = rng.random(users) >= part.indifferent
    kappa = np.where(minds, rng.uniform(*part.kappa, size=users), 0.0)
    return Raters(
        models=_models(rule, minds, kappa, part),
        variance=jnp.asarray(part.variance, jnp.float32),
        rating_p=jnp.float32(part.rating_p),
        bend=jnp.float32(part.bend),
    )


def agreements(scenario: Scenario) -> Float[Array, " users"]:
    """The experience that each user was promised, in [1, 5]."""
    rng = np.random.default_rng((scenario.seed, _SALT, 1))
    drawn = [rng.uniform(*population.ela, size=population.count) for population in scenario.users]
    return jnp.asarray(np.concatenate(drawn), jnp.float32)


def past_ratings(scenario: Scenario, raters: Raters) -> tuple[Conditions, Float[Array, "users ratings"]]:
    """Minutes that users rated before the run, under conditions of all kinds, and their scores.

    Half of the minutes are smooth, the others stall for 4 s on average; quality is anything, people swipe as a Poisson
    process of 6 a minute and move at 2 to 40 km/h. Ours.
    """
    users, count = scenario.user_count, scenario.experience.history
    rng = np.random.default_rng((scenario.seed, _HISTORY_SALT))
    shape = (users, count)
    stalls = np.where(rng.random(shape) < _SMOOTH_SHARE, 0.0, rng.exponential(_STALL_MEAN_S, shape))
    speed = rng.uniform(mps_from_kmh(2.0), mps_from_kmh(40.0), shape)
    conditions = Conditions(
        stall_s=jnp.asarray(np.minimum(stalls, 60.0), jnp.float32),
        quality=jnp.asarray(rng.random(shape), jnp.float32),
        behaviour=behaviour_of(jnp.asarray(rng.poisson(_SWIPES_PER_MIN, shape), jnp.float32)),
        environment=environment_of(jnp.asarray(speed, jnp.float32)),
    )
    keys = jax.random.split(jax.random.key(scenario.seed + _HISTORY_SALT), count)

    def rate(key: Array, minute: Conditions) -> Float[Array, " users"]:
        return draw_scores(key, true_experience(raters, minute), raters.variance[raters.models.rule])

    by_minute = jax.tree.map(jnp.transpose, conditions)
    return conditions, jax.vmap(rate)(keys, by_minute).T


def begin_experiences(scenario: Scenario) -> ExperienceTwins:
    """What twins know of people before the run: their past ratings, and what they were promised."""
    conditions, score = past_ratings(scenario, build_raters(scenario))
    spare = ((0, 0), (0, max(scenario.twin.ratings - score.shape[1], 0)))

    def padded(values: Float[Array, "users ratings"]) -> Float[Array, "users capacity"]:
        return jnp.pad(values, spare)[:, : scenario.twin.ratings]

    ratings = Ratings(
        conditions=Conditions(
            padded(conditions.stall_s),
            padded(conditions.quality),
            jnp.maximum(padded(conditions.behaviour), 1.0),
            jnp.maximum(padded(conditions.environment), 1.0),
        ),
        score=jnp.maximum(padded(score), WORST),
        weight=padded(jnp.ones_like(score)),
    )
    rated = jnp.full(scenario.user_count, score.shape[1], jnp.int32)
    return eqx.filter_jit(begin_experience)(ratings, rated, vague_prior(), agreements(scenario))


def _models(
    rule: NDArray[np.int64], minds: NDArray[np.bool_], kappa: NDArray[np.float64], part: Experience
) -> UserModels:
    def row(values: NDArray[np.generic]) -> Array:
        return jnp.asarray(values, jnp.float32)

    return UserModels(
        rule=jnp.asarray(rule, jnp.int32),
        impact=jnp.asarray(np.where(minds, 3, 0), jnp.int32),
        level=row(np.where(rule == 0, 1.0, 0.0)),
        stall_weight=row(np.where(rule == 1, 0.0, part.stall_weight)),
        quality_weight=row(np.where(rule == 0, 0.0, 1.0)),
        kappa_b=row(kappa),
        kappa_c=row(kappa),
    )
