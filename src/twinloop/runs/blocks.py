"""Blocks of slots as one compiled call, for one world or for several seeds side by side."""

import math
import os
import time
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key, PRNGKeyArray, PyTree

from twinloop.decision import Appraisal, bound
from twinloop.emulation import Z90
from twinloop.entities import USER_ATTRIBUTES
from twinloop.loop import Loop, LoopState, slot, window
from twinloop.network import SimulatedNetwork, realised_flows, realised_load_hz, user_truth
from twinloop.runs.worth import Unaided, served, unaided_slot
from twinloop.simulator import Outcome
from twinloop.twins import quantum, relearned, spread
from twinloop.validation import Verdict

BLOCK_SLOTS = 60
MOST_PROGRAMS = 3
"""Programs kept for runs to come; each takes thousands of memory maps, of which Linux gives a process 65,530."""
_PROGRAMS: dict[Any, tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any] | None]] = {}
USED_QUANTILES = (0.05, 0.5, 0.95)
_WINDOW_SALT = 1 << 30
_IS_LABEL = np.array([attribute.kind == "label" for attribute in USER_ATTRIBUTES])
Values = dict[str, np.ndarray]


class World(eqx.Module):
    """A loop's state, and the same world without twins beside it; None where nobody asks what twins are worth."""

    state: LoopState
    unaided: Unaided | None


@dataclass(frozen=True)
class Compiled:
    """The programs of a loop, compiled for the shapes of one scenario, and how long that took.

    `block` takes key, loop, world and first slot to (world, (truth, trace)), `window` the same with the loop's state
    alone to (state, verdict); `learn` takes the twins of people's experience to twins with models of all scores so far,
    None where nobody's experience is followed.
    """

    block: Callable[..., Any]
    window: Callable[..., Any]
    learn: Callable[..., Any] | None
    compile_s: float

    def decide(self, key: Key[Array, "..."], loop: Loop[SimulatedNetwork], state: Any, first: Int[Array, ""]) -> Any:
        """The window program before slot `first`, with models of experience brought up to date before it."""
        if self.learn is not None:
            state = eqx.tree_at(lambda s: s.twin.experience, state, self.learn(state.twin.experience))
        return self.window(key, loop, state, first)


def block_length(total_slots: int, window_slots: int) -> int:
    """Slots a block: the longest that divides the run, the window and a minute."""
    return math.gcd(math.gcd(total_slots, window_slots), BLOCK_SLOTS)


def window_due(first_slot: int, window_slots: int, changes: Collection[int] = ()) -> bool:
    """Whether slices are decided before the block that begins with `first_slot`: every window, after the first minute,
    once twins know anything, and in the slots of `changes`, when a slice was created, adjusted or ended.
    """
    return first_slot > 0 and (first_slot % window_slots == 0 or first_slot == BLOCK_SLOTS or first_slot in changes)


def use_persistent_cache() -> None:
    """Keeps compiled programs between runs in TWINLOOP_CACHE or the user's cache folder; never fails a run."""
    if jax.config.values.get("jax_compilation_cache_dir"):
        return
    default = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "twinloop" / "jax"
    folder = Path(os.environ.get("TWINLOOP_CACHE", default))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def run_key(seed: int) -> PRNGKeyArray:
    """The key of a run's random numbers; the scenario's world is drawn from another one."""
    return jax.random.fold_in(jax.random.key(seed), 7)


def live_block(
    key: PRNGKeyArray, loop: Loop[SimulatedNetwork], world: World, first_slot: Int[Array, ""], slots: int
) -> tuple[World, tuple[PyTree, PyTree]]:
    """`slots` slots from `first_slot` on; every slot's key depends on its number alone, so blocks of any length
    agree.
    """

    def live(before: World, number: Int[Array, ""]) -> tuple[World, tuple[PyTree, PyTree]]:
        k = jax.random.fold_in(key, number)
        after, plant, trace = slot(k, loop, before.state)
        truth = dict(vars(plant.outcome))
        flat = {name: value for name, value in vars(trace).items() if name not in ("in_effect", "asked", "views")}
        flat |= vars(trace.in_effect) | {f"asked_{name}": value for name, value in vars(trace.asked).items()}
        flat |= {f"view_{name}": value for name, value in vars(trace.views).items()}
        unaided, compared = _unaided(k, loop, before.unaided)
        scores = _scores(loop, plant.outcome) | _held_to_truth(before.state, after, plant.outcome)
        return World(after, unaided), (truth, flat | scores | compared)

    return jax.lax.scan(live, world, first_slot + jnp.arange(slots, dtype=jnp.int32))


def _unaided(
    key: PRNGKeyArray, loop: Loop[SimulatedNetwork], world: Unaided | None
) -> tuple[Unaided | None, dict[str, Array]]:
    if world is None:
        return None, {}
    after, outcome = unaided_slot(key, loop, world)
    fared = served(outcome)
    return after, {"unaided_satisfied": fared.satisfied, "unaided_users": fared.users}


def _scores(loop: Loop[SimulatedNetwork], outcome: Outcome) -> dict[str, Array]:
    """Bandwidth that the slot's needs asked for, and the most satisfaction that anybody could have given."""
    params = loop.network.params
    flows = realised_flows(params, outcome)
    best = bound(
        flows.spectral_efficiency[None],
        flows.need_bps[None],
        flows.members[None],
        flows.cell[None],
        flows.active[None],
        params.topology.cell_bandwidth_hz,
    )
    return {
        "load_hz": realised_load_hz(params, outcome),
        "bound_satisfied": jnp.sum(best.satisfied),
        "bound_users": jnp.sum(best.users),
    }


def _held_to_truth(before: LoopState, after: LoopState, outcome: Outcome) -> dict[str, Array]:
    """By user attribute, of those present whom the twins know: true_fidelity, 1 - mean of min(|foretold - true| /
    spread, 1), and how many of `compared` were `covered` by the 90 % interval foretold for them.

    True is what lies within the range that can be reported. Of all users and not of those whose reports came: who
    reports changes reports what was not foretold.
    """
    low, high = (np.array([getattr(entry, end) for entry in USER_ATTRIBUTES], np.float32) for end in ("low", "high"))
    truth, forecast = jnp.clip(user_truth(outcome), low[None, :], high[None, :]), before.forecast.users
    foretold = forecast.emulated
    unit = jnp.maximum(spread(after.twin.users.scale), quantum("users"))
    off = jnp.minimum(jnp.abs(foretold - truth) / unit[None, :], 1.0)
    off = jnp.where(_IS_LABEL[None, :], (foretold != truth).astype(jnp.float32), off)
    judged = outcome.active[:, None] & (before.twin.users.current.slot >= 0)
    compared = jnp.sum(judged, axis=0)
    inside = jnp.abs(truth - foretold) <= Z90 * forecast.std
    return {
        "true_fidelity": 1.0 - jnp.sum(jnp.where(judged, off, 0.0), axis=0) / jnp.maximum(compared, 1),
        "compared": compared,
        "covered": jnp.sum(judged & inside, axis=0),
    }


def decide_window(
    key: PRNGKeyArray, loop: Loop[SimulatedNetwork], state: LoopState, first_slot: Int[Array, ""]
) -> tuple[LoopState, dict[str, Any]]:
    """One window decision before `first_slot`; its verdict, and what its method says of the reservation, as arrays."""
    after, verdict, appraisals = window(jax.random.fold_in(key, first_slot + _WINDOW_SALT), loop, state)
    return after, verdict_values(verdict) | appraisal_values(appraisals[0])


def appraisal_values(appraisal: Appraisal) -> dict[str, Any]:
    """What a reservation's method says of it as arrays for a trace: demand by user; by cell and slice what users are
    expected to take, with quantiles, and the game.
    """
    values: dict[str, Any] = {"value": appraisal.value, "bound": appraisal.bound}
    if appraisal.foretold is not None:
        values |= {f"foretold_{name}": value for name, value in vars(appraisal.foretold).items()}
    if appraisal.used is not None:
        values["used"] = jnp.stack([appraisal.used.quantile(share) for share in USED_QUANTILES])
    if appraisal.game is not None:
        values |= {"game_level": appraisal.game.level, "game_gap": appraisal.game.gap, "by_game": appraisal.by_game}
    return values


def verdict_values(verdict: Verdict) -> dict[str, Any]:
    """A verdict as arrays for a trace."""
    policy = verdict.approved.policy
    return {
        "winner": policy,
        "code": verdict.code,
        "score_proposed": verdict.score[1 + verdict.best],
        "score_standing": verdict.score[0],
    }


def compile_loop(
    loop: Loop[SimulatedNetwork], world: World, key: Key[Array, "..."], slots: int, *, at_once: int = 0
) -> Compiled:
    """Both programs, ahead of time.

    With `at_once` the loop, its world and the key carry a leading axis of worlds side by side; blocks are of all of
    them, decisions of so many at a time. The last few are kept, so that runs of like scenarios in one process share
    them.
    """
    begun = time.perf_counter()
    leaves, structure = jax.tree.flatten((loop, world, key))
    shapes = tuple((leaf.shape, str(leaf.dtype)) if eqx.is_array(leaf) else leaf for leaf in leaves)
    name = (shapes, structure, slots, at_once)
    programs = _PROGRAMS.pop(name, None) or _programs(loop, world, key, slots, at_once)
    _PROGRAMS[name] = programs
    while len(_PROGRAMS) > MOST_PROGRAMS:
        del _PROGRAMS[next(iter(_PROGRAMS))]
    return Compiled(*programs, time.perf_counter() - begun)


def _programs(
    loop: Loop[SimulatedNetwork], world: World, key: Key[Array, "..."], slots: int, at_once: int
) -> tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any] | None]:
    first = jnp.zeros((), jnp.int32)

    def block(k: PRNGKeyArray, lp: Loop[SimulatedNetwork], now: World, number: Int[Array, ""]) -> Any:
        return live_block(k, lp, now, number, slots)

    def decide(k: PRNGKeyArray, lp: Loop[SimulatedNetwork], st: LoopState, number: Int[Array, ""]) -> Any:
        return decide_window(k, lp, st, number)

    axes = (eqx.if_array(0), eqx.if_array(0), eqx.if_array(0), None)
    both: tuple[Callable[..., Any], ...] = (block, decide)
    programs: list[Any] = [eqx.filter_vmap(f, in_axes=axes) if at_once else f for f in both]
    jit: Any = eqx.filter_jit
    lowered: list[Any] = [jit(f, compiler_options=compiler_options()) for f in programs]
    decided: Any = (key, loop, world.state)
    if at_once:
        decided = jax.tree.map(lambda leaf: leaf[:at_once] if eqx.is_array(leaf) else leaf, decided)
    given = ((key, loop, world), decided)
    traced = [f.lower(*these, first) for f, these in zip(lowered, given, strict=True)]
    felt = decided[2].twin.experience
    if felt is not None:
        traced.append((_relearn_seeds if at_once else _relearn).lower(felt))
    with ThreadPoolExecutor(len(traced)) as threads:
        compiled = list(threads.map(lambda program: program.compile(), traced))
    return compiled[0], compiled[1], compiled[2] if felt is not None else None


@cache
def compiler_options() -> dict[str, bool]:
    """Without its fusion emitters XLA compiles a loop in two thirds of the time, to code that is no slower; nothing
    where the compiler does not know them.
    """
    options = {"xla_cpu_use_fusion_emitters": False}
    try:
        jax.jit(jnp.negative, compiler_options=options).lower(0.0).compile()
    except jax.errors.JaxRuntimeError:
        return {}
    return options


_relearn: Any = eqx.filter_jit(relearned)
_relearn_seeds: Any = eqx.filter_jit(eqx.filter_vmap(relearned, in_axes=eqx.if_array(0)))


def emulation_multiply_adds(loop: Loop[SimulatedNetwork], state: LoopState) -> float:
    """Multiply-adds of one slot of emulation, half the floating point operations that the compiler counts."""
    program: Any = eqx.filter_jit(loop.emulator.emulate)
    counted: Any = program.lower(state.emulation, state.twin, jnp.int32(0)).compile().compiled.cost_analysis()
    return float(counted.get("flops", 0.0)) / 2
