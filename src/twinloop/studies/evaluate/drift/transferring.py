"""New users' models: begun from the most similar twin, from any twin, from the pooled model, or from nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float64, Int64

from twinloop.studies.evaluate.drift.worlds import Dynamics, series
from twinloop.studies.evaluate.judgement import Estimate, Row
from twinloop.training import (
    HORIZONS,
    LAGS,
    Examples,
    GruForecaster,
    KnownTwins,
    chosen,
    errors_of_each,
    examples_of,
    series_features,
    train_each,
    untrained,
)

STARTS = ("most similar twin", "pooled model", "any twin", "scratch")
USEFUL = 0.1
MOST_USERS = 24
_HIDDEN = 8
_TRAIN, _HELD = 256, 64
_STEPS = 150
_RATE = 3e-3
_RESAMPLES = 400

Series = Sequence[Float64[np.ndarray, " steps"]]


@dataclass(frozen=True)
class Newcomers:
    """Errors of new users (shares of their variance) by start, on the part of their series after `times_s[-1]`.

    `known_s` seconds of each were known when its model was begun and trained further.
    """

    name: str
    known_s: tuple[int, ...]
    error: Mapping[str, Float64[np.ndarray, "times users"]]

    def useful_after(self, start: str) -> Float64[np.ndarray, " users"]:
        """Seconds until each user's error is within `USEFUL` of the best that any start reaches; infinite if never."""
        best = np.min([errors.min(axis=0) for errors in self.error.values()], axis=0)
        good = self.error[start] <= (1 + USEFUL) * best[None, :]
        first = np.where(good.any(axis=0), good.argmax(axis=0), len(self.known_s))
        return np.array([*self.known_s, np.inf])[first]


def simulated_users(seed: int, count: int = 48, steps: int = 420) -> Series:
    """Series of users of four kinds of dynamics, each user's own a little different."""
    draw = np.random.default_rng(seed)
    kinds = ((1.4, -0.6), (-0.5, 0.3), (0.6, 0.3), (0.2, -0.7))
    people: list[Float64[np.ndarray, " steps"]] = []
    for number in range(count):
        a, b = (value + 0.03 * draw.standard_normal() for value in kinds[number % len(kinds)])
        own = Dynamics((a, b), 10.0, 1.0)
        people.append(series(draw, 1, steps, own, own, 0)[0])
    return people


def judge_transfer(name: str, people: Series, seed: int, known_s: tuple[int, ...] = (30, 60, 120, 240)) -> Newcomers:
    """Half of the users (drawn by `seed`) have models, the others are new; at most `MOST_USERS` of each. Errors are
    taken after `known_s[-1]`.

    Series must reach `_HELD` steps beyond the longest known part; shorter ones are left out.
    """
    draw = np.random.default_rng(seed)
    long = [one for one in people if len(one) >= known_s[-1] + LAGS + max(HORIZONS) + _HELD and np.std(one) > 0]
    order = draw.permutation(len(long))
    half = min(len(long) // 2, MOST_USERS)
    old, new = [long[row] for row in order[:half]], [long[row] for row in order[half : 2 * half]]
    key = jax.random.key(seed)
    models, pooled = _trained_twins(key, draw, old)
    known = KnownTwins(np.stack([series_features(one) for one in old]))
    truth = _stacked([_drawn(draw, _after(one, known_s[-1]), _TRAIN) for one in new])
    any_row = draw.integers(half, size=half).tolist()
    error: dict[str, list[Float64[np.ndarray, " users"]]] = {start: [] for start in STARTS}
    for seconds in known_s:
        nearest = [known.nearest(series_features(one[:seconds])) for one in new]
        begun = {
            "most similar twin": chosen(models, nearest),
            "pooled model": chosen(pooled, [0] * half),
            "any twin": chosen(models, any_row),
            "scratch": untrained(key, half, _HIDDEN, 1, len(HORIZONS), LAGS),
        }
        mine = [_own(draw, one, seconds) for one in new]
        train, held = _stacked([one for one, _ in mine]), _stacked([one for _, one in mine])
        for start, model in begun.items():
            tuned = train_each(key, model, train, held, steps=_STEPS, learning_rate=_RATE)
            error[start].append(np.asarray(errors_of_each(tuned, truth), np.float64))
    return Newcomers(name, known_s, {start: np.stack(errors) for start, errors in error.items()})


def _trained_twins(key: jax.Array, draw: np.random.Generator, old: Series) -> tuple[GruForecaster, GruForecaster]:
    """A model of each known user, and the one of all of them together that each began with; both trained on the first
    four fifths of the series.
    """
    train = [_drawn(draw, examples_of(one[: len(one) * 4 // 5]), _TRAIN) for one in old]
    held = [_drawn(draw, examples_of(one[len(one) * 4 // 5 - LAGS :]), _HELD) for one in old]
    everybody = [jax.tree.map(lambda *leaves: jnp.concatenate(leaves)[None], *parts) for parts in (train, held)]
    blank = untrained(key, 1, _HIDDEN, 1, len(HORIZONS), LAGS)
    pooled = train_each(key, blank, *everybody, steps=8 * _STEPS, batch=128, learning_rate=_RATE)
    models = chosen(pooled, [0] * len(old))
    models = train_each(key, models, _stacked(train), _stacked(held), steps=_STEPS, learning_rate=_RATE)
    return models, pooled


def _own(draw: np.random.Generator, one: Float64[np.ndarray, " steps"], seconds: int) -> tuple[Examples, Examples]:
    """What a new user's first `seconds` give: examples for training, and the latest fifth of them for selection."""
    reach = max(seconds, LAGS + max(HORIZONS) + 5)
    known = examples_of(one[:reach])
    count = len(np.asarray(known.weight))
    cut = max(count * 4 // 5, 1)
    first, last = (jax.tree.map(lambda leaf, part=part: leaf[part], known) for part in (slice(cut), slice(cut, None)))
    return _drawn(draw, first, _TRAIN), _drawn(draw, last, _HELD)


def _after(one: Float64[np.ndarray, " steps"], seconds: int) -> Examples:
    return examples_of(one[seconds - LAGS :], deviation=float(np.std(one)))


def _drawn(draw: np.random.Generator, examples: Examples, count: int) -> Examples:
    """`count` of the examples, drawn with replacement, so that all users have equally many."""
    rows: Int64[np.ndarray, " count"] = draw.integers(examples.weight.shape[0], size=count)
    return jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf)[rows]), examples)


def _stacked(parts: Sequence[Examples]) -> Examples:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *parts)


def transfer_rows(found: Newcomers, seed: int) -> list[Row]:
    """RMSE over the deviation at each known time, 95 % intervals over users, and the median time to useful error."""
    draw = np.random.default_rng(seed)
    rows: list[Row] = []
    for start, errors in found.error.items():
        values: dict[str, Estimate] = {}
        for seconds, by_user in zip(found.known_s, errors, strict=True):
            pick = draw.integers(len(by_user), size=(_RESAMPLES, len(by_user)))
            low, high = np.quantile(np.sqrt(by_user)[pick].mean(axis=1), [0.025, 0.975])
            values[f"RMSE/std, {seconds} s"] = Estimate(float(np.sqrt(by_user).mean()), float(low), float(high))
        times = found.useful_after(start)
        if np.isfinite(np.median(times)):
            values["useful after (s, median)"] = Estimate(float(np.median(times)))
        values["never useful"] = Estimate(float(np.mean(np.isinf(times))))
        rows.append(Row((f"transfer: {found.name}", start), "proposed" if start == STARTS[0] else "baseline", values))
    return rows


def paired_gain(found: Newcomers, other: str, at: int, seed: int) -> Estimate:
    """RMSE of the most similar twin's start less that of `other` at the `at`-th known time, 95 % over users."""
    gap = np.sqrt(found.error[STARTS[0]][at]) - np.sqrt(found.error[other][at])
    pick = np.random.default_rng(seed).integers(len(gap), size=(_RESAMPLES, len(gap)))
    low, high = np.quantile(gap[pick].mean(axis=1), [0.025, 0.975])
    return Estimate(float(gap.mean()), float(low), float(high))
