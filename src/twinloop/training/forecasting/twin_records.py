"""Worlds simulated as the twins believe them: what twins knew in every slot, beside what was true.

Truth is free here and nowhere else, so trained emulators of twins are taught in such worlds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float32, Int, PRNGKeyArray, PyTree

from twinloop.collection import Adaptive
from twinloop.emulation import AGE, CELL_CHANGE, EMULATORS, AbstractEmulator, news, user_covariates
from twinloop.entities import USER_ATTRIBUTES, column
from twinloop.loop import Loop, LoopState, slot
from twinloop.network import SimulatedNetwork, user_truth
from twinloop.runs import BLOCK_SLOTS, decide_window, window_due
from twinloop.scenario import Scenario, apply_events, build_loop, event_slots

LEVELS_OF_USERS = tuple(attribute.name for attribute in USER_ATTRIBUTES if attribute.kind == "level")
COVARIATES = (
    *LEVELS_OF_USERS,
    "serving_cell",
    "version",
    CELL_CHANGE,
    *(name + AGE for name in LEVELS_OF_USERS),
)
BASELINES = ("last_value", "ewma", "kalman")
MOST_USERS = 64
_SERVING = column(USER_ATTRIBUTES, "serving_cell")


class Recorded(eqx.Module):
    """One slot, or several along a first axis: reports, knowledge, truth, and what baselines foretell for the next.

    `value` is the last one known, of which those `came` in the slot and those `anew` begin a new past; `truth` is
    within the range that can be reported, NaN for those who are not there. The axis before users of `foretold` and
    `spread` counts `BASELINES`.
    """

    value: Float[Array, "*slots users attributes"]
    came: Bool[Array, "*slots users attributes"]
    anew: Bool[Array, "*slots users attributes"]
    covariates: Float[Array, "*slots users covariates"]
    truth: Float[Array, "*slots users attributes"]
    foretold: Float[Array, "*slots baselines users attributes"]
    spread: Float[Array, "*slots baselines users attributes"]


@dataclass(frozen=True)
class TwinRecord:
    """A recorded world: its seed, and every slot of some of its users as arrays of the host."""

    seed: int
    slot_s: float
    slots: Mapping[str, Float32[np.ndarray, "..."] | np.ndarray]

    def column(self, of: str, attribute: str) -> np.ndarray:
        """Column `attribute` of the table `of`, led by [slots, users] ([slots, baselines, users])."""
        return self.slots[of][..., column(USER_ATTRIBUTES, attribute)]


class _Life(eqx.Module):
    """A loop under way, beside what the baselines remember, which reports there had been, and who served whom."""

    loop: LoopState
    baselines: tuple[PyTree, ...]
    known_slot: Int[Array, "users attributes"]
    cell: Float[Array, " users"]


def record_twins(scenario: Scenario, *, seed: int, duration_s: float, data: Path | None = None) -> TwinRecord:
    """Live `scenario` for `duration_s` seconds in the physics that its twins believe, and record its users' twins.

    The network's own parameters have no part in it, but for how much and over what distances links are shadowed:
    the simulated network is replaced by one with those of the twin (`twin.mismatch`), without drifts. Noise, loss,
    lateness and quantisation of reports, the policies and their what-ifs are the scenario's. Collection is periodic
    in the first half, as the scenario's `collection.attributes` say, and adaptive in the second. At most 64 users
    are recorded, evenly chosen.

    Raises ScenarioError or DataError where the scenario needs data that is not there.
    """
    told = scenario.collection.model_copy(update={"method": "adaptive"})
    untrained = scenario.twin.model_copy(update={"trained_emulator": None})
    changes: dict[str, Any] = {"seed": seed, "collection": told, "twin": untrained, "drifts": []}
    believed = scenario.model_copy(update=changes)
    loop, state = believed_world(*build_loop(believed, data), seed)
    slots = round(duration_s / loop.slot_s)
    loop = _periodic_until(loop, slots // 2)
    key = jax.random.fold_in(jax.random.key(seed), 11)
    baselines: tuple[AbstractEmulator[Any], ...] = tuple(EMULATORS[name](loop.slot_s) for name in BASELINES)
    known = state.twin.users.current
    life = _Life(
        state,
        tuple(each.start("users", known) for each in baselines),
        jnp.full_like(known.slot, -1),
        jnp.full(known.active.shape[0], -1.0, jnp.float32),
    )
    users = known.active.shape[0]
    rows = np.unique(np.linspace(0, users - 1, min(users, MOST_USERS)).astype(np.int32))
    window_slots, changed = round(scenario.window / loop.slot_s), event_slots(believed)
    blocks: list[Recorded] = []
    for first in range(0, slots, BLOCK_SLOTS):
        loop = apply_events(believed, loop, first, BLOCK_SLOTS)
        if window_due(first, window_slots, changed):
            life = eqx.tree_at(lambda each: each.loop, life, _decided(key, loop, life.loop, jnp.int32(first)))
        life, lived = _lived(key, loop, baselines, life, jnp.int32(first), jnp.asarray(rows))
        blocks.append(jax.device_get(lived))
    whole = jax.tree.map(lambda *parts: np.concatenate(parts), *blocks)
    return TwinRecord(seed, loop.slot_s, MappingProxyType(vars(whole)))


def believed_world(
    loop: Loop[SimulatedNetwork], state: LoopState, seed: int
) -> tuple[Loop[SimulatedNetwork], LoopState]:
    """The loop with the twin's own parameters in place of the network's, and its state before the first slot.

    A twin knows that links are shadowed, but not where: each world draws a map of its own from the same channel model,
    lest emulators learn that radio is smooth.
    """
    believed, model = loop.abstractor.params, loop.network.params.radio
    radio = replace(believed.radio, shadow_scale=model.shadow_scale, shadow_grid_m=model.shadow_grid_m, grid=model.grid)
    network = replace(loop.network, params=replace(believed, radio=radio))
    inside = replace(loop, network=network)
    plant = eqx.filter_jit(inside.network.begin)(jax.random.key(seed), state.standing.action)
    return inside, eqx.tree_at(lambda one: one.plant, state, plant)


def _periodic_until(loop: Loop[SimulatedNetwork], slots: int) -> Loop[SimulatedNetwork]:
    """The loop whose collector leaves the scenario's own request, which is periodic, in place for so long."""
    collector = loop.collector
    assert isinstance(collector, Adaptive)
    later = replace(collector, rules=replace(collector.rules, warm_up_slots=slots))
    return replace(loop, collector=later)


def _reportable(truth: Float[Array, "users attributes"]) -> Float[Array, "users attributes"]:
    low, high = (jnp.asarray([getattr(each, end) for each in USER_ATTRIBUTES], jnp.float32) for end in ("low", "high"))
    return jnp.clip(truth, low[None, :], high[None, :])


@eqx.filter_jit
def _decided(key: PRNGKeyArray, loop: Loop[SimulatedNetwork], state: LoopState, first: Int[Array, ""]) -> LoopState:
    return decide_window(key, loop, state, first)[0]


@eqx.filter_jit
def _lived(
    key: PRNGKeyArray,
    loop: Loop[SimulatedNetwork],
    baselines: tuple[AbstractEmulator[Any], ...],
    life: _Life,
    first: Int[Array, ""],
    rows: Int[Array, " recorded"],
) -> tuple[_Life, Recorded]:
    def live(before: _Life, number: Int[Array, ""]) -> tuple[_Life, Recorded]:
        after, plant, _ = slot(jax.random.fold_in(key, number), loop, before.loop)
        known = after.twin.users.current
        anew, further = news(before.known_slot, known)
        advanced = [
            each.advance("users", memory, known, number)
            for each, memory in zip(baselines, before.baselines, strict=True)
        ]
        recorded = Recorded(
            value=known.value[rows],
            came=(anew | further)[rows],
            anew=anew[rows],
            covariates=user_covariates(COVARIATES, known, before.cell, number)[rows],
            truth=jnp.where(plant.outcome.active[:, None], _reportable(user_truth(plant.outcome)), jnp.nan)[rows],
            foretold=jnp.stack([forecast.emulated[rows] for _, forecast in advanced]),
            spread=jnp.stack([forecast.std[rows] for _, forecast in advanced]),
        )
        memories = tuple(memory for memory, _ in advanced)
        return _Life(after, memories, known.slot, known.value[:, _SERVING]), recorded

    return jax.lax.scan(live, life, first + jnp.arange(BLOCK_SLOTS, dtype=jnp.int32))
