"""Do fits find the users they were drawn from? Rules, impacts and parameters against the truth."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from twinloop.errors import DataError
from twinloop.qoe import (
    PRINTED_VARIANCES,
    RULES,
    SCORE_VARIANCE,
    Conditions,
    FittedUsers,
    Prior,
    Ratings,
    UserModels,
    behaviour_of,
    draw_models,
    draw_scores,
    environment_of,
    fit_users,
    general_model,
    held_out_likelihood,
    learn_prior,
    likeliest,
    own_intervals,
    posterior_intervals,
    predict,
    vague_prior,
)
from twinloop.reporting import Curve, Panel, plot_curves
from twinloop.studies.evaluate.judgement import Claim, Estimate, Judgement, Role, Row
from twinloop.units import mps_from_kmh

if TYPE_CHECKING:
    from twinloop.reporting import Figure

RULE, MATTERS, EXACT = "rule found", "whether B, C matter", "which of B, C"
OWN, SHRUNK = "in own interval", "in shrunken interval"
ERROR, GENERAL = "RMSE of E", "RMSE of one model for all"
PROPOSED, VAGUE, FOLDS, TOLD = "evidence, learnt prior", "evidence, vague prior", "cross-validation", "told the prior"
_AS_DESIGNED, _AS_PRINTED, _VARIED = "variance .8", "variances 8, 1, .8", "variance .8, own weights"
_UNIFORM = "variance .8, uniform minutes"
_LADDER: Final = (3, 10, 30)
_MOST_RATINGS = 400
_SMOOTH_SHARE, _STALL_MEAN_S, _SWIPES_PER_MIN = 0.5, 4.0, 6.0
_QUALITY_SHAPE = (2.5, 1.5)
_SPEEDS_KMH, _SPEED_SPREAD = (4.0, 12.0, 25.0), 0.25
_WEIGHT_SPREAD = 0.15
_NOBODY: Callable[[str], None] = lambda line: None  # noqa: E731 - a default that says nothing


@dataclass(frozen=True)
class _World:
    """Users with their truth, their ratings, and the true E of the rated minutes."""

    name: str
    models: UserModels
    log_variance: Float[Array, " users"]
    ratings: Ratings
    experience: Float[Array, "users ratings"]

    def with_ratings(self, number: int) -> Ratings:
        """The first `number` ratings of each user, in arrays as wide as all."""
        there = (jnp.arange(self.ratings.score.shape[1]) < number)[None, :]
        return eqx.tree_at(lambda one: one.weight, self.ratings, jnp.where(there, self.ratings.weight, 0.0))


def evaluate_recovery(
    users: int = 1000, ratings: int = 100, seed: int = 0, progress: Callable[[str], None] = _NOBODY
) -> Judgement:
    """Draws users and scores as models.md says, fits them, and holds what is found against the truth.

    Rule: one of three. Whether B and C matter: kappa > 0 or not. Parameters: those that the found rule sets free, both
    kappas, and the variance, each in its 95 % interval, among users whose rule was found. Raises DataError for fewer
    than 50 users, or ratings outside 3 to 400.
    """
    if users < 50:
        raise DataError("--users", f"{users} users", "at least 50, or shares say nothing")
    if not _LADDER[0] <= ratings <= _MOST_RATINGS:
        raise DataError("--ratings", f"{ratings} ratings", f"{_LADDER[0]} to {_MOST_RATINGS}")
    keys = jax.random.split(jax.random.key(seed), 4)
    spread = (SCORE_VARIANCE,) * len(RULES)
    worlds = (
        _drawn(keys[0], users, ratings, spread, _AS_DESIGNED),
        _drawn(keys[1], users, ratings, PRINTED_VARIANCES, _AS_PRINTED),
        _drawn(keys[2], users, ratings, spread, _VARIED, _WEIGHT_SPREAD),
        _drawn(keys[3], users, ratings, spread, _UNIFORM),
    )
    steps = (*(number for number in _LADDER if number < ratings), ratings)
    rows: list[Row] = []
    for world in worlds:
        for number in steps if world.name != _UNIFORM else (ratings,):
            progress(f"{world.name}: {number} ratings of {users:,} users")
            rows += _rows(world, number, compared=number == ratings, told=world.name in (_AS_DESIGNED, _UNIFORM))
    claims = _claims(rows, ratings)
    return Judgement(
        title=f"Recovery of {users:,} users' models from their scores",
        labels=("scores", "ratings", "fit"),
        rows=tuple(rows),
        claims=claims,
        numbers={"users": float(users)},
        method=(*_METHOD, *_cannot(rows, ratings)),
        figures={"recovery.png": partial(_drawn_figure, rows, steps)},
    )


_METHOD = (
    "Minutes: half without stalls, else stalls of 4 s on average (exponential); Q ~ Beta(2.5, 1.5), .63 on average; "
    "6 swipes a minute on average (Poisson, its rate gamma with shape 2); on foot, by cycle or by bus, a third each at "
    "about 4, 12 and 25 km/h (log-normal, .25); all independent, so that what one does can be told from the others.",
    "Uniform minutes: Q uniform in [0, 1], a constant 6 swipes a minute (Poisson), 2 to 40 km/h: less to see of B, C.",
    "Truth: S = 1 - .1 R, Q or Q - .1 R; kappa = 0 for a third, else U[.05, .2], alike for B and C; with own weights, "
    "each weight times exp(.15 z).",
    "A parameter counts where the rule was found; its interval takes both kappas as free. Own: from the user's ratings "
    "alone (information). Shrunken: the posterior under the prior learnt from all users, given the structure found.",
    "Claims are made on the minutes first described, the favourable case: they were designed so that B and C show. "
    "Uniform minutes are a row without a claim.",
    "Cross-validation: parameters are foretold under a prior learnt from all ratings, those left out included, which "
    "favours this baseline.",
    "Told the prior: the distribution that users were drawn from is known; no fit can be expected to find more.",
    "Intervals of shares are Wilson's, 95 %, over users.",
)


def draw_minutes(key: PRNGKeyArray, shape: tuple[int, int], *, uniform: bool = False) -> Conditions:
    """Conditions of rated minutes (see the method of `evaluate_recovery`); `uniform`: Q in [0, 1], 2 to 40 km/h."""
    k_smooth, k_stall, k_quality, k_pace, k_swipes, k_way, k_speed = jax.random.split(key, 7)
    stalls = jnp.minimum(_STALL_MEAN_S * jax.random.exponential(k_stall, shape), 60.0)
    pace = jax.random.gamma(k_pace, 2.0, shape) / 2.0
    way = jax.random.choice(k_way, jnp.array(_SPEEDS_KMH), shape)
    speed = way * jnp.exp(_SPEED_SPREAD * jax.random.normal(k_speed, shape))
    quality = jax.random.beta(k_quality, *_QUALITY_SHAPE, shape)
    if uniform:
        speed = jax.random.uniform(k_speed, shape, minval=2.0, maxval=40.0)
        quality, pace = jax.random.uniform(k_quality, shape), jnp.ones(shape)
    return Conditions(
        stall_s=jnp.where(jax.random.uniform(k_smooth, shape) < _SMOOTH_SHARE, 0.0, stalls),
        quality=quality,
        behaviour=behaviour_of(jax.random.poisson(k_swipes, _SWIPES_PER_MIN * pace).astype(jnp.float32)),
        environment=environment_of(speed * mps_from_kmh(1.0)),
    )


def _drawn(
    key: PRNGKeyArray, users: int, ratings: int, variances: tuple[float, ...], name: str, spread: float = 0.0
) -> _World:
    k_models, k_weights, k_minutes, k_scores = jax.random.split(key, 4)
    models = draw_models(k_models, users)
    factor = jnp.exp(spread * jax.random.normal(k_weights, (3, users)))
    models = eqx.tree_at(
        lambda one: (one.level, one.stall_weight, one.quality_weight),
        models,
        (models.level * factor[0], models.stall_weight * factor[1], models.quality_weight * factor[2]),
    )
    conditions = draw_minutes(k_minutes, (users, ratings), uniform=name == _UNIFORM)
    experience = _experience(models, conditions)
    variance = jnp.asarray(variances)[models.rule]
    score = draw_scores(k_scores, experience, jnp.broadcast_to(variance[:, None], experience.shape))
    return _World(name, models, jnp.log(variance), Ratings(conditions, score, jnp.ones_like(score)), experience)


def _experience(models: UserModels, conditions: Conditions) -> Float[Array, "users ratings"]:
    return jax.vmap(models.experience, in_axes=1, out_axes=1)(conditions)


_fit = eqx.filter_jit(fit_users)
_learn = eqx.filter_jit(learn_prior)
_own = eqx.filter_jit(own_intervals)
_general = eqx.filter_jit(general_model)
_held_out = eqx.filter_jit(held_out_likelihood)


def _rows(world: _World, number: int, *, compared: bool, told: bool) -> list[Row]:
    """The proposed fit of `number` ratings; with `compared`, the other ways beside it and the truth's rules apart."""
    ratings = world.with_ratings(number)
    fitted = _fit(ratings, _learn(ratings))
    rows = [Row((world.name, str(number), PROPOSED), "proposed", _measured(world, ratings, fitted))]
    if not compared:
        return rows

    def other(name: str, role: Role, structure: Array, only: Array | None = None) -> Row:
        return Row((world.name, str(number), name), role, _found(world, structure, only))

    for index, rule in enumerate(RULES):
        rows.append(other(f"who minds {rule}", "proposed", fitted.structure, world.models.rule == index))
    rows.append(other(VAGUE, "baseline", _fit(ratings, vague_prior()).structure))
    rows.append(other(FOLDS, "baseline", likeliest(_held_out(ratings, fitted.prior))))
    if told:
        rows.append(other(TOLD, "reference", _fit(ratings, _true_prior()).structure))
    return rows


def _true_prior() -> Prior:
    """Moments of the distribution that users of `draw_models` come from."""
    vague = vague_prior()
    shares = jnp.array([1.0 / 3.0, 0.0, 0.0, 2.0 / 3.0])[None, :] / len(RULES)
    mean = jnp.array([1.0, 1.0, 0.1, 0.125, 0.125, np.log(SCORE_VARIANCE)])
    deviation = jnp.array([0.01, 0.01, 0.001, 0.0433, 0.0433, 0.02])
    covariance = jnp.diag(deviation**2)
    alike = 0.98 * deviation[3] ** 2
    covariance = covariance.at[3, 4].set(alike).at[4, 3].set(alike)
    return Prior(
        jnp.broadcast_to(shares, vague.shares.shape),
        jnp.broadcast_to(mean, vague.mean.shape),
        jnp.broadcast_to(covariance, vague.covariance.shape),
        vague.users,
    )


def _found(world: _World, structure: Array, only: Array | None = None) -> dict[str, Estimate]:
    """Shares of users (of those in `only`) whose rule and impact are found."""
    kept = np.ones(len(structure), bool) if only is None else np.asarray(only)
    rule, impact = np.asarray(structure // 4)[kept], np.asarray(structure % 4)[kept]
    true_rule, true_impact = np.asarray(world.models.rule)[kept], np.asarray(world.models.impact)[kept]
    return {
        RULE: _share(rule == true_rule),
        MATTERS: _share((impact > 0) == (true_impact > 0)),
        EXACT: _share(impact == true_impact),
    }


def _measured(world: _World, ratings: Ratings, fitted: FittedUsers) -> dict[str, Estimate]:
    right = fitted.models.rule == world.models.rule
    own, shrunk = _own(ratings, fitted.models.rule), posterior_intervals(fitted)
    minutes = world.ratings.conditions
    mean, _ = predict(fitted, minutes)
    general = _experience(_general(ratings)[0], minutes)
    return _found(world, fitted.structure) | {
        OWN: _covered(world, own.low, own.high, own.free & right[:, None]),
        SHRUNK: _covered(world, shrunk.low, shrunk.high, shrunk.free & right[:, None]),
        ERROR: Estimate(float(jnp.sqrt(jnp.mean((mean - world.experience) ** 2)))),
        GENERAL: Estimate(float(jnp.sqrt(jnp.mean((general - world.experience) ** 2)))),
    }


def _covered(
    world: _World, low: Float[Array, "users 6"], high: Float[Array, "users 6"], counted: Bool[Array, "users 6"]
) -> Estimate:
    """Share of true parameters inside; parameters of one user depend on each other, so users are what is counted."""
    models = world.models
    columns = (models.level, models.quality_weight, models.stall_weight, models.kappa_b, models.kappa_c)
    truth = jnp.stack([*columns, world.log_variance], axis=1)
    inside = np.asarray((truth >= low) & (truth <= high) & counted).sum(axis=1)
    of = np.asarray(counted).sum(axis=1)
    value = float(inside.sum() / max(of.sum(), 1))
    spread = np.sqrt(np.sum((inside - value * of) ** 2)) / max(of.sum(), 1)
    return Estimate(value, float(value - 1.96 * spread), float(min(value + 1.96 * spread, 1.0)))


def _share(hits: Bool[np.ndarray, " users"]) -> Estimate:
    """Share with Wilson's 95 % interval."""
    n, z = max(len(hits), 1), 1.96
    share = float(np.sum(hits)) / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    reach = z * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return Estimate(share, float(centre - reach), float(centre + reach))


def _estimate(rows: list[Row], world: str, number: int, fit: str) -> Row:
    return next(row for row in rows if row.names == (world, str(number), fit))


def _claims(rows: list[Row], ratings: int) -> tuple[Claim, ...]:
    found = _estimate(rows, _AS_DESIGNED, ratings, PROPOSED).values
    cover = found[OWN]
    return (
        Claim(
            f"variance .8, {ratings} ratings: the rule of at least 90 % is found", found[RULE], found[RULE].value >= 0.9
        ),
        Claim(
            f"variance .8, {ratings} ratings: whether B and C matter is found for at least 85 %",
            found[MATTERS],
            found[MATTERS].value >= 0.85,
        ),
        Claim(
            f"variance .8, {ratings} ratings: 90 to 98 % of parameters lie in their 95 % intervals",
            cover,
            0.9 <= cover.value <= 0.98,
        ),
    )


def _cannot(rows: list[Row], ratings: int) -> tuple[str, ...]:
    """In words: whose rule and impact the printed variances hide."""
    lines: list[str] = []
    for rule in RULES:
        found = _estimate(rows, _AS_PRINTED, ratings, f"who minds {rule}").values
        short = [
            f"{metric} for {found[metric].value:.0%}"
            for metric, least in ((RULE, 0.9), (MATTERS, 0.85))
            if found[metric].value < least
        ]
        verdict = "cannot work: " + ", ".join(short) if short else "works"
        lines.append(f"Printed variances, who minds {rule}: {verdict}.")
    return tuple(lines)


def _drawn_figure(rows: list[Row], steps: tuple[int, ...]) -> "Figure":
    """Shares found and covered against the number of ratings, one panel a world."""
    at = np.asarray(steps, np.float64)
    panels: list[Panel] = []
    for world in (_AS_DESIGNED, _AS_PRINTED, _VARIED):
        each = [_estimate(rows, world, number, PROPOSED).values for number in steps]
        curves = tuple(
            Curve(metric, at, np.array([one[metric].value for one in each])) for metric in (RULE, MATTERS, EXACT, OWN)
        )
        panels.append(Panel("ratings of a user", "share", curves, title=world, log_x=True))
    return plot_curves(panels, "What is found of users, against how often they rated")
