"""What a user still needs to reach the agreed experience, from what was lived through so far."""

from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from twinloop.qoe import BEST, WORST, UserModels

MINUTE_S = 60.0
_DOUBT = 0.25
_TRACE = 0.1


class Track(eqx.Module):
    """Where users stand in the minutes over which their mean experience is held against the agreement `ela`.

    `minutes` are judged together; `done` of them are over, with experience summing to `experience_sum`. Of the minute
    under way `elapsed_s` have passed, with `stall_s` stalled, and `quality` on average while it played. `factor` is the
    I = B^-kappa_b C^-kappa_c expected until the end.
    """

    ela: Float[Array, " users"]
    minutes: Float[Array, ""]
    done: Float[Array, " users"]
    experience_sum: Float[Array, " users"]
    elapsed_s: Float[Array, " users"]
    stall_s: Float[Array, " users"]
    quality: Float[Array, " users"]
    factor: Float[Array, " users"]


class Ladder(eqx.Module):
    """Versions on offer, ascending, and the rate that holds one: `hold` times its nominal rate.

    A player dares a version at version_bps / (s + (1 - s) fill) and fetches more than it plays where videos are left
    early; `hold` is for both.
    """

    version_bps: Float[Array, " versions"]
    hold: Float[Array, ""]

    def quality(self, rate_bps: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """Q = ln(r / (hold r_1)) / ln(r_L / r_1), not clipped: what a rate holds on average, between versions too."""
        return jnp.log(jnp.maximum(rate_bps, 1.0) / (self.hold * self.version_bps[0])) / self.span

    def rate_bps(self, quality: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """The rate that holds the lowest version of at least that quality; the top one's above it."""
        steps = jnp.log(self.version_bps / self.version_bps[0]) / self.span
        rung = jnp.searchsorted(steps, quality - 1e-4)
        return self.hold * self.version_bps[jnp.minimum(rung, self.version_bps.shape[0] - 1)]

    @property
    def span(self) -> Float[Array, ""]:
        """ln(r_L / r_1)."""
        return jnp.log(self.version_bps[-1] / self.version_bps[0])


class Required(NamedTuple):
    """The quality a user needs from now on without further stalls, and whether any quality on offer would do."""

    quality: Float[Array, " users"]
    reachable: Float[Array, " users"]


def required(models: UserModels, track: Track, spare: float = 0.05) -> Required:
    """The Q at which the mean experience of all minutes is `spare` above the agreement.

    Over the m minutes left, the one under way included, of which the part a has passed, E is linear in Q:
    sum (E - 1) / (4 I) = m s0 + w_q (a Q_sofar + (m - a) Q) - w_r R_sofar. Clipping of E at 5 is left out: Q above what
    E = 5 needs is cut. `reachable` is 1 where Q <= 1 does and falls to 0 at 1.25, since a forecast of I may err. Who
    minds stalling alone needs Q = 0, and is beyond reach once too much was stalled.
    """
    left = jnp.maximum(track.minutes - track.done, 1.0)
    goal = (jnp.minimum(track.ela + spare, BEST) * track.minutes - track.experience_sum) / left
    share = jnp.clip(goal - WORST, 0.0, BEST - WORST) / (BEST - WORST)
    service = share / jnp.maximum(track.factor, 1e-3) * left
    past = jnp.clip(track.elapsed_s / MINUTE_S, 0.0, 1.0)
    rest = jnp.maximum(left - past, 1.0 / MINUTE_S)
    lacking = service - models.level * left + models.stall_weight * track.stall_s
    lacking = lacking - models.quality_weight * past * track.quality
    minds = minds_quality(models)
    quality = jnp.where(minds, lacking / jnp.maximum(models.quality_weight * rest, 1e-6), 0.0)
    excess = jnp.where(minds, quality - 1.0, lacking / left) + jnp.maximum(goal - BEST, 0.0)
    return Required(jnp.clip(quality, 0.0, 1.0), jnp.clip(1.0 - excess / _DOUBT, 0.0, 1.0))


def minds_quality(models: UserModels) -> Bool[Array, " users"]:
    """Whose experience quality moves by .4 or more; models averaged over structures hold traces of it for all."""
    return models.quality_weight > _TRACE


def minds_stalls(models: UserModels) -> Bool[Array, " users"]:
    """Whose experience a second of stalling moves by .04 or more."""
    return models.stall_weight > 0.1 * _TRACE
