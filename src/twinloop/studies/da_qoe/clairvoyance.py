"""The most that anybody who knew everything could have kept of the agreements, on the links as they turned out."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Shaped

from twinloop.qoe import BEST, WORST
from twinloop.studies.da_qoe.living import Lived

_STEPS = 200
_TANGENTS = 41
_QUALITY_ONLY = 1


def clairvoyant_ratio(lived: Lived, skipped: int, grid: int) -> float:
    """Upper bound on the mean of min(mean E* of a grid cell / ELA, 1) over users and grid cells, by Lagrange duality.

    In every minute a user takes a version without a stall or nothing (mixtures of both come with the dual), which
    costs version rate x `hz_per_bps` in the user's cell; bandwidth of the cells is all that is shared. min(x, 1) is
    bounded by its tangents, so for any prices

        sum_minutes,cells price W + sum_users min_l [(1 - l) + sum_minutes max_o (l E(o) / (grid ELA) - price h(o))]

    is at least the best; prices go down its slope. Left out, so looser: transcoding, swipes and what they waste,
    overhead of twins, that the player chooses. The links are those of the run, so other schemes' interference differs.
    """
    there = np.flatnonzero(lived.present)
    whole = (len(lived.experience) - skipped) // grid * grid
    rows = slice(skipped, skipped + whole)

    def cells_of(values: Shaped[np.ndarray, "minutes capacity"]) -> Shaped[np.ndarray, "cells grid users"]:
        return values[rows][:, there].reshape(-1, grid, len(there))

    experience, rates = _options(cells_of(lived.factor), lived.rule[there], lived.version_bps)
    cost = rates * cells_of(lived.hz_per_bps)[..., None] / float(np.mean(lived.cell_hz))
    room = lived.cell_hz / float(np.mean(lived.cell_hz))
    worth = experience / (grid * lived.agreed[there])[None, None, :, None]
    bounds = jax.vmap(_dual, in_axes=(0, 0, 0, None))(
        jnp.asarray(worth, jnp.float32),
        jnp.asarray(cost, jnp.float32),
        jnp.asarray(cells_of(lived.cell), jnp.int32),
        jnp.asarray(room, jnp.float32),
    )
    return float(np.mean(np.asarray(bounds)) / len(there))


def _options(
    factor: Float[np.ndarray, "cells grid users"],
    rule: Float[np.ndarray, " users"],
    version_bps: Float[np.ndarray, " versions"],
) -> tuple[Float[np.ndarray, "cells grid users options"], Float[np.ndarray, " options"]]:
    """True experience of nothing and of every version without a stall, and their rates; who minds quality alone may
    stall at any version, and pays next to nothing.
    """
    quality = np.log(version_bps / version_bps[0]) / np.log(version_bps[-1] / version_bps[0])
    service = np.where(rule[:, None] == 0, 1.0, quality[None, :])
    felt = WORST + (BEST - WORST) * np.clip(service[None, None] * factor[..., None], 0.0, 1.0)
    careless = (rule == _QUALITY_ONLY)[None, None, :, None]
    nothing = np.where(careless, felt[..., -1:], WORST)
    return np.concatenate([nothing, felt], axis=-1), np.concatenate([[0.0], version_bps])


@jax.jit
def _dual(
    worth: Float[Array, "grid users options"],
    cost: Float[Array, "grid users options"],
    cell: Int[Array, "grid users"],
    room: Float[Array, " cells"],
) -> Float[Array, ""]:
    """The least dual value that subgradient steps of falling length find."""
    tangent = jnp.linspace(0.0, 1.0, _TANGENTS)

    def value(price: Float[Array, "grid cells"]) -> Float[Array, ""]:
        paid = jnp.take_along_axis(price, cell, axis=1)[:, :, None] * cost
        best = jnp.max(tangent[:, None, None, None] * worth[None] - paid[None], axis=3)
        each = jnp.min((1.0 - tangent)[:, None] + jnp.sum(best, axis=1), axis=0)
        return jnp.sum(price * room[None]) + jnp.sum(each)

    slope = jax.value_and_grad(value)

    def step(carry: tuple[Array, Array], number: Int[Array, ""]) -> tuple[tuple[Array, Array], None]:
        price, least = carry
        now, down = slope(price)
        length = 2.0 / (1.0 + number)
        moved = jnp.maximum(price - length * down / jnp.maximum(jnp.linalg.norm(down), 1e-6), 0.0)
        return (moved, jnp.minimum(least, now)), None

    start = jnp.full((worth.shape[0], room.shape[0]), 0.2 * worth.shape[1] / room.shape[0])
    (_, least), _ = jax.lax.scan(step, (start, jnp.float32(jnp.inf)), jnp.arange(_STEPS))
    return least
