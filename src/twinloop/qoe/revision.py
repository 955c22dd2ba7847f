"""When a user's behaviour or environment moves, factors and weights are examined again; what changed is data.

Models themselves are fitted to all ratings of everybody at every window (`fit_on`), moved or not: to hold a fit back
until somebody moves would only waste ratings. A revision says what became of the factors and weights meanwhile.
"""

from typing import Final

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from twinloop.qoe.correlation import benjamini_hochberg, distance_correlation
from twinloop.qoe.experience import IMPACTS, RULES, Conditions
from twinloop.qoe.fitting import FittedUsers, Ratings

ASPECTS: Final = ("stall_s", "quality", "behaviour", "environment")
"""Columns of what is examined as factors, as in `Conditions`."""

WATCHED: Final = ("behaviour", "environment")
"""Columns of what is watched for movement: swipes and speed; stalls and quality are the network's own doing."""

WEIGHTS: Final = ("level", "quality_weight", "stall_weight", "kappa_b", "kappa_c")
"""Columns of weights before and after."""

NEWEST: Final = 5
"""Minutes that are held against those before them; *ours*."""

_SURE = 3.5
_LEAST_SPREAD = 0.05
_FALSE_SHARE = 0.05


class Watch(eqx.Module):
    """What is remembered since each user was last examined.

    The `newest` minutes of the watched aspects in a ring (`held` so many so far), and count, sum and sum of squares of
    those before them; `relevant` factors, `structure` (4 rule + impact) and `weights` as they were then.
    """

    newest: Float[Array, "users newest 2"]
    held: Int[Array, " users"]
    count: Float[Array, " users"]
    total: Float[Array, "users 2"]
    square: Float[Array, "users 2"]
    relevant: Bool[Array, "users 4"]
    structure: Int[Array, " users"]
    weights: Float[Array, "users 5"]


class Revision(eqx.Module):
    """What an examination found, by user.

    `moved` users were examined, for a `shift` of `WATCHED` in standard deviations; `entered` and `left` are factors
    that came or went (columns `ASPECTS`); structure and weights (columns `WEIGHTS`) before and after.
    """

    moved: Bool[Array, " users"]
    shift: Float[Array, "users 2"]
    entered: Bool[Array, "users 4"]
    left: Bool[Array, "users 4"]
    structure_before: Int[Array, " users"]
    structure_after: Int[Array, " users"]
    weights_before: Float[Array, "users 5"]
    weights_after: Float[Array, "users 5"]


def begin_watch(fitted: FittedUsers, relevant: Bool[Array, "users 4"]) -> Watch:
    """Nobody's surroundings known yet; models and `relevant` factors as they are now."""
    users = relevant.shape[0]
    none = jnp.zeros((users, len(WATCHED)))
    ring = jnp.zeros((users, NEWEST, len(WATCHED)))
    count, held = jnp.zeros(users), jnp.zeros(users, jnp.int32)
    return Watch(ring, held, count, none, none, relevant, fitted.structure, _weights(fitted))


def watched(watch: Watch, minute: Conditions, present: Bool[Array, " users"]) -> Watch:
    """After one more minute of those who were there."""
    value = jnp.stack([getattr(minute, name) for name in WATCHED], axis=-1)
    row, place = jnp.arange(value.shape[0]), watch.held % NEWEST
    leaves = present & (watch.held >= NEWEST)
    oldest = jnp.where(leaves[:, None], watch.newest[row, place], 0.0)
    entry = jnp.where(present[:, None], value, watch.newest[row, place])
    return eqx.tree_at(
        lambda w: (w.newest, w.held, w.count, w.total, w.square),
        watch,
        (
            watch.newest.at[row, place].set(entry),
            watch.held + present,
            watch.count + leaves,
            watch.total + oldest,
            watch.square + oldest**2,
        ),
    )


def movement(watch: Watch) -> tuple[Bool[Array, " users"], Float[Array, "users 2"]]:
    """Who moved, and by how many standard deviations of a minute in each watched aspect.

    Means of the newest minutes and of those before differ by 3.5 standard errors; standard deviations are pooled, and
    at least .05: less of B or C is nothing that anybody feels. Nobody has with fewer than `NEWEST` minutes on a side.
    """
    count, newest = jnp.maximum(watch.count, 1.0)[:, None], float(NEWEST)
    before, now = watch.total / count, jnp.mean(watch.newest, axis=1)
    within = jnp.maximum(watch.square - count * before**2, 0.0)
    within += jnp.sum((watch.newest - now[:, None, :]) ** 2, axis=1)
    pooled = jnp.maximum(jnp.sqrt(within / jnp.maximum(count + newest - 2.0, 1.0)), _LEAST_SPREAD)
    shift = jnp.abs(now - before) / pooled
    known = (watch.count >= newest) & (watch.held >= NEWEST)
    sure = shift >= _SURE * jnp.sqrt(1.0 / count + 1.0 / newest)
    return known & jnp.any(sure, axis=1), jnp.where(known[:, None], shift, 0.0)


def relevant_factors(key: PRNGKeyArray, ratings: Ratings) -> Bool[Array, "users 4"]:
    """Aspects that the scores depend on: distance correlation, permutation test, 5 % false findings a user."""
    stacked = jnp.stack([getattr(ratings.conditions, name) for name in ASPECTS], axis=-1)
    found = distance_correlation(key, stacked, ratings.score, ratings.weight > 0.0)
    return benjamini_hochberg(found.p_value) <= _FALSE_SHARE


def examined(
    watch: Watch, moved: Bool[Array, " users"], relevant: Bool[Array, "users 4"], fitted: FittedUsers
) -> tuple[Watch, Revision]:
    """The watch after `moved` users were examined, and what changed since they last were.

    `relevant` factors and the models `fitted` are those of now; the rows of others are not read. From here on, a moved
    user's newest minutes are what later ones are held against.
    """
    _, shift = movement(watch)
    structure, weights = fitted.structure, _weights(fitted)
    which = moved[:, None]
    change = Revision(
        moved,
        jnp.where(which, shift, 0.0),
        which & relevant & ~watch.relevant,
        which & ~relevant & watch.relevant,
        watch.structure,
        jnp.where(moved, structure, watch.structure),
        watch.weights,
        jnp.where(which, weights, watch.weights),
    )
    after = Watch(
        newest=watch.newest,
        held=jnp.where(moved, 0, watch.held),
        count=jnp.where(moved, float(NEWEST), watch.count),
        total=jnp.where(which, jnp.sum(watch.newest, axis=1), watch.total),
        square=jnp.where(which, jnp.sum(watch.newest**2, axis=1), watch.square),
        relevant=jnp.where(which, relevant, watch.relevant),
        structure=change.structure_after,
        weights=change.weights_after,
    )
    return after, change


def structure_name(structure: int) -> str:
    """Words for 4 rule + impact: rule, and what moves it."""
    return f"{RULES[structure // len(IMPACTS)]}, {IMPACTS[structure % len(IMPACTS)]}"


def told(revision: Revision) -> dict[int, str]:
    """By user who was examined, one line of what moved and what changed, for a log."""
    lines: dict[int, str] = {}
    for user in map(int, np.flatnonzero(np.asarray(revision.moved))):
        aspect = int(np.argmax(np.asarray(revision.shift[user])))
        parts = [f"{WATCHED[aspect]} moved by {float(revision.shift[user, aspect]):.1f} deviations"]
        for verb, column in (("entered", revision.entered), ("left", revision.left)):
            parts += [f"{ASPECTS[i]} {verb}" for i in np.flatnonzero(np.asarray(column[user]))]
        old_structure, new_structure = int(revision.structure_before[user]), int(revision.structure_after[user])
        if old_structure != new_structure:
            parts.append(f"{structure_name(old_structure)} -> {structure_name(new_structure)}")
        pairs = zip(WEIGHTS, revision.weights_before[user].tolist(), revision.weights_after[user].tolist(), strict=True)
        parts += [f"{name} {old:.3f} -> {new:.3f}" for name, old, new in pairs if abs(old - new) > 5e-4]
        lines[user] = ", ".join(parts)
    return lines


def _weights(fitted: FittedUsers) -> Float[Array, "users 5"]:
    return jnp.stack([getattr(fitted.models, name) for name in WEIGHTS], axis=1)
