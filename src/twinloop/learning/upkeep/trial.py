"""Is one model better than another? The paired test that a candidate must pass, and that may send it back."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.special import ndtri, stdtrit

_LEAST_RANKED = 8


@dataclass(frozen=True)
class ErrorDifference:
    """Mean of a candidate's error less the incumbent's on the same data, with its interval; negative is better.

    `steady` says that the candidate wins by ranks beyond doubt, where few wild errors widen the interval of the mean.
    """

    value: float
    low: float
    high: float
    steady: bool = False

    @property
    def better(self) -> bool:
        """True where the candidate is better beyond doubt: in the mean, or by ranks and no worse in the mean."""
        return self.high < 0 or (self.steady and self.value <= 0)

    @property
    def worse(self) -> bool:
        """True where the candidate is worse beyond doubt, or its error is no number."""
        return not self.low <= 0


def paired_difference(
    candidate: Float[np.ndarray, " groups"], incumbent: Float[np.ndarray, " groups"], confidence: float = 0.95
) -> ErrorDifference:
    """Student's interval of the mean of `candidate` - `incumbent`, errors by group (slots, entities), and Wilcoxon's
    signed ranks (Biometrics Bulletin 1, 1945) in their normal approximation.

    Groups shall be nearly independent: take means over slots, not single examples of one slot. An error of the
    candidate that is not finite makes it infinitely worse; where only the incumbent's is not, the group counts as 0
    against the candidate. One group alone decides nothing.
    """
    bad = ~np.isfinite(candidate)
    if bad.any():
        return ErrorDifference(np.inf, np.inf, np.inf)
    gap = np.asarray(candidate, np.float64) - np.asarray(incumbent, np.float64)
    gap = np.where(np.isfinite(gap), gap, -np.abs(candidate))
    mean = float(gap.mean()) if gap.size else 0.0
    if gap.size < 2:
        return ErrorDifference(mean, -np.inf, np.inf)
    half = float(stdtrit(gap.size - 1, 0.5 + confidence / 2) * gap.std(ddof=1) / np.sqrt(gap.size))
    return ErrorDifference(mean, mean - half, mean + half, _wins_by_ranks(gap, confidence))


def _wins_by_ranks(gap: Float[np.ndarray, " groups"], confidence: float) -> bool:
    """True where falls outrank rises: sum of ranks of |gap| over rises, in deviations below its mean n (n + 1) / 4."""
    moved = gap[gap != 0]
    n = moved.size
    if n < _LEAST_RANKED:
        return False
    rank = np.argsort(np.argsort(np.abs(moved))) + 1.0
    rises = float(rank[moved > 0].sum())
    z = (rises - n * (n + 1) / 4) / np.sqrt(n * (n + 1) * (2 * n + 1) / 24)
    return bool(z < -ndtri(0.5 + confidence / 2))
