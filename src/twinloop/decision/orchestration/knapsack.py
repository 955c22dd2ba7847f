"""A version for each user under the budgets of two resources: the multiple-choice knapsack, by dynamic programming."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


class Packed(NamedTuple):
    """The chosen option of every user, and what the users of every pool are worth together."""

    option: Int[Array, " users"]
    value: Float[Array, " pools"]


def pack(
    value: Float[Array, "users options"],
    cost: Float[Array, "users options 2"],
    pool: Int[Array, " users"],
    budget: Float[Array, "pools 2"],
    parts: tuple[int, int] = (32, 8),
) -> Packed:
    """For every pool: maximise sum_u value[u, j_u] subject to sum_u cost[u, j_u] <= budget, both resources, one option
    a user.

    Each budget is cut into `parts` equal parts and every cost rounded up to whole parts, so no choice exceeds a budget
    and the optimum is exact for costs that are multiples of budget / parts; otherwise it loses at most one part a user.
    Option 0 must cost nothing. One table a pool, each user updates that of its own: O(users x options x parts).
    Bellman (1957); multiple choice: Kellerer, Pferschy, Pisinger, Knapsack Problems, chapter 11.
    """
    most = jnp.asarray(parts)
    size = jnp.maximum(budget, 1e-30) / most[None, :]
    needed = jnp.ceil(cost / size[pool][:, None, :] - 1e-4)
    weight = jnp.clip(needed, 0.0, most[None, None, :] + 1.0).astype(jnp.int32)
    options = value.shape[1]
    rooms = (parts[0] + 1, parts[1] + 1)

    def add(best: Float[Array, "pools rooms others"], user: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        worth, weighs, mine = user
        table = jnp.pad(best[mine], ((rooms[0], 0), (rooms[1], 0)), constant_values=-jnp.inf)
        offered = jnp.stack(
            [
                jax.lax.dynamic_slice(table, (rooms[0] - weighs[option, 0], rooms[1] - weighs[option, 1]), rooms)
                + worth[option]
                for option in range(options)
            ]
        )
        return best.at[mine].set(jnp.max(offered, axis=0)), jnp.argmax(offered, axis=0).astype(jnp.int32)

    best, choice = jax.lax.scan(add, jnp.zeros((budget.shape[0], *rooms)), (value, weight, pool))

    def back(left: Int[Array, "pools 2"], user: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        picked, weighs, mine = user
        option = picked[left[mine, 0], left[mine, 1]]
        return left.at[mine].add(-weighs[option]), option

    full = jnp.broadcast_to(most, budget.shape)
    _, option = jax.lax.scan(back, full, (choice, weight, pool), reverse=True)
    return Packed(option, best[:, -1, -1])
