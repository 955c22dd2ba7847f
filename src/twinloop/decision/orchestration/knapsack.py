"""A version for each user under one budget: the multiple-choice knapsack, by dynamic programming."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


class Packed(NamedTuple):
    """The chosen option of every user, and what all are worth together."""

    option: Int[Array, " users"]
    value: Float[Array, ""]


def pack(
    value: Float[Array, "users options"],
    cost: Float[Array, "users options"],
    budget: Float[Array, ""],
    cells: int = 512,
) -> Packed:
    """maximise sum_u value[u, j_u] subject to sum_u cost[u, j_u] <= budget, one option a user.

    The budget is cut into `cells` equal parts and every cost rounded up to whole parts, so no choice exceeds the budget
    and the optimum is exact for costs that are multiples of budget / cells; otherwise it loses at most one part a user.
    Option 0 must cost nothing. O(users x options x cells). Bellman (1957); multiple choice: Kellerer, Pferschy,
    Pisinger, Knapsack Problems, chapter 11.
    """
    part = jnp.maximum(budget, 1e-30) / cells
    needed = jnp.ceil(cost / part - 1e-4)
    weight = jnp.where(needed > cells, cells + 1, jnp.maximum(needed, 0.0)).astype(jnp.int32)
    room = jnp.arange(cells + 1)

    def add(best: Float[Array, " room"], user: tuple[Array, Array]) -> tuple[Array, Array]:
        worth, weighs = user
        left = room[None] - weighs[:, None]
        total = jnp.where(left >= 0, best[jnp.maximum(left, 0)] + worth[:, None], -jnp.inf)
        return jnp.max(total, axis=0), jnp.argmax(total, axis=0).astype(jnp.int32)

    best, choice = jax.lax.scan(add, jnp.zeros(cells + 1), (value, weight))

    def back(left: Int[Array, ""], user: tuple[Array, Array]) -> tuple[Array, Array]:
        picked, weighs = user
        option = picked[left]
        return left - weighs[option], option

    _, option = jax.lax.scan(back, jnp.int32(cells), (choice, weight), reverse=True)
    return Packed(option, best[cells])
