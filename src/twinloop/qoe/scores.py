"""Opinion scores: drawn around a user's true experience, their mean, and the scales of 1-5 and 0-100."""

from typing import Final

import jax
import jax.numpy as jnp
from jax.scipy.special import ndtri
from jaxtyping import Array, Float, PRNGKeyArray

from twinloop.qoe.experience import BEST, WORST, UserModels
from twinloop.qoe.fitting.likelihood import truncated_moments

STALL_WEIGHT_PER_S: Final = 0.1
"""Loss of S by a second of stalling in the rules of paper 000: .4 of a score."""

SCORE_VARIANCE: Final = 0.8
"""Variance of scores around the experience, before truncation."""

PRINTED_VARIANCES: Final = (8.0, 1.0, 0.8)
"""Variances as paper 000 prints them, by rule; the first hides the rule of stalling and is likely a misprint."""

_UNMOVED_SHARE = 1.0 / 3.0
_KAPPAS = (0.05, 0.2)
_MOS_LOW, _MOS_HIGH = 1.05, 4.9
_RISES_FROM, _KNOTS = 80.0 - 5900.0**0.5, 2001


def draw_models(key: PRNGKeyArray, users: int, *, moved: bool = True) -> UserModels:
    """True models of `users`: a rule each by chance, S = 1 - .1 R, Q or Q - .1 R, I = (B C)^-kappa.

    kappa is 0 for a third of the users, else U[.05, .2]; 0 for all where not `moved` (a negative control). Source:
    rules from paper 000 (IV), kappa ours (models.md, Experience). Left out: users who differ in their weights.
    """
    k_rule, k_moved, k_kappa = jax.random.split(key, 3)
    rule = jax.random.randint(k_rule, (users,), 0, 3)
    minds = (jax.random.uniform(k_moved, (users,)) >= _UNMOVED_SHARE) & moved
    kappa = jnp.where(minds, jax.random.uniform(k_kappa, (users,), minval=_KAPPAS[0], maxval=_KAPPAS[1]), 0.0)
    return UserModels(
        rule=rule,
        impact=jnp.where(minds, 3, 0),
        level=jnp.where(rule == 0, 1.0, 0.0),
        stall_weight=jnp.where(rule == 1, 0.0, STALL_WEIGHT_PER_S),
        quality_weight=jnp.where(rule == 0, 0.0, 1.0),
        kappa_b=kappa,
        kappa_c=kappa,
    )


def draw_scores(
    key: PRNGKeyArray, experience: Float[Array, "*shape"], variance: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    """Scores ~ N(E, s) truncated to [1, 5], E `experience` in [1, 5], s `variance` [score^2], by the inverse cdf.

    y = E + sqrt(s) ndtri(Phi(a) + u [Phi(b) - Phi(a)]), a = (1 - E)/sqrt(s) <= 0 <= b = (5 - E)/sqrt(s), so both tails
    keep their mass in float32; mirrored above the median, where 1 - Phi would lose digits. Clipped to [1, 5].
    """
    deviation = jnp.sqrt(variance)
    low, high = (WORST - experience) / deviation, (BEST - experience) / deviation
    below, above = jax.scipy.special.ndtr(low), jax.scipy.special.ndtr(-high)
    u = jax.random.uniform(key, experience.shape, experience.dtype)
    left, right = below + u * (1.0 - above - below), above + (1.0 - u) * (1.0 - above - below)
    tiny = jnp.finfo(experience.dtype).tiny
    z = jnp.where(left < 0.5, ndtri(jnp.maximum(left, tiny)), -ndtri(jnp.clip(right, tiny, 0.5)))
    return jnp.clip(experience + deviation * z, WORST, BEST)


def expected_score(
    experience: Float[Array, "*#shape"], variance: Float[Array, "*#shape"] | float
) -> Float[Array, "*#shape"]:
    """Mean of the scores that `draw_scores` draws: E + sqrt(s) M1, s `variance` [score^2].

    M1 is the mean of a standard normal truncated to [(1 - E)/sqrt(s), (5 - E)/sqrt(s)]: at E = 5 and s = .8 scores can
    only fall short, and their mean is 4.29. What is held against scores given is this, not E.
    """
    deviation = jnp.sqrt(jnp.asarray(variance))
    _, (first, *_) = truncated_moments((WORST - experience) / deviation, (BEST - experience) / deviation)
    return experience + deviation * first


def to_percent(score: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Scores of 1-5 on the scale of 0-100, by the straight line between the ends: 25 (score - 1), clipped."""
    return jnp.clip(100.0 * (score - WORST) / (BEST - WORST), 0.0, 100.0)


def from_percent(percent: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Scores of 0-100 on the scale of 1-5; the inverse of `to_percent`."""
    return jnp.clip(WORST + (BEST - WORST) * percent / 100.0, WORST, BEST)


def mos_from_percent(percent: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """MOS of a quality Q of 0-100 as ITU-T P.1203 maps it: 1.05 + 3.85 Q/100 + 7e-6 Q (Q - 60) (100 - Q).

    Clipped to [1.05, 4.9], the ends of that scale; below Q = 3.2 the cubic falls and the clip holds it at 1.05.
    """
    q = jnp.clip(percent, 0.0, 100.0)
    mos = _MOS_LOW + (_MOS_HIGH - _MOS_LOW) * q / 100.0 + 7e-6 * q * (q - 60.0) * (100.0 - q)
    return jnp.clip(mos, _MOS_LOW, _MOS_HIGH)


def percent_from_mos(mos: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The Q of ITU-T P.1203 behind a MOS, on the rising part of `mos_from_percent`: from 3.2 at 1.05 to 100 at 4.9."""
    quality = jnp.linspace(_RISES_FROM, 100.0, _KNOTS)
    return jnp.interp(mos, mos_from_percent(quality), quality)
