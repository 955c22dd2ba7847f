"""A model in service while its world changes: error before, during and after, forgetting, and faults put in."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Generic, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64, PRNGKeyArray, PyTree

from twinloop.learning import Upkeep, UpkeepEvent, UpkeepRules, cumulative_detector, fit
from twinloop.studies.evaluate.drift.worlds import (
    CALM,
    CHANGES,
    SwipeModel,
    Views,
    crowd,
    patient_and_not,
    series,
    swapped_hazard,
    swipe_errors,
    swipe_model,
    watch_videos,
)
from twinloop.studies.evaluate.judgement import Estimate, Row
from twinloop.training import (
    HORIZONS,
    LAGS,
    GruForecaster,
    examples_of,
    gru_forecaster,
    linear_forecaster,
    mean_squared_error,
    squared_error,
)

CHANGE, RETURN, SLOTS = 120, 420, 540
HISTORY, PEOPLE, ENTITIES = 250, 48, 24
SETTLED = 100
_TAIL = 40
_ANSWERS = ("refused", "rolled back")
RULES = UpkeepRules()
THRESHOLD, ALLOWANCE = 12.0, 0.5
Model = TypeVar("Model", bound=eqx.Module)
Spoil = Callable[[int, PyTree, Upkeep[Any]], PyTree]


@dataclass(frozen=True)
class World(Generic[Model]):
    """A model trained on the past, its error, that past, and what each slot brings.

    The world changes in slot `CHANGE` and is as before again from slot `RETURN` on.
    """

    name: str
    model: Model
    errors: Callable[[Model, PyTree], Float[Array, " examples"]]
    history: PyTree
    slots: Sequence[PyTree]


@dataclass(frozen=True)
class Course:
    """Error of the serving model by slot, and what upkeep did."""

    error: Float64[np.ndarray, " slots"]
    events: Sequence[UpkeepEvent]

    @property
    def before(self) -> float:
        """Mean error before the change, after the detector has settled."""
        return float(self.error[:CHANGE].mean())

    @property
    def during(self) -> float:
        """Mean error from the change to the first promotion (or for 60 slots)."""
        end = self.first("promoted") or CHANGE + 60
        return float(self.error[CHANGE : max(end, CHANGE + 1)].mean())

    @property
    def after(self) -> float:
        """Mean error of the last `SETTLED` slots before the old world returns."""
        return float(self.error[RETURN - SETTLED : RETURN].mean())

    @property
    def on_return(self) -> float:
        """Mean error in the `_TAIL` slots after the old world has returned: what is left of what was known."""
        return float(self.error[RETURN : RETURN + _TAIL].mean())

    def first(self, kind: str) -> int | None:
        """Slot of the first event of that kind after the change."""
        return next((event.slot for event in self.events if event.kind == kind and event.slot >= CHANGE), None)


def mean_swipe_error(model: SwipeModel, key: PRNGKeyArray, batch: Views) -> Float[Array, ""]:
    """Loss of training: mean of `swipe_errors`; `key` is not used."""
    return jnp.mean(swipe_errors(model, batch))


def swipe_world(seed: int) -> World[SwipeModel]:
    """Viewers whose patient and impatient types are exchanged: nothing in a view tells which world it is from."""
    k_people, k_past, k_model, k_fit, k_live = jax.random.split(jax.random.key(seed), 5)
    usual, other = (jnp.asarray(table, jnp.float32) for table in (patient_and_not(), swapped_hazard()))
    people, past = watch_videos(k_past, crowd(k_people, PEOPLE), jnp.broadcast_to(usual, (HISTORY, *usual.shape)))
    changed = (jnp.arange(SLOTS) >= CHANGE) & (jnp.arange(SLOTS) < RETURN)
    live = watch_videos(k_live, people, jnp.where(changed[:, None, None], other[None], usual[None]))[1]
    known = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), past)
    train, held = _parted(known)
    model = fit(k_fit, swipe_model(k_model), mean_swipe_error, train, held, steps=800, batch=128).model
    return World("swipes (types exchanged)", model, swipe_errors, train, by_slot(live))


def series_world(seed: int) -> World[GruForecaster]:
    """Series whose dynamics change: the past in a window tells which world it is from."""
    draw = np.random.default_rng(seed)
    other = CHANGES["dynamics"](CALM)
    reach = SLOTS + LAGS + max(HORIZONS) - 1
    first, then = (series(draw, ENTITIES, reach, *pair, CHANGE + LAGS) for pair in ((CALM, other), (other, CALM)))
    live = np.concatenate([first[:, : RETURN + LAGS], then[:, CHANGE + LAGS :][:, : reach - RETURN - LAGS]], axis=1)
    past = series(draw, ENTITIES, HISTORY, CALM, CALM, 0)
    known = jax.tree.map(lambda *parts: jnp.concatenate(parts), *[examples_of(one, deviation=1.0) for one in past])
    train, held = _parted(known)
    k_model, k_fit = jax.random.split(jax.random.key(seed))
    start = gru_forecaster(k_model, 8, 1, linear_forecaster(train))
    model = fit(k_fit, start, mean_squared_error, train, held, steps=300, batch=128).model
    rows = [examples_of(one, deviation=1.0) for one in live]
    slots = jax.tree.map(lambda *parts: jnp.stack(parts, axis=1), *rows)
    return World("series (dynamics)", model, squared_error, train, by_slot(slots))


def by_slot(slots: PyTree) -> list[PyTree]:
    """One tree a slot of a tree with a leading axis of slots."""
    host = jax.tree.map(np.asarray, slots)
    count = jax.tree.leaves(host)[0].shape[0]
    return [jax.tree.map(lambda leaf, slot=slot: jnp.asarray(leaf[slot]), host) for slot in range(count)]


def _parted(known: PyTree) -> tuple[PyTree, PyTree]:
    """The first four fifths and the rest."""
    count = jax.tree.leaves(known)[0].shape[0] * 4 // 5
    return jax.tree.map(lambda leaf: leaf[:count], known), jax.tree.map(lambda leaf: leaf[count:], known)


def operate(
    world: World[Any],
    rules: UpkeepRules,
    seed: int,
    *,
    spoil: Spoil | None = None,
    slots: int = SLOTS,
) -> Course:
    """Serve slot after slot under upkeep; `spoil` may change what a slot brings, or the model, before it is seen."""
    upkeep = Upkeep(jax.random.key(seed), world.model, world.errors, cumulative_detector(THRESHOLD, ALLOWANCE), rules)
    upkeep.remember(world.history)
    error = np.zeros(slots)
    for slot in range(slots):
        brought = world.slots[slot] if spoil is None else spoil(slot, world.slots[slot], upkeep)
        upkeep.observe(slot, brought)
        error[slot] = upkeep.error
    return Course(error, tuple(upkeep.events))


def serve_frozen(world: World[Any]) -> Course:
    """The same without upkeep."""
    score = eqx.filter_jit(world.errors)
    return Course(np.array([float(jnp.mean(score(world.model, one))) for one in world.slots]), ())


def strategies() -> Mapping[str, UpkeepRules]:
    """What is compared: shares of replay, beside the frozen model."""
    shares = (RULES.replay, 0.0, 0.5)
    return {
        f"update, {share:.0%} replay" if share else "update, no replay": replace(RULES, replay=share)
        for share in shares
    }


def compare_strategies(world: Callable[[int], World[Any]], seeds: Sequence[int]) -> dict[str, list[Course]]:
    """Courses by strategy over seeds; every strategy sees the same people."""
    found: dict[str, list[Course]] = {"frozen": []}
    for seed in seeds:
        made = world(seed)
        found["frozen"].append(serve_frozen(made))
        for name, rules in strategies().items():
            found.setdefault(name, []).append(operate(made, rules, seed))
    return found


def course_rows(world: str, courses: Mapping[str, Sequence[Course]]) -> list[Row]:
    """Errors over the mean before the change, by strategy, with 95 % intervals over seeds."""
    rows: list[Row] = []
    ours = next(iter(strategies()))
    for name, several in courses.items():
        values = {
            "before": estimate([one.before for one in several]),
            "drift / before": estimate([one.during / one.before for one in several]),
            "after / before": estimate([one.after / one.before for one in several]),
            "old world again / before": estimate([one.on_return / one.before for one in several]),
        }
        alarms = [one.first("drift") for one in several]
        if name != "frozen" and all(slot is not None for slot in alarms):
            values["alarm after (slots)"] = estimate([slot - CHANGE for slot in alarms if slot is not None])
            done = [one.first("promoted") for one in several]
            values["new model after (slots)"] = estimate([slot - CHANGE for slot in done if slot is not None])
        rows.append(Row((f"upkeep: {world}", name), "proposed" if name == ours else "baseline", values))
    return rows


def estimate(values: Sequence[float | int]) -> Estimate:
    """Mean and 95 % interval by Student over seeds; no interval for one."""
    from scipy.special import stdtrit  # kept out of the command line's start

    mean = float(np.mean(values)) if len(values) else float("nan")
    if len(values) < 2:
        return Estimate(mean)
    half = float(stdtrit(len(values) - 1, 0.975) * np.std(values, ddof=1) / np.sqrt(len(values)))
    return Estimate(mean, mean - half, mean + half)


def poisoned(slot: int, brought: PyTree, upkeep: Upkeep[Any], *, until: Sequence[str]) -> PyTree:
    """Views in which everybody left at once, while upkeep is in one of the phases `until` for the first time."""
    answered = any(event.kind in _ANSWERS for event in upkeep.events)
    if answered or upkeep.phase not in until or slot < CHANGE:
        return brought
    return eqx.tree_at(lambda views: views.left, brought, jnp.zeros_like(brought.left))


def imposed(slot: int, brought: PyTree, upkeep: Upkeep[Any], *, at: int, weights: Callable[[Array], Array]) -> PyTree:
    """A model with spoiled weights put into service in slot `at`, past every trial."""
    if slot == at:
        spoiled = jax.tree.map(lambda leaf: weights(leaf) if eqx.is_inexact_array(leaf) else leaf, upkeep.model)
        upkeep.impose(slot, spoiled, "fault put in")
    return brought


@dataclass(frozen=True)
class Fault:
    """What was done to upkeep, what it did about it, and how many slots the bad model served.

    `error` is that of the last 20 of the 40 slots after, over the error that the frozen model has in them.
    """

    name: str
    answer: str
    served: int
    error: float
    settled: bool


def inject_faults(world: World[SwipeModel], seed: int) -> list[Fault]:
    """Every fault once, on the swipe world."""
    frozen = serve_frozen(world).error
    cases: dict[str, Spoil] = {
        "weights that are no numbers": partial(imposed, at=60, weights=lambda leaf: leaf * jnp.nan),
        "exploded weights (x 10)": partial(imposed, at=60, weights=lambda leaf: 10.0 * leaf),
        "data poisoned while gathering": partial(poisoned, until=("gathering",)),
        "data poisoned until promotion": partial(poisoned, until=("gathering", "training", "trial")),
    }
    found: list[Fault] = []
    for name, spoil in cases.items():
        course = operate(world, RULES, seed, spoil=spoil, slots=RETURN)
        bad = next((one for one in course.events if one.kind in _ANSWERS), None)
        promoted = [one.slot for one in course.events if one.kind == "promoted" and bad and one.slot <= bad.slot]
        served = bad.slot - promoted[-1] if bad is not None and promoted else 0
        end = min(bad.slot + _TAIL, RETURN) if bad is not None else RETURN
        part = slice(end - _TAIL // 2, end)
        error = float(course.error[part].mean() / frozen[part].mean())
        found.append(Fault(name, bad.kind if bad is not None else "nothing", served, error, bad is not None))
    return found
