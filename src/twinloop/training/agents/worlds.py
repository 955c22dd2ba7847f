"""Worlds to train agents in: people drawn as a scenario draws them, in the simulator of the twins."""

from collections.abc import Callable, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from twinloop.abstraction import Abstractor
from twinloop.errors import ScenarioError
from twinloop.qoe import UserModels
from twinloop.scenario import Scenario, build_loop
from twinloop.simulator import Params
from twinloop.slicing import SliceTable
from twinloop.twins import Twins


class Persons(eqx.Module):
    """How a population really feels, what its twins learned of that from past ratings, and what was promised."""

    true: UserModels
    believed: UserModels
    structure: Int[Array, "*worlds users"]
    agreed: Float[Array, "*worlds users"]


class Worlds(eqx.Module):
    """A network as the twins believe it, and populations that may be found in it, one a seed.

    `abstractor` and `blank` are those of a loop before its first slot.
    """

    params: Params
    abstractor: Abstractor
    blank: Twins
    slices: SliceTable
    persons: Persons

    @property
    def populations(self) -> int:
        """How many populations there are."""
        return self.persons.agreed.shape[0]


def draw_worlds(scenario: Scenario, seeds: Sequence[int], progress: Callable[[str], None] | None = None) -> Worlds:
    """Populations of `seeds`. The physics are those of the judge's twin, never the network's.

    Raises ScenarioError where the scenario's twins do not follow experience.
    """
    loops = []
    drawn: list[Persons] = []
    for number, seed in enumerate(seeds):
        loop, state = build_loop(scenario.model_copy(update={"seed": int(seed)}))
        twins, raters = state.twin.experience, loop.network.params.raters
        if twins is None or raters is None:
            raise ScenarioError(f"{scenario.name}: its twins follow nobody's experience; set twin.ratings above 0")
        drawn.append(Persons(raters.models, twins.fitted.blend, twins.fitted.structure, twins.agreed))
        if not loops:
            loops.append((loop, state))
        if progress is not None and (number + 1) % 16 == 0:
            progress(f"drew {number + 1} of {len(seeds)} populations")
    loop, state = loops[0]
    params = eqx.tree_at(
        lambda p: p.raters, loop.slot_judge.model.params, loop.network.params.raters, is_leaf=lambda leaf: leaf is None
    )
    persons = jax.tree.map(lambda *rows: jnp.stack(rows), *drawn)
    return Worlds(params, loop.abstractor, state.twin, loop.slices, persons)
