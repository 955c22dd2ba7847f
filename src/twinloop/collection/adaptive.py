"""Adaptive collection: what each group's attributes are asked for follows what emulation gets wrong.

Agents report a change at once where it exceeds an alarm, let smaller changes ride along under the same header, and look
for the rest at the rung of a ladder. Send-on-delta: M. Miskowicz, Sensors 6, 2006. Adaptive collection by the error of
emulation, its entropy and a discriminator: the external loop of generative digital twins.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from twinloop.collection.budget import Budget, given_up, no_spending, spend
from twinloop.collection.discriminator import Discriminator, learn, untrained
from twinloop.collection.dual_error import Classes, count_classes, label_entropy, no_classes, squared_error
from twinloop.collection.importance import Moments, count_moments, importance, no_moments
from twinloop.collection.interface import AbstractCollector, CollectionState, Evidence, KindEvidence, Standing
from twinloop.collection.ladder import Ladder
from twinloop.collection.periodic import periodic_cost
from twinloop.collection.shift import Windows, count_values, no_windows, shifted, turn
from twinloop.network import HEADER_BITS, KindRequest, Request

SAMPLE = 256
_WINDOW_SLOTS = 60
_WEIGH_EVERY_SLOTS = 30
_RATE_MEMORY = 0.98
_FACTOR_PACE = 0.02
_LEAST_RATE = 1e-3
_STEP = 0.3
_ERROR_MEMORY = 0.7
_CENTRE_MEMORY = 0.99


class Rules(eqx.Module):
    """What a scenario sets. `tolerance` is the change, in standard deviations, that is reported at once on average.

    `ride` is the share of it that rides along on a report; `discriminator` weighs its score in the error (0: off);
    `cell_budget_bits` a slot (infinite: none); without `triggers` agents only answer at their looks. Until
    `warm_up_slots` the scenario's own request stands, since the spread of the attributes must be known.
    """

    ladder: Ladder
    tolerance: Float[Array, ""]
    ride: Float[Array, ""]
    max_age_s: Float[Array, ""]
    cell_budget_bits: Float[Array, ""]
    discriminator: Float[Array, ""]
    triggers: bool = eqx.field(static=True)
    weigh: bool = eqx.field(static=True)
    warm_up_slots: int = eqx.field(static=True)
    slot_s: float = eqx.field(static=True)


class KindRules(eqx.Module):
    """What is asked of one kind of entity at first, who is in which group, and what is known of its attributes.

    `span` and `floor` by attribute: range, and the least change worth a report (a quantum or twice the sensor's noise).
    `label` attributes are classes, `event` ones are sent on every change; `indicator` ones are key indicators.
    """

    request: KindRequest
    groups: Int[Array, " entities"]
    span: Float[Array, " attributes"]
    floor: Float[Array, " attributes"]
    label: tuple[int, ...] = eqx.field(static=True)
    event: Bool[Array, " attributes"]
    indicator: Float[Array, " attributes"]
    group_count: int = eqx.field(static=True)
    cell_count: int = eqx.field(static=True)


class KindMemory(eqx.Module):
    """What is remembered of one kind: rungs, errors, how often each attribute is reported, and the statistics."""

    rung: Int[Array, "groups attributes"]
    calm: Int[Array, "groups attributes"]
    error: Float[Array, "groups attributes"]
    rate: Float[Array, "groups attributes"]
    factor: Float[Array, "groups attributes"]
    alarm: Float[Array, "groups attributes"]
    importance: Float[Array, " attributes"]
    shift: Bool[Array, "groups attributes"]
    centre: Float[Array, " attributes"]
    classes: Classes
    moments: Moments
    windows: Windows
    discriminator: Discriminator
    budget: Budget


class Memory(eqx.Module):
    """What is remembered, by kind of entity."""

    users: KindMemory
    cells: KindMemory
    servers: KindMemory


class Adaptive(AbstractCollector[Memory]):
    """Alarms of equal value for their bits, riders under one header, a ladder of looks, precision to match."""

    rules: Rules
    users: KindRules
    cells: KindRules
    servers: KindRules

    def start(self) -> CollectionState[Memory]:
        """The scenario's own request, and nothing known."""
        kinds = (self.users, self.cells, self.servers)
        memory = Memory(first_memory(self.users), first_memory(self.cells), first_memory(self.servers))
        users, cells, servers = (aged(self.rules, kind.request) for kind in kinds)
        return CollectionState(Request(users, cells, servers), memory)

    def adapt(
        self, state: CollectionState[Memory], evidence: Evidence, slot: Int[Array, ""]
    ) -> CollectionState[Memory]:
        """The next request of every kind."""
        rules, memory, request = self.rules, state.memory, state.request
        users = adapt_kind(rules, self.users, memory.users, request.users, evidence.users, slot)
        cells = adapt_kind(rules, self.cells, memory.cells, request.cells, evidence.cells, slot)
        servers = adapt_kind(rules, self.servers, memory.servers, request.servers, evidence.servers, slot)
        asked = Request(users[1], cells[1], servers[1])
        return CollectionState(asked, Memory(users[0], cells[0], servers[0]))

    def standing(self, state: CollectionState[Memory], evidence: Evidence) -> Standing:
        """How users are collected now."""
        memory, first = state.memory.users, self.users.request
        return Standing(
            period_s=self.rules.ladder.period_slots(memory.rung).astype(jnp.float32) * self.rules.slot_s,
            bits=precision(self.users, memory.alarm).astype(jnp.float32),
            alarm=memory.alarm,
            error=memory.error,
            importance=memory.importance,
            shift=memory.shift,
            discriminator=jnp.mean(jnp.maximum(memory.discriminator.told_apart, 0.0)),
            shed=memory.budget.shed,
            periodic_bits=periodic_cost(first, evidence.users.active, self.rules.slot_s),
        )


def first_memory(kind: KindRules) -> KindMemory:
    """Nothing known: the first rung, no error."""
    groups, attributes = kind.group_count, kind.span.shape[0]
    nothing = jnp.zeros((groups, attributes))
    return KindMemory(
        rung=nothing.astype(jnp.int32),
        calm=nothing.astype(jnp.int32),
        error=nothing,
        rate=nothing + 0.1,
        factor=nothing + 1.0,
        alarm=nothing + jnp.inf,
        importance=jnp.ones(attributes),
        shift=nothing > 0,
        centre=jnp.zeros(attributes),
        classes=no_classes(groups, len(kind.label)),
        moments=no_moments(attributes),
        windows=no_windows(groups, attributes),
        discriminator=untrained(jax.random.key(attributes), attributes, groups),
        budget=no_spending(kind.cell_count),
    )


def aged(rules: Rules, request: KindRequest) -> KindRequest:
    """`request` with the rules' greatest age."""
    return eqx.tree_at(lambda r: r.max_age_s, request, jnp.minimum(request.max_age_s, rules.max_age_s))


def adapt_kind(
    rules: Rules,
    kind: KindRules,
    memory: KindMemory,
    request: KindRequest,
    evidence: KindEvidence,
    slot: Int[Array, ""],
) -> tuple[KindMemory, KindRequest]:
    """What is remembered of one kind after a slot, and its next request."""
    memory = _statistics(rules, kind, memory, evidence, slot)
    memory = _rates(kind, memory, evidence)
    memory = _rungs(rules, kind, memory, request, evidence, slot)
    bits = jnp.sum(evidence.seen.fresh * request.bits, axis=1) + HEADER_BITS * jnp.any(evidence.seen.fresh, axis=1)
    budget = spend(
        memory.budget,
        bits.astype(jnp.float32),
        evidence.cell,
        rules.cell_budget_bits,
        kind.span.shape[0],
        slot,
    )
    alarm = _alarm(rules, kind, memory, evidence.spread)
    memory = eqx.tree_at(lambda m: (m.alarm, m.budget), memory, (alarm, budget))
    return memory, _request(rules, kind, memory, evidence, slot)


def precision(kind: KindRules, alarm: Float[Array, "groups attributes"]) -> Int[Array, "groups attributes"]:
    """Bits whose step is 0.3 of the alarm, at least 2 and at most what the first request asks; labels keep theirs.

    Finer steps would tell apart what is not worth a report anyway.
    """
    first = kind.request.bits[0][None, :]
    wanted = jnp.ceil(jnp.log2(kind.span[None, :] / jnp.maximum(_STEP * alarm, 1e-30) + 1.0))
    exact = kind.event | _is_label(kind)
    coarse = jnp.isfinite(alarm) & (alarm > 0) & ~exact[None, :]
    return jnp.where(coarse, jnp.clip(wanted, 2, first), first).astype(jnp.int32)


def _is_label(kind: KindRules) -> Bool[Array, " attributes"]:
    return jnp.zeros(kind.span.shape[0], bool).at[jnp.asarray(kind.label, jnp.int32)].set(True)


def _by_group(
    values: Float[Array, "entities attributes"],
    weight: Float[Array, "entities attributes"],
    kind: KindRules,
) -> tuple[Float[Array, "groups attributes"], Float[Array, "groups attributes"]]:
    """Weighted mean of each group, and its weight."""
    total = jax.ops.segment_sum(weight, kind.groups, kind.group_count)
    return jax.ops.segment_sum(values * weight, kind.groups, kind.group_count) / jnp.maximum(total, 1e-9), total


def _rates(kind: KindRules, memory: KindMemory, evidence: KindEvidence) -> KindMemory:
    """Share of slots in which an attribute is reported, and the factor that makes alarms of equal value for their bits.

    A report of change A saves about A^2 for 1 / rate slots. Alarms proportional to sqrt(rate) over its geometric mean
    make that saving the same for every attribute, so that none spends bits on what would not last.
    """
    there = jnp.broadcast_to(evidence.active[:, None], evidence.heard.shape).astype(jnp.float32)
    now, weight = _by_group(evidence.seen.fresh.astype(jnp.float32), there, kind)
    rate = jnp.where(weight > 0, _RATE_MEMORY * memory.rate + (1 - _RATE_MEMORY) * now, memory.rate)
    log_rate = jnp.log(jnp.maximum(rate, _LEAST_RATE))
    wanted = jnp.clip(jnp.exp(0.5 * (log_rate - jnp.mean(log_rate, axis=1, keepdims=True))), 0.25, 6.0)
    factor = jnp.exp((1 - _FACTOR_PACE) * jnp.log(memory.factor) + _FACTOR_PACE * jnp.log(wanted))
    return eqx.tree_at(lambda m: (m.rate, m.factor), memory, (rate, factor))


def _allowed(rules: Rules, memory: KindMemory) -> Float[Array, "groups attributes"]:
    """Change, in standard deviations, that is reported at once; without triggers the error that a period may leave."""
    return rules.tolerance * memory.factor / jnp.sqrt(memory.importance)[None, :]


def _alarm(
    rules: Rules, kind: KindRules, memory: KindMemory, spread: Float[Array, " attributes"]
) -> Float[Array, "groups attributes"]:
    """Change that is reported at once, in each attribute's unit; a label's change counts as one standard deviation."""
    allowed = _allowed(rules, memory)
    level = jnp.maximum(allowed * spread[None, :], kind.floor[None, :])
    label = jnp.where(allowed < 1.0, 0.0, jnp.inf)
    return jnp.where(kind.event[None, :], 0.0, jnp.where(_is_label(kind)[None, :], label, level))


def _rungs(
    rules: Rules,
    kind: KindRules,
    memory: KindMemory,
    request: KindRequest,
    evidence: KindEvidence,
    slot: Int[Array, ""],
) -> KindMemory:
    """The dual error of what was looked at, and the rung that follows from it."""
    row = jnp.arange(kind.groups.shape[0], dtype=jnp.int32)[:, None]
    period = jnp.maximum(jnp.round(request.period_s / rules.slot_s).astype(jnp.int32), 1)
    looked = ((slot + row) % period == 0) & evidence.active[:, None] & evidence.heard
    allowed = (_allowed(rules, memory) * evidence.spread[None, :])[kind.groups]
    fresh = evidence.seen.fresh
    silent = rules.ride**2 / 3.0 if rules.triggers else 1.0
    missed = jnp.where(fresh, squared_error(evidence.expected, evidence.seen.value, allowed), silent)
    error, weight = _by_group(missed, looked.astype(jnp.float32), kind)
    classes = memory.classes
    if kind.label:
        of = jnp.asarray(kind.label, jnp.int32)
        changed = evidence.seen.value != evidence.expected
        classes = count_classes(
            classes, evidence.seen.value[:, of], fresh[:, of], changed[:, of], looked[:, of], kind.groups
        )
        error = error.at[:, of].set(label_entropy(classes))
    apart = jnp.maximum(memory.discriminator.told_apart, 0.0)[:, None]
    error = jnp.clip(error + rules.discriminator * apart, 0.0, 1.0)
    running = jnp.where(weight > 0, _ERROR_MEMORY * memory.error + (1 - _ERROR_MEMORY) * error, memory.error)
    ladder = rules.ladder
    there = jax.ops.segment_sum(evidence.active.astype(jnp.int32), kind.groups, kind.group_count)
    its_turn = (slot % ladder.period_slots(memory.rung) == 0) & (there > 0)[:, None]
    highest = jnp.sum(jnp.asarray(ladder.slots) * rules.slot_s <= rules.max_age_s) - 1
    rung, calm = ladder.climb(memory.rung, memory.calm, running, its_turn, memory.shift, highest)
    return eqx.tree_at(lambda m: (m.rung, m.calm, m.error, m.classes), memory, (rung, calm, running, classes))


def _statistics(
    rules: Rules, kind: KindRules, memory: KindMemory, evidence: KindEvidence, slot: Int[Array, ""]
) -> KindMemory:
    """Importance, change of distribution and the discriminator, from at most 256 entities in turn."""
    entities = kind.groups.shape[0]
    take = min(entities, SAMPLE)
    rows = (slot * take + jnp.arange(take, dtype=jnp.int32)) % entities
    groups, heard = kind.groups[rows], jnp.all(evidence.heard[rows], axis=1) & evidence.active[rows]
    weight = heard.astype(jnp.float32)
    known = evidence.known[rows]
    now = weight @ known / jnp.maximum(jnp.sum(weight), 1.0)
    centre = jnp.where(memory.moments.weight > 0, _CENTRE_MEMORY * memory.centre + (1 - _CENTRE_MEMORY) * now, now)
    centre = jnp.where(jnp.sum(weight) > 0, centre, memory.centre)
    scale = jnp.maximum(evidence.spread, kind.floor)[None, :]

    def standardised(values: Float[Array, "sample attributes"]) -> Float[Array, "sample attributes"]:
        return jnp.clip((values - centre[None, :]) / scale, -5.0, 5.0)

    fresh, expected = evidence.seen.fresh[rows], evidence.expected[rows]
    reported = jnp.where(fresh, evidence.seen.value[rows], expected)
    discriminator = learn(
        memory.discriminator,
        standardised(expected),
        standardised(reported),
        weight * jnp.any(fresh, axis=1),
        groups,
    )
    status = standardised(known)
    moments = count_moments(memory.moments, status, weight)
    ended = (slot + 1) % _WINDOW_SLOTS == 0
    windows = count_values(memory.windows, status, weight, groups)
    people = jax.ops.segment_sum(weight, groups, kind.group_count)
    found = shifted(windows, people) & ended
    worth = memory.importance
    if rules.weigh:
        weighed = importance(moments, kind.indicator)
        worth = jnp.where(slot % _WEIGH_EVERY_SLOTS == 0, weighed, worth)
    return eqx.tree_at(
        lambda m: (m.discriminator, m.moments, m.windows, m.shift, m.importance, m.centre),
        memory,
        (discriminator, moments, turn(windows, ended), found, worth, centre),
    )


def _request(
    rules: Rules, kind: KindRules, memory: KindMemory, evidence: KindEvidence, slot: Int[Array, ""]
) -> KindRequest:
    """The request that rungs, alarms, precision and budget ask for; the first one until the warm-up is over."""
    first = aged(rules, kind.request)
    lost = given_up(memory.budget, memory.importance)[evidence.cell]
    top = rules.ladder.slots[-1] * rules.slot_s
    period_s = rules.ladder.period_slots(memory.rung).astype(jnp.float32)[kind.groups] * rules.slot_s
    alarm = memory.alarm[kind.groups]
    quiet = (kind.event | _is_label(kind))[None, :]
    delta = jnp.where(quiet, 0.0, rules.ride * memory.alarm[kind.groups])
    if not rules.triggers:
        delta = jnp.where(kind.event[None, :], 0.0, -1.0) + jnp.zeros_like(alarm)
        alarm = jnp.full_like(alarm, jnp.inf)
    adapted = KindRequest(
        period_s=jnp.where(lost, top, period_s),
        bits=precision(kind, memory.alarm)[kind.groups],
        delta=jnp.where(lost, jnp.inf, delta),
        alarm=jnp.where(lost, jnp.inf, alarm),
        max_age_s=first.max_age_s,
        enabled=first.enabled,
    )
    warm = slot + 1 >= rules.warm_up_slots
    return jax.tree.map(lambda new, old: jnp.where(warm, new, old), adapted, first)
