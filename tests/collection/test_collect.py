import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twinloop.collection import CollectionState, Fidelity, adapt, collect
from twinloop.network import HEADER_BITS, Override, Receipts, Report, Reports, default_request

REQUEST = default_request()
USERS, LANES = 3, 3
collected = jax.jit(collect)


def reports(entities: int, attributes: int, lanes: int = LANES) -> Reports:
    return Reports(
        jnp.zeros((lanes, entities, attributes)),
        jnp.zeros((lanes, entities, attributes), bool),
        jnp.zeros((lanes, entities), jnp.int32),
        jnp.zeros((lanes, entities), jnp.int32),
    )


def report(slot: int, lanes: list[tuple[int, int, int, dict[int, float]]]) -> Report:
    """Report of users: one (user, measured slot, sequence, {attribute: value}) a lane."""
    value, sent = np.zeros((LANES, USERS, 20), np.float32), np.zeros((LANES, USERS, 20), bool)
    measured, sequence = np.zeros((LANES, USERS), np.int32), np.zeros((LANES, USERS), np.int32)
    for lane, (user, when, number, what) in enumerate(lanes):
        measured[lane, user], sequence[lane, user] = when, number
        for attribute, level in what.items():
            value[lane, user, attribute], sent[lane, user, attribute] = level, True
    users = Reports(*(jnp.asarray(part) for part in (value, sent, measured, sequence)))
    return Report(
        jnp.int32(slot),
        users,
        reports(2, 5),
        reports(1, 4),
        Receipts(jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32)),
    )


def test_the_newest_measurement_of_each_attribute_wins():
    seen = collected(REQUEST, report(9, [(1, 9, 5, {0: 1.0}), (1, 7, 3, {0: 2.0, 1: 3.0}), (1, 8, 4, {1: 4.0})])).users
    assert seen.value[1, 0] == 1.0 and seen.slot[1, 0] == 9
    assert seen.value[1, 1] == 4.0 and seen.slot[1, 1] == 8
    assert int(jnp.sum(seen.fresh)) == 2
    assert (int(seen.reports), int(seen.late), int(seen.duplicates)) == (3, 2, 0)


@settings(max_examples=20, deadline=None)
@given(st.permutations([(0, 4, 1, {0: 1.0}), (0, 5, 2, {0: 2.0, 3: 9.0}), (0, 5, 3, {0: 3.0})]))
def test_the_order_of_arrival_does_not_matter(lanes):
    seen = collected(REQUEST, report(5, lanes)).users
    assert seen.value[0, 0] == 3.0
    assert seen.value[0, 3] == 9.0
    assert int(seen.late) == 1


def test_a_duplicate_costs_bits_and_counts_once():
    once = collected(REQUEST, report(5, [(2, 5, 8, {0: 1.0})])).users
    twice = collected(REQUEST, report(5, [(2, 5, 8, {0: 1.0}), (2, 5, 8, {0: 1.0})])).users
    assert (int(twice.reports), int(twice.duplicates)) == (1, 1)
    assert float(twice.bits) == 2 * float(once.bits) == 2 * (20 + HEADER_BITS)


def test_bits_are_those_of_the_requested_precision():
    request = default_request({"users": {"sinr_db": Override(bits=3), "speed_mps": Override(bits=11)}})
    seen = collected(request, report(5, [(0, 5, 8, {2: 1.0, 4: 1.0})])).users
    assert float(seen.bits) == 3 + 11 + HEADER_BITS


def test_what_is_not_finite_or_before_slot_0_is_no_measurement():
    seen = collected(REQUEST, report(5, [(0, 5, 8, {0: np.nan, 1: np.inf, 2: 1.0}), (1, -3, 8, {0: 1.0})])).users
    assert jnp.argwhere(seen.fresh).tolist() == [[0, 2]]
    assert bool(jnp.all(jnp.isfinite(seen.value)))


def test_a_clock_ahead_counts_as_measured_on_arrival():
    seen = collected(REQUEST, report(5, [(0, 50, 8, {0: 1.0})])).users
    assert seen.slot[0, 0] == 5
    assert int(seen.late) == 0


def test_nothing_reported_is_nothing_seen():
    seen = collected(REQUEST, report(5, []))
    for kind in (seen.users, seen.cells, seen.servers):
        assert not bool(jnp.any(kind.fresh))
        assert (float(kind.bits), int(kind.reports)) == (0.0, 0)


def test_fixed_periods_ask_for_the_same_whatever_the_fidelity():
    state = CollectionState(REQUEST)
    assert adapt(state, Fidelity(jnp.zeros((3, 20)), jnp.zeros((2, 5)), jnp.zeros((1, 4)))).request is REQUEST


def test_the_default_request_is_the_attribute_table_with_overrides():
    request = default_request(
        {"users": {"speed_mps": Override(period_s=9.0, method="on_change")}, "cells": {"load": Override(enabled=False)}}
    )
    assert request.users.period_s[2] == 9.0 and bool(request.users.on_change[2])
    assert request.users.period_s[0] == 2.0 and not bool(request.users.on_change[0])
    assert request.users.bits[0] == 20
    assert request.cells.enabled.tolist() == [False, True, True, True, True]


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        ({"user": {}}, "no kind user"),
        ({"users": {"sped": Override()}}, "no attribute sped"),
        ({"users": {"speed_mps": Override(period_s=0.0)}}, "not above zero"),
        ({"users": {"speed_mps": Override(period_s=float("nan"))}}, "not above zero"),
        ({"users": {"speed_mps": Override(bits=25)}}, "outside 1..24"),
    ],
)
def test_an_impossible_request_is_refused(overrides, problem):
    with pytest.raises(ValueError, match=problem):
        default_request(overrides)
