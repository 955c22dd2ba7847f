"""The twins' model of when viewers leave, kept current while a run lives: watched, updated, tried, sent back."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
from jaxtyping import Array, Float, PRNGKeyArray

from twinloop.emulation import EndedViews, LeavingModel, leaving_model, leaving_surprise, swipe_signals
from twinloop.learning import Upkeep as ModelUpkeep
from twinloop.learning import UpkeepRules, cumulative_detector
from twinloop.runs.results.recording import Block, Values
from twinloop.scenario import Drift, Upkeep
from twinloop.twins import SwipeCounts, begun_anew

_REST_SLOTS = 60
_LEARNING_RATE = 1e-2
_SPOILED = 1.5
_JUDGED_LOOKS = 60
DRILL = "drill: a spoiled version"
_VIEWS = ("slot", "video_class", "second", "factor", "twins", "truth")
_LOOKS = ("slot", "version", "twins", "model", "first_model", "truth")
_SIGNALS = ("swipes", "swipes by class")
_surprise = eqx.filter_jit(leaving_surprise)
_signals = eqx.filter_jit(swipe_signals)


class ViewingUpkeep:
    """Keeps a run's `LeavingModel` current from the views that the twins saw end.

    A look is `look_views` of them. At the end of a block the version in service becomes the prior of the twins' counts,
    and counting begins anew where a drift was found. All of it follows from the views, so that a run is resumed by
    observing once more those that were saved.
    """

    def __init__(self, part: Upkeep, counts: SwipeCounts, key: PRNGKeyArray, slot_s: float) -> None:
        self._part = part
        self._slot_s = slot_s
        rules = UpkeepRules(
            gather=part.gather,
            fresh=part.trial,
            probation=part.probation,
            rest=_REST_SLOTS,
            learning_rate=_LEARNING_RATE,
            replay=part.replay,
            lag=round(part.training / slot_s),
            refresh=round(part.refresh / slot_s),
        )
        self._first = leaving_model(counts.prior)
        detector = cumulative_detector(part.threshold)
        self._upkeep: ModelUpkeep[LeavingModel] = ModelUpkeep(
            key, self._first, leaving_surprise, detector, rules, signals=_SIGNALS
        )
        self._waiting = np.zeros((0, len(_VIEWS)))
        self._drilled = part.drill is None
        self._taken = (0, 0)

    def prepare(self) -> None:
        """Compile what will be needed, so that nothing is compiled in operation."""
        some = jnp.zeros(self._part.look_views, jnp.int32)
        examples = EndedViews(some, some, jnp.ones(self._part.look_views))
        _surprise(self._first, examples)
        _signals(self._first, examples)
        self._upkeep.prepare(examples)

    def observe(self, views: pa.Table) -> pa.Table:
        """Take in views as `ended_views` gives them; returns the looks that became full.

        Of each look: how surprised (nats a view) the twins were, the version in service without their counts, the first
        one, and the network's own hazards and factors.
        """
        fresh = np.stack([np.asarray(views[name], np.float64) for name in _VIEWS], axis=1)
        self._waiting = np.concatenate([self._waiting, fresh])
        size, looks = self._part.look_views, []
        while len(self._waiting) >= size:
            look, self._waiting = self._waiting[:size], self._waiting[size:]
            looks.append(self._look(look))
        return pa.table({name: [look[name] for look in looks] for name in _LOOKS}, schema=_LOOK_SCHEMA)

    def served(self, counts: SwipeCounts) -> SwipeCounts:
        """The twins' counts with what was done since the last call: another prior, or begun anew after an alarm."""
        version, alarms = self._taken
        found = sum(event.kind == "drift" for event in self._upkeep.events)
        self._taken = (self._upkeep.version, found)
        if self._upkeep.version != version:
            counts = eqx.tree_at(lambda c: c.prior, counts, self._upkeep.model.hazard())
        return begun_anew(counts) if found > alarms else counts

    def told(self, drifts: Sequence[Drift], looks: pa.Table, slots: int) -> dict[str, Any]:
        """What was done in `slots` slots, and what became of each drift in them: for a summary."""
        events = [asdict(event) for event in self._upkeep.events]
        lived = [drift for drift in drifts if drift.at < slots * self._slot_s]
        return {
            "version": self._upkeep.version,
            "events": events,
            "drifts": [fate_of(drift, lived, looks, events, self._slot_s) for drift in lived],
        }

    def save(self, folder: Path, about: Mapping[str, Any]) -> None:
        """Write every kept version and where it comes from. Raises OutputError where that is not possible."""
        self._upkeep.lineage.save(folder, about)

    def close(self) -> None:
        """End training that is under way."""
        self._upkeep.close()

    def _look(self, look: np.ndarray) -> dict[str, float | int]:
        slot = int(look[-1, 0])
        if not self._drilled and slot * self._slot_s >= (self._part.drill or 0.0):
            self._drill(slot)
        examples = EndedViews(
            jnp.asarray(look[:, 1], jnp.int32), jnp.asarray(look[:, 2], jnp.int32), jnp.asarray(look[:, 3], jnp.float32)
        )
        version = self._upkeep.version
        signals = np.asarray(_signals(self._upkeep.model, examples))
        self._upkeep.observe(slot, examples, signals.tolist())
        return {
            "slot": slot,
            "version": version,
            "twins": float(look[:, 4].mean()),
            "model": self._upkeep.error,
            "first_model": float(jnp.mean(_surprise(self._first, examples))),
            "truth": float(look[:, 5].mean()),
        }

    def _drill(self, slot: int) -> None:
        """Put a spoiled version into service, once nothing else is under way."""
        if self._upkeep.phase not in ("operation", "rest"):
            return
        model = self._upkeep.model
        spoiled = eqx.tree_at(lambda m: m.by_second, model, model.by_second + _SPOILED)
        self._upkeep.impose(slot, spoiled, DRILL)
        self._drilled = True


_LOOK_SCHEMA = pa.schema([(name, pa.int32() if name in ("slot", "version") else pa.float32()) for name in _LOOKS])


def ended_views(
    block: Block, most: int, hazard: Float[Array, "classes seconds"], leave_factor: Float[Array, " users"]
) -> pa.Table:
    """Views that the twins saw end in each slot of a block, at most `most`, evenly chosen among users.

    A viewer's factor is taken relative to the mean of all, so that a change of everybody is the model's to learn.

    `hazard` and `leave_factor` are the network's: they only say how surprised somebody would be who knows them. That is
    not the least there is: seconds of a video and of a slot do not begin together, which twins learn and hazards do
    not say.
    """
    video_class = block.trace["view_video_class"]
    chosen: list[tuple[int, Values]] = []
    for row, ended in enumerate(video_class >= 0):
        users = np.flatnonzero(ended)
        chosen.append((row, users[np.unique(np.linspace(0, len(users) - 1, min(most, len(users))).astype(np.int64))]))
    slot = np.concatenate([np.full(len(users), row) for row, users in chosen]).astype(np.int64)
    user = np.concatenate([users for _, users in chosen]).astype(np.int64)
    columns = {
        name: block.trace[f"view_{name}"][slot, user] for name in ("video_class", "second", "factor", "surprise")
    }
    usual = block.trace["view_factor"].mean(axis=1)
    rows = most * len(video_class)

    def padded(values: Values, dtype: Any) -> Array:
        return jnp.asarray(np.pad(values, (0, rows - len(values))), dtype)

    views = EndedViews(
        padded(columns["video_class"], jnp.int32),
        padded(columns["second"], jnp.int32),
        padded(np.asarray(leave_factor)[user], jnp.float32),
    )
    least = np.asarray(_surprise(leaving_model(hazard), views))[: len(user)]
    return pa.table(
        {
            "slot": (block.first_slot + slot).astype(np.int32),
            "video_class": columns["video_class"].astype(np.int16),
            "second": columns["second"].astype(np.int16),
            "factor": (columns["factor"] / usual[slot]).astype(np.float32),
            "twins": columns["surprise"].astype(np.float32),
            "truth": least.astype(np.float32),
        }
    )


def fate_of(
    drift: Drift, drifts: Sequence[Drift], looks: pa.Table, events: Sequence[Mapping[str, Any]], slot_s: float
) -> dict[str, Any]:
    """When a drift was found and answered, and the twins' surprise before it, until then, and at last.

    The answer is the first version that came of data gathered after the drift and was not sent back. `before` are the
    60 looks before the drift, `after` the 60 before the next drift or the end, and `missed` those from the drift to the
    answer (60 where there was none); each beside that of the network's own hazards.
    """
    at = round(drift.at / slot_s)
    end = min((round(other.at / slot_s) for other in drifts if other.at > drift.at), default=2**31 - 1)
    slot, twins, least = (np.asarray(looks[name]) for name in ("slot", "twins", "truth"))

    found = next((int(one["slot"]) for one in events if one["kind"] == "drift" and at <= one["slot"] < end), None)
    answered = _answer(events, at, end)
    before, during = np.flatnonzero(slot < at)[-_JUDGED_LOOKS:], np.flatnonzero((slot >= at) & (slot < end))
    until = during[slot[during] < answered] if answered is not None else during[:_JUDGED_LOOKS]
    parts = {"before": before, "missed": until, "after": during[-_JUDGED_LOOKS:]}
    figures = {f"{name}_{part}": _mean(values[rows]) for part, rows in parts.items() for name, values in
               (("twins", twins), ("truth", least))}  # fmt: skip
    told = {"found_after_s": found, "answered_after_s": answered}
    return {
        "at_s": drift.at,
        "change": drift.change,
        **{name: None if value is None else (value - at) * slot_s for name, value in told.items()},
        **figures,
    }


def _answer(events: Sequence[Mapping[str, Any]], at: int, end: int) -> int | None:
    """Slot in which a version came into service for good whose data were gathered from slot `at` on."""
    sent_back = {event["version"] for event in events if event["kind"] == "rolled back"}
    begun = -1
    for event in events:
        slot = int(event["slot"])
        if event["kind"] in ("drift", "refresh", "again"):
            begun = slot
        answers = event["kind"] == "promoted" and event["reason"] != DRILL and event["version"] not in sent_back
        if answers and at <= begun and slot < end:
            return slot
    return None


def _mean(values: Values) -> float | None:
    return float(values.mean()) if len(values) else None
