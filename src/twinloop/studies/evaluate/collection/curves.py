"""Error against bits: which knobs are worth turning, how many bits an error takes, and how sure that is."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from twinloop.studies.evaluate.collection.replay import Cost

_RESAMPLES = 400


@dataclass(frozen=True)
class Points:
    """Error, bits and slots of every entity at every knob."""

    error: Float64[np.ndarray, "knobs entities"]
    bits: Float64[np.ndarray, "knobs entities"]
    slots: Float64[np.ndarray, " entities"]

    @staticmethod
    def of(cost: Cost) -> "Points":
        """Points of a replay."""
        return Points(
            np.asarray(cost.error, np.float64),
            np.asarray(cost.bits, np.float64),
            np.asarray(cost.slots, np.float64).reshape(-1, cost.slots.shape[-1])[0],
        )

    def pooled(
        self, weight: Float64[np.ndarray, "resamples entities"]
    ) -> tuple[Float64[np.ndarray, "resamples knobs"], Float64[np.ndarray, "resamples knobs"]]:
        """Mean error and mean bits a slot of one entity, entities counted `weight` times."""
        slots = (weight @ self.slots)[:, None]
        return weight @ self.error.T / slots, weight @ self.bits.T / slots

    @property
    def everybody(self) -> tuple[Float64[np.ndarray, " knobs"], Float64[np.ndarray, " knobs"]]:
        """Mean error and mean bits a slot over all entities."""
        error, bits = self.pooled(np.ones((1, len(self.slots))))
        return error[0], bits[0]

    def chosen(self, knobs: list[int]) -> "Points":
        """The points of some knobs."""
        return Points(self.error[knobs], self.bits[knobs], self.slots)


def frontier(points: Points) -> list[int]:
    """Knobs that no other one beats in both error and bits, by rising bits."""
    error, bits = points.everybody
    kept: list[int] = []
    for knob in np.lexsort((error, bits)).tolist():
        if not kept or error[knob] < error[kept[-1]] * 0.999:
            kept.append(knob)
    return kept


def bits_at(
    error: Float64[np.ndarray, " knobs"], bits: Float64[np.ndarray, " knobs"], levels: Float64[np.ndarray, " levels"]
) -> Float64[np.ndarray, " levels"]:
    """Bits a slot that take the error to each level, straight between knobs in logarithms; NaN beyond them."""
    order = np.argsort(error)
    known, cost = error[order], np.minimum.accumulate(bits[order])
    return np.exp(np.interp(np.log(levels), np.log(known), np.log(cost), left=np.nan, right=np.nan))


def resamples(entities: int, seed: int) -> Float64[np.ndarray, "resamples entities"]:
    """How often each entity is drawn in 400 draws with replacement; the first row is everybody once."""
    draw = np.random.default_rng(seed)
    rows = [np.bincount(pick, minlength=entities) for pick in draw.integers(entities, size=(_RESAMPLES, entities))]
    return np.stack([np.ones(entities), *rows]).astype(np.float64)


def cost_at(
    families: list[Points], weight: Float64[np.ndarray, "resamples entities"], levels: Float64[np.ndarray, " levels"]
) -> Float64[np.ndarray, "resamples levels"]:
    """Least bits a slot over `families` that take the error to each level, in every resample."""
    pooled = [points.pooled(weight) for points in families]
    each = [[bits_at(error[row], bits[row], levels) for row in range(len(weight))] for error, bits in pooled]
    stacked = np.array(each)
    least = np.where(np.isnan(stacked), np.inf, stacked).min(axis=0)
    return np.where(np.isinf(least), np.nan, least)
