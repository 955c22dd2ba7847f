"""Counting swipes: who left which second of a video of which class, and what that says of videos and of viewers."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from twinloop.entities import USER_ATTRIBUTES, column

_SWIPES = column(USER_ATTRIBUTES, "swipes")
_LAST_WATCH = column(USER_ATTRIBUTES, "last_watch_s")
_LAST_CLASS = column(USER_ATTRIBUTES, "last_class")
_WATCH = USER_ATTRIBUTES[_LAST_WATCH]
_HALF_QUANTUM_S = (_WATCH.high - _WATCH.low) / (2**_WATCH.bits - 1) / 2
_PRIOR_VIEWINGS = 10.0
_HABIT_MEMORY = 0.98
_LARGEST_SHAPE = 1e6
_LEAST = 1e-6


class Views(eqx.Module):
    """The viewing of each user that ended in the last slot, as reported.

    `video_class` is -1 where none ended; `second` the one that was left, the number of seconds of the table where the
    video was watched to its end; `factor` what the twins held the user's factor to be before, and `surprise` -ln of the
    probability (nats) that they gave to what happened.
    """

    video_class: Int[Array, " users"]
    second: Int[Array, " users"]
    factor: Float[Array, " users"]
    surprise: Float[Array, " users"]


class SwipeCounts(eqx.Module):
    """Viewings by hazard class and second of the video, counted from reports since `prior` came into service.

    `prior[c, t]` is the chance to leave in second t that a model foretells. `left[c, t]` viewers swiped in it and
    `reached[c, t]` got to watch it, those who then left included. Videos of class c last `length_s[c]`. A user left
    `own_left` videos of late, where a viewer like all others would have left `own_expected`; factors of all users are
    gamma distributed with mean 1 and shape `factor_shape`. Only viewings of users in `counted` are: a member of a
    multicast group is moved on with it, of which no report tells, so what it watched until then would be missed.
    """

    prior: Float[Array, "classes seconds"]
    left: Float[Array, "classes seconds"]
    reached: Float[Array, "classes seconds"]
    length_s: Float[Array, " classes"]
    own_left: Float[Array, " users"]
    own_expected: Float[Array, " users"]
    factor_shape: Float[Array, ""]
    counted: Bool[Array, " users"]
    latest: Views


def empty_swipes(
    counted: Bool[Array, " users"],
    class_length_s: Float[Array, " classes"],
    prior: Float[Array, "classes seconds"],
    factor_spread: float,
) -> SwipeCounts:
    """No viewings yet. `factor_spread` is the standard deviation of the log of users' factors on the hazard.

    Raises ValueError for a length not above 0, and for a `prior` that does not have a row of probabilities as long as
    the longest class for each class.
    """
    length_s, given = np.asarray(class_length_s), np.asarray(prior)
    if not np.all(np.isfinite(length_s) & (length_s > 0)):
        raise ValueError("the videos of every class must last longer than 0 s")
    shape = (length_s.size, int(np.ceil(length_s.max(initial=1.0))))
    if given.shape[:1] != shape[:1] or given.shape[1] < shape[1] or not np.all((given >= 0) & (given <= 1)):
        raise ValueError(f"prior has shape {given.shape}; give probabilities of shape {shape}")
    users = counted.shape[0]
    nobody = jnp.zeros(users, jnp.int32)
    return SwipeCounts(
        prior=jnp.asarray(given[:, : shape[1]], jnp.float32),
        left=jnp.zeros(shape),
        reached=jnp.zeros(shape),
        length_s=jnp.asarray(length_s, jnp.float32),
        own_left=jnp.zeros(users),
        own_expected=jnp.zeros(users),
        factor_shape=jnp.float32(min(1.0 / max(np.expm1(factor_spread**2), _LEAST), _LARGEST_SHAPE)),
        counted=counted,
        latest=Views(nobody - 1, nobody, jnp.ones(users), jnp.zeros(users)),
    )


def begun_anew(counts: SwipeCounts) -> SwipeCounts:
    """Nothing counted of any class, on the same prior; what is known of each user stays."""
    nothing = jnp.zeros_like(counts.left)
    return eqx.tree_at(lambda c: (c.left, c.reached), counts, (nothing, nothing))


def swipe_hazard(counts: SwipeCounts) -> Float[Array, "classes seconds"]:
    """Probability h_ct that a viewer like all others leaves in second t of a video of class c, having reached it.

        g   = (sum left_ct + m)      / (sum e_ct + m)        all classes against the prior
        g_c = (sum_t left_ct + m g)  / (sum_t e_ct + m)      a class, drawn to all
        h_ct = (left_ct + m (1 - e^(-g_c r_ct))) / (reached_ct + m)

    with r = -ln(1 - prior), e = (reached - left / 2) r, since who leaves is there for half a second, and m = 10
    viewings: means under gamma and Beta priors, so that classes and seconds seldom
    seen borrow from the others, and the prior's shape is used before any viewing. 0 where videos have ended.
    """
    risk = -jnp.log1p(-jnp.clip(counts.prior, 0.0, 1.0 - _LEAST))
    left, expected = jnp.sum(counts.left, axis=1), jnp.sum((counts.reached - 0.5 * counts.left) * risk, axis=1)
    m = _PRIOR_VIEWINGS
    overall = (jnp.sum(left) + m) / (jnp.sum(expected) + m)
    by_class = (left + m * overall) / (expected + m)
    hazard = (counts.left - m * jnp.expm1(-by_class[:, None] * risk)) / (counts.reached + m)
    return jnp.where(_inside(counts), hazard, 0.0)


def viewer_factor(counts: SwipeCounts) -> Float[Array, " users"]:
    """What the twins hold each user's factor on the hazard to be, (a + left) / (a + expected): the mean of a gamma
    posterior of shape a + left. Above 1 for those who swipe sooner than others; 1 for those never seen.
    """
    return (counts.factor_shape + counts.own_left) / (counts.factor_shape + counts.own_expected)


def count_swipes(
    counts: SwipeCounts,
    before: Float[Array, "users attributes"],
    after: Float[Array, "users attributes"],
    known: Bool[Array, "users attributes"],
) -> SwipeCounts:
    """Counts with the viewings that ended between two states of the user twins, `before` and `after` a write.

    An increase of `swipes` marks one viewing of class `last_class` that ended at `last_watch_s`, counted in second
    floor(last_watch_s); one that got to the end of the video, to within half a step of the report's precision, is
    watched to the end: it reached every second and left in none (censored). `known` is what has ever been reported
    after the write; an attribute unknown before it must be 0 in `before`. Of a user's own counts those of a viewing ago
    weigh .98 of now.

    Left out: if several viewings ended between two reports, only the last is known and counted.
    """
    classes, seconds = counts.left.shape
    watched_s, last_class = after[:, _LAST_WATCH], after[:, _LAST_CLASS]
    told = known[:, _LAST_WATCH] & known[:, _LAST_CLASS] & (watched_s >= 0) & (last_class >= 0)
    ended = told & (after[:, _SWIPES] > before[:, _SWIPES]) & (last_class < classes)
    video_class = jnp.where(ended & counts.counted, last_class, -1).astype(jnp.int32)
    length_s = counts.length_s[jnp.maximum(video_class, 0)]
    complete = watched_s >= length_s - _HALF_QUANTUM_S
    return count_viewings(counts, video_class, jnp.where(complete, seconds, jnp.floor(watched_s)).astype(jnp.int32))


def count_viewings(counts: SwipeCounts, video_class: Int[Array, " users"], second: Int[Array, " users"]) -> SwipeCounts:
    """Counts with one more viewing of each user whose `video_class` is not -1, left in `second`; the number of
    seconds of the table where it was watched to its end.
    """
    classes, seconds = counts.left.shape
    ended = video_class >= 0
    in_class = jnp.where(ended, video_class, classes)
    ends = jnp.zeros((classes, seconds + 1)).at[in_class, second].add(1.0, mode="drop")
    reached = jnp.cumsum(ends[:, ::-1], axis=1)[:, ::-1][:, :seconds]
    latest, expected = _weighed(counts, ended, in_class, second)
    memory = jnp.where(ended, _HABIT_MEMORY, 1.0)
    swiped = (ended & (second < seconds)).astype(jnp.float32)
    return SwipeCounts(
        prior=counts.prior,
        left=counts.left + ends[:, :seconds],
        reached=counts.reached + jnp.where(_inside(counts), reached, 0.0),
        length_s=counts.length_s,
        own_left=memory * counts.own_left + swiped,
        own_expected=memory * counts.own_expected + expected,
        factor_shape=counts.factor_shape,
        counted=counts.counted,
        latest=latest,
    )


def _weighed(
    counts: SwipeCounts, ended: Bool[Array, " users"], in_class: Int[Array, " users"], second: Int[Array, " users"]
) -> tuple[Views, Float[Array, " users"]]:
    """The viewings that ended, and how many videos a viewer like all others would have left in them."""
    seconds = counts.left.shape[1]
    risk = jnp.pad(-jnp.log1p(-jnp.clip(swipe_hazard(counts), 0.0, 1.0 - _LEAST)), ((0, 0), (0, 1)))
    before = jnp.cumsum(risk, axis=1) - risk
    there = risk.at[in_class, second].get(mode="fill", fill_value=0.0)
    stayed = before.at[in_class, second].get(mode="fill", fill_value=0.0)
    factor = viewer_factor(counts)
    leaves = jnp.where(second < seconds, -jnp.log(-jnp.expm1(-factor * there) + _LEAST), 0.0)
    views = Views(
        video_class=jnp.where(ended, in_class, -1).astype(jnp.int32),
        second=second,
        factor=factor,
        surprise=jnp.where(ended, factor * stayed + leaves, 0.0),
    )
    return views, jnp.where(ended, stayed + 0.5 * there, 0.0)


def _inside(counts: SwipeCounts) -> Bool[Array, "classes seconds"]:
    """Seconds in which videos of a class still last."""
    return jnp.arange(counts.left.shape[1], dtype=jnp.float32)[None, :] < counts.length_s[:, None]
