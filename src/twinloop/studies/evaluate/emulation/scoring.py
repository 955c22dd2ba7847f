"""Scores by file and horizon, and what they say over files: means with bootstrap intervals, paired differences."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64

from twinloop.learning import LEVELS
from twinloop.studies.evaluate.judgement import Estimate
from twinloop.training import Samples

RESAMPLES = 2000
NOMINAL = tuple(round(LEVELS[-1 - k] - LEVELS[k], 2) for k in range(len(LEVELS) // 2))
"""Shares that the central intervals should hold, widest (.9) first."""

ByFile = Float64[np.ndarray, "files horizons"]


@dataclass(frozen=True)
class Scores:
    """Of one model: mean squared error over variance, CRPS and pinball loss over standard deviation, by file.

    `inside` is the share of truths within each of the central intervals of `NOMINAL`.
    """

    squared: ByFile
    crps: ByFile
    pinball: ByFile
    inside: Float64[np.ndarray, "files horizons intervals"]

    @staticmethod
    def empty(samples: Samples) -> "Scores":
        """Room for the scores of every file, NaN until filled in."""
        shape = samples.file_std.shape
        inside = np.full((*shape, len(NOMINAL)), np.nan)
        return Scores(np.full(shape, np.nan), np.full(shape, np.nan), np.full(shape, np.nan), inside)

    def fill(
        self,
        samples: Samples,
        entities: Int64[np.ndarray, " some"],
        mean: Float[np.ndarray, "some steps horizons"],
        quantiles: Float[np.ndarray, "some steps horizons levels"],
        counted: Bool[np.ndarray, "some steps horizons"],
    ) -> None:
        """Score forecasts of `entities` (whole files) where `counted`."""
        files = samples.file[entities]
        for file in np.unique(files):
            rows = files == file
            for horizon in range(mean.shape[-1]):
                kept = counted[rows][..., horizon]
                truth = samples.truth[entities[rows]][..., horizon][kept].astype(np.float64)
                if not len(truth):
                    continue
                spread = samples.file_std[file, horizon]
                said = quantiles[rows][..., horizon, :][kept].astype(np.float64)
                miss = (truth - mean[rows][..., horizon][kept]) / spread
                loss = _pinball(said, truth).mean(axis=0) / spread
                self.squared[file, horizon] = np.mean(miss**2)
                self.crps[file, horizon] = 2.0 * loss.sum() / (len(LEVELS) + 1)
                self.pinball[file, horizon] = loss.mean()
                self.inside[file, horizon] = _inside(said, truth)


def _pinball(
    quantiles: Float64[np.ndarray, "points levels"], truth: Float64[np.ndarray, " points"]
) -> Float64[np.ndarray, "points levels"]:
    miss = truth[:, None] - quantiles
    levels = np.asarray(LEVELS)[None, :]
    return np.maximum(levels * miss, (levels - 1) * miss)


def _inside(
    quantiles: Float64[np.ndarray, "points levels"], truth: Float64[np.ndarray, " points"]
) -> Float64[np.ndarray, " intervals"]:
    half = len(LEVELS) // 2
    within = (truth[:, None] >= quantiles[:, :half]) & (truth[:, None] <= quantiles[:, : -half - 1 : -1])
    return within.mean(axis=0)


class Bootstrap:
    """Files drawn with replacement, the same draws for every model, so that differences are paired."""

    def __init__(self, files: int, seed: int) -> None:
        self.picks = np.random.default_rng(seed).integers(files, size=(RESAMPLES, files))

    def mean(self, by_file: Float64[np.ndarray, " files"], *, root: bool = False) -> Estimate:
        """Mean over files with its 95 % interval; the root of both if asked."""
        drawn = np.nanmean(by_file[self.picks], axis=1)
        figures = np.array([np.nanmean(by_file), *np.quantile(drawn, [0.025, 0.975])])
        return Estimate(*(float(x) for x in (np.sqrt(figures) if root else figures)))

    def relative(
        self, ours: Float64[np.ndarray, " files"], theirs: Float64[np.ndarray, " files"], *, root: bool = False
    ) -> Estimate:
        """Mean of ours over mean of theirs, less 1, with its 95 % interval; of the roots if asked."""
        drawn = np.nanmean(ours[self.picks], axis=1) / np.nanmean(theirs[self.picks], axis=1)
        ratio = np.array([np.nanmean(ours) / np.nanmean(theirs), *np.quantile(drawn, [0.025, 0.975])])
        return Estimate(*(float(x) for x in (np.sqrt(ratio) if root else ratio) - 1.0))
