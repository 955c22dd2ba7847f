"""Users who gave no score: opinions estimated from their behaviour stand for scores, where that is shown to help."""

from dataclasses import dataclass
from typing import Any, Final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from twinloop.qoe import (
    SCORE_VARIANCE,
    Conditions,
    Engagement,
    EngagementModel,
    FittedUsers,
    Ratings,
    estimated_opinion,
    expected_score,
    fit_engagement,
    fit_users,
    learn_prior,
    predict,
    weak_ratings,
)

_MOST_WEIGHT: Final = 0.95
_LEAST_SCORES: Final = 4
_LEAST_RATERS: Final = 8

_engagement = eqx.filter_jit(fit_engagement)
_fit = eqx.filter_jit(fit_users)
_prior = eqx.filter_jit(learn_prior)
_weak = eqx.filter_jit(weak_ratings)


@eqx.filter_jit
def _expected(fitted: FittedUsers, conditions: Conditions) -> Float[Array, "users periods"]:
    """Expected scores."""
    return expected_score(predict(fitted, conditions)[0], fitted.variance[:, None])


@dataclass(frozen=True)
class Behaviour:
    """How minutes were used: `rated` ones, as the ratings stand, and those without a score, with their conditions.

    `present` is 1 where there is a minute without a score.
    """

    rated: Engagement
    unrated: Engagement
    conditions: Conditions
    present: Float[Array, "users periods"]


@dataclass(frozen=True)
class Trial:
    """Scores of `raters` foretold as if they had given none: root mean square error with and without estimates.

    `used` where estimates foretell them better by more than a standard error over raters.
    """

    raters: int
    rmse_with: float
    rmse_without: float
    used: bool


def fit_by_scores(scores: Ratings, ratings: Ratings) -> FittedUsers:
    """Models of users from `ratings`, estimates among them, with the population learned from `scores` alone."""
    return _fit(ratings, _prior(scores))


def with_estimates(ratings: Ratings, behaviour: Behaviour, users: tuple[str, ...]) -> tuple[Ratings, str]:
    """Ratings with estimates for users without any score, and a line to tell.

    Estimates count only where a trial on raters, half of them at a time taken for strangers, shows that they help:
    leaving a video early may have nothing to do with its service.
    """
    silent = (ratings.weight.sum(axis=1) == 0) & (behaviour.present.sum(axis=1) > 0)
    names = [name for name, without in zip(users, np.asarray(silent), strict=True) if without]
    if not names:
        return ratings, "every user with behaviour has scores: behaviour is not used"
    room = behaviour.present.shape[1]
    before = ratings.score.shape[1]
    wide = Ratings(
        _padded(ratings.conditions, 0, room), _padded(ratings.score, 0, room), _empty(ratings.weight, 0, room)
    )
    rated: Engagement = _padded(behaviour.rated, 0, room)
    trial = try_behaviour(wide, rated)
    told = f"{', '.join(names[:3])}{f' and {len(names) - 3:,} more' if len(names) > 3 else ''}"
    if trial is None:
        line = f"{told}: no score, behaviour only; not used: fewer than {_LEAST_RATERS} users with scores to try it on"
        return ratings, line
    errors = f"scores of {trial.raters} others are foretold to {trial.rmse_with:.2f} with it, {trial.rmse_without:.2f}"
    if not trial.used:
        return ratings, f"{told}: no score, behaviour only; not used: {errors} without"
    model = _engagement(rated, wide.score, wide.weight)
    conditions, engagement = (_padded(one, before, 0) for one in (behaviour.conditions, behaviour.unrated))
    present = _empty(behaviour.present * silent[:, None], before, 0)
    estimates = _estimates(model, conditions, engagement, present)
    _, deviation = estimated_opinion(model, engagement)
    spread = float(jnp.sum(deviation * estimates.weight) / jnp.sum(estimates.weight))
    weight = float(jnp.sum(estimates.weight) / jnp.sum(present))
    line = (
        f"{told}: no score; opinions estimated from behaviour move the population's model (each within {spread:.2f}, "
        f"counted as {weight:.2f} of a score): {errors} without"
    )
    stand_in = present > 0
    return jax.tree.map(lambda said, guess: jnp.where(stand_in, guess, said), wide, estimates), line


def try_behaviour(ratings: Ratings, rated: Engagement) -> Trial | None:
    """The trial of estimates on users with at least four scores; None where these are fewer than eight."""
    raters = np.flatnonzero(np.asarray(ratings.weight.sum(axis=1)) >= _LEAST_SCORES)
    if len(raters) < _LEAST_RATERS:
        return None
    excess: list[np.ndarray] = []
    for fold in (raters[::2], raters[1::2]):
        strange = jnp.zeros(ratings.score.shape[0], bool).at[fold].set(True)
        with_it, without = _foretold(ratings, rated, strange)
        excess.append(np.stack([_error(ratings, one)[fold] for one in (with_it, without)]))
    square = np.concatenate(excess, axis=1)
    gain = square[1] - square[0]
    sure = gain.mean() > gain.std(ddof=1) / np.sqrt(len(gain))
    return Trial(len(raters), float(np.sqrt(square[0].mean())), float(np.sqrt(square[1].mean())), bool(sure))


def _foretold(
    ratings: Ratings, rated: Engagement, strange: Bool[Array, " users"]
) -> tuple[Float[Array, "users ratings"], Float[Array, "users ratings"]]:
    """Expected scores of users whose scores are hidden, with estimates and without."""
    known = Ratings(ratings.conditions, ratings.score, ratings.weight * ~strange[:, None])
    prior = _prior(known)
    model = _engagement(rated, known.score, known.weight)
    weak = _estimates(model, ratings.conditions, rated, ratings.weight * strange[:, None])
    score = jnp.where(strange[:, None], weak.score, known.score)
    both = Ratings(ratings.conditions, score, known.weight + weak.weight)
    with_it, without = (_expected(_fit(each, prior), ratings.conditions) for each in (both, known))
    return with_it, without


def _estimates(model: EngagementModel, conditions: Conditions, engagement: Engagement, present: Array) -> Ratings:
    """Estimated opinions of present minutes; none counts as much as a score."""
    weak = _weak(model, conditions, engagement, present, SCORE_VARIANCE)
    return Ratings(weak.conditions, weak.score, jnp.minimum(weak.weight, _MOST_WEIGHT * present))


def _error(ratings: Ratings, foretold: Float[Array, "users ratings"]) -> np.ndarray:
    """Mean square error of each user's scores."""
    weight = np.asarray(ratings.weight)
    away = (np.asarray(foretold) - np.asarray(ratings.score)) ** 2
    return np.sum(weight * away, axis=1) / np.maximum(weight.sum(axis=1), 1.0)


def _padded(tree: Any, before: int, after: int) -> Any:
    """Room of as many periods before and after, with the nearest value in it."""
    return jax.tree.map(lambda leaf: jnp.pad(leaf, ((0, 0), (before, after)), mode="edge"), tree)


def _empty(weight: Float[Array, "users periods"], before: int, after: int) -> Float[Array, "users wider"]:
    return jnp.pad(weight, ((0, 0), (before, after)))
