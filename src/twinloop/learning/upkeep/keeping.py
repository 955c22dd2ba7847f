"""A model in service: watched, updated beside operation, tried on fresh data, promoted, and sent back if worse."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Generic, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from twinloop.learning.detection import CumulativeDetector, Watched, detect
from twinloop.learning.fitting import fit
from twinloop.learning.upkeep.background import BackgroundTraining, TrainingOutcome
from twinloop.learning.upkeep.replay import Reservoir, empty_reservoir, keep_examples, with_replay
from twinloop.learning.upkeep.rules import Kind, Phase, UpkeepEvent, UpkeepRules
from twinloop.learning.upkeep.trial import ErrorDifference, paired_difference
from twinloop.learning.upkeep.versions import Lineage

Model = TypeVar("Model", bound=eqx.Module)
Errors = Callable[[Model, PyTree], Float[Array, " examples"]]
"""Error of a model on each of a tree of examples, whose arrays' first axis counts them."""
_SELECTION_EVERY = 5
_SURE = 0.999
_LEAST_LOOKS = 8


class _MeanError(eqx.Module):
    errors: Callable[[Any, PyTree], Float[Array, " examples"]] = eqx.field(static=True)

    def __call__(self, model: eqx.Module, key: PRNGKeyArray, batch: PyTree) -> Float[Array, ""]:
        return jnp.mean(self.errors(model, batch))


@eqx.filter_jit
def _scored(errors: Errors[Model], model: Model, examples: PyTree) -> Float[Array, " examples"]:
    return errors(model, examples)


class Upkeep(Generic[Model]):
    """Keeps one model current. Call `observe` once a slot with what became known; `model` is the one to serve with.

    `errors` gives every example's error under a model. The detector watches its mean over each slot's examples, and
    beside it one further stream for each name in `signals` (an entropy, a cluster error). Every slot must bring the
    same number of examples, so that nothing is compiled twice; `prepare` compiles all of it ahead of operation. `error`
    is the mean error of the last slot, `phase` what is under way, `lineage` every version.
    """

    def __init__(
        self,
        key: PRNGKeyArray,
        model: Model,
        errors: Errors[Model],
        detector: CumulativeDetector,
        rules: UpkeepRules,
        *,
        signals: Sequence[str] = (),
        training: BackgroundTraining[Model] | None = None,
    ) -> None:
        self.model = model
        self.lineage = Lineage(model, "first")
        self.version = 0
        self.events: list[UpkeepEvent] = []
        self.phase: Phase = "operation"
        self._key = key
        self._errors = errors
        self._detector = detector
        self._rules = rules
        self._signals = ("error", *signals)
        self._watched: Watched = detector.init(len(self._signals))
        self._watched_parent = self._watched
        self._training: BackgroundTraining[Model] = training or BackgroundTraining(duty=1.0)
        self._reservoir: Reservoir | None = None
        self._gathered: list[PyTree] = []
        self._fresh: deque[PyTree] = deque(maxlen=4 * rules.fresh)
        self._pairs: list[tuple[float, float]] = []
        self._candidate = -1
        self._parent = 0
        self._since = 0
        self._data = (0, 0)
        self._due: int | None = None
        self._reason = ""
        self._level = np.nan
        self._repeated = 0
        self._refused = 0
        self.error = np.nan

    def remember(self, examples: PyTree) -> None:
        """Put examples of the past into the reservoir, those of the first training say."""
        if self._reservoir is None:
            self._reservoir = empty_reservoir(examples, self._rules.reservoir)
        self._reservoir = keep_examples(self._next_key(), self._reservoir, examples)

    def prepare(self, examples: PyTree) -> None:
        """Compile scoring and training for slots that bring examples like these, without changing anything."""
        _scored(self._errors, self.model, examples)
        if self._reservoir is None:
            self._reservoir = empty_reservoir(examples, self._rules.reservoir)
        keep_examples(self._key, self._reservoir, examples)
        next(self._courses(self._key, [examples] * self._rules.gather))
        detect(self._detector, self._watched, jnp.zeros((1, len(self._signals))))

    def observe(self, slot: int, examples: PyTree, signals: Sequence[float] = ()) -> tuple[UpkeepEvent, ...]:
        """Take in one slot: its examples, whose truth is now known, and the further signals. Gives what was done."""
        before = len(self.events)
        self.error = served = self._error_of(self.model, examples)
        self._advance(slot, examples, served)
        if self.phase in ("operation", "rest"):
            self.remember(examples)
        self._watch(slot, (served, *signals))
        return tuple(self.events[before:])

    def poll(self, slot: int) -> None:
        """Take the candidate if training has ended; never waits, but where `lag` says in which slot it is taken."""
        if self.phase != "training":
            return
        if self._due is not None and slot < self._due:
            return
        outcome = self._training.poll() if self._due is None else self._training.wait()
        if outcome is not None:
            self._take(slot, outcome)

    def impose(self, slot: int, model: Model, reason: str) -> None:
        """Put a model into service untried, on probation: what an operator may do, and how faults are injected."""
        self._candidate = self.lineage.add(model, self.version, slot, (slot, slot), reason)
        self._promote(slot, None)

    def close(self) -> None:
        """End training that is under way; its candidate is dropped."""
        self._training.stop()

    def _advance(self, slot: int, examples: PyTree, served: float) -> None:
        if self.phase == "gathering":
            self._gather(slot, examples)
        elif self.phase in ("training", "trial"):
            self._fresh.append(examples)
            self.poll(slot)
            if self.phase == "trial" and len(self._fresh) >= self._rules.fresh:
                self._try(slot)
        elif self.phase == "probation":
            self._pairs.append((served, self._error_of(self.lineage.models[self._parent], examples)))
            self._judge(slot)
        elif self.phase == "rest" and slot - self._since >= self._rules.rest:
            self.phase = "operation"

    def _watch(self, slot: int, streams: tuple[float, ...]) -> None:
        if len(streams) != len(self._signals):
            raise ValueError(f"{len(streams) - 1} signals given, expected {', '.join(self._signals[1:]) or 'none'}")
        if self.phase not in ("operation", "probation"):
            return
        finite = [np.inf if np.isnan(value) else value for value in streams]
        self._watched, alarm = detect(self._detector, self._watched, jnp.asarray([finite], jnp.float32))
        if self.phase == "probation":
            return
        if not bool(alarm.any()):
            self._refresh(slot, streams[0])
            return
        self._repeated = 0
        self._refused = 0 if slot - self._since > 2 * self._rules.rest else self._refused
        self._level = float(self._watched.mean[0])
        self._reason = " and ".join(np.array(self._signals)[np.asarray(alarm[0])])
        self._say(slot, "drift", self.version, self._reason, error=streams[0], level=self._level)
        self._start_gathering(slot)

    def _refresh(self, slot: int, error: float) -> None:
        if self._rules.refresh is None or slot - self._since < self._rules.refresh:
            return
        self._repeated, self._level, self._reason = self._rules.repeats, error, "time for an update"
        self._say(slot, "refresh", self.version, self._reason, error=error)
        self._start_gathering(slot)

    def _start_gathering(self, slot: int) -> None:
        self.phase, self._since = "gathering", slot
        self._gathered = []

    def _gather(self, slot: int, examples: PyTree) -> None:
        self._gathered.append(examples)
        if len(self._gathered) < self._rules.gather:
            return
        self._fresh.clear()
        self._data = (self._since, slot)
        self._training.start(partial(self._courses, self._next_key(), self._gathered, self._reservoir))
        self._due = None if self._rules.lag is None else slot + self._rules.lag
        self.phase = "training"
        self._say(slot, "training", self.version, self._reason)

    def _courses(self, key: PRNGKeyArray, slots: list[PyTree], reservoir: Reservoir | None = None) -> Iterator[Model]:
        """Ever better models on gathered slots and replayed examples; each course continues from the best so far."""
        k_train, k_select, k_courses = jax.random.split(key, 3)
        held = slots[_SELECTION_EVERY - 1 :: _SELECTION_EVERY]
        used = [one for number, one in enumerate(slots) if number % _SELECTION_EVERY != _SELECTION_EVERY - 1]
        known = self._reservoir if reservoir is None else reservoir
        assert known is not None  # `prepare` and `observe` both fill or make it
        train = with_replay(k_train, _joined(used), known, self._rules.replay)
        select = with_replay(k_select, _joined(held), known, self._rules.replay)
        best = self.model
        for k in jax.random.split(k_courses, self._rules.courses):
            rules = self._rules
            fitted = fit(
                k, best, _MeanError(self._errors), train, select,
                steps=rules.steps, batch=rules.batch, learning_rate=rules.learning_rate, checks=1,
            )  # fmt: skip
            best = jax.block_until_ready(fitted.model)
            yield best

    def _take(self, slot: int, outcome: TrainingOutcome[Model]) -> None:
        if outcome.result is None:
            self._say(slot, "fault", self.version, outcome.fault or "training gave nothing")
            self._rest(slot)
            return
        self._candidate = self.lineage.add(outcome.result, self.version, slot, self._data, self._reason)
        self.lineage.mark(self._candidate, "candidate", busy_s=outcome.busy_s, elapsed_s=outcome.elapsed_s)
        self.phase = "trial"

    def _try(self, slot: int) -> None:
        """Promote the candidate only if it is better beyond doubt on slots that came after training began."""
        candidate = self.lineage.models[self._candidate]
        new = np.array([self._error_of(candidate, examples) for examples in self._fresh])
        old = np.array([self._error_of(self.model, examples) for examples in self._fresh])
        gap = paired_difference(new, old, self._rules.confidence)
        figures = {"error": float(new.mean()), "incumbent": float(old.mean()), "high": gap.high}
        if gap.better:
            self._promote(slot, gap, **figures)
            return
        self.lineage.mark(self._candidate, "refused", **figures)
        self._say(slot, "refused", self._candidate, "not better on fresh data", **figures)
        self._refused += 1
        if self._refused == 2:
            self._watched, self._refused = self._detector.init(len(self._signals)), 0
        self._rest(slot)

    def _promote(self, slot: int, gap: ErrorDifference | None, **figures: float) -> None:
        self.lineage.mark(self.version, "replaced")
        self.lineage.mark(self._candidate, "probation", **figures)
        self._parent, self.version = self.version, self._candidate
        self.model = self.lineage.models[self.version]
        self.phase, self._since, self._pairs, self._refused = "probation", slot, [], 0
        self._watched_parent, self._watched = self._watched, self._detector.init(len(self._signals))
        reason = "better on fresh data" if gap is not None else self.lineage.versions[self.version].reason
        self._say(slot, "promoted", self.version, reason, **figures)

    def _judge(self, slot: int) -> None:
        """Roll back the version on probation where it is worse than its parent on the same slots: before its end beyond
        doubt, at its end on average, since doubts go to what has served longer. Else keep it.
        """
        new, old = np.array(self._pairs).T
        over = len(new) >= self._rules.probation
        gap = paired_difference(new, old, _SURE)
        figures = {"error": float(new.mean()), "parent": float(old.mean())}
        broken = not np.isfinite(new[-1])
        if broken or (gap.worse and len(new) >= _LEAST_LOOKS) or (over and gap.value > 0):
            self._roll_back(slot, "its errors are no numbers" if broken else "worse than its parent", figures)
        elif over:
            self._settle(slot, figures)

    def _roll_back(self, slot: int, reason: str, figures: dict[str, float]) -> None:
        self.lineage.mark(self.version, "rolled back", **figures)
        self.lineage.mark(self._parent, "in service")
        self._say(slot, "rolled back", self.version, reason, **figures)
        self.version, self.model = self._parent, self.lineage.models[self._parent]
        self._watched = self._watched_parent
        self._rest(slot)

    def _settle(self, slot: int, figures: dict[str, float]) -> None:
        self.lineage.mark(self.version, "in service", **figures)
        self._say(slot, "kept", self.version, "better than its parent", **figures)
        self.remember(_joined(self._gathered)) if self._gathered else None
        late = figures["error"] > (1 + self._rules.tolerance) * self._level
        if late and self._repeated < self._rules.repeats:
            self._repeated += 1
            self._reason = "error still above its old level"
            self._say(slot, "again", self.version, self._reason, level=self._level)
            self._start_gathering(slot)
            return
        self.phase, self._since = "operation", slot

    def _rest(self, slot: int) -> None:
        self.phase, self._since = "rest", slot

    def _say(self, slot: int, kind: Kind, version: int, reason: str, **figures: float) -> None:
        self.events.append(UpkeepEvent(slot, kind, version, reason, dict(figures)))

    def _error_of(self, model: Model, examples: PyTree) -> float:
        return float(jnp.mean(_scored(self._errors, model, examples)))

    def _next_key(self) -> PRNGKeyArray:
        self._key, key = jax.random.split(self._key)
        return key


def _joined(slots: list[PyTree]) -> PyTree:
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *slots)
