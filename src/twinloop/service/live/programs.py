"""The loop's functions compiled for one scenario: the safe slot at once, what decides while it already mirrors."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
from jaxtyping import PRNGKeyArray

from twinloop.loop import Loop, LoopState, adopt, hold, slot, window
from twinloop.network import LiveNetwork
from twinloop.runs import compiler_options


@dataclass(frozen=True)
class Deciding:
    """What decides: `slot`, `window` and `adopt` of the loop, compiled."""

    slot: Callable[..., Any]
    window: Callable[..., Any]
    adopt: Callable[..., Any]


def compile_hold(key: PRNGKeyArray, loop: Loop[LiveNetwork], state: LoopState) -> Callable[..., LoopState]:
    """The safe slot, compiled: seconds."""
    return _compiled(hold, key, loop, state)


def compile_deciding(key: PRNGKeyArray, loop: Loop[LiveNetwork], state: LoopState) -> Deciding:
    """What decides, compiled: up to a minute where it was never compiled before."""
    decide = _compiled(slot, key, loop, state)
    plan = _compiled(window, key, loop, state)
    return Deciding(decide, plan, _compiled(adopt, loop, state, state.standing))


def _compiled(function: Callable[..., Any], *arguments: Any) -> Callable[..., Any]:
    jit: Any = eqx.filter_jit
    program: Any = jit(function, compiler_options=compiler_options()).lower(*arguments).compile()

    def run(*given: Any) -> Any:
        return jax.block_until_ready(program(*given))

    return run
