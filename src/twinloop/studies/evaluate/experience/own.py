"""Users' own models against a general one, on ratings of a person's own table that no fit has seen."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float64

from twinloop.errors import DataError
from twinloop.qoe import Ratings, expected_score, fit_users, general_model, predict
from twinloop.reporting import plot_expected
from twinloop.studies.evaluate.judgement import Estimate, Judgement, Row
from twinloop.training import Scale, read_own_scores

_FOLDS = 5
_FEWEST = 5
_RESAMPLES = 1000
OWN, GENERAL, MEAN = "user's own model", "general model", "user's mean score"

Scores = Float64[np.ndarray, "users ratings"]


@dataclass(frozen=True)
class _HeldOut:
    said: dict[str, Scores]
    judged: Bool[np.ndarray, "users ratings"]


def judge_own(path: Path, scale: Scale | None, seed: int, progress: Callable[[str], None]) -> Judgement:
    """Five folds over the ratings of each user. Users of fewer than five ratings help others and are not judged.

    Raises DataError where nobody can be judged and for what `read_own_scores` refuses.
    """
    own = read_own_scores(path, scale)
    ratings = own.intake.ratings
    there = np.asarray(ratings.weight) > 0.0
    enough = there.sum(axis=1) >= _FEWEST
    if not enough.any():
        most = int(there.sum(axis=1).max())
        raise DataError(path, f"at most {most} ratings of a user", f"{_FEWEST} ratings of one user or more")
    found = _held_out(ratings, there & enough[:, None], seed, progress)
    score = np.asarray(ratings.score, np.float64)
    rows = tuple(
        Row((name,), "proposed" if name == OWN else "baseline", _errors(said, score, found.judged, enough))
        for name, said in found.said.items()
    )
    better = (
        _per_user(found.said[OWN], score, found.judged)[enough]
        < _per_user(found.said[GENERAL], score, found.judged)[enough]
    )
    method = (
        f"{int(enough.sum())} of {len(enough)} users judged, each on {_FOLDS} folds of their ratings; scores 1-5.",
        "Intervals: users resampled." if enough.sum() > 1 else "One user: no interval.",
        *own.notes,
    )
    shown = {GENERAL: (found.said[GENERAL][found.judged], score[found.judged])}
    shown[OWN] = (found.said[OWN][found.judged], score[found.judged])
    percent = {name: ((a - 1.0) * 25.0, (b - 1.0) * 25.0) for name, (a, b) in shown.items()}
    draw = partial(plot_expected, percent, f"Ratings in {path.name} that no fit has seen", "score")
    numbers = {"share of users better off with their own model": float(better.mean())}
    return Judgement(f"Opinion in {path.name}", ("model",), rows, (), numbers, method, {"opinion.png": draw})


def _held_out(
    ratings: Ratings, judged: Bool[np.ndarray, "users ratings"], seed: int, progress: Callable[[str], None]
) -> _HeldOut:
    draw = np.random.default_rng(seed)
    fold = np.full(judged.shape, -1)
    for user in np.flatnonzero(judged.any(axis=1)):
        own = np.flatnonzero(judged[user])
        fold[user, own] = draw.permutation(len(own)) % _FOLDS
    said = {name: np.zeros(judged.shape) for name in (OWN, GENERAL, MEAN)}
    score, weight = np.asarray(ratings.score, np.float64), np.asarray(ratings.weight, np.float64)
    for one in range(_FOLDS):
        progress(f"fold {one + 1} of {_FOLDS}")
        out = fold == one
        kept = replace(ratings, weight=jnp.asarray(np.where(out, 0.0, weight), jnp.float32))
        own, general = _expected(kept)
        left = np.asarray(kept.weight, np.float64)
        overall = (score * left).sum() / left.sum()
        mean = ((score * left).sum(axis=1) + overall) / (left.sum(axis=1) + 1.0)
        for name, value in ((OWN, own), (GENERAL, general), (MEAN, np.broadcast_to(mean[:, None], out.shape))):
            said[name][out] = np.asarray(value, np.float64)[out]
    return _HeldOut(said, judged)


@eqx.filter_jit
def _expected(ratings: Ratings) -> tuple[jax.Array, jax.Array]:
    """Expected scores of every rating by the users' own models and by the general one."""
    fitted = fit_users(ratings)
    own, _ = predict(fitted, ratings.conditions)
    models, variance = general_model(ratings)
    general = jax.vmap(models.experience, in_axes=1, out_axes=1)(ratings.conditions)
    return expected_score(own, fitted.variance[:, None]), expected_score(general, variance[None, None])


def _per_user(said: Scores, score: Scores, judged: Bool[np.ndarray, "users ratings"]) -> Float64[np.ndarray, " users"]:
    return (np.where(judged, (said - score) ** 2, 0.0)).sum(axis=1) / np.maximum(judged.sum(axis=1), 1)


def _errors(
    said: Scores, score: Scores, judged: Bool[np.ndarray, "users ratings"], enough: Bool[np.ndarray, " users"]
) -> dict[str, Estimate]:
    error = _per_user(said, score, judged)[enough]
    if len(error) == 1:
        return {"RMSE": Estimate(float(np.sqrt(error[0])))}
    picks = np.random.default_rng(0).integers(len(error), size=(_RESAMPLES, len(error)))
    low, high = np.quantile(np.sqrt(error[picks].mean(axis=1)), [0.025, 0.975])
    return {"RMSE": Estimate(float(np.sqrt(error.mean())), float(low), float(high))}
