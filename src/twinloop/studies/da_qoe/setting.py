"""The setting of paper 000 (IV): who is there, and which schemes manage the network."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool

from twinloop.loop import Loop, LoopState
from twinloop.network import SimulatedNetwork
from twinloop.scenario import Scenario, load

USERS = (16, 18, 20, 22, 24)
CAPACITY = 24
HORIZON, SAMPLES = 5, 8
PROPOSED = "proposed"


@dataclass(frozen=True)
class Scheme:
    """Who decides: what `policy` of the scenario becomes, and what the scheme is in a sentence."""

    title: str
    about: str
    policy: Mapping[str, Any] = field(default_factory=dict[str, Any])


SCHEMES: Mapping[str, Scheme] = MappingProxyType(
    {
        PROPOSED: Scheme(
            "proposed",
            "demand by users' own models of experience and ELAs, reserved by gain; versions by experience every slot; "
            "the internal loop judges by experience",
            {"reservation": "agents", "allocation": "experience", "objective": "experience"},
        ),
        "hsla-l2": Scheme(
            "HSLA-L2",
            "demand by bits: a promised rate (SLA) of 2 Mbit/s, reserved greedily; slots as in the proposed scheme",
            {"reservation": "greedy", "allocation": "experience", "objective": "experience"},
        ),
        "no-agents": Scheme(
            "no agents",
            "demand by bits, reserved greedily; round robin in the slot",
            {"reservation": "greedy", "allocation": "round_robin"},
        ),
        "pf": Scheme(
            "convex + PF",
            "convex slicing, proportional fair in the slot",
            {"reservation": "convex", "allocation": "proportional_fair"},
        ),
        "utility": Scheme(
            "convex + utility",
            "convex slicing, satisfaction with bits maximised in the slot",
            {"reservation": "convex", "allocation": "utility"},
        ),
    }
)


def world(scheme: Scheme, seed: int, minutes: int) -> Scenario:
    """The scenario of one run; the number of users present is set by `with_users`."""
    described = load("da-qoe")
    judge = described.twin.judge.model_copy(update={"slot_horizon": HORIZON, "samples": SAMPLES})
    return described.model_copy(
        update={
            "seed": seed,
            "duration": 60.0 * minutes,
            "twin": described.twin.model_copy(update={"judge": judge}),
            "policy": described.policy.model_copy(update=dict(scheme.policy)),
        }
    )


def present(users: int) -> Bool[np.ndarray, " capacity"]:
    """Who is there of all for whom there is room: as many of every class of agreement as of the others, to one."""
    classes = 3
    each = CAPACITY // classes
    places = np.arange(CAPACITY)
    return (places % each) * classes + places // each < users


def with_users(users: int, loop: Loop[SimulatedNetwork], state: LoopState) -> tuple[Loop[SimulatedNetwork], LoopState]:
    """The world with `users` people; the other rows stay empty, so that all numbers of users share one program."""
    there = state.plant.state.active & jnp.asarray(present(users))
    return loop, eqx.tree_at(lambda s: s.plant.state.active, state, there)
