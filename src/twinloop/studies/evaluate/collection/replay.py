"""Replay of a record under a way to collect it: the error of what is emulated, and the bits it took."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from twinloop.collection import KindEvidence, KindMemory, KindRules, Rules, adapt_kind, collect_kind
from twinloop.network import HEADER_BITS, Agent, Channel, KindRequest, idle_agent, measure
from twinloop.studies.evaluate.collection.emulator import Belief, Filter, first_belief, informed, predicted

NEVER = 1 << 30


class Trigger(eqx.Module):
    """When agents report, by attribute: every `period` slots, where the value left the last one sent by more than
    `change`, or the shared filter's prediction by more than `surprise` (in its unit; infinite: never).

    `step` is the distance of the values that a report can tell apart, `bits` its size. `remembers` emulates with the
    last value sent, otherwise with the filter.
    """

    period: Int[Array, " attributes"]
    change: Float[Array, " attributes"]
    surprise: Float[Array, " attributes"]
    step: Float[Array, " attributes"]
    bits: Float[Array, " attributes"]
    remembers: Bool[Array, ""]


class Status(eqx.Module):
    """A record on the device. `low` is the least value that a report can carry."""

    truth: Float[Array, "slots entities attributes"]
    measured: Float[Array, "slots entities attributes"]
    present: Bool[Array, "slots entities"]
    spread: Float[Array, " attributes"]
    low: Float[Array, " attributes"]
    label: Bool[Array, " attributes"]


class Cost(NamedTuple):
    """By entity: summed error (mean over attributes of each slot's), bits and slots; by attribute: summed error."""

    error: Float[Array, "*knobs entities"]
    bits: Float[Array, "*knobs entities"]
    slots: Float[Array, "*knobs entities"]
    by_attribute: Float[Array, "*knobs attributes"]


@eqx.filter_jit
def replay(status: Status, rule: Filter, triggers: Trigger) -> Cost:
    """Every one of the `triggers` (led by an axis of knobs), one after the other."""
    return jax.lax.map(lambda trigger: _one(status, rule, trigger), triggers)


def _one(status: Status, rule: Filter, trigger: Trigger) -> Cost:
    def slot(carry: tuple[Belief, Array, Array], given: tuple[Array, Array, Array]):
        belief, last, number = carry
        measured, truth, present = given
        belief = predicted(rule, belief)
        value = _rounded(status, trigger.step, measured)
        first = number == 0
        miss = jnp.where(status.label[None, :], (value != belief.level) * jnp.inf, jnp.abs(measured - belief.level))
        moved = jnp.where(status.label[None, :], (value != last) * jnp.inf, jnp.abs(value - last))
        due = (number % trigger.period == 0)[None, :] | (moved > trigger.change[None, :])
        sent = (due | (miss > trigger.surprise[None, :]) | first) & present[:, None]
        started = first_belief(rule, value)
        belief, believed = informed(rule, belief, value, sent & ~first)
        belief = jax.tree.map(lambda new, old: jnp.where(first, new, old), started, belief)
        last = jnp.where(sent, value, last)
        emulated = jnp.where(trigger.remembers | first, last, believed)
        error, by_attribute = _error(status, emulated, truth, present)
        bits = jnp.sum(sent * trigger.bits[None, :], axis=1) + HEADER_BITS * jnp.any(sent, axis=1)
        return (belief, last, number + 1), (error, bits, by_attribute)

    nothing = jnp.zeros_like(status.truth[0])
    start = (Belief(*(nothing,) * 5), nothing, jnp.int32(0))
    _, (error, bits, by_attribute) = jax.lax.scan(slot, start, (status.measured, status.truth, status.present))
    return Cost(error.sum(axis=0), bits.sum(axis=0), status.present.sum(axis=0) * 1.0, by_attribute.sum(axis=0))


def _rounded(status: Status, step: Array, value: Array) -> Array:
    rounded = status.low[None, :] + jnp.round((value - status.low[None, :]) / step[None, :]) * step[None, :]
    return jnp.where(status.label[None, :], value, rounded)


def _error(status: Status, emulated: Array, truth: Array, present: Array) -> tuple[Array, Array]:
    """Squared error over the spread squared, 0 or 1 for labels: by entity the mean over attributes; by attribute."""
    square = ((emulated - truth) / status.spread[None, :]) ** 2
    error = jnp.where(status.label[None, :], (emulated != truth) * 1.0, square) * present[:, None]
    return error.mean(axis=1), error.sum(axis=0)


class Told(NamedTuple):
    """What an adaptive collector asked of the first group over time."""

    period_slots: Float[Array, "*knobs slots attributes"]
    bits: Float[Array, "*knobs slots attributes"]


@eqx.filter_jit
def replay_adaptive(
    status: Status,
    rules: Rules,
    tolerances: Float[Array, " knobs"],
    kind: KindRules,
    memories: KindMemory,
    channel: Channel,
) -> tuple[Cost, KindMemory, Told]:
    """The collector of `twinloop run`, one after the other at every one of `tolerances`, with its own of `memories`.

    Its agents are those of the simulated network, its emulator the last value.
    """

    def one(given: tuple[Array, KindMemory]) -> tuple[Cost, KindMemory, Told]:
        tolerance, memory = given
        tuned = eqx.tree_at(lambda r: r.tolerance, rules, tolerance)
        return _adapting(status, tuned, kind, memory, channel)

    return jax.lax.map(one, (tolerances, memories))


def _adapting(
    status: Status, rules: Rules, kind: KindRules, memory: KindMemory, channel: Channel
) -> tuple[Cost, KindMemory, Told]:
    entities = kind.groups.shape[0]
    nowhere = jnp.zeros(entities, jnp.int32)

    def slot(carry: tuple[KindMemory, KindRequest, Agent, Array, Array], given: tuple[Array, Array, Array]):
        memory, request, agent, known, number = carry
        measured, truth, present = given
        key = jax.random.key(0)
        agent, reports, bits = measure(key, channel, request, agent, measured, present, number, rules.slot_s)
        seen = collect_kind(reports, number)
        after = jnp.where(seen.fresh, seen.value, known)
        heard = jnp.broadcast_to(number > 0, after.shape) | seen.fresh
        evidence = KindEvidence(seen, known, after, heard, status.spread, present, nowhere)
        memory, asked = adapt_kind(rules, kind, memory, request, evidence, number)
        error, by_attribute = _error(status, after, truth, present)
        period = rules.ladder.period_slots(memory.rung)[0].astype(jnp.float32)
        told = (period, asked.bits[0].astype(jnp.float32))
        return (memory, asked, agent, after, number + 1), (error, bits * present, by_attribute, told)

    start = (memory, kind.request, idle_agent(entities, channel), jnp.zeros_like(status.truth[0]), jnp.int32(0))
    given = (status.measured, status.truth, status.present)
    (memory, *_), (error, bits, by_attribute, told) = jax.lax.scan(slot, start, given)
    slots = status.present.sum(axis=0) * 1.0
    return Cost(error.sum(axis=0), bits.sum(axis=0), slots, by_attribute.sum(axis=0)), memory, Told(*told)
