"""How restless a network is, and how long slices may stand: five stages of dynamics, a window for each."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

WINDOW_BLOCKS = (5, 4, 3, 2, 1)
"""Blocks of 3 minutes that slices stand, from the calmest stage to the most restless: 15, 12, 9, 6, 3 minutes."""

_THRESHOLDS = (0.40, 0.53, 0.57, 0.59)
_FULL = (6.0, 12.0, 6.0, 400.0, 0.6)
_WEIGHT = (0.2, 0.2, 0.2, 0.2, 0.2)

BLOCK_S = 180.0
SIGNALS = ("swipes", "sinr", "speed", "position", "demand")


class Surroundings(eqx.Module):
    """What agents emulate of people and their environment, mean over a block: by user, and demand of the slices.

    `swipes_per_min` is the hazard of leaving as a rate, `sinr_db`, `speed_mps`, `position_m`; `demand` of every slice
    in every cell, in any one unit.
    """

    swipes_per_min: Float[Array, "*blocks users"]
    sinr_db: Float[Array, "*blocks users"]
    speed_mps: Float[Array, "*blocks users"]
    position_m: Float[Array, "*blocks users 2"]
    demand: Float[Array, "*blocks cells slices"]
    present: Bool[Array, "*blocks users"]


class DynamicsScale(eqx.Module):
    """What counts as full variation of each of `SIGNALS`, in its unit, and how much each weighs; weights sum to 1."""

    full: Float[Array, " signals"]
    weight: Float[Array, " signals"]


def variation(before: Surroundings, now: Surroundings) -> Float[Array, " signals"]:
    """How far two blocks differ, the one before slices were decided and the last.

    Mean over users present in both of |difference|, 0 where nobody is; of demand the part that moved, sum |d' - d| /
    sum max(d', d), in [0, 1].
    """
    both = before.present & now.present
    count = jnp.maximum(jnp.sum(both), 1)

    def mean(change: Float[Array, " users"]) -> Float[Array, ""]:
        return jnp.sum(jnp.where(both, change, 0.0)) / count

    moved = jnp.sqrt(jnp.sum((now.position_m - before.position_m) ** 2, axis=1))
    shifted = jnp.sum(jnp.abs(now.demand - before.demand))
    return jnp.stack(
        [
            mean(jnp.abs(now.swipes_per_min - before.swipes_per_min)),
            mean(jnp.abs(now.sinr_db - before.sinr_db)),
            mean(jnp.abs(now.speed_mps - before.speed_mps)),
            mean(moved),
            shifted / jnp.maximum(jnp.sum(jnp.maximum(now.demand, before.demand)), 1e-9),
        ]
    )


def dynamics_score(scale: DynamicsScale, changed: Float[Array, "*blocks signals"]) -> Float[Array, "*blocks"]:
    """D = sum_i weight_i min(v_i / full_i, 1), in [0, 1]."""
    full = scale.full.reshape((1,) * (changed.ndim - 1) + scale.full.shape)
    return jnp.minimum(changed / full, 1.0) @ scale.weight


def fit_scale(changed: Float[Array, "blocks signals"], worse: Float[Array, " blocks"]) -> DynamicsScale:
    """Scales from recorded blocks: full is the 95 % quantile; a signal weighs by how well it tells what QoE was lost.

    `changed` is what changed since slices were decided, `worse` the experience lost since then; weights are the
    positive parts of the correlations of each signal with it, equal where none is positive.
    """
    full = jnp.maximum(jnp.quantile(changed, 0.95, axis=0), 1e-6)
    signal = jnp.minimum(changed / full[None], 1.0)
    centred = signal - jnp.mean(signal, axis=0, keepdims=True)
    lost = (worse - jnp.mean(worse))[:, None]
    spread = jnp.sqrt(jnp.sum(centred**2, axis=0) * jnp.sum(lost**2))
    telling = jnp.maximum(jnp.sum(centred * lost, axis=0) / jnp.maximum(spread, 1e-9), 0.0)
    total = jnp.sum(telling)
    equal = jnp.full_like(full, 1.0 / full.shape[0])
    return DynamicsScale(full, jnp.where(total > 0, telling / jnp.maximum(total, 1e-9), equal))


class WindowMemory(eqx.Module):
    """What the choice of windows remembers: blocks since the last reconfiguration, and the shift.

    `opening` is the experience in the first block after the last reconfiguration, `shift` what feedback has added to
    every score, `stage` that of the block.
    """

    elapsed: Int[Array, ""]
    opening: Float[Array, ""]
    shift: Float[Array, ""]
    stage: Int[Array, ""]


class AdaptiveWindow(eqx.Module):
    """Chooses block by block whether slices are decided anew: when they have stood as long as the stage allows.

    The stage is the number of `thresholds` (rising, of the score) below score + shift, the score that of all that
    changed since slices were last decided: what moved while people were restless still counts once they are calm.
    Feedback, once a window: experience that fell since its first block by more than `tolerance` [points of 1-5] says
    that the window was too long, so the shift grows by `rate` x the excess; less says that it was needlessly short.
    Windows of one block cannot tell, and let the shift fade. It stays within +-`most_shift`, so thresholds tuned
    offline are adjusted, never replaced.
    Thresholds, stages and windows: paper 000, III-D.2 and IV; the score and the rule are ours.
    """

    thresholds: Float[Array, "stages_less_one"]
    rate: Float[Array, ""]
    tolerance: Float[Array, ""]
    most_shift: Float[Array, ""]

    def init(self) -> WindowMemory:
        """Nothing known: due at once, in the middle stage."""
        far, zero = jnp.int32(WINDOW_BLOCKS[0]), jnp.float32(0.0)
        return WindowMemory(far, jnp.float32(jnp.nan), zero, jnp.int32(len(WINDOW_BLOCKS) // 2))

    def stage(self, score: Float[Array, ""]) -> Int[Array, ""]:
        """Stage of a score, from 0, the calmest."""
        return jnp.sum(score > self.thresholds).astype(jnp.int32)

    def decide(
        self, memory: WindowMemory, score: Float[Array, ""], experience: Float[Array, ""]
    ) -> tuple[Bool[Array, ""], WindowMemory]:
        """Whether slices are decided before the next block.

        `score` is of what changed since slices were last decided, `experience` the mean of the last block. Call it once
        a block; the mask `due` holds the decision of the loop's window() where it is False.
        """
        first = (memory.elapsed == 1) | jnp.isnan(memory.opening)
        opening = jnp.where(first, experience, memory.opening)
        stage = self.stage(score + memory.shift)
        due = memory.elapsed >= jnp.array(WINDOW_BLOCKS, jnp.int32)[stage]
        stood = due & (memory.elapsed > 1) & ~jnp.isnan(memory.opening)
        excess = jnp.clip(opening - experience - self.tolerance, -1.0, 1.0)
        shift = memory.shift + self.rate * jnp.where(stood, excess, -memory.shift * due)
        shift = jnp.clip(shift, -self.most_shift, self.most_shift)
        return due, WindowMemory(jnp.where(due, 1, memory.elapsed + 1).astype(jnp.int32), opening, shift, stage)


def adaptive_window(
    thresholds: Float[Array, "stages_less_one"],
    rate: float = 0.02,
    tolerance: float = 0.05,
    most_shift: float = 0.1,
) -> AdaptiveWindow:
    """An adaptive window with rising `thresholds`, one fewer than stages."""
    numbers = (jnp.float32(x) for x in (rate, tolerance, most_shift))
    return AdaptiveWindow(jnp.sort(thresholds), *numbers)


def fixed_window(blocks: int) -> AdaptiveWindow:
    """The window that is always `blocks` of 3 minutes, as a setting of the adaptive one that no score changes."""
    stage = WINDOW_BLOCKS.index(blocks)
    ends = jnp.array([-10.0] * stage + [10.0] * (len(WINDOW_BLOCKS) - 1 - stage), jnp.float32)
    return adaptive_window(ends, rate=0.0, most_shift=0.0)


def shipped_pace() -> tuple[AdaptiveWindow, DynamicsScale]:
    """The rule of policies that ask for adaptive windows, and what it measures change by."""
    return adaptive_window(jnp.array(_THRESHOLDS)), DynamicsScale(jnp.array(_FULL), jnp.array(_WEIGHT))


def threshold_candidates(scores: Float[Array, " blocks"], places: int = 24) -> Float[Array, "settings stages_less_one"]:
    """Settings of thresholds to try: around `places` quantiles of recorded scores, close together, and far apart."""
    middle = jnp.quantile(scores, jnp.linspace(0.05, 0.95, places))
    spread = jnp.maximum(jnp.std(scores), 1e-3) * jnp.array([0.02, 0.3, 0.8])
    steps = jnp.arange(len(WINDOW_BLOCKS) - 1, dtype=jnp.float32) - 0.5 * (len(WINDOW_BLOCKS) - 2)
    grid = middle[:, None, None] + spread[None, :, None] * steps[None, None, :]
    return grid.reshape(-1, steps.shape[0])


def tune_thresholds(
    candidates: Float[Array, "settings stages_less_one"],
    experience: Float[Array, " settings"],
    reconfigurations: Float[Array, " settings"],
    most: float,
) -> Float[Array, "stages_less_one"]:
    """The candidate of best recorded experience among those with at most `most` reconfigurations; else the fewest."""
    allowed = reconfigurations <= most
    value = jnp.where(jnp.any(allowed), jnp.where(allowed, experience, -jnp.inf), -reconfigurations)
    return candidates[jnp.argmax(value)]
