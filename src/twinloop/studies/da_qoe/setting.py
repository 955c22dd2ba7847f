"""The setting of paper 000 (IV): who is there, and which schemes manage the network."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool

from twinloop.loop import Loop, LoopState
from twinloop.network import SimulatedNetwork
from twinloop.runs import BY_EXPERIENCE
from twinloop.scenario import Scenario, load

USERS = (16, 18, 20, 22, 24)
CAPACITY = 24
HORIZON, SAMPLES = 5, 8
PROPOSED = "proposed"

World = tuple[Loop[SimulatedNetwork], LoopState]
Part = Literal["scheme", "window", "ablation", "control", "mismatch", "load"]


def _as_is(scenario: Scenario) -> Scenario:
    return scenario


def _unchanged(loop: Loop[SimulatedNetwork], state: LoopState) -> World:
    return loop, state


@dataclass(frozen=True)
class Case:
    """A way to manage the network, or a world to manage: what `policy` of the scenario becomes, what else changes.

    Cases of like policies (`kin`) differ in figures alone and share a compiled program. `base` is the case that this
    one is held against in the part of the study it belongs to.
    """

    title: str
    about: str
    policy: Mapping[str, Any] = field(default_factory=dict[str, Any])
    part: Part = "scheme"
    base: str = PROPOSED
    change: Callable[[Scenario], Scenario] = _as_is
    prepare: Callable[[Loop[SimulatedNetwork], LoopState], World] = _unchanged

    @property
    def kin(self) -> tuple[str, ...]:
        """What decides the shape of the compiled program."""
        return tuple(str(self.policy.get(name)) for name in ("reservation", "allocation", "objective"))

    @property
    def follows(self) -> bool:
        """Whether anything is decided by how people feel."""
        return self.policy.get("objective") == "experience"


_AGENTS = dict(BY_EXPERIENCE)
_GREEDY = {"reservation": "greedy", "allocation": "groups", "objective": "experience"}
_BLIND = {"reservation": "greedy", "allocation": "round_robin"}
_FAIR = {"reservation": "convex", "allocation": "proportional_fair", "demand_margin": 0.0}

SCHEMES: Mapping[str, Case] = MappingProxyType(
    {
        PROPOSED: Case(
            "proposed",
            "demand by users' own models of experience and ELAs, slices by gain of experience, windows that follow the "
            "network; a Q-network of 4 layers divides slices among groups of users, whose own problem gives each a "
            "version, every slot; the internal loop judges by experience",
            _AGENTS,
        ),
        "pdrl-l1": Case(
            "PDRL-L1",
            "a Q-network of 5 layers in place of level one's slot decisions; slices and judge as proposed",
            _AGENTS | {"allocation": "pdrl"},
        ),
        "hsla-l2": Case(
            "HSLA-L2",
            "slices by a promised rate (SLA) every 3 minutes, cut alike where short; slots and judge as proposed",
            _GREEDY,
        ),
        "no-agents": Case(
            "no agents",
            "slices by a promised rate every 3 minutes, cut alike where short; round robin in the slot",
            _BLIND,
        ),
        "pf": Case(
            "convex + PF", "convex slicing every 3 minutes, proportional fair in the slot, tuned on other seeds", _FAIR
        ),
    }
)


def world(case: Case, seed: int, minutes: int) -> Scenario:
    """The scenario of one run; the number of users present is set by `with_users`."""
    described = load("da-qoe")
    judge = described.twin.judge.model_copy(update={"slot_horizon": HORIZON, "samples": SAMPLES})
    twin = {"judge": judge} | ({} if case.follows else {"ratings": 0})
    return case.change(
        described.model_copy(
            update={
                "seed": seed,
                "duration": 60.0 * minutes,
                "twin": described.twin.model_copy(update=twin),
                "policy": described.policy.model_copy(update=dict(case.policy)),
            }
        )
    )


def present(users: int) -> Bool[np.ndarray, " capacity"]:
    """Who is there of all for whom there is room: as many of every class of agreement as of the others, to one."""
    classes = 3
    each = CAPACITY // classes
    places = np.arange(CAPACITY)
    return (places % each) * classes + places // each < users


def with_users(users: int, loop: Loop[SimulatedNetwork], state: LoopState) -> World:
    """The world with `users` people; the other rows stay empty, so that all numbers of users share one program."""
    there = state.plant.state.active & jnp.asarray(present(users))
    return loop, eqx.tree_at(lambda s: s.plant.state.active, state, there)
