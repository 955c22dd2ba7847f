"""The experience of users under given conditions, E = S(q) x I(B, C), one row of parameters a user."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from twinloop.units import kmh_from_mps

RULES = ("stall", "quality", "both")
"""What a user minds: stalling, the quality of the picture, or both (paper 000, IV)."""

IMPACTS = ("none", "behaviour", "environment", "both")
"""Which of behavioural dynamics B and environmental complexity C weigh on a user; the index is 1 for B plus 2 for C."""

WORST = 1.0
"""The lowest opinion score (ITU-T P.800.1)."""

BEST = 5.0
"""The highest opinion score."""

_MOST_SWIPES_PER_MIN = 12.0
_SLOWEST_KMH, _FASTEST_KMH = 2.0, 40.0


class Conditions(eqx.Module):
    """What a rated period was like: `stall_s` R [s of stalling], `quality` Q of the picture in [0, 1], `behaviour` B
    and `environment` C in [1, 2].
    """

    stall_s: Float[Array, "*shape"]
    quality: Float[Array, "*shape"]
    behaviour: Float[Array, "*shape"]
    environment: Float[Array, "*shape"]


class UserModels(eqx.Module):
    """E = 1 + 4 clip(S I, 0, 1) with S = s0 + w_q Q - w_r R and I = B^-kappa_b C^-kappa_c, a row of parameters a user.

    s0 `level`, w_q `quality_weight`, w_r `stall_weight` [1/s], kappa_b, kappa_c [1]. `rule` and `impact` index `RULES`
    and `IMPACTS` and say which parameters are free: w_q is 0 under the rule of stalling, s0 and w_r are 0 under that of
    quality, s0 is 0 where both count. Source: paper 000, eq. (1) and IV; the shape of I is ours.
    """

    rule: Int[Array, " users"]
    impact: Int[Array, " users"]
    level: Float[Array, " users"]
    stall_weight: Float[Array, " users"]
    quality_weight: Float[Array, " users"]
    kappa_b: Float[Array, " users"]
    kappa_c: Float[Array, " users"]

    def service(self, conditions: Conditions) -> Float[Array, " users"]:
        """S, one period a user."""
        return self.level + self.quality_weight * conditions.quality - self.stall_weight * conditions.stall_s

    def factor(self, conditions: Conditions) -> Float[Array, " users"]:
        """I, one period a user."""
        return conditions.behaviour**-self.kappa_b * conditions.environment**-self.kappa_c

    def experience(self, conditions: Conditions) -> Float[Array, " users"]:
        """E in [1, 5], one period a user."""
        share = jnp.clip(self.service(conditions) * self.factor(conditions), 0.0, 1.0)
        return WORST + (BEST - WORST) * share


def behaviour_of(swipes_per_min: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Behavioural dynamics B = 1 + min(swipes per minute / 12, 1) (range: paper 000, IV; the scale is ours)."""
    return 1.0 + jnp.clip(swipes_per_min / _MOST_SWIPES_PER_MIN, 0.0, 1.0)


def swipes_per_min(behaviour: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The swipes per minute behind a B; 12 where it is at its end."""
    return (behaviour - 1.0) * _MOST_SWIPES_PER_MIN


def environment_of(speed_mps: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Environmental complexity C = 1 + (40 - v) / 38, v the speed in km/h within [2, 40]: it falls with speed (paper
    000, IV).
    """
    v = jnp.clip(kmh_from_mps(speed_mps), _SLOWEST_KMH, _FASTEST_KMH)
    return 1.0 + (_FASTEST_KMH - v) / (_FASTEST_KMH - _SLOWEST_KMH)
