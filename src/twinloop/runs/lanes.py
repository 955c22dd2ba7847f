"""Worlds of one shape lived side by side in one compiled call: seeds of a scenario, or variants in figures alone."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from twinloop.decision import AdaptiveWindow, DynamicsScale
from twinloop.loop import Loop, LoopState
from twinloop.network import SimulatedNetwork
from twinloop.runs.blocks import Compiled, World, block_length, compile_loop, run_key, use_persistent_cache
from twinloop.runs.orders import Orders
from twinloop.runs.pacing import Pacing
from twinloop.scenario import Scenario, apply_events, build_loop, due_events, event_slots, happens

_DECIDED_AT_ONCE = 2
Values = np.ndarray
Rules = Sequence[tuple[AdaptiveWindow, DynamicsScale]]
Prepare = Callable[[Scenario, Loop[SimulatedNetwork], LoopState], tuple[Loop[SimulatedNetwork], LoopState]]


@dataclass(frozen=True)
class LaneBlock:
    """One block of one world: truth and trace, every array led by the slot, and the window's verdict before it where
    slices were decided; `pace` is the `score` and `stage` of adaptive windows, where they were asked.
    `decide_s` is this world's part of the wall time of deciding, with fitting models; NaN where it was not due.
    """

    lane: int
    first_slot: int
    truth: Mapping[str, Values]
    trace: Mapping[str, Values]
    verdict: Mapping[str, Values] | None
    pace: Mapping[str, Values]
    decide_s: float


class Lanes:
    """Worlds stacked along a leading axis; all scenarios must build loops of one structure and like shapes.

    `prepare` may change a world before its first slot, `rules` those of adaptive windows. `agreed` is, by world, the
    experience that each user was promised, 0 where nobody's is followed; `orders`, by world, what its twins answered to
    what was ordered. Raises ScenarioError or DataError as building one does.
    """

    def __init__(
        self,
        scenarios: Sequence[Scenario],
        slots: int,
        data: Path | None = None,
        prepare: Prepare | None = None,
        rules: Rules | None = None,
    ) -> None:
        use_persistent_cache()
        self.scenarios = tuple(scenarios)
        worlds = _built(self.scenarios, data)
        if prepare is not None:
            worlds = [prepare(scenario, *world) for scenario, world in zip(self.scenarios, worlds, strict=True)]
        self.loops = [loop for loop, _ in worlds]
        self.slots = slots
        self._changes = event_slots(self.scenarios[0])
        self._rules = rules
        self.block_slots = block_length(slots, self._pacing().step_slots)
        self._loop: Loop[SimulatedNetwork] = stacked(self.loops)
        self.agreed = [_agreed(state) for _, state in worlds]
        self._state: LoopState = stacked([state for _, state in worlds])
        self.orders = [Orders(scenario) for scenario in self.scenarios]
        self._key = jnp.stack([run_key(scenario.seed) for scenario in self.scenarios])
        self._at_once = min(_DECIDED_AT_ONCE, len(self.scenarios))

    def compile(self) -> Compiled:
        """Both programs of these lanes, kept for others of the same shapes."""
        return compile_loop(self._loop, World(self._state, None), self._key, self.block_slots, at_once=self._at_once)

    def live(self, compiled: Compiled) -> Iterator[list[LaneBlock]]:
        """All blocks in turn, one entry a lane."""
        loop, state, pacing = self._loop, self._state, self._pacing()
        self.orders = [Orders(scenario) for scenario in self.scenarios]
        for first in range(0, self.slots, self.block_slots):
            if any(happens(scenario, first, self.block_slots) for scenario in self.scenarios):
                loop = self._with_events(loop, state, first)
            due, pace = pacing.due(first)
            begun = time.perf_counter()
            state, verdicts = self._decided(compiled, loop, state, np.flatnonzero(due), first)
            decide_s = (time.perf_counter() - begun) / max(len(verdicts), 1)
            world, lived = compiled.block(self._key, loop, World(state, None), jnp.int32(first))
            state = world.state
            pacing.observe(state.twin, lived[1]["slice_demand_hz"])
            truth, trace = jax.device_get(lived)
            yield [
                LaneBlock(
                    lane,
                    first,
                    _row(truth, lane),
                    _row(trace, lane),
                    verdicts.get(lane),
                    _row(pace, lane),
                    decide_s if lane in verdicts else math.nan,
                )
                for lane in range(len(self.scenarios))
            ]

    def _decided(
        self, compiled: Compiled, loop: Loop[SimulatedNetwork], state: LoopState, due: np.ndarray, first: int
    ) -> tuple[LoopState, dict[int, Mapping[str, Values]]]:
        """Slices decided anew in the worlds that are due, few at a time, and each one's verdict."""
        verdicts: dict[int, Mapping[str, Values]] = {}
        for part in (due[at : at + self._at_once] for at in range(0, len(due), self._at_once)):
            lanes = jnp.asarray(np.resize(part, self._at_once))
            key, some_loops, some_states = _worlds((self._key, loop, state), lanes)
            decided, told = compiled.decide(key, some_loops, some_states, jnp.int32(first))
            state = _with_worlds(state, decided, lanes)
            told = jax.device_get(told)
            verdicts |= {int(lane): _row(told, row) for row, lane in enumerate(part)}
        return state, verdicts

    def _with_events(self, loop: Loop[SimulatedNetwork], state: LoopState, first: int) -> Loop[SimulatedNetwork]:
        """The lanes with all that happened until the end of a block; each world's twins judge its own orders."""
        lanes: list[Loop[SimulatedNetwork]] = []
        for lane, (scenario, orders) in enumerate(zip(self.scenarios, self.orders, strict=True)):
            if scenario.policy.admission and due_events(scenario, first, self.block_slots):
                orders.judge(self._key[lane], _lane(loop, lane), _lane(state, lane), first, self.block_slots)
            begun, until = self.loops[lane], first + self.block_slots
            lanes.append(apply_events(scenario, begun, 0, until, left_out=orders.left_out))
        return stacked(lanes)

    def _pacing(self) -> Pacing:
        return Pacing(self.scenarios, self._changes, self._rules)


def _built(scenarios: Sequence[Scenario], data: Path | None) -> list[tuple[Loop[SimulatedNetwork], LoopState]]:
    """Each scenario's world; of those that are alike one is built."""
    names = [scenario.model_dump_json() for scenario in scenarios]
    alike = dict(zip(names, scenarios, strict=True))
    worlds = {name: build_loop(scenario, data) for name, scenario in alike.items()}
    return [worlds[name] for name in names]


@eqx.filter_jit
def _worlds(tree: Any, lanes: Int[Array, " some"]) -> Any:
    return jax.tree.map(lambda leaf: leaf[lanes] if eqx.is_array(leaf) else leaf, tree)


@eqx.filter_jit
def _with_worlds(tree: Any, some: Any, lanes: Int[Array, " some"]) -> Any:
    return jax.tree.map(lambda leaf, new: leaf.at[lanes].set(new) if eqx.is_array(leaf) else leaf, tree, some)


def _lane(tree: Any, lane: int) -> Any:
    return jax.tree.map(lambda leaf: leaf[lane] if eqx.is_array(leaf) else leaf, tree)


def _agreed(state: LoopState) -> Values:
    felt = state.twin.experience
    return np.zeros(state.twin.users.current.active.shape) if felt is None else np.asarray(felt.agreed)


def stacked(trees: Sequence[Any]) -> Any:
    """Trees of one structure as one, their arrays stacked."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves) if eqx.is_array(leaves[0]) else leaves[0], *trees)


def _row(values: Mapping[str, Any], lane: int) -> dict[str, Values]:
    return {name: np.asarray(value[lane]) for name, value in values.items()}
