"""Episodes by number, compiled once for every door: the same number is the same episode, alone or in a batch."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, UInt32

from twinloop.envs.task import EPISODE_SLOTS, Info, Task, TaskState, init, load_task, observe, step

Slot = tuple[TaskState, Float[Array, "*envs cells features"], Float[Array, "*envs"], Bool[Array, "*envs"], Info]


def as_task(scenario: str | Task, data: str | Path | None, episode_slots: int | None) -> Task:
    """The task that a door was given, or the one on the scenario it was given. Raises what `load_task` raises."""
    if isinstance(scenario, Task):
        return scenario
    folder = Path(data) if data is not None else None
    return load_task(scenario, folder, EPISODE_SLOTS if episode_slots is None else episode_slots)


def episode_number(rng: np.random.Generator) -> np.uint32:
    """The number of the next episode."""
    return rng.integers(2**32, dtype=np.uint32)


def _begin(number: UInt32[Array, ""], task: Task) -> tuple[TaskState, Float[Array, "cells features"]]:
    state = init(jax.random.fold_in(jax.random.key(number), 0), task)
    return state, observe(task, state)


def _advance(number: UInt32[Array, ""], task: Task, state: TaskState, action: Float[Array, "pools slices"]) -> Slot:
    return step(jax.random.fold_in(jax.random.key(number), state.slot + 1), task, state, action)


def _renew(
    again: Bool[Array, " envs"], numbers: UInt32[Array, " envs"], task: Task, states: TaskState
) -> tuple[TaskState, Float[Array, "envs cells features"]]:
    fresh, _ = jax.vmap(_begin, in_axes=(0, None))(numbers, task)

    def pick(new: Array, old: Array) -> Array:
        return jnp.where(again.reshape(-1, *(1,) * (new.ndim - 1)), new, old)

    chosen = jax.tree.map(pick, fresh, states)
    return chosen, jax.vmap(observe, in_axes=(None, 0))(task, chosen)


begin = jax.jit(_begin)
"""`begin(number, task)`: the first state of an episode and what is observed of it."""

advance = jax.jit(_advance)
"""`advance(number, task, state, action)`: one step of the episode; see `step`."""

begin_batch = jax.jit(jax.vmap(_begin, in_axes=(0, None)))
"""`begin` for a batch of episodes."""

advance_batch = jax.jit(jax.vmap(_advance, in_axes=(0, None, 0, 0)))
"""`advance` for a batch of episodes."""

renew_batch = jax.jit(_renew)
"""`renew_batch(again, numbers, task, states)`: a batch with the episodes marked `again` begun anew."""
