"""A version for each user under the budgets of two resources: the multiple-choice knapsack, by dynamic programming."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from twinloop.decision.pools import pool_sum


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
    Option 0 must cost nothing. Users come pool by pool, each pool begins the table anew: O(users x options x parts).
    Bellman (1957); multiple choice: Kellerer, Pferschy, Pisinger, Knapsack Problems, chapter 11.
    """
    most = jnp.asarray(parts)
    order = jnp.argsort(pool, stable=True)
    pool, value, cost = pool[order], value[order], cost[order]
    opens = jnp.concatenate([jnp.ones(1, bool), pool[1:] != pool[:-1]])
    closes = jnp.concatenate([opens[1:], jnp.ones(1, bool)])
    size = jnp.maximum(budget, 1e-30) / most[None, :]
    needed = jnp.ceil(cost / size[pool][:, None, :] - 1e-4)
    weight = jnp.clip(needed, 0.0, most[None, None, :] + 1.0).astype(jnp.int32)
    options = value.shape[1]
    rooms = (parts[0] + 1, parts[1] + 1)

    def add(best: Float[Array, "rooms others"], user: tuple[Array, Array, Array]) -> tuple[Array, tuple[Array, Array]]:
        worth, weighs, first = user
        before = jnp.where(first, 0.0, best)
        table = jnp.pad(before, ((rooms[0], 0), (rooms[1], 0)), constant_values=-jnp.inf)
        after, choice = before + worth[0], jnp.zeros(rooms, jnp.int8)
        for option in range(1, options):
            start = (rooms[0] - weighs[option, 0], rooms[1] - weighs[option, 1])
            offered = jax.lax.dynamic_slice(table, start, rooms) + worth[option]
            choice = jnp.where(offered > after, option, choice).astype(jnp.int8)
            after = jnp.maximum(offered, after)
        return after, (choice, after[-1, -1])

    _, (choice, reached) = jax.lax.scan(add, jnp.zeros(rooms), (value, weight, opens))

    def back(left: Int[Array, " 2"], user: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        picked, weighs, last = user
        room = jnp.where(last, most, left)
        option = picked[room[0], room[1]].astype(jnp.int32)
        return room - weighs[option], option

    _, option = jax.lax.scan(back, most, (choice, weight, closes), reverse=True)
    value_of_pool = pool_sum(jnp.where(closes, reached, 0.0), pool, budget.shape[0])
    return Packed(jnp.zeros_like(option).at[order].set(option), value_of_pool)
