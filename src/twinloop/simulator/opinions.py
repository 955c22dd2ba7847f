"""What people experience: how every period really was for them, and the scores that some of them give."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from twinloop.qoe import BEST, WORST, Conditions, UserModels, behaviour_of, draw_scores, environment_of


class Raters(eqx.Module):
    """Everybody's own rule of experience, and how they give scores.

    A period lasts `period_slots`. At its end a user rates it with chance `rating_p` by a score drawn from N(E, variance
    of the user's rule) truncated to [1, 5]. `bend` 0 keeps to `UserModels`; above it, what is lacking from the best
    experience is felt as 1 - (1 - S I)^(1 + bend), which no model of a twin contains.
    """

    models: UserModels
    variance: Float[Array, " rules"]
    rating_p: Float[Array, ""]
    bend: Float[Array, ""]
    period_slots: int = eqx.field(static=True, default=60)


class OpinionState(eqx.Module):
    """Sums of the period under way, by user, and what the last one was like.

    `slots` counts slots present, `played_s` seconds played and `quality_s` their quality; `experience` is the true
    experience of the last whole period (0 before the first), `opinion` the last score given, `opinions` their number.
    """

    slots: Float[Array, " users"]
    stall_s: Float[Array, " users"]
    played_s: Float[Array, " users"]
    quality_s: Float[Array, " users"]
    swipes: Float[Array, " users"]
    speed_mps: Float[Array, " users"]
    experience: Float[Array, " users"]
    opinion: Float[Array, " users"]
    opinions: Int[Array, " users"]


def init_opinions(users: int) -> OpinionState:
    """Nobody has experienced anything."""
    none = jnp.zeros(users)
    return OpinionState(none, none, none, none, none, none, none, none, jnp.zeros(users, jnp.int32))


def true_experience(raters: Raters, conditions: Conditions) -> Float[Array, " users"]:
    """E* in [1, 5] of one period a user: 1 + 4 clip(S I, 0, 1), bent where the raters are."""
    models = raters.models
    share = jnp.clip(models.service(conditions) * models.factor(conditions), 0.0, 1.0)
    lacking = (1.0 - share) ** (1.0 + raters.bend)
    return WORST + (BEST - WORST) * (1.0 - lacking)


def live_through(
    key: PRNGKeyArray,
    raters: Raters,
    state: OpinionState,
    active: Bool[Array, " users"],
    stall_s: Float[Array, " users"],
    quality: Float[Array, " users"],
    swiped: Bool[Array, " users"],
    speed_mps: Float[Array, " users"],
    slot: Int[Array, ""],
    slot_s: float,
) -> OpinionState:
    """The state after one slot; in a period's last slot it is judged, rated by some, and the next begins.

    Who was there for less than half of a period judges nothing of it.
    """
    there = active.astype(jnp.float32)
    played = jnp.where(active, jnp.maximum(slot_s - stall_s, 0.0), 0.0)
    now = OpinionState(
        slots=state.slots + there,
        stall_s=state.stall_s + there * stall_s,
        played_s=state.played_s + played,
        quality_s=state.quality_s + played * quality,
        swipes=state.swipes + swiped,
        speed_mps=state.speed_mps + there * speed_mps,
        experience=state.experience,
        opinion=state.opinion,
        opinions=state.opinions,
    )
    ends = (slot + 1) % raters.period_slots == 0
    return jax.lax.cond(ends, _judged, lambda _key, _raters, kept, _slot_s: kept, key, raters, now, slot_s)


def conditions_of(state: OpinionState, slot_s: float | Float[Array, ""]) -> Conditions:
    """What the period under way was like so far; a person who was there for part of it counts as if for all."""
    slots = jnp.maximum(state.slots, 1.0)
    minutes = slots * slot_s / 60.0
    return Conditions(
        stall_s=state.stall_s,
        quality=state.quality_s / jnp.maximum(state.played_s, 1e-6),
        behaviour=behaviour_of(state.swipes / minutes),
        environment=environment_of(state.speed_mps / slots),
    )


def _judged(key: PRNGKeyArray, raters: Raters, state: OpinionState, slot_s: Float[Array, ""]) -> OpinionState:
    judges = state.slots >= 0.5 * raters.period_slots
    experience = jnp.where(judges, true_experience(raters, conditions_of(state, slot_s)), 0.0)
    k_whether, k_score = jax.random.split(key)
    rates = judges & (jax.random.uniform(k_whether, experience.shape) < raters.rating_p)
    score = draw_scores(k_score, jnp.maximum(experience, WORST), raters.variance[raters.models.rule])
    none = jnp.zeros_like(experience)
    return OpinionState(
        slots=none,
        stall_s=none,
        played_s=none,
        quality_s=none,
        swipes=none,
        speed_mps=none,
        experience=experience,
        opinion=jnp.where(rates, score, state.opinion),
        opinions=state.opinions + rates,
    )
