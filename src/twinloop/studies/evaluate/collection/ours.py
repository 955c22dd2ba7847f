"""Adaptive collection as `twinloop run` has it, on a record: the same agents, the same collector."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64

from twinloop.collection import KindMemory, KindRules, Ladder, Rules, first_memory
from twinloop.network import Channel, KindRequest
from twinloop.studies.evaluate.collection.curves import Points
from twinloop.studies.evaluate.collection.records import Record, Split
from twinloop.studies.evaluate.collection.replay import Told, replay_adaptive
from twinloop.studies.evaluate.collection.schedules import status_of

TOLERANCES = tuple(np.geomspace(0.03, 2.0, 9).tolist())
RIDE = 0.25
LADDER = (1, 2, 4, 8, 16, 32, 64)


@dataclass(frozen=True)
class Lived:
    """A collector's error and bits at every tolerance, and what it asked of the first group over time."""

    points: Points
    told: Told


def adaptive(
    split: Split, spread: Float64[np.ndarray, " attributes"], *, triggers: bool, discriminator: float = 0.0
) -> tuple[Lived, Lived]:
    """The collector on the part to tune on and then, remembering what it learned there, on the part to report.

    Nothing else is tuned: its knob is the tolerance. Importance is off, since every attribute counts the same here.
    """
    count = max(int(record.group.max()) for record in (split.train, split.test)) + 1
    tolerances = jnp.asarray(TOLERANCES, jnp.float32)
    rules = _rules(triggers=triggers, discriminator=discriminator, slot_s=split.train.slot_s)
    memory: KindMemory = jax.tree.map(
        lambda leaf: jnp.broadcast_to(leaf, (len(TOLERANCES), *leaf.shape)), first_memory(_kind(split.train, count))
    )
    lived: list[Lived] = []
    for record in (split.train, split.test):
        status = status_of(record, spread)
        cost, memory, told = replay_adaptive(status, rules, tolerances, _kind(record, count), memory, _perfect(record))
        lived.append(Lived(Points.of(cost), told))
    return lived[0], lived[1]


def _rules(*, triggers: bool, discriminator: float, slot_s: float) -> Rules:
    return Rules(
        ladder=Ladder(LADDER, jnp.float32(0.3), jnp.float32(0.6)),
        tolerance=jnp.float32(TOLERANCES[0]),
        ride=jnp.float32(RIDE),
        max_age_s=jnp.float32(jnp.inf),
        cell_budget_bits=jnp.float32(jnp.inf),
        discriminator=jnp.float32(discriminator),
        triggers=triggers,
        weigh=False,
        warm_up_slots=1,
        slot_s=slot_s,
    )


def _kind(record: Record, groups: int) -> KindRules:
    table, entities = record.table, record.truth.shape[1]
    span = np.array([entry.high - entry.low for entry in table])
    step = span / (2.0 ** np.array([entry.bits for entry in table]) - 1)

    def of_each(values: list[float]) -> Float[Array, "entities attributes"]:
        return jnp.broadcast_to(jnp.asarray(values, jnp.float32)[None, :], (entities, len(table)))

    request = KindRequest(
        period_s=of_each([record.slot_s] * len(table)),
        bits=of_each([float(entry.bits) for entry in table]).astype(jnp.int32),
        delta=of_each([-1.0] * len(table)),
        alarm=of_each([np.inf] * len(table)),
        max_age_s=jnp.full(len(table), jnp.inf),
        enabled=jnp.ones(len(table), bool),
    )
    return KindRules(
        request=request,
        groups=jnp.asarray(record.group),
        span=jnp.asarray(span, jnp.float32),
        floor=jnp.asarray(np.maximum(step, 2 * record.noise), jnp.float32),
        label=tuple(place for place, entry in enumerate(table) if entry.kind == "label"),
        event=jnp.zeros(len(table), bool),
        indicator=jnp.zeros(len(table)),
        group_count=groups,
        cell_count=1,
    )


def _perfect(record: Record) -> Channel:
    """A way on which nothing is lost, late or sent twice; sensors' noise is in the record already."""
    never, quiet = jnp.float32(0.0), jnp.zeros(len(record.table))
    low, high = (jnp.asarray([getattr(entry, end) for entry in record.table], jnp.float32) for end in ("low", "high"))
    return Channel(never, never, never, quiet, low, high, 1)
