"""Experience level agreements: what of the agreed experience is reached, by user and by class."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

GRID_MINUTES = 3.0
"""The grid on which every scheme is judged, whatever its own window (models.md, Experience)."""


class Kept(eqx.Module):
    """How agreements were kept, by user.

    `mean` E over time; `ratio` mean of min(E / ELA, 1); `reached` where the mean E reaches the agreed level;
    `below_min` minutes below it, `present_min` minutes judged; `alarms` counts runs of grid cells below.
    """

    mean: Float[Array, " users"]
    ratio: Float[Array, " users"]
    reached: Bool[Array, " users"]
    below_min: Float[Array, " users"]
    present_min: Float[Array, " users"]
    alarms: Int[Array, " users"]


class ClassKept(eqx.Module):
    """The same by class: `users` judged, mean `ratio`, share `satisfied` (mean E reaches the level), share of time
    `below`, and `alarms`. 0 everywhere for a class without anybody.
    """

    users: Float[Array, " classes"]
    ratio: Float[Array, " classes"]
    satisfied: Float[Array, " classes"]
    below: Float[Array, " classes"]
    alarms: Int[Array, " classes"]


def on_grid(
    experience: Float[Array, "users periods"], present: Bool[Array, "users periods"], periods_a_cell: int
) -> tuple[Float[Array, "users cells"], Bool[Array, "users cells"]]:
    """Mean E of each cell of the grid over the periods that a user was there for, and whether there was any.

    Periods of one minute and `periods_a_cell` = 3 make the common grid. A last cell that is not full is left out.
    """
    cells = experience.shape[1] // periods_a_cell
    cut = (experience.shape[0], cells, periods_a_cell)
    there = present[:, : cells * periods_a_cell].reshape(cut)
    value = jnp.where(there, experience[:, : cells * periods_a_cell].reshape(cut), 0.0)
    count = jnp.sum(there, axis=-1)
    return jnp.sum(value, axis=-1) / jnp.maximum(count, 1), count > 0


def agreements_kept(
    experience: Float[Array, "users cells"],
    present: Bool[Array, "users cells"],
    agreed: Float[Array, " users"],
    *,
    cell_min: float = GRID_MINUTES,
    patience: int = 1,
) -> Kept:
    """What each user got of what was `agreed`, E in [1, 5], from mean E by cell of the grid.

    An alarm begins when E was below the level in `patience` cells in a row, and ends with the first cell that is not;
    cells in which a user was absent end it too. A user who was never there has ratio and mean 0 and reached nothing.
    """
    there = present.astype(experience.dtype)
    cells = jnp.maximum(jnp.sum(there, axis=1), 1.0)
    below = present & (experience < agreed[:, None])
    share = jnp.minimum(experience / agreed[:, None], 1.0)
    mean = jnp.sum(there * experience, axis=1) / cells
    return Kept(
        mean=mean,
        ratio=jnp.sum(there * share, axis=1) / cells,
        reached=jnp.any(present, axis=1) & (mean >= agreed),
        below_min=cell_min * jnp.sum(below, axis=1),
        present_min=cell_min * jnp.sum(there, axis=1),
        alarms=jnp.sum(_run_lengths(below) == patience, axis=1),
    )


def _run_lengths(below: Bool[Array, "users cells"]) -> Int[Array, "users cells"]:
    """How many cells in a row, up to each, are below."""
    place = jnp.broadcast_to(jnp.arange(1, below.shape[1] + 1), below.shape)
    return place - jax.lax.cummax(jnp.where(below, 0, place), axis=1)


def by_class(kept: Kept, classes: Int[Array, " users"], number: int) -> ClassKept:
    """Users' agreements by class 0 .. number - 1; users who were never there do not count."""
    there = (kept.present_min > 0.0).astype(kept.mean.dtype)

    def total(values: Array) -> Array:
        return jnp.zeros(number, values.dtype).at[classes].add(values)

    users = total(there)
    count = jnp.maximum(users, 1.0)
    return ClassKept(
        users=users,
        ratio=total(there * kept.ratio) / count,
        satisfied=total(there * kept.reached) / count,
        below=total(kept.below_min) / jnp.maximum(total(kept.present_min), 1e-6),
        alarms=total(kept.alarms),
    )
