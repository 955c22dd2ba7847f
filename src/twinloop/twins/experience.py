"""What user twins know of how people feel: minutes as they were reported, scores given, and a model of each user."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from twinloop.entities import USER_ATTRIBUTES, column
from twinloop.qoe import Conditions, FittedUsers, Prior, Ratings, behaviour_of, environment_of, fit_on, fit_users

PERIOD_SLOTS = 60
"""Slots of a period that a user rates as a whole."""

GRID_PERIODS = 3
"""Periods over which a user's mean experience is held against the agreement."""

_QUALITY = column(USER_ATTRIBUTES, "quality")
_SPEED = column(USER_ATTRIBUTES, "speed_mps")
_STALLED = column(USER_ATTRIBUTES, "rebuffer_s")
_OPINION = column(USER_ATTRIBUTES, "opinion")
_OPINIONS = column(USER_ATTRIBUTES, "opinions")


class Period(eqx.Module):
    """A period under way, by user: slots lived, sums of quality and speed, swipes, and the stalling before it [s]."""

    slots: Float[Array, " users"]
    quality: Float[Array, " users"]
    speed_mps: Float[Array, " users"]
    swipes: Float[Array, " users"]
    stalled_before_s: Float[Array, " users"]


class ExperienceTwins(eqx.Module):
    """How people feel, as far as their twins know.

    `period` is under way, `last` what the one before was like. `ratings` holds the newest scores in a ring, `rated`
    counts them; `told` is how many scores each user had given when last heard of. `fitted` is learned from
    `ratings`, with `prior` as the belief about people before them. Of the present grid of three periods,
    `grid_experience` sums what users are believed to have experienced in the `grid_periods` that are over. `agreed`
    is what each was promised.
    """

    period: Period
    last: Conditions
    ratings: Ratings
    rated: Int[Array, " users"]
    told: Float[Array, " users"]
    prior: Prior
    fitted: FittedUsers
    grid_experience: Float[Array, " users"]
    grid_periods: Float[Array, ""]
    agreed: Float[Array, " users"]


def begin_experience(ratings: Ratings, rated: Int[Array, " users"], prior: Prior, agreed: Array) -> ExperienceTwins:
    """Twins that know `ratings` and have seen nothing else."""
    none = jnp.zeros_like(agreed)
    nothing = Conditions(none, none, none + 1.0, none + 1.0)
    return ExperienceTwins(
        period=Period(none, none, none, none, none),
        last=nothing,
        ratings=ratings,
        rated=rated,
        told=none,
        prior=prior,
        fitted=fit_users(ratings, before=prior),
        grid_experience=none,
        grid_periods=jnp.zeros(()),
        agreed=agreed,
    )


def lived(
    twins: ExperienceTwins,
    value: Float[Array, "users attributes"],
    active: Bool[Array, " users"],
    swiped: Bool[Array, " users"],
    slot: Int[Array, ""],
) -> ExperienceTwins:
    """After a slot's reports were taken in: the period goes on or ends, and a new score is filed under the last one.

    `value` is what twins know, 0 where nothing was reported; `swiped` who is known to have left a video in this slot.
    Left out: a score that comes more than a period late, which is filed under the wrong one.
    """
    there = active.astype(jnp.float32)
    period = Period(
        slots=twins.period.slots + there,
        quality=twins.period.quality + there * value[:, _QUALITY],
        speed_mps=twins.period.speed_mps + there * value[:, _SPEED],
        swipes=twins.period.swipes + swiped,
        stalled_before_s=twins.period.stalled_before_s,
    )
    ends = (slot + 1) % PERIOD_SLOTS == 0
    going = (period, twins.last, twins.grid_experience, twins.grid_periods)
    over = _closed(twins, period, value[:, _STALLED], slot)
    minute, last, felt, periods = jax.tree.map(lambda new, old: jnp.where(ends, new, old), over, going)
    after = replace(twins, period=minute, last=last, grid_experience=felt, grid_periods=periods)
    return _filed(after, value)


def relearned(twins: ExperienceTwins) -> ExperienceTwins:
    """Twins whose models are fitted to all ratings that they hold, beginning with the models that they had."""
    return eqx.tree_at(lambda t: t.fitted, twins, fit_on(twins.fitted, twins.ratings, twins.prior))


def believed_experience(twins: ExperienceTwins) -> Float[Array, " users"]:
    """What each user is believed to have experienced in the last whole period, in [1, 5]."""
    return twins.fitted.blend.experience(twins.last)


def so_far(twins: ExperienceTwins, value: Float[Array, "users attributes"], slot_s: float) -> Conditions:
    """What the period under way was like for each user until now; `value` as in `lived`."""
    return _conditions(twins.period, value[:, _STALLED], slot_s)


def _conditions(period: Period, stalled_s: Float[Array, " users"], slot_s: float) -> Conditions:
    slots = jnp.maximum(period.slots, 1.0)
    return Conditions(
        stall_s=jnp.maximum(stalled_s - period.stalled_before_s, 0.0),
        quality=period.quality / slots,
        behaviour=behaviour_of(period.swipes / (slots * slot_s / 60.0)),
        environment=environment_of(period.speed_mps / slots),
    )


def _closed(
    twins: ExperienceTwins, period: Period, stalled_s: Float[Array, " users"], slot: Int[Array, ""]
) -> tuple[Period, Conditions, Array, Array]:
    """`period` is over: the next one, what this one was like, and the sum and number of the grid's periods.

    Of a user who was there for less than half of it nothing is learned: the period before stands, the agreement counts
    as kept.
    """
    none = jnp.zeros_like(stalled_s)
    there = period.slots >= PERIOD_SLOTS / 2
    lived_through = _conditions(period, stalled_s, 60.0 / PERIOD_SLOTS)
    last = jax.tree.map(lambda new, old: jnp.where(there, new, old), lived_through, twins.last)
    number = (slot + 1) // PERIOD_SLOTS
    begins = (number - 1) % GRID_PERIODS == 0
    felt = jnp.where(there, twins.fitted.blend.experience(last), twins.agreed)
    return (
        Period(none, none, none, none, stalled_s),
        last,
        jnp.where(begins, 0.0, twins.grid_experience) + felt,
        jnp.where(begins, 0.0, twins.grid_periods) + 1.0,
    )


def _filed(twins: ExperienceTwins, value: Float[Array, "users attributes"]) -> ExperienceTwins:
    count, score = value[:, _OPINIONS], value[:, _OPINION]
    new: Bool[Array, " users"] = (count > twins.told) & (score > 0)
    users, room = twins.ratings.score.shape
    place = jnp.where(new, twins.rated % room, room)
    row = jnp.arange(users)

    def put(ring: Float[Array, "users ratings"], entry: Float[Array, " users"]) -> Float[Array, "users ratings"]:
        return ring.at[row, place].set(entry, mode="drop")

    ratings = Ratings(
        conditions=jax.tree.map(put, twins.ratings.conditions, twins.last),
        score=put(twins.ratings.score, score),
        weight=put(twins.ratings.weight, jnp.ones_like(score)),
    )
    return eqx.tree_at(
        lambda t: (t.ratings, t.rated, t.told), twins, (ratings, twins.rated + new, jnp.maximum(count, twins.told))
    )
