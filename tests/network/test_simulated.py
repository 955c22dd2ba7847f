"""The simulated network behind the port: actions take effect a slot later or are lost; twins pay for what they use."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twinloop import scenario
from twinloop.entities import USER_ATTRIBUTES, column
from twinloop.network import HEADER_BITS, Override, default_request

COUNTS = {"users": 12, "cells": 2, "servers": 1}
ASKED = default_request(COUNTS)


@pytest.fixture(scope="module")
def world(tiny):
    loop, state = scenario.build_loop(tiny)
    return loop.network, state.plant


@pytest.fixture(scope="module")
def report():
    return eqx.filter_jit(lambda network, key, plant, request: network.report(key, plant, request))


def lived(report, network, plant, slots, asked=ASKED, actions=None):
    """`slots` slots; `actions` by slot are asked for after it. Every slot's plant and report."""
    seen = []
    for slot in range(slots):
        plant, told = report(network, jax.random.key(slot), plant, asked)
        seen.append((plant, told))
        if actions and slot in actions:
            action, number = actions[slot]
            plant = network.apply(jax.random.key(100 + slot), plant, action, jnp.int32(number))
    return seen


def served(plant):
    """The action in effect, with plenty for every flow."""
    flows = plant.in_effect.flow_bandwidth_hz.shape[0]
    many = (jnp.full(flows, 1e6), jnp.full(flows, 1e9))
    return eqx.tree_at(lambda a: (a.flow_bandwidth_hz, a.flow_cycles_per_s), plant.in_effect, many)


def sure(network, failure_p=0.0):
    return eqx.tree_at(lambda n: n.failure_p, network, jnp.float32(failure_p))


def test_an_action_is_in_effect_from_the_next_slot_and_has_its_receipt(world, report):
    network, plant = world
    seen = lived(report, sure(network), plant, 3, actions={1: (served(plant), 7)})
    delivered = [float(jnp.sum(lived_in.outcome.delivered_bits)) for lived_in, _ in seen]
    assert delivered[0] == delivered[1] == 0.0, "nothing is allocated before the action"
    assert delivered[2] > 0.0
    assert [int(told.receipts.revision) for _, told in seen] == [0, 0, 7]


def test_a_lost_action_leaves_the_old_one_and_its_revision(world, report):
    network, plant = world
    seen = lived(report, sure(network, 1.0), plant, 3, actions={0: (served(plant), 7)})
    assert [int(told.receipts.revision) for _, told in seen] == [0, 0, 0]
    assert float(jnp.sum(seen[-1][0].outcome.delivered_bits)) == 0.0


def test_a_slice_that_is_reconfigured_serves_nobody_for_one_slot_where_that_freezes(world, report):
    network, plant = world
    freezing = eqx.tree_at(lambda n: n.freezes, sure(network), jnp.asarray(True))
    before = served(plant)
    moved = jnp.zeros_like(before.slice_bandwidth_hz).at[:, 0].set(-1e6).at[:, 1].set(1e6)
    after = eqx.tree_at(lambda a: a.slice_bandwidth_hz, before, before.slice_bandwidth_hz + moved)
    actions = {0: (before, 1), 4: (after, 2)}
    cold = lived(report, freezing, plant, 8, actions=actions)
    warm = lived(report, sure(network), plant, 8, actions=actions)
    row = np.concatenate([np.asarray(network.params.user_slice), np.repeat(network.params.group_slice, 2)])
    granted = np.array([np.asarray(lived_in.outcome.flow_bandwidth_hz) for lived_in, _ in cold])
    assert np.all(granted[5, row <= 1] == 0)
    assert granted[5, row == 2].sum() > 0
    assert granted[4, row <= 1].sum() > 0 and granted[6, row <= 1].sum() > 0
    assert np.asarray(warm[5][0].outcome.flow_bandwidth_hz)[row <= 1].sum() > 0


def test_actions_are_lost_as_often_as_the_failure_says(world):
    network, plant = world
    network = sure(network, 0.3)
    apply = jax.vmap(lambda key: network.apply(key, plant, plant.in_effect, jnp.int32(9)).revision)
    taken = apply(jax.random.split(jax.random.key(0), 400))
    assert np.mean(np.asarray(taken) == 9) == pytest.approx(0.7, abs=0.08)


def test_report_bits_are_debited_in_the_next_slot_from_the_senders_cell(world, report):
    network, plant = world
    seen = lived(report, sure(network), plant, 2)
    first, told = seen[0]
    sent = np.asarray(told.users.sent[0])
    every = np.asarray(ASKED.users.bits)[0].sum() + HEADER_BITS
    np.testing.assert_array_equal(np.asarray(first.overhead.bits), every * np.asarray(first.outcome.active))
    assert sent.any() and float(jnp.sum(plant.overhead.bits)) == 0.0
    assert float(jnp.sum(first.outcome.overhead_bandwidth_hz)) == 0.0
    second = seen[1][0].outcome
    cells = np.bincount(np.asarray(first.outcome.serving_cell), minlength=2) > 0
    assert (np.asarray(second.overhead_bandwidth_hz) > 0)[cells].all()
    quiet = default_request(COUNTS, {"users": {a.name: Override(enabled=False) for a in USER_ATTRIBUTES}})
    silent = lived(report, sure(network), plant, 2, quiet)
    assert float(jnp.sum(silent[1][0].outcome.overhead_bandwidth_hz)) == 0.0


def test_inference_cycles_are_debited_from_the_server_that_hosts_the_twins(world, report):
    network, plant = world
    costly = eqx.tree_at(lambda n: n.inference_cycles_per_user, sure(network), jnp.float32(2e8))
    free = eqx.tree_at(lambda n: n.inference_cycles_per_user, sure(network), jnp.float32(0.0))
    paid, unpaid = (lived(report, n, plant, 2) for n in (costly, free))
    users = float(jnp.sum(paid[0][0].outcome.active))
    assert float(jnp.sum(paid[0][0].overhead.cycles)) == pytest.approx(users * 2e8)
    assert float(paid[0][0].outcome.utilisation[0]) == float(unpaid[0][0].outcome.utilisation[0])
    total = float(network.params.topology.server_cycles_per_s[0])
    more = float(paid[1][0].outcome.utilisation[0] - unpaid[1][0].outcome.utilisation[0])
    assert more == pytest.approx(users * 2e8 / total, rel=1e-3)


def test_what_is_reported_is_the_truth_behind_noise_and_precision(world, report):
    network, plant = world
    seen = lived(report, sure(network), plant, 1)
    outcome, told = seen[0][0].outcome, seen[0][1].users
    fresh = np.asarray(told.sent[0])
    for name, truth, off in (("position_x_m", outcome.x_m, 15.0), ("sinr_db", outcome.sinr_db, 5.0)):
        at = column(USER_ATTRIBUTES, name)
        there = fresh[:, at]
        most = USER_ATTRIBUTES[at]
        difference = np.abs(np.asarray(told.value[0, :, at] - jnp.clip(truth, most.low, most.high)))[there]
        assert there.any() and 0 < difference.max() < off
    at = column(USER_ATTRIBUTES, "serving_cell")
    there = fresh[:, at]
    np.testing.assert_allclose(np.asarray(told.value[0, :, at])[there], np.asarray(outcome.serving_cell)[there])


def test_the_slot_of_a_report_is_the_slot_that_was_lived(world, report):
    network, plant = world
    assert [int(told.slot) for _, told in lived(report, sure(network), plant, 3)] == [0, 1, 2]


def test_the_same_key_lives_the_same_slot_and_another_key_another(world, report):
    network, plant = world
    once, again, other = (report(network, jax.random.key(seed), plant, ASKED)[1] for seed in (1, 1, 2))
    assert eqx.tree_equal(once, again)
    assert not eqx.tree_equal(once, other)
