"""When slices are decided anew: once a fixed window, or when the network's dynamics ask for it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from twinloop.decision import (
    BLOCK_S,
    AdaptiveWindow,
    DynamicsScale,
    Surroundings,
    WindowMemory,
    dynamics_score,
    shipped_pace,
    variation,
)
from twinloop.entities import USER_ATTRIBUTES, column
from twinloop.qoe import swipes_per_min
from twinloop.runs.blocks import window_due
from twinloop.scenario import Scenario
from twinloop.twins import Twins, believed_experience

_BLOCK_SLOTS = round(BLOCK_S)


class PaceMemory(eqx.Module):
    """What adaptive windows remember: means over `looks` at the 3 minutes under way, those `before` the last decision,
    and what the rule itself does.
    """

    now: Surroundings
    experience: Float[Array, ""]
    looks: Float[Array, ""]
    before: Surroundings
    rule: WindowMemory


class Pacing:
    """Tells before every block of which of the worlds side by side slices are decided anew.

    Worlds of `fixed` windows keep the window of their scenario. Those of `adaptive` ones are looked at after every
    block of slots, and asked every 3 minutes (decision.dynamics): what moved in the last three minutes against the
    three before slices were last decided. All count from the first decision, a minute after the start, and a change of
    slices by an event is always a decision. `rules` replaces the shipped rule of each world.
    """

    def __init__(
        self,
        scenarios: Sequence[Scenario],
        changes: Collection[int],
        rules: Sequence[tuple[AdaptiveWindow, DynamicsScale]] | None = None,
    ) -> None:
        self.adaptive = np.array([scenario.policy.windows == "adaptive" for scenario in scenarios])
        self._window_slots = [round(scenario.window) for scenario in scenarios]
        self._changes = changes
        chosen = [shipped_pace()] * len(scenarios) if rules is None else rules
        self._rules: Any = jax.tree.map(lambda *leaves: jnp.stack(leaves), *chosen)
        self.memory: PaceMemory | None = None

    @property
    def step_slots(self) -> int:
        """Blocks of slots must divide this."""
        lengths = [slots for slots, adaptive in zip(self._window_slots, self.adaptive, strict=True) if not adaptive]
        return int(np.gcd.reduce([*lengths, _BLOCK_SLOTS] if self.adaptive.any() else lengths))

    def observe(self, twins: Twins, demand_hz: Float[Array, "worlds slots cells slices"]) -> None:
        """Looks at the twins of all worlds after a block of slots in which slices had that demand."""
        if self.memory is None:
            self.memory = self.first_memory(twins, demand_hz)
        else:
            self.memory = _look(self.memory, self._rules[0], twins, demand_hz)

    def first_memory(self, twins: Twins, demand_hz: Float[Array, "worlds slots cells slices"]) -> PaceMemory | None:
        """What is remembered after a first look; None where no window is adaptive."""
        return _look(None, self._rules[0], twins, demand_hz) if self.adaptive.any() else None

    def due(self, first_slot: int) -> tuple[Bool[np.ndarray, " worlds"], Mapping[str, np.ndarray]]:
        """Whose slices are decided before the block that begins with `first_slot`, and of adaptive windows the `score`
        and `stage` that said so, where they were asked.
        """
        fixed = np.array([window_due(first_slot, slots, self._changes) for slots in self._window_slots])
        if self.memory is None:
            return fixed, {}
        if window_due(first_slot, 2**30, self._changes):
            self.memory = _begin(self.memory)
            return np.ones_like(fixed), {}
        if first_slot % _BLOCK_SLOTS:
            return fixed & ~self.adaptive, {}
        due, score, after = _ask(*self._rules, self.memory)
        self.memory = after
        told = {"score": np.asarray(score), "stage": np.asarray(after.rule.stage)}
        return np.where(self.adaptive, np.asarray(due), fixed), told


def _looked(
    memory: PaceMemory | None, rule: AdaptiveWindow, twins: Twins, demand_hz: Float[Array, "slots cells slices"]
) -> PaceMemory:
    """The memory with one more look, the mean of the block taken along."""
    seen, experience = _surroundings(twins, demand_hz)
    if memory is None:
        return PaceMemory(seen, experience, jnp.float32(1.0), seen, rule.init())
    part = 1.0 / (memory.looks + 1.0)

    def mean(old: Array, new: Array) -> Array:
        return old | new if old.dtype == bool else jnp.where(memory.looks > 0, old + part * (new - old), new)

    return replace(
        memory,
        now=jax.tree.map(mean, memory.now, seen),
        experience=mean(memory.experience, experience),
        looks=memory.looks + 1.0,
    )


def _begun(memory: PaceMemory) -> PaceMemory:
    """After slices were decided for other reasons: what was seen so far is what later looks are held against."""
    rule = replace(memory.rule, elapsed=jnp.ones_like(memory.rule.elapsed))
    return replace(memory, before=memory.now, rule=rule)


def _asked(
    rule: AdaptiveWindow, scale: DynamicsScale, memory: PaceMemory
) -> tuple[Bool[Array, ""], Float[Array, ""], PaceMemory]:
    """Whether slices are decided anew after the block, the score of its dynamics, and an empty block to fill."""
    score = dynamics_score(scale, variation(memory.before, memory.now))
    due, after = rule.decide(memory.rule, score, memory.experience)
    before = jax.tree.map(lambda now, old: jnp.where(due, now, old), memory.now, memory.before)
    fresh = replace(memory.now, present=jnp.zeros_like(memory.now.present))
    return due, score, PaceMemory(fresh, memory.experience, jnp.float32(0.0), before, after)


def _surroundings(twins: Twins, demand_hz: Float[Array, "slots cells slices"]) -> tuple[Surroundings, Float[Array, ""]]:
    """What the twins know of people, where they are, and the mean of what they are believed to experience."""
    users, felt = twins.users.current, twins.experience
    assert felt is not None
    known = jnp.where(users.slot >= 0, users.value, 0.0)

    def of(name: str) -> Float[Array, " users"]:
        return known[:, column(USER_ATTRIBUTES, name)]

    seen = Surroundings(
        swipes_per_min=swipes_per_min(felt.last.behaviour),
        sinr_db=of("sinr_db"),
        speed_mps=of("speed_mps"),
        position_m=jnp.stack([of("position_x_m"), of("position_y_m")], axis=1),
        demand=jnp.mean(demand_hz, axis=0),
        present=users.active,
    )
    present = users.active.astype(jnp.float32)
    return seen, jnp.sum(present * believed_experience(felt)) / jnp.maximum(jnp.sum(present), 1.0)


_look: Any = eqx.filter_jit(eqx.filter_vmap(_looked))
_begin: Any = eqx.filter_jit(eqx.filter_vmap(_begun))
_ask: Any = eqx.filter_jit(eqx.filter_vmap(_asked))
