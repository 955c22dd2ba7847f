"""Worlds of one shape lived side by side in one compiled call: seeds of a scenario, or variants in figures alone."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from twinloop.loop import Loop, LoopState
from twinloop.network import SimulatedNetwork
from twinloop.runs.blocks import Compiled, World, block_length, compile_loop, run_key, use_persistent_cache, window_due
from twinloop.scenario import Scenario, apply_events, build_loop, event_slots

Values = np.ndarray
Prepare = Callable[[Scenario, Loop[SimulatedNetwork], LoopState], tuple[Loop[SimulatedNetwork], LoopState]]


@dataclass(frozen=True)
class LaneBlock:
    """One block of one world: truth and trace, every array led by the slot, and the window's verdict before it."""

    lane: int
    first_slot: int
    truth: Mapping[str, Values]
    trace: Mapping[str, Values]
    verdict: Mapping[str, Values] | None


class Lanes:
    """Worlds stacked along a leading axis; all scenarios must build loops of one structure and like shapes.

    `prepare` may change a world before its first slot. `agreed` is, by world, the experience that each user was
    promised, 0 where nobody's is followed. Raises ScenarioError or DataError as building one does.
    """

    def __init__(
        self,
        scenarios: Sequence[Scenario],
        slots: int,
        data: Path | None = None,
        prepare: Prepare | None = None,
    ) -> None:
        use_persistent_cache()
        self.scenarios = tuple(scenarios)
        worlds = [build_loop(scenario, data) for scenario in self.scenarios]
        if prepare is not None:
            worlds = [prepare(scenario, *world) for scenario, world in zip(self.scenarios, worlds, strict=True)]
        self.loops = [loop for loop, _ in worlds]
        self.slots = slots
        self.window_slots = round(self.scenarios[0].window)
        self.block_slots = block_length(slots, self.window_slots)
        self._loop: Loop[SimulatedNetwork] = stacked(self.loops)
        self.agreed = [_agreed(state) for _, state in worlds]
        self._state: LoopState = stacked([state for _, state in worlds])
        self._key = jnp.stack([run_key(scenario.seed) for scenario in self.scenarios])

    def compile(self) -> Compiled:
        """Both programs of these lanes, kept for others of the same shapes."""
        return compile_loop(self._loop, World(self._state, None), self._key, self.block_slots, seeds=True)

    def live(self, compiled: Compiled) -> Iterator[list[LaneBlock]]:
        """All blocks in turn, one entry a lane."""
        loop, state = self._loop, self._state
        changes = event_slots(self.scenarios[0])
        for first in range(0, self.slots, self.block_slots):
            if any(scenario.events or scenario.drifts for scenario in self.scenarios):
                pairs = zip(self.scenarios, self.loops, strict=True)
                loop = stacked([apply_events(scenario, one, 0, first + self.block_slots) for scenario, one in pairs])
            verdict: Mapping[str, Values] | None = None
            if window_due(first, self.window_slots, changes):
                state, told = compiled.decide(self._key, loop, state, jnp.int32(first))
                verdict = jax.device_get(told)
            world, lived = compiled.block(self._key, loop, World(state, None), jnp.int32(first))
            state = world.state
            truth, trace = jax.device_get(lived)
            yield [
                LaneBlock(lane, first, _row(truth, lane), _row(trace, lane), verdict and _row(verdict, lane))
                for lane in range(len(self.scenarios))
            ]


def _agreed(state: LoopState) -> Values:
    felt = state.twin.experience
    return np.zeros(state.twin.users.current.active.shape) if felt is None else np.asarray(felt.agreed)


def stacked(trees: Sequence[Any]) -> Any:
    """Trees of one structure as one, their arrays stacked."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves) if eqx.is_array(leaves[0]) else leaves[0], *trees)


def _row(values: Mapping[str, Any], lane: int) -> dict[str, Values]:
    return {name: np.asarray(value[lane]) for name, value in values.items()}
