"""How wide intervals of forecasts must be, learned from how far off forecasts of late were: the widths are right on
average whatever the emulator believes of itself (split conformal prediction over a moving window; V. Vovk,
A. Gammerman, G. Shafer, Algorithmic Learning in a Random World, 2005, chapter 4).
"""

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twinloop.emulation import Z90

STEPS = (1, 2, 5, 10, 20, 30, 60, 120)
"""Slots ahead at which forecasts are compared with what came; between them widths are interpolated."""
KEPT = 2_000
"""Scores that a width is made from."""
LEAST_SCORES = 100
"""With fewer scores an emulator is taken at its word; *ours*."""
_NARROWEST, _WIDEST = 1e-3, 1e4
_LATE_SLOTS = 1


@dataclass(frozen=True, eq=False)
class Claim:
    """What was foretold after `slot` of some entities: [steps, chosen, attributes]. `names` tell whether a row still
    holds the same twin; where `speaks`, silence says that nothing changed much.
    """

    slot: int
    rows: NDArray[np.int64]
    names: tuple[str, ...]
    mean: NDArray[np.float32]
    std: NDArray[np.float32]
    speaks: NDArray[np.bool_]


class Widths:
    """Factors on standard deviations by step and attribute, for one kind of twin; see `factors`."""

    def __init__(self, attributes: int) -> None:
        self.misses = np.zeros((len(STEPS), attributes, KEPT), np.float32)
        self._count = np.zeros((len(STEPS), attributes), np.int64)
        self._open: deque[tuple[Claim, set[int]]] = deque()
        self._factor: NDArray[np.float64] | None = None

    def claim(self, claim: Claim) -> None:
        """Takes in what is foretold now, to be held against what comes."""
        self._open.append((claim, set(range(len(STEPS)))))

    def compare(
        self,
        number: int,
        ids: tuple[str, ...],
        active: NDArray[np.bool_],
        value: NDArray[np.float32],
        slot: NDArray[np.int32],
    ) -> None:
        """Holds open claims against what the twins know after slot `number`: of twins that are still there, values
        that were heard after the claim, or whose silence speaks.
        """
        for claim, steps in self._open:
            for step in [one for one in steps if claim.slot + STEPS[one] + _LATE_SLOTS <= number]:
                steps.discard(step)
                if claim.slot + STEPS[step] + _LATE_SLOTS == number:
                    self._score(claim, step, ids, active, value, slot)
        while self._open and not self._open[0][1]:
            self._open.popleft()

    def factors(self, steps: int) -> NDArray[np.float64]:
        """What to multiply standard deviations of the next `steps` slots with, [steps, attributes]: the 90 % quantile
        of |miss| / std over that of the normal distribution. Beyond the last step compared it goes on as it grew, and
        never shrinks.
        """
        known = self._known()
        at, wanted = np.log(np.asarray(STEPS, np.float64)), np.log(np.arange(1, steps + 1, dtype=np.float64))
        grows = np.maximum((known[-1] - known[-2]) / (at[-1] - at[-2]), 0.0)
        beyond = np.maximum(wanted - at[-1], 0.0)[:, None] * grows[None, :]
        inside = np.stack([np.interp(wanted, at, column) for column in known.T], axis=1)
        return np.exp(inside + beyond)

    def _known(self) -> NDArray[np.float64]:
        if self._factor is None:
            self._factor = np.zeros(self._count.shape)
            for step, attribute in np.argwhere(self._count >= LEAST_SCORES):
                kept = self.misses[step, attribute, : self._count[step, attribute]]
                wide = float(np.quantile(kept, 0.9)) / Z90
                self._factor[step, attribute] = np.log(np.clip(wide, _NARROWEST, _WIDEST))
        return self._factor

    def _score(
        self,
        claim: Claim,
        step: int,
        ids: tuple[str, ...],
        active: NDArray[np.bool_],
        value: NDArray[np.float32],
        slot: NDArray[np.int32],
    ) -> None:
        rows = claim.rows
        there = active[rows] & np.asarray([ids[row] == name for row, name in zip(rows, claim.names, strict=True)])
        heard = (slot[rows] > claim.slot) | claim.speaks & (slot[rows] >= 0)
        usable = there[:, None] & heard & (claim.std[step] > 0) & np.isfinite(claim.mean[step])
        miss = np.abs(value[rows] - claim.mean[step]) / np.where(usable, claim.std[step], 1.0)
        for attribute in np.flatnonzero(usable.any(axis=0)):
            scores = miss[usable[:, attribute], attribute][-KEPT:]
            begin = int(self._count[step, attribute])
            self.misses[step, attribute, (begin + np.arange(len(scores))) % KEPT] = scores
            self._count[step, attribute] = begin + len(scores)
        self._factor = None
