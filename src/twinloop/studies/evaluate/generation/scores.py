"""How far generated series are from recorded ones: each score with its values when the recorded files are resampled."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

from twinloop.studies.evaluate.judgement import Estimate

RESAMPLES = 400
LAGS = 16
PAST_STEPS = 16
_LEVELS = 128
_GROUPS = 5
_FLOOR_BPS = 1e4
_RIDGE = 1e-3
_RATE_DIGIT = 0.02

Series = Float64[np.ndarray, "_ steps channels"]
Features = Float64[np.ndarray, "_ _"]
Draws = Float64[np.ndarray, " resamples"]


@dataclass(frozen=True)
class Score:
    """A score, and what it is when files are resampled; the same resamples for every generator."""

    value: float
    draws: Draws

    @property
    def estimate(self) -> Estimate:
        """The score with the interval of 90 % of the resamples."""
        low, high = np.quantile(self.draws, [0.05, 0.95])
        return Estimate(self.value, float(low), float(high))

    def less(self, other: "Score") -> "Score":
        """This score minus the other one, resample by resample."""
        return Score(self.value - other.value, self.draws - other.draws)

    def over(self, other: "Score") -> "Score":
        """This score over the other one, resample by resample."""
        return Score(self.value / other.value, self.draws / other.draws)


@dataclass(frozen=True)
class Held:
    """Recorded windows that no generator has seen, scaled: log10 of the rate and 10 kbit/s, other channels as they are,
    each channel to mean 0 and variance 1 over the fitted windows. `fitted` are those, likewise.

    `weight` counts how often each file is in each resample (first row: once each), drawn within its class.
    """

    series: Series
    label: Int64[np.ndarray, " windows"]
    file: Int64[np.ndarray, " windows"]
    fitted: Series
    fitted_label: Int64[np.ndarray, " fitted"]
    weight: Float64[np.ndarray, "resamples files"]

    def score(self, of: Callable[[Float64[np.ndarray, "resamples files"]], Draws]) -> Score:
        """The score `of` the files once each, and of every resample."""
        found = of(self.weight)
        return Score(float(found[0]), found[1:])


def scaled(value: Series, like: Series) -> Series:
    """Series in the scale of `Held`, moments taken from `like`."""
    x, y = (_log_rate(one) for one in (value, like))
    return (x - y.mean(axis=(0, 1))) / np.maximum(y.std(axis=(0, 1)), 1e-9)


def _log_rate(value: Series) -> Series:
    """At the resolution of a phone's report: whole decibels, rates to 5 %; finer digits would give a series away."""
    out = np.round(value)
    out[..., 0] = np.round(np.log10(np.maximum(value[..., 0], 0.0) + _FLOOR_BPS) / _RATE_DIGIT) * _RATE_DIGIT
    return out


def resampled_files(
    file_class: Int64[np.ndarray, " files"], seed: int, resamples: int = RESAMPLES
) -> Float64[np.ndarray, "resamples files"]:
    """How often each file occurs: first once each, then drawn with replacement from the files of its class."""
    draw = np.random.default_rng(seed)
    weight = np.zeros((resamples, len(file_class)))
    for kind in np.unique(file_class):
        mine = np.flatnonzero(file_class == kind)
        pick = mine[draw.integers(len(mine), size=(resamples, len(mine)))]
        np.add.at(weight, (np.arange(resamples)[:, None], pick), 1.0)
    return np.concatenate([np.ones((1, len(file_class))), weight])


def discriminative(held: Held, real: Features, fake: Features, seed: int) -> Score:
    """|accuracy - 1/2| of gradient-boosted trees that tell held-out examples from generated ones by their features.

    `fake[w]` stands beside `real[w]`: same class, same group of files. Trees learn from all groups but one and are
    tested on that one. 0 is indistinguishable, 1/2 always told apart.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from threadpoolctl import threadpool_limits

    real, fake = (np.column_stack([one, held.label]) for one in (real, fake))
    files = np.unique(held.file)
    group = np.random.default_rng(seed).permutation(len(files)) % min(_GROUPS, len(files))
    of_window = group[np.searchsorted(files, held.file)]
    right = np.zeros(len(held.label))
    for number in range(group.max() + 1):
        test = of_window == number
        rows = np.concatenate([real[~test], fake[~test]])
        wanted = np.repeat([1, 0], int((~test).sum()))
        trees = HistGradientBoostingClassifier(max_iter=60, max_leaf_nodes=8, learning_rate=0.1, random_state=seed)
        with threadpool_limits(1):
            trees.fit(rows, wanted)
            right[test] = 0.5 * ((trees.predict(real[test]) == 1) + 1.0 * (trees.predict(fake[test]) == 0))
    total = np.bincount(held.file, weights=right, minlength=held.weight.shape[1])
    count = np.bincount(held.file, minlength=held.weight.shape[1])
    return held.score(lambda weight: np.abs(weight @ total / (weight @ count) - 0.5))


def series_features(series: Series) -> Features:
    """Means of two steps (phones refresh some values only every 2 s, which would give away all others), and their
    statistics.
    """
    series = series[:, : series.shape[1] // 2 * 2].reshape(len(series), -1, 2, series.shape[2]).mean(axis=2)
    change = np.diff(series, axis=1)
    centred = series - series.mean(axis=1, keepdims=True)
    power = np.maximum((centred**2).mean(axis=1), 1e-9)
    parts = [series.mean(axis=1), series.std(axis=1), np.quantile(series, [0.1, 0.5, 0.9], axis=1)]
    parts += [change.std(axis=1), np.abs(change).max(axis=1), np.abs(change).mean(axis=1)]
    parts += [(np.abs(change) < 1e-6).mean(axis=1), (np.abs(change) ** 4).mean(axis=1)]
    parts += [(centred[:, lag:] * centred[:, :-lag]).mean(axis=1) / power for lag in (1, 2, 4, 8, 16)]
    flat = [part.reshape(-1, *part.shape[-2:]) if part.ndim == 3 else part[None] for part in parts]
    summary = np.concatenate(flat).transpose(1, 0, 2).reshape(len(series), -1)
    return np.column_stack([summary, series.reshape(len(series), -1)])


def autocorrelation_distance(held: Held, made: Series) -> Score:
    """Mean |autocovariance of generated minus of held-out series| over classes, channels and lags 0 to 16.

    Autocovariances about the class's mean over the fitted windows, in units of the fitted variance.
    """
    real, fake = (_lagged(one, held) for one in (held.series, made))

    def of(weight: Float64[np.ndarray, "resamples files"]) -> Draws:
        gaps = [
            np.abs(_weighted(weight, real[mine], held.file[mine]) - _weighted(weight, fake[mine], held.file[mine]))
            for mine in _by_class(held)
        ]
        return np.mean([gap.mean(axis=1) for gap in gaps], axis=0)

    return held.score(of)


def autocovariance(held: Held, series: Series) -> Float64[np.ndarray, "lags channels"]:
    """Mean over windows of the autocovariance about the class's fitted mean, lags 0 to 16."""
    return _lagged(series, held).mean(axis=0).reshape(LAGS + 1, series.shape[2])


def _lagged(series: Series, held: Held) -> Float64[np.ndarray, "windows lags_channels"]:
    centred = series - _class_mean(held)[held.label][:, None, :]
    parts = [(centred[:, lag:] * centred[:, : series.shape[1] - lag]).mean(axis=1) for lag in range(LAGS + 1)]
    return np.concatenate(parts, axis=1)


def _class_mean(held: Held) -> Float64[np.ndarray, "classes channels"]:
    kinds = range(int(max(held.label.max(), held.fitted_label.max())) + 1)
    fitted = [held.fitted[held.fitted_label == kind] for kind in kinds]
    return np.stack([(one if len(one) else held.fitted).mean(axis=(0, 1)) for one in fitted])


def _by_class(held: Held) -> list[Bool[np.ndarray, " windows"]]:
    return [held.label == kind for kind in np.unique(held.label)]


def _weighted(
    weight: Float64[np.ndarray, "resamples files"],
    value: Float64[np.ndarray, "windows columns"],
    file: Int64[np.ndarray, " windows"],
) -> Float64[np.ndarray, "resamples columns"]:
    """Mean over windows, each as often as its file."""
    files = weight.shape[1]
    total = np.stack([np.bincount(file, weights=column, minlength=files) for column in value.T], axis=1)
    return weight @ total / np.maximum(weight @ np.bincount(file, minlength=files), 1e-9)[:, None]


def marginal_distance(held: Held, made: Series) -> Score:
    """Kolmogorov-Smirnov distance of values, mean over classes and channels, at 128 quantiles of both together."""

    def of(weight: Float64[np.ndarray, "resamples files"]) -> Draws:
        found: list[Draws] = []
        for mine in _by_class(held):
            for channel in range(made.shape[2]):
                real, fake = (one[mine][..., channel] for one in (held.series, made))
                at = np.quantile(np.concatenate([real, fake]), np.linspace(0, 1, _LEVELS))
                below = [(one[:, :, None] <= at).mean(axis=1) for one in (real, fake)]
                shares = [_weighted(weight, one, held.file[mine]) for one in below]
                found.append(np.abs(shares[0] - shares[1]).max(axis=1))
        return np.mean(found, axis=0)

    return held.score(of)


def prediction_error(held: Held, learned_from: Series, ahead: int) -> Score:
    """RMSE over standard deviation of the held-out log rate `ahead` steps on, by ridge regression on the last 16 steps
    of all channels, learned from `learned_from` (train on synthetic, test on real).
    """
    past, target = _examples(learned_from, ahead)
    gram = past.T @ past + _RIDGE * len(past) * np.eye(past.shape[1])
    weight = np.linalg.solve(gram, past.T @ target)
    past, target = _examples(held.series, ahead)
    per_window = len(target) // len(held.series)
    missed = ((target - past @ weight) ** 2).reshape(-1, per_window).mean(axis=1)
    spread = ((target - target.mean()) ** 2).reshape(-1, per_window).mean(axis=1)
    both = np.stack([missed, spread], axis=1)

    def of(weight: Float64[np.ndarray, "resamples files"]) -> Draws:
        mean = _weighted(weight, both, held.file)
        return np.sqrt(mean[:, 0] / mean[:, 1])

    return held.score(of)


def mean_distance(held: Held, made: Series) -> Score:
    """Half the sum over channels of |mean of generated minus mean of held-out|, over the held-out sum; mean over
    classes. 0 where means agree, 1 where nothing is where it should be.
    """

    def of(weight: Float64[np.ndarray, "resamples files"]) -> Draws:
        found: list[Draws] = []
        for mine in _by_class(held):
            real, fake = (_weighted(weight, one[mine][:, 0], held.file[mine]) for one in (held.series, made))
            found.append(0.5 * np.abs(real - fake).sum(axis=1) / np.maximum(real.sum(axis=1), 1e-9))
        return np.mean(found, axis=0)

    return held.score(of)


def regression_error(held: Held, learned: tuple[Features, Features], wanted: tuple[Features, Features]) -> Score:
    """RMSE over standard deviation of held-out targets, by ridge regression on their inputs, learned from `learned`.

    Both are (inputs, targets); deviations by target.
    """
    inputs, targets = learned
    at = np.column_stack([inputs, np.ones(len(inputs))])
    weight = np.linalg.solve(at.T @ at + _RIDGE * len(at) * np.eye(at.shape[1]), at.T @ targets)
    missed = (wanted[1] - np.column_stack([wanted[0], np.ones(len(wanted[0]))]) @ weight) ** 2
    spread = (wanted[1] - wanted[1].mean(axis=0)) ** 2
    both = np.stack([missed.sum(axis=1), spread.sum(axis=1)], axis=1)

    def of(times: Float64[np.ndarray, "resamples files"]) -> Draws:
        mean = _weighted(times, both, held.file)
        return np.sqrt(mean[:, 0] / mean[:, 1])

    return held.score(of)


def _examples(series: Series, ahead: int) -> tuple[Float64[np.ndarray, "rows inputs"], Float64[np.ndarray, " rows"]]:
    """Inputs and targets, window after window."""
    last = np.arange(PAST_STEPS - 1, series.shape[1] - ahead)
    at = last[:, None] - np.arange(PAST_STEPS)[None, :]
    past = series[:, at].reshape(len(series) * len(last), -1)
    return np.column_stack([past, np.ones(len(past))]), series[:, last + ahead, 0].ravel()


def nearest_ratio(held: Held, made: Series) -> Score:
    """Median distance of generated windows to the nearest fitted one of the class, over that of held-out windows.

    Near 0: copies. Near 1: as far from what was fitted as real windows are that were never seen.
    """
    near = np.stack([_nearest(held, one) for one in (made, held.series)], axis=1)

    def of(weight: Float64[np.ndarray, "resamples files"]) -> Draws:
        found: list[float] = []
        for row in weight:
            times = row[held.file]
            order = np.argsort(near, axis=0)
            reached = np.cumsum(times[order], axis=0)
            middle = [order[np.searchsorted(reached[:, k], 0.5 * times.sum()), k] for k in (0, 1)]
            found.append(float(near[middle[0], 0] / max(near[middle[1], 1], 1e-9)))
        return np.array(found)

    return held.score(of)


def _nearest(held: Held, series: Series) -> Float64[np.ndarray, " windows"]:
    found = np.zeros(len(series))
    for mine in _by_class(held):
        kind = held.label[mine][0]
        known = held.fitted[held.fitted_label == kind]
        known = (known if len(known) else held.fitted).reshape(-1, series.shape[1] * series.shape[2])
        asked = series[mine].reshape(len(series[mine]), -1)
        square = (asked**2).sum(axis=1)[:, None] + (known**2).sum(axis=1)[None, :] - 2.0 * asked @ known.T
        found[mine] = np.sqrt(np.maximum(square.min(axis=1), 0.0))
    return found
