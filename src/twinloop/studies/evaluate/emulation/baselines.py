"""What a learned emulator must beat: each tuned on training files only, with intervals from its training residuals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Float64

from twinloop.training import Files, Samples, Sums, point_weights, residual_quantiles, solve_ridge, tuned_ridge

EWMA_WEIGHTS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.75, 0.9)
NOISE_RATIOS = (1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 3.0)
LAGS = (3, 6, 12)

Means = Float32[np.ndarray, "entities steps horizons"]


@dataclass(frozen=True)
class Plain:
    """Forecasts of a baseline for every step, and quantiles of its residuals on the training files by horizon.

    `residual` is in the unit of the attribute, `relative` in running scales.
    """

    mean: Means
    residual: Float64[np.ndarray, "horizons levels"]
    relative: Float64[np.ndarray, "horizons levels"]


@dataclass(frozen=True)
class Family:
    """One method under each of its settings; `error` is each file's mean squared error over its variance."""

    paths: Sequence[Means]
    error: Float64[np.ndarray, "settings files horizons"]

    def best(self, training: Files) -> Means:
        """The setting of lowest mean error over `training`, chosen for each horizon alone."""
        chosen = self.error[:, training].mean(axis=1).argmin(axis=0)
        return np.stack([self.paths[setting][..., horizon] for horizon, setting in enumerate(chosen)], axis=-1)


class Baselines:
    """Every baseline that suits the samples; what does not depend on the training files is computed once."""

    def __init__(self, samples: Samples, sums: Sums) -> None:
        self.samples, self.sums = samples, sums
        self.families: Mapping[str, Family] = {name: _family(samples, paths) for name, paths in _methods(samples)}

    def fitted(self, training: Files, splits: Sequence[tuple[Files, Files]]) -> dict[str, Plain]:
        """Every baseline tuned on `training`; `splits` of it choose lags and penalty of the autoregression."""
        means = {name: family.best(training) for name, family in self.families.items()}
        means["linear autoregression"] = self._linear(training, splits, seasonal=False)
        if self.samples.source.form.periods:
            means["seasonal autoregression"] = self._linear(training, splits, seasonal=True)
            means["seasonal mean"] = _profile(self.samples, training)
        if not self.samples.source.form.wanders:
            means["training mean"] = _constant(self.samples, training)
        return {name: Plain(mean, *residual_quantiles(self.samples, training, mean)) for name, mean in means.items()}

    def _linear(self, training: Files, splits: Sequence[tuple[Files, Files]], *, seasonal: bool) -> Means:
        tried = [_columns(self.samples, lags, seasonal) for lags in LAGS]
        found = [tuned_ridge(self.sums, splits, columns) for columns in tried]
        best = np.stack([error for _, error in found]).argmin(axis=0)
        weights = [
            solve_ridge(self.sums, training, ridge, columns) for (ridge, _), columns in zip(found, tried, strict=True)
        ]
        chosen = np.stack([weights[setting][horizon] for horizon, setting in enumerate(best)])
        change = np.einsum("ethf,hf->eth", self.samples.linear, chosen)
        return (self.samples.last[..., None] + change).astype(np.float32)


def _columns(samples: Samples, lags: int, seasonal: bool) -> list[int]:
    """Features of an autoregression: differences of lags, an intercept and the last value, and seasons if asked."""
    form = samples.source.form
    total = samples.linear.shape[-1]
    first_season = total - len(form.periods)
    chosen = list(range(min(lags, form.lags) - 1))
    if not form.wanders:
        chosen += [first_season - 2, first_season - 1]
    return chosen + (list(range(first_season, total)) if seasonal else [])


def _methods(samples: Samples) -> list[tuple[str, list[Means]]]:
    horizons = len(samples.horizons)

    def flat(level: Float[np.ndarray, "entities steps"]) -> Means:
        return np.repeat(level[..., None], horizons, axis=-1).astype(np.float32)

    methods = [
        ("last value", [flat(samples.last)]),
        ("EWMA", [flat(path) for path in _smoothed(samples)]),
        ("Kalman, local level", [flat(_level(samples, ratio)) for ratio in NOISE_RATIOS]),
    ]
    if samples.source.form.wanders:
        methods.append(("Kalman, constant velocity", [_velocity(samples, ratio) for ratio in NOISE_RATIOS]))
    if count := len(samples.source.form.periods):
        seasons = [samples.last[..., None] + samples.linear[..., -count + index] for index in range(count)]
        methods.append(("one season before", seasons))
    return methods


def _family(samples: Samples, paths: list[Means]) -> Family:
    weights = point_weights(samples, np.arange(len(samples.files)))
    error = np.zeros((len(paths), *samples.file_std.shape))
    for setting, path in enumerate(paths):
        square = weights * (samples.truth - path).astype(np.float64) ** 2
        np.add.at(error[setting], samples.file, square.sum(axis=1))
    return Family(paths, error / samples.file_std**2)


def _smoothed(samples: Samples) -> list[Float64[np.ndarray, "entities steps"]]:
    """m <- m + a (y - m) from the first report on, for every a."""
    weights = np.asarray(EWMA_WEIGHTS)[:, None]
    value, measured = samples.value.astype(np.float64), samples.measured
    level = np.zeros((len(EWMA_WEIGHTS), len(value)))
    begun = np.zeros(len(value), bool)
    paths = np.zeros((len(EWMA_WEIGHTS), *value.shape))
    for step in range(value.shape[1]):
        gain = np.where(begun[None, :], weights, 1.0)
        level = np.where(measured[None, :, step], level + gain * (value[None, :, step] - level), level)
        begun |= measured[:, step]
        paths[:, :, step] = level
    return [paths[setting] for setting in range(len(EWMA_WEIGHTS))]


def _level(samples: Samples, ratio: float) -> Float64[np.ndarray, "entities steps"]:
    """Kalman filter of a level that wanders (variance `ratio` a step) seen through noise of variance 1."""
    value, measured = samples.value.astype(np.float64), samples.measured
    level, variance = np.zeros(len(value)), np.full(len(value), 1e6)
    path = np.zeros(value.shape)
    for step in range(value.shape[1]):
        variance = variance + ratio
        gain = np.where(measured[:, step], variance / (variance + 1.0), 0.0)
        level = level + gain * (value[:, step] - level)
        variance = (1 - gain) * variance
        path[:, step] = level
    return path


def _velocity(samples: Samples, ratio: float) -> Means:
    """Kalman filter of constant velocity, x' = x + v + w/2, v' = v + w, w of variance `ratio`, report noise of 1.

    The forecast at h steps is x + h v.
    """
    value, measured = samples.value.astype(np.float64), samples.measured
    place, speed = np.zeros(len(value)), np.zeros(len(value))
    p, c, v = np.full(len(value), 1e8), np.zeros(len(value)), np.full(len(value), 1e2)
    ahead = np.asarray(samples.horizons, np.float64)
    path = np.zeros((*value.shape, len(ahead)), np.float32)
    for step in range(value.shape[1]):
        place = place + speed
        p, c, v = p + 2 * c + v + ratio / 4, c + v + ratio / 2, v + ratio
        seen = measured[:, step].astype(np.float64)
        gain_x, gain_v = seen * p / (p + 1), seen * c / (p + 1)
        miss = value[:, step] - place
        place, speed = place + gain_x * miss, speed + gain_v * miss
        p, c, v = (1 - gain_x) * p, (1 - gain_x) * c, v - gain_v * c
        path[:, step] = place[:, None] + ahead[None, :] * speed[:, None]
    return path


def _constant(samples: Samples, training: Files) -> Means:
    """Mean of the training files, weighted as errors are."""
    weights = point_weights(samples, training) / samples.entity_std[:, None, :] ** 2
    mean = (weights * samples.truth).sum(axis=(0, 1)) / weights.sum(axis=(0, 1))
    return np.broadcast_to(mean, samples.truth.shape).astype(np.float32)


def _profile(samples: Samples, training: Files) -> Means:
    """Mean of the training files at the same place of the longest season; their mean where they have none."""
    period = max(samples.source.form.periods)
    weights = point_weights(samples, training)
    first = np.array([sequence.first for sequence in samples.source.sequences])
    now = first[:, None] + np.arange(samples.value.shape[1])[None, :]
    made = np.zeros_like(samples.truth)
    for index, horizon in enumerate(samples.horizons):
        phase = (now + horizon) % period
        weight = weights[..., index]
        count = np.bincount(phase.ravel(), weight.ravel(), period)
        total = np.bincount(phase.ravel(), (weight * samples.truth[..., index]).ravel(), period)
        overall = total.sum() / count.sum()
        made[..., index] = np.where(count > 0, total / np.maximum(count, 1e-12), overall)[phase]
    return made
