"""A budget of report bits for every cell and slot: over it, the least important attributes are given up first."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

_MEMORY = 0.9
_EVERY_SLOTS = 5
_ROOM = 0.8


class Budget(eqx.Module):
    """What each cell's reports cost a slot lately, and how many attributes are given up there."""

    spent_bits: Float[Array, " cells"]
    shed: Int[Array, " cells"]


def no_spending(cells: int) -> Budget:
    """Nothing spent, nothing given up."""
    return Budget(jnp.zeros(cells), jnp.zeros(cells, jnp.int32))


def spend(
    budget: Budget,
    bits: Float[Array, " entities"],
    cell: Int[Array, " entities"],
    allowed_bits: Float[Array, ""],
    attributes: int,
    slot: Int[Array, ""],
) -> Budget:
    """Budget after a slot: every five slots one more attribute is given up over it, one fewer under 0.8 of it."""
    cells = budget.spent_bits.shape[0]
    now = jax.ops.segment_sum(bits, cell, cells)
    spent = _MEMORY * budget.spent_bits + (1 - _MEMORY) * now
    step = (spent > allowed_bits).astype(jnp.int32) - (spent < _ROOM * allowed_bits).astype(jnp.int32)
    shed = jnp.clip(budget.shed + jnp.where(slot % _EVERY_SLOTS == 0, step, 0), 0, attributes)
    return Budget(spent, shed)


def given_up(budget: Budget, importance: Float[Array, " attributes"]) -> Bool[Array, "cells attributes"]:
    """Attributes that each cell gives up, the least important first."""
    place = jnp.argsort(jnp.argsort(importance))
    return place[None, :] < budget.shed[:, None]
