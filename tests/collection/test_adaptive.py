"""Adaptive collection on made-up people: rungs, alarms, precision, budget and greatest age, as its agents live them."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twinloop.collection import KindEvidence, KindRules, Ladder, Rules, adapt_kind, collect_kind, first_memory
from twinloop.network import HEADER_BITS, Channel, KindRequest, idle_agent, measure

PEOPLE, SLOTS = 12, 300
STILL, WALK, NOISE, CLASS = range(4)
LOW, HIGH, BITS = np.full(4, -512.0), np.full(4, 511.0), 10
REQUEST = KindRequest(
    jnp.ones((PEOPLE, 4)),
    jnp.full((PEOPLE, 4), BITS, jnp.int32),
    jnp.full((PEOPLE, 4), -1.0),
    jnp.full((PEOPLE, 4), jnp.inf),
    jnp.full(4, jnp.inf),
    jnp.ones(4, bool),
)
KIND = KindRules(
    request=REQUEST,
    groups=jnp.arange(PEOPLE) % 2,
    span=jnp.asarray(HIGH - LOW, jnp.float32),
    floor=jnp.ones(4),
    label=(CLASS,),
    event=jnp.zeros(4, bool),
    indicator=jnp.array([0.0, 1.0, 0.0, 0.0]),
    group_count=2,
    cell_count=2,
)
RULES = Rules(
    ladder=Ladder((1, 2, 4, 8, 16), jnp.float32(0.3), jnp.float32(0.6)),
    tolerance=jnp.float32(0.2),
    ride=jnp.float32(0.25),
    max_age_s=jnp.float32(40.0),
    cell_budget_bits=jnp.float32(jnp.inf),
    discriminator=jnp.float32(0.0),
    triggers=True,
    weigh=False,
    warm_up_slots=5,
    slot_s=1.0,
)
SPREAD = jnp.array([1.0, 60.0, 60.0, 2.0])


def truth(jump_at: int | None = None) -> np.ndarray:
    draw = np.random.default_rng(5)
    walk = 4 * draw.normal(size=(SLOTS, PEOPLE)).cumsum(axis=0) % 300 - 150
    noise = 60 * draw.normal(size=(SLOTS, PEOPLE))
    label = np.repeat(draw.integers(0, 5, (SLOTS // 50, PEOPLE)), 50, axis=0)
    still = np.zeros((SLOTS, PEOPLE))
    if jump_at is not None:
        still[jump_at:] = np.cumsum(np.full((SLOTS - jump_at, PEOPLE), 3.0), axis=0)
    return np.stack([still, walk, noise, label], axis=2).astype(np.float32)


@eqx.filter_jit
def lived(rules, values, memory):
    """Every slot's known values, reports, bits, rungs, errors and requests."""
    low, high = jnp.asarray(LOW, jnp.float32), jnp.asarray(HIGH, jnp.float32)
    never = jnp.float32(0.0)
    way = Channel(never, never, never, jnp.zeros(4), low, high, 1)
    cell = jnp.arange(PEOPLE) % 2

    def slot(carry, given):
        memory, request, agent, known = carry
        number, value = given
        there = jnp.ones(PEOPLE, bool)
        agent, reports, bits = measure(jax.random.key(0), way, request, agent, value, there, number, 1.0)
        seen = collect_kind(reports, number)
        after = jnp.where(seen.fresh, seen.value, known)
        heard = jnp.ones((PEOPLE, 4), bool)
        evidence = KindEvidence(seen, known, after, heard, SPREAD, there, cell)
        memory, request = adapt_kind(rules, KIND, memory, request, evidence, number)
        return (memory, request, agent, after), (after, seen.fresh, bits, memory, request)

    start = (memory, REQUEST, idle_agent(PEOPLE, way), jnp.zeros((PEOPLE, 4)))
    _, out = jax.lax.scan(slot, start, (jnp.arange(SLOTS, dtype=jnp.int32), values))
    return out


def live(rules=RULES, values=None, told_apart=0.0):
    memory = eqx.tree_at(lambda m: m.discriminator.told_apart, first_memory(KIND), jnp.full(2, told_apart))
    return jax.tree.map(np.asarray, lived(rules, jnp.asarray(truth() if values is None else values), memory))


@pytest.fixture(scope="module")
def usual():
    return live()


def test_it_takes_a_fraction_of_the_bits_and_keeps_within_its_tolerance(usual):
    known, _, bits, memory, _ = usual
    full = 4 * BITS + HEADER_BITS
    assert bits[:5].mean() == full, "the first request stands until the spread is known"
    assert bits[50:].mean() < 0.75 * full, "though noise is reported in most slots"
    off = np.abs(known - truth())[50:] / np.asarray(SPREAD)
    allowed = memory.alarm[50:, KIND.groups] / np.asarray(SPREAD)
    levels = [STILL, WALK, NOISE]
    assert (off[..., levels] <= allowed[..., levels] + 0.5 / 60).all(), "a change above the alarm is known at once"


def test_what_stands_still_climbs_and_its_alarm_is_tighter_than_that_of_noise(usual):
    *_, memory, request = usual
    assert (memory.rung[-1, :, STILL] == 4).all()
    alarm = memory.alarm[-1] / np.asarray(SPREAD)
    assert (alarm[:, WALK] < alarm[:, NOISE]).all()
    assert (memory.rate[-1, :, STILL] < memory.rate[-1, :, NOISE]).all()
    assert request.bits[-1].max() <= BITS
    assert (request.bits[-1, :, NOISE] <= request.bits[-1, :, WALK]).all()
    assert (request.bits[-1, :, NOISE] < BITS).all(), "no finer than what is worth a report"
    assert (request.bits[-1, :, CLASS] == BITS).all(), "a label is sent exactly"


def test_nobody_is_silent_for_longer_than_the_greatest_age(usual):
    fresh = usual[1]
    for person in range(PEOPLE):
        for attribute in range(4):
            gaps = np.diff(np.flatnonzero(fresh[:, person, attribute]))
            assert gaps.max() <= 40


def test_a_tighter_tolerance_costs_bits_and_saves_error(usual):
    known, _, bits, *_ = usual
    tight, _, more, *_ = live(eqx.tree_at(lambda r: r.tolerance, RULES, jnp.float32(0.05)))
    off = [np.abs(one - truth())[50:, :, WALK].mean() for one in (known, tight)]
    assert off[1] < 0.7 * off[0]
    assert more[50:].sum() > 1.1 * bits[50:].sum()


def test_agents_without_triggers_report_at_their_looks_alone():
    rules = dataclasses.replace(RULES, triggers=False)
    _, fresh, _, memory, request = live(rules)
    row = np.arange(PEOPLE)[:, None]
    for number in range(100, SLOTS):
        due = (number + row) % np.maximum(request.period_s[number - 1].round().astype(int), 1) == 0
        due = due | (fresh[max(0, number - 40) : number].sum(axis=0) == 0)
        np.testing.assert_array_equal(fresh[number], due)
    assert memory.rung[-1, :, STILL].min() > memory.rung[-1, :, NOISE].max()


def test_a_change_of_behaviour_sends_an_attribute_down_the_ladder():
    *_, memory, _ = live(dataclasses.replace(RULES, triggers=False), truth(jump_at=150))
    rung = memory.rung[:, 0, STILL]
    assert rung[149] == 4
    assert rung[151:200].min() == 0, "the error falls at once"
    assert memory.shift[149:, 0, STILL].any(), "the distribution was found to have changed"
    assert not memory.shift[:150, :, STILL].any()


def test_over_its_budget_a_cell_gives_up_its_least_important_attributes_first():
    rules = eqx.tree_at(lambda r: r.cell_budget_bits, RULES, jnp.float32(180.0))
    _, _, bits, memory, request = live(rules)
    free = live()[2]
    assert free[100:].sum(axis=1).mean() / 2 > 190, "the budget must bind"
    spent = np.stack([bits[:, cell::2].sum(axis=1) for cell in (0, 1)], axis=1)
    assert spent[100:].mean(axis=0).max() < 1.1 * 180
    shed = memory.budget.shed
    assert shed[100:].max() >= 1
    lost = np.isinf(request.alarm[-1]) & np.isinf(request.delta[-1])
    np.testing.assert_array_equal(lost.sum(axis=1), shed[-1][np.arange(PEOPLE) % 2])


def test_the_discriminators_score_enters_the_error_and_keeps_attributes_low_on_the_ladder(usual):
    judging = eqx.tree_at(lambda r: r.discriminator, RULES, jnp.float32(1.0))
    judged, ignored = live(judging, told_apart=1.0)[3], live(told_apart=1.0)[3]
    apart = judged.discriminator.told_apart
    assert 0.3 < apart[30].min() < 1.0, "it fades as statuses are no longer told apart"
    assert (judged.error[30] - ignored.error[30] > 0.2).any()
    assert judged.rung[:60].mean() < ignored.rung[:60].mean()
    np.testing.assert_array_equal(ignored.rung, usual[3].rung)
