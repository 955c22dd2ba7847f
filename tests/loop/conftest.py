"""One compiled loop for all tests of the loop: forty slots of the tiny campus with the cheapest policies."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest

from twinloop import scenario
from twinloop.entities import Action
from twinloop.loop import Loop, LoopState, slot
from twinloop.network import Plant
from twinloop.traces import Trace
from twinloop.twins import Current

SLOTS = 40
QUICK_COMPILE = {"xla_backend_optimization_level": 0}
"""Compiling costs these tests more than running: the programs are small and run once."""


class Story(NamedTuple):
    """What every slot left, led by [slots]: `lived` is the plant in which it was lived, `asked` what followed."""

    lived: Plant
    trace: Trace
    users: Current
    asked: Action
    approved: Action
    revision: Any
    confirmed_revision: Any
    rolled_back: Any


class Life:
    """Forty slots of a loop. `traced` counts how often the loop was traced: once a set of shapes and static fields."""

    def __init__(self) -> None:
        self.traced = 0
        self.compiled = eqx.filter_jit(self.trace, compiler_options=QUICK_COMPILE)

    def trace(self, key, loop, state):
        self.traced += 1

        def live(before, number):
            after, lived, trace = slot(jax.random.fold_in(key, number), loop, before)
            pending = after.pending
            left = Story(
                lived=lived,
                trace=trace,
                users=after.twin.users.current,
                asked=pending.requested,
                approved=after.standing.action,
                revision=pending.revision,
                confirmed_revision=pending.confirmed_revision,
                rolled_back=pending.rolled_back,
            )
            return after, left

        return jax.lax.scan(live, state, jnp.arange(SLOTS))

    def __call__(self, loop: Loop, state: LoopState, seed: int = 0) -> tuple[LoopState, Story]:
        return self.compiled(jax.random.key(seed), loop, state)


def cheap(tiny, **twin):
    """`tiny` with the policies that compile fastest, periodic reports, and no loss but where a test says so."""
    policy = tiny.policy.model_copy(update={"reservation": "greedy", "allocation": "round_robin"})
    changes = {
        "policy": policy,
        "collection": tiny.collection.model_copy(update={"method": "periodic"}),
        "twin": tiny.twin.model_copy(update={"emulator": "last_value", **twin}),
        "enforcement": tiny.enforcement.model_copy(update={"failure_p": 0.0, "retries": 3}),
    }
    return tiny.model_copy(update=changes)


@pytest.fixture(scope="session")
def small(tiny):
    """The cheap scenario, its loop and the state before its first slot."""
    described = cheap(tiny)
    return described, *scenario.build_loop(described)


@pytest.fixture(scope="session")
def life() -> Life:
    return Life()


@pytest.fixture(scope="session")
def usual(small, life) -> tuple[LoopState, Story]:
    """The cheap loop's forty slots."""
    _, loop, state = small
    return life(loop, state)
