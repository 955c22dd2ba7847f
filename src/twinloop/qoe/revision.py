"""When behaviour or environment moves, a user's factors and weights are examined again; what changed is data."""

from typing import Final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from twinloop.qoe.correlation import benjamini_hochberg, distance_correlation
from twinloop.qoe.experience import Conditions
from twinloop.qoe.fitting import FittedUsers, Ratings, fit_users

ASPECTS: Final = ("stall_s", "quality", "behaviour", "environment")
"""Columns of what is watched for movement and examined as factors, as in `Conditions`."""

WEIGHTS: Final = ("level", "quality_weight", "stall_weight", "kappa_b", "kappa_c")
"""Columns of weights before and after."""

_LEAST_PERIODS = 5.0
_SURE = 3.0
_FALSE_SHARE = 0.05


class Surroundings(eqx.Module):
    """Mean and spread of a user's conditions, emulated or lived, and how many periods they rest on."""

    mean: Float[Array, "users 4"]
    deviation: Float[Array, "users 4"]
    count: Float[Array, " users"]


class Revision(eqx.Module):
    """What an examination changed.

    `moved` users were examined, for a `shift` in standard deviations; `entered` and `left` are factors that came or
    went (columns `ASPECTS`), `weights_before` and `weights_after` as in `WEIGHTS`; `relevant` are the factors that
    count now.
    """

    moved: Bool[Array, " users"]
    shift: Float[Array, "users 4"]
    relevant: Bool[Array, "users 4"]
    entered: Bool[Array, "users 4"]
    left: Bool[Array, "users 4"]
    weights_before: Float[Array, "users 5"]
    weights_after: Float[Array, "users 5"]


def _stacked(conditions: Conditions) -> Float[Array, "*shape 4"]:
    return jnp.stack([getattr(conditions, name) for name in ASPECTS], axis=-1)


def surroundings(conditions: Conditions, present: Float[Array, "users periods"]) -> Surroundings:
    """Summary of `conditions` (users x periods) over periods that are `present` (1, else 0)."""
    value, count = _stacked(conditions), jnp.sum(present, axis=1)
    share = present / jnp.maximum(count, 1.0)[:, None]
    mean = jnp.einsum("un,unk->uk", share, value)
    spread = jnp.einsum("un,unk->uk", share, (value - mean[:, None, :]) ** 2)
    return Surroundings(mean, jnp.sqrt(spread), count)


def movement(before: Surroundings, now: Surroundings) -> tuple[Float[Array, "users 4"], Float[Array, "users 4"]]:
    """Shift of the means in pooled standard deviations, and in standard errors of their difference."""
    pooled = jnp.sqrt(0.5 * (before.deviation**2 + now.deviation**2)) + 1e-3
    away = jnp.abs(now.mean - before.mean)
    error = pooled * jnp.sqrt(1.0 / jnp.maximum(before.count, 1.0) + 1.0 / jnp.maximum(now.count, 1.0))[:, None]
    return away / pooled, away / error


def has_moved(before: Surroundings, now: Surroundings, least_shift: float = 0.5) -> Bool[Array, " users"]:
    """Whose conditions shifted by `least_shift` standard deviations and by 3 standard errors, in any aspect.

    With fewer than five periods on either side nobody has.
    """
    shift, sureness = movement(before, now)
    known = jnp.minimum(before.count, now.count) >= _LEAST_PERIODS
    return known & jnp.any((shift >= least_shift) & (sureness >= _SURE), axis=1)


def relevant_factors(key: PRNGKeyArray, ratings: Ratings) -> Bool[Array, "users 4"]:
    """Aspects that the scores depend on: distance correlation, permutation test, 5 % false findings a user."""
    found = distance_correlation(key, _stacked(ratings.conditions), ratings.score, ratings.weight > 0.0)
    return benjamini_hochberg(found.p_value) <= _FALSE_SHARE


def revise(
    key: PRNGKeyArray,
    fitted: FittedUsers,
    relevant: Bool[Array, "users 4"],
    ratings: Ratings,
    before: Surroundings,
    now: Surroundings,
    least_shift: float = 0.5,
) -> tuple[FittedUsers, Revision]:
    """Models after those who moved were examined again on `ratings`, under the same prior; others keep theirs.

    `relevant` are the factors found the last time. Left out: forgetting old ratings, which is for whoever keeps them.
    """
    shift, _ = movement(before, now)
    moved = has_moved(before, now, least_shift)
    anew = fit_users(ratings, fitted.prior)

    def pick(new: Array, old: Array) -> Array:
        return jnp.where(moved.reshape((-1,) + (1,) * (new.ndim - 1)), new, old)

    old_part, new_part = (eqx.tree_at(lambda one: one.prior, each, None) for each in (fitted, anew))
    kept = eqx.tree_at(
        lambda one: one.prior,
        jax.tree.map(pick, new_part, old_part),
        fitted.prior,
        is_leaf=lambda leaf: leaf is None,
    )
    found = jnp.where(moved[:, None], relevant_factors(key, ratings), relevant)
    change = Revision(moved, shift, found, found & ~relevant, relevant & ~found, _weights(fitted), _weights(kept))
    return kept, change


def _weights(fitted: FittedUsers) -> Float[Array, "users 5"]:
    return jnp.stack([getattr(fitted.models, name) for name in WEIGHTS], axis=1)


def told(revision: Revision) -> list[str]:
    """One line for each user whose factors or weights changed, for a log."""
    lines: list[str] = []
    for user in np.flatnonzero(np.asarray(revision.moved)):
        aspect = int(np.argmax(np.asarray(revision.shift[user])))
        parts = [f"{ASPECTS[aspect]} moved by {float(revision.shift[user, aspect]):.1f} deviations"]
        for verb, column in (("entered", revision.entered), ("left", revision.left)):
            parts += [f"{ASPECTS[i]} {verb}" for i in np.flatnonzero(np.asarray(column[user]))]
        before, after = np.asarray(revision.weights_before[user]), np.asarray(revision.weights_after[user])
        pairs = zip(WEIGHTS, before, after, strict=True)
        parts += [f"{name} {old:.3f} -> {new:.3f}" for name, old, new in pairs if abs(old - new) > 5e-4]
        lines.append(f"user {user}: " + ", ".join(parts))
    return lines
