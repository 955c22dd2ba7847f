import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twinloop.collection import Evidence, KindEvidence, Periodic, collect
from twinloop.entities import USER_ATTRIBUTES
from twinloop.network import HEADER_BITS, Receipts, Report, Reports, default_request

COUNTS = {"users": 3, "cells": 2, "servers": 1}
REQUEST = default_request(COUNTS)
USERS, LANES, COLUMNS = 3, 3, len(USER_ATTRIBUTES)
collected = jax.jit(collect)


def reports(entities: int, attributes: int, lanes: int = LANES) -> Reports:
    return Reports(
        jnp.zeros((lanes, entities, attributes)),
        jnp.zeros((lanes, entities, attributes), bool),
        jnp.zeros((lanes, entities), jnp.int32),
        jnp.zeros((lanes, entities), jnp.int32),
        jnp.zeros((lanes, entities)),
    )


def report(slot: int, lanes: list[tuple[int, int, int, dict[int, float]]]) -> Report:
    """Report of users: one (user, measured slot, sequence, {attribute: value}) a lane, 10 bits an attribute."""
    value, sent = (
        np.zeros((LANES, USERS, COLUMNS), np.float32),
        np.zeros((LANES, USERS, COLUMNS), bool),
    )
    measured, sequence = np.zeros((LANES, USERS), np.int32), np.zeros((LANES, USERS), np.int32)
    size = np.zeros((LANES, USERS), np.float32)
    for lane, (user, when, number, what) in enumerate(lanes):
        size[lane, user] = HEADER_BITS + 10 * len(what)
        measured[lane, user], sequence[lane, user] = when, number
        for attribute, level in what.items():
            value[lane, user, attribute], sent[lane, user, attribute] = level, True
    users = Reports(*(jnp.asarray(part) for part in (value, sent, measured, sequence, size)))
    return Report(
        jnp.int32(slot),
        users,
        reports(2, 5),
        reports(1, 4),
        Receipts(jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32)),
    )


def test_the_newest_measurement_of_each_attribute_wins():
    seen = collected(report(9, [(1, 9, 5, {0: 1.0}), (1, 7, 3, {0: 2.0, 1: 3.0}), (1, 8, 4, {1: 4.0})])).users
    assert seen.value[1, 0] == 1.0 and seen.slot[1, 0] == 9
    assert seen.value[1, 1] == 4.0 and seen.slot[1, 1] == 8
    assert int(jnp.sum(seen.fresh)) == 2
    assert (int(seen.reports), int(seen.late), int(seen.duplicates)) == (3, 2, 0)


@settings(max_examples=20, deadline=None)
@given(st.permutations([(0, 4, 1, {0: 1.0}), (0, 5, 2, {0: 2.0, 3: 9.0}), (0, 5, 3, {0: 3.0})]))
def test_the_order_of_arrival_does_not_matter(lanes):
    seen = collected(report(5, lanes)).users
    assert seen.value[0, 0] == 3.0
    assert seen.value[0, 3] == 9.0
    assert int(seen.late) == 1


def test_a_duplicate_costs_bits_and_counts_once():
    once = collected(report(5, [(2, 5, 8, {0: 1.0})])).users
    twice = collected(report(5, [(2, 5, 8, {0: 1.0}), (2, 5, 8, {0: 1.0})])).users
    assert (int(twice.reports), int(twice.duplicates)) == (1, 1)
    assert float(twice.bits) == 2 * float(once.bits) == 2 * (10 + HEADER_BITS)


def test_bits_are_the_sizes_of_what_arrived():
    seen = collected(report(5, [(0, 5, 8, {2: 1.0, 4: 1.0}), (1, 5, 3, {2: 1.0})])).users
    assert float(seen.bits) == 3 * 10 + 2 * HEADER_BITS


def test_what_is_not_finite_or_before_slot_0_is_no_measurement():
    seen = collected(report(5, [(0, 5, 8, {0: np.nan, 1: np.inf, 2: 1.0}), (1, -3, 8, {0: 1.0})])).users
    assert jnp.argwhere(seen.fresh).tolist() == [[0, 2]]
    assert bool(jnp.all(jnp.isfinite(seen.value)))


def test_a_clock_ahead_counts_as_measured_on_arrival():
    seen = collected(report(5, [(0, 50, 8, {0: 1.0})])).users
    assert seen.slot[0, 0] == 5
    assert int(seen.late) == 0


def test_nothing_reported_is_nothing_seen():
    seen = collected(report(5, []))
    for kind in (seen.users, seen.cells, seen.servers):
        assert not bool(jnp.any(kind.fresh))
        assert (float(kind.bits), int(kind.reports)) == (0.0, 0)


def kind_evidence(entities: int, attributes: int) -> KindEvidence:
    nothing = jnp.zeros((entities, attributes))
    seen = collected(report(5, [])).users
    blank = jax.tree.map(lambda leaf: jnp.zeros((entities, attributes), leaf.dtype) if leaf.ndim else leaf, seen)
    there = jnp.ones(entities, bool)
    return KindEvidence(blank, nothing, nothing, nothing > 0, nothing[0], there, jnp.zeros(entities, jnp.int32))


def test_fixed_periods_ask_for_the_same_whatever_was_seen_and_say_what_they_cost():
    collector = Periodic(REQUEST, jnp.array([0, 1, 1]), 2, 2, 1.0)
    state = collector.start()
    evidence = Evidence(kind_evidence(3, len(USER_ATTRIBUTES)), kind_evidence(2, 5), kind_evidence(1, 4))
    assert collector.adapt(state, evidence, jnp.int32(3)).request is REQUEST
    told = collector.standing(state, evidence)
    np.testing.assert_allclose(told.period_s[1], [attribute.period_s for attribute in USER_ATTRIBUTES])
    periodic = [attribute for attribute in USER_ATTRIBUTES if attribute.method == "periodic"]
    one = sum(attribute.bits / attribute.period_s for attribute in periodic) + HEADER_BITS
    assert float(told.periodic_bits) == pytest.approx(3 * one)
