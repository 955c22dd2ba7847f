"""Linear forecasts by ridge regression, solved from sums over files, so that any split of the files costs nothing."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from twinloop.learning import LEVELS
from twinloop.training.forecasting.samples import Samples

RIDGES = (1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0)
"""Penalties tried, as shares of the mean square of each feature."""

Files = Int64[np.ndarray, " _"]


@dataclass(frozen=True)
class Sums:
    """Second moments by file of features and of the change to the horizon, each file's mean over its variance."""

    features: Float64[np.ndarray, "files horizons features features"]
    mixed: Float64[np.ndarray, "files horizons features"]
    change: Float64[np.ndarray, "files horizons"]

    def error(self, weights: Float64[np.ndarray, "horizons features"], files: Files) -> Float64[np.ndarray, " h"]:
        """Mean over `files` of the mean squared error over the file's variance, by horizon."""
        square = np.einsum("hi,fhij,hj->fh", weights, self.features[files], weights)
        cross = np.einsum("hi,fhi->fh", weights, self.mixed[files])
        return np.mean(square - 2 * cross + self.change[files], axis=0)


def sums_of(samples: Samples) -> Sums:
    """The sums of every file of `samples`."""
    files, horizons = samples.file_std.shape
    count = samples.linear.shape[-1]
    features = np.zeros((files, horizons, count, count))
    mixed, change = np.zeros((files, horizons, count)), np.zeros((files, horizons))
    for file in range(files):
        rows = samples.file == file
        for horizon in range(horizons):
            kept = samples.valid[rows, :, horizon]
            x = samples.linear[rows, :, horizon][kept].astype(np.float64)
            y = (samples.truth[rows, :, horizon] - samples.last[rows])[kept].astype(np.float64)
            weight = 1.0 / (max(len(y), 1) * samples.file_std[file, horizon] ** 2)
            features[file, horizon] = weight * x.T @ x
            mixed[file, horizon] = weight * x.T @ y
            change[file, horizon] = weight * y @ y
    return Sums(features, mixed, change)


def solve_ridge(
    sums: Sums,
    files: Files,
    ridge: Float64[np.ndarray, " horizons"],
    columns: Sequence[int] | None = None,
    around: Sequence[int] = (),
) -> Float64[np.ndarray, "horizons features"]:
    """Weights that minimise mean error + ridge x mean square of the scaled weights; 0 outside `columns`.

    With `around`, weights are drawn not to 0 (the last value) but to the best forecast by one of those features alone.
    """
    features, mixed = sums.features[files].mean(axis=0), sums.mixed[files].mean(axis=0)
    chosen = np.arange(mixed.shape[1]) if columns is None else np.asarray(columns)
    weights = _best_alone(sums, files, around)
    mixed = mixed - np.einsum("hij,hj->hi", features, weights)
    for horizon in range(len(mixed)):
        moments = features[horizon][np.ix_(chosen, chosen)]
        size = np.sqrt(np.maximum(np.diag(moments), 1e-12))
        scaled = moments / np.outer(size, size) + ridge[horizon] * np.eye(len(chosen))
        weights[horizon, chosen] += np.linalg.solve(scaled, mixed[horizon, chosen] / size) / size
    return weights


def _best_alone(sums: Sums, files: Files, around: Sequence[int]) -> Float64[np.ndarray, "horizons features"]:
    """Weight 1 on the feature of `around` of lowest error over `files` by horizon, on none where the last value is."""
    horizons, count = sums.mixed.shape[1:]
    tried = [np.zeros((horizons, count))]
    for feature in around:
        alone = np.zeros((horizons, count))
        alone[:, feature] = 1.0
        tried.append(alone)
    best = np.stack([sums.error(one, files) for one in tried]).argmin(axis=0)
    return np.stack([tried[setting][horizon] for horizon, setting in enumerate(best)])


def tuned_ridge(
    sums: Sums,
    splits: Sequence[tuple[Files, Files]],
    columns: Sequence[int] | None = None,
    around: Sequence[int] = (),
) -> tuple[Float64[np.ndarray, " horizons"], Float64[np.ndarray, " horizons"]]:
    """The penalty of lowest error on the second part of the `splits` when solved on the first, and that error."""
    horizons = sums.change.shape[1]
    errors = np.stack([_split_error(sums, splits, np.full(horizons, r), columns, around) for r in RIDGES])
    best = errors.argmin(axis=0)
    return np.asarray(RIDGES)[best], errors.min(axis=0)


def _split_error(
    sums: Sums,
    splits: Sequence[tuple[Files, Files]],
    ridge: Float64[np.ndarray, " horizons"],
    columns: Sequence[int] | None,
    around: Sequence[int],
) -> Float64[np.ndarray, " horizons"]:
    errors = [sums.error(solve_ridge(sums, fit, ridge, columns, around), rest) for fit, rest in splits]
    return np.mean(errors, axis=0)


def weighted_quantiles(
    values: Float64[np.ndarray, " points"],
    weights: Float64[np.ndarray, " points"],
    levels: Sequence[float] | Float64[np.ndarray, " levels"] = LEVELS,
) -> Float64[np.ndarray, " levels"]:
    """Smallest values below which the given shares of the weight lie."""
    order = np.argsort(values)
    below = np.cumsum(weights[order])
    at = np.searchsorted(below, np.asarray(levels) * below[-1])
    return values[order][np.minimum(at, len(values) - 1)]
