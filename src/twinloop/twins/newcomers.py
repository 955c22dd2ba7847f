"""Who comes into a row that somebody else had: nothing that was known of the one may be believed of the other."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from twinloop.twins.experience import ExperienceTwins
from twinloop.twins.swipes import SwipeCounts
from twinloop.twins.table import Twins, admit


def welcome(twins: Twins, who: Bool[Array, " users"]) -> Twins:
    """Twins with new people in the user rows `who`: present, nothing known of them, no history, the revision counts on.

    What all viewers together taught about videos stays. Left out: the model of experience fitted to the one before
    serves until models are next learned; no score of theirs is in that fit any more.
    """
    experience = None if twins.experience is None else _unknown(twins.experience, who)
    return Twins(
        users=admit(twins.users, who),
        cells=twins.cells,
        servers=twins.servers,
        slices=twins.slices,
        swipes=_unseen(twins.swipes, who),
        experience=experience,
    )


def _unseen(counts: SwipeCounts, who: Bool[Array, " users"]) -> SwipeCounts:
    def own(leaf: Array) -> Array:
        return jnp.where(who, 0.0, leaf)

    return eqx.tree_at(lambda c: (c.own_left, c.own_expected), counts, (own(counts.own_left), own(counts.own_expected)))


def _unknown(experience: ExperienceTwins, who: Bool[Array, " users"]) -> ExperienceTwins:
    def cleared(leaf: Array) -> Array:
        return jnp.where(who, jnp.zeros((), leaf.dtype), leaf)

    weight = jnp.where(who[:, None], 0.0, experience.ratings.weight)
    return eqx.tree_at(
        lambda e: (e.period, e.rated, e.told, e.grid_experience, e.ratings.weight),
        experience,
        (
            jax.tree.map(cleared, experience.period),
            cleared(experience.rated),
            cleared(experience.told),
            cleared(experience.grid_experience),
            weight,
        ),
    )
