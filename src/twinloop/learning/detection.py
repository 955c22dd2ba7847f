"""Has the world changed? Detectors of drift in the running errors of predictions and of clusters."""

from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float64, Int

_LEAST_SPREAD = 1e-6
Level = Literal["learned", "zero"]


class Watched(eqx.Module):
    """What a cumulative detector remembers of each entity: its sum, and the level and spread of its errors."""

    total: Float[Array, " entities"]
    mean: Float[Array, " entities"]
    square: Float[Array, " entities"]
    seen: Int[Array, " entities"]


class CumulativeDetector(eqx.Module):
    """Alarm where the cumulative error exceeds a prescribed value, for many entities at once.

        z = (e - m) / s,   S <- max(S + min(z, clip) - allowance, 0),   alarm when S > threshold

    e is the error of a step, m and s the mean and standard deviation of the entity's errors before it; in the first
    `settle` steps there is no alarm. S starts at 0 and returns there after an alarm. Beyond `settle`, m and s learn
    from errors of at most m + clip s, so that one wild error does not deafen the detector (self-starting CUSUM,
    Hawkins, The Statistician 36, 1987). An error that is not finite counts as `clip`, and teaches nothing.
    The paper (001, case study) adds up the errors themselves, which a steady model exceeds as well, if later: that is
    `level` "zero" (m = 0, s = 1) with allowance 0. Subtracting the level makes it Page's one-sided CUSUM (Biometrika
    41, 1954). Left out: falling errors, which ask for no update.
    """

    allowance: Float[Array, ""]
    threshold: Float[Array, ""]
    clip: Float[Array, ""]
    settle: int = eqx.field(static=True, default=50)
    level: Level = eqx.field(static=True, default="learned")

    def init(self, entities: int) -> Watched:
        """Nothing seen of any entity."""
        none = jnp.zeros(entities)
        return Watched(none, none, none, jnp.zeros(entities, jnp.int32))

    def step(
        self, state: Watched, error: Float[Array, " entities"], known: Bool[Array, " entities"]
    ) -> tuple[Watched, Bool[Array, " entities"]]:
        """The state after one step, and where there is an alarm; entities that are not `known` stay as they are."""
        settled = state.seen >= self.settle
        level, spread = self._level(state)
        z = (error - level) / spread
        z = jnp.where(jnp.isfinite(z), jnp.minimum(z, self.clip), self.clip)
        total = jnp.where(known & settled, jnp.maximum(state.total + z - self.allowance, 0.0), state.total)
        alarm = known & settled & (total > self.threshold)
        learns = known & jnp.isfinite(error)
        seen = state.seen + learns
        tame = jnp.where(settled, jnp.minimum(error, state.mean + self.clip * self._deviation(state)), error)
        apart = jnp.where(learns, tame - state.mean, 0.0)
        mean = state.mean + apart / jnp.maximum(seen, 1)
        square = state.square + apart * jnp.where(learns, tame - mean, 0.0)
        return Watched(jnp.where(alarm, 0.0, total), mean, square, seen), alarm

    def _level(self, state: Watched) -> tuple[Array, Array]:
        if self.level == "zero":
            return jnp.zeros_like(state.mean), jnp.ones_like(state.mean)
        return state.mean, self._deviation(state)

    def _deviation(self, state: Watched) -> Array:
        return jnp.sqrt(state.square / jnp.maximum(state.seen - 1, 1)) + _LEAST_SPREAD


def cumulative_detector(
    threshold: float = 12.0, allowance: float = 0.5, clip: float = 6.0, *, settle: int = 50, level: Level = "learned"
) -> CumulativeDetector:
    """A detector of those settings. Raises ValueError for settings with which it could never work."""
    if not (threshold > 0 and allowance >= 0 and clip > allowance and settle >= 2):
        given = f"threshold {threshold}, allowance {allowance}, clip {clip}, settle {settle}"
        raise ValueError(f"{given}: needs threshold > 0, clip > allowance >= 0 and settle >= 2")
    return CumulativeDetector(jnp.float32(allowance), jnp.float32(threshold), jnp.float32(clip), settle, level)


@eqx.filter_jit
def detect(
    detector: CumulativeDetector, state: Watched, errors: Float[Array, "steps entities"]
) -> tuple[Watched, Bool[Array, "steps entities"]]:
    """Run over `errors`; NaN marks a step in which nothing was known of an entity."""

    def one(before: Watched, error: Array) -> tuple[Watched, Array]:
        return detector.step(before, error, ~jnp.isnan(error))

    return jax.lax.scan(one, state, errors)


class DualError(eqx.Module):
    """Both errors of an entity: `squared` where a truth arrived (else NaN), `entropy` of what was predicted."""

    squared: Float[Array, " entities"]
    entropy: Float[Array, " entities"]


def dual_error(
    probability: Float[Array, "entities classes"], truth: Int[Array, " entities"], labelled: Bool[Array, " entities"]
) -> DualError:
    """Squared error where there are labels, entropy everywhere (001, III-E 2; 002).

        squared = sum_c (p_c - 1[c = truth])^2 / 2,   entropy = -sum_c p_c ln p_c / ln C

    Both lie in 0 .. 1. Entropy alone misses a model that is wrong and sure: keep the squared error of whatever labels
    there are beside it.
    """
    classes = probability.shape[1]
    hit = jax.nn.one_hot(truth, classes)
    squared = 0.5 * jnp.sum((probability - hit) ** 2, axis=1)
    return DualError(jnp.where(labelled, squared, jnp.nan), entropy_share(probability))


def entropy_share(probability: Float[Array, "*entities classes"]) -> Float[Array, "*entities"]:
    """Entropy over the last axis as a share of the greatest, ln of the number of classes."""
    return -jnp.sum(jax.scipy.special.xlogy(probability, probability), axis=-1) / np.log(probability.shape[-1])


class ClusterError(eqx.Module):
    """How well users sit in their clusters: `nearest` names the cluster.

    `distance` is the squared distance to its centre over the mean of the fit, `blur` the distance to the nearest over
    that to the second nearest centre (1 less the simplified silhouette), `entropy` that of the soft assignment.
    """

    nearest: Int[Array, " entities"]
    distance: Float[Array, " entities"]
    blur: Float[Array, " entities"]
    entropy: Float[Array, " entities"]


def cluster_error(
    features: Float[Array, "entities features"], centres: Float[Array, "clusters features"], inertia: Float[Array, ""]
) -> ClusterError:
    """Errors of a clustering with `centres`, whose mean squared distance to them was `inertia` when it was fitted.

    The soft assignment is that of Gaussian clusters of that spread: p_c ~ exp(-d_c^2 F / (2 `inertia`)), F features.
    Needs two clusters or more.
    """
    square = jnp.sum((features[:, None, :] - centres[None, :, :]) ** 2, axis=2)
    two = -jax.lax.top_k(-square, 2)[0]
    soft = jax.nn.softmax(-0.5 * square * features.shape[1] / inertia, axis=1)
    blur = jnp.sqrt(two[:, 0] / jnp.maximum(two[:, 1], _LEAST_SPREAD))
    return ClusterError(jnp.argmin(square, axis=1).astype(jnp.int32), two[:, 0] / inertia, blur, entropy_share(soft))


def adwin_alarms(
    errors: Float64[np.ndarray, " steps"], delta: float = 0.002, grace: int = 30
) -> Bool[np.ndarray, " steps"]:
    """Alarms of ADWIN (Bifet and Gavalda, SDM 2007; river's): the mean has risen between two parts of its window.

    `delta` bounds the chance of a false alarm in a test; nothing is tested within the first `grace` steps. Falls of
    the mean shorten its window as well, and are no alarm.
    """
    from river.drift import ADWIN  # river takes a second to import

    detector = ADWIN(delta=delta, grace_period=grace, clock=1)
    alarms = np.zeros(len(errors), bool)
    for step, error in enumerate(errors.tolist()):
        before = detector.estimation
        detector.update(error)
        alarms[step] = detector.drift_detected and detector.estimation > before
    return alarms


def page_hinkley_alarms(
    errors: Float64[np.ndarray, " steps"], threshold: float = 50.0, delta: float = 0.005, settle: int = 30
) -> Bool[np.ndarray, " steps"]:
    """Alarms of the Page-Hinkley test (Page 1954, Hinkley 1971; river's) for a rise of the mean.

    It adds up the errors less their running mean and `delta`, and alarms `threshold` above the least sum so far.
    """
    from river.drift import PageHinkley  # river takes a second to import

    detector = PageHinkley(min_instances=settle, delta=delta, threshold=threshold, alpha=1.0, mode="up")
    alarms = np.zeros(len(errors), bool)
    for step, error in enumerate(errors.tolist()):
        detector.update(error)
        alarms[step] = detector.drift_detected
    return alarms
