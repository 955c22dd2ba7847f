"""The loop of a network that is elsewhere: the same slots as of a simulated one, and safe ones where those are late."""

import threading
from concurrent.futures import ThreadPoolExecutor

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from loop.conftest import QUICK_COMPILE

from twinloop import scenario
from twinloop.collection import granted
from twinloop.loop import Guard, adopt, guarded_slot, hold, slot
from twinloop.network import Receipts, empty_mailbox
from twinloop.twins import quantum
from twinloop.validation import RESULTS, first_approved

SLOTS = 6
WHOLE_HZ = 10e6
"""Bandwidth of a cell of the campus. Other programs round otherwise: a report may be a step of its precision off."""


def compiled(function):
    return eqx.filter_jit(function, compiler_options=QUICK_COMPILE)


@pytest.fixture(scope="module")
def live(small):
    """The cheap scenario's loop around a live network, and the state before its first slot."""
    described, simulated, _ = small
    loop, state = scenario.build_live(described)
    users, cells, servers = (
        kind.current.active.shape[0] for kind in (state.twin.users, state.twin.cells, state.twin.servers)
    )
    lanes = simulated.network.users_channel.lanes
    box = empty_mailbox(users, cells, servers, lanes, state.standing.action)
    return loop, eqx.tree_at(lambda s: s.plant, state, box)


@pytest.fixture(scope="module")
def holding():
    return compiled(hold)


@pytest.fixture(scope="module")
def deciding():
    return compiled(slot)


def put_in(state, report):
    """The live state with a simulated network's report in its mailbox."""

    def fitted(reports):
        spare = state.plant.users.sent.shape[0] - reports.sent.shape[0]
        fill = {"value": 0.0, "sent": False, "slot": -1, "sequence": -1, "size_bits": 0.0}
        return type(reports)(
            **{
                name: jnp.pad(leaf, [(0, spare)] + [(0, 0)] * (leaf.ndim - 1), constant_values=fill[name])
                for name, leaf in vars(reports).items()
            }
        )

    kinds = [fitted(reports) for reports in (report.users, report.cells, report.servers)]
    return eqx.tree_at(
        lambda s: (s.plant.slot, s.plant.users, s.plant.cells, s.plant.servers, s.plant.receipts),
        state,
        (report.slot, *kinds, report.receipts),
    )


def test_a_live_loop_that_is_told_the_same_knows_and_decides_the_same(small, live, deciding):
    _, simulated, known = small
    loop, state = live
    report = compiled(lambda k, n, plant, asked: n.report(k, plant, asked)[1])
    for number in range(SLOTS):
        key = jax.random.fold_in(jax.random.key(3), number)
        asked = granted(known.collection.request, known.sensing)
        told = report(jax.random.split(key, 3)[0], simulated.network, known.plant, asked)
        state, _, here = deciding(key, loop, put_in(state, told))
        known, _, there = deciding(key, simulated, known)
        off = np.abs(np.asarray(state.twin.users.current.value - known.twin.users.current.value))
        assert np.all(off <= 1.01 * quantum("users"))
        np.testing.assert_array_equal(state.twin.users.current.slot, known.twin.users.current.slot)
        np.testing.assert_allclose(
            state.standing.action.flow_bandwidth_hz, known.standing.action.flow_bandwidth_hz, atol=WHOLE_HZ * 1e-3
        )
        assert int(here.reports) == int(there.reports)
        assert bool(jnp.array_equal(state.plant.order.flow_bandwidth_hz, state.pending.requested.flow_bandwidth_hz))
    assert int(jnp.sum(state.twin.users.current.active)) > 0


def test_a_safe_slot_mirrors_and_asks_for_what_stands(live, holding):
    loop, state = live
    value = jnp.full_like(state.plant.users.value, 1.5)
    sent, measured = jnp.ones_like(state.plant.users.sent), jnp.full_like(state.plant.users.slot, 7)
    box = eqx.tree_at(
        lambda p: (p.slot, p.users.value, p.users.sent, p.users.slot, p.receipts),
        state.plant,
        (jnp.int32(8), value, sent, measured, Receipts(jnp.int32(0), jnp.int32(0))),
    )
    after = holding(jax.random.key(0), loop, eqx.tree_at(lambda s: s.plant, state, box))
    assert np.all(np.asarray(after.twin.users.current.value) == 1.5)
    assert np.all(np.asarray(after.twin.users.current.slot) == 7)
    assert int(after.pending.revision) == int(state.pending.revision) + 1
    jax.tree.map(np.testing.assert_array_equal, after.plant.order, state.standing.action)
    jax.tree.map(np.testing.assert_array_equal, after.forecast, state.forecast)


def test_newcomers_inherit_nothing(live, holding):
    loop, state = live
    who = jnp.zeros_like(state.plant.newcomers).at[1].set(True)
    known = eqx.tree_at(
        lambda s: (s.twin.users.current.value, s.twin.users.current.slot, s.twin.swipes.own_left, s.plant.newcomers),
        state,
        (
            jnp.full_like(state.twin.users.current.value, 9.0),
            jnp.full_like(state.twin.users.current.slot, 3),
            jnp.ones_like(state.twin.swipes.own_left),
            who,
        ),
    )
    after = holding(jax.random.key(0), loop, known).twin
    assert np.all(np.asarray(after.users.current.slot)[1] == -1)
    assert np.all(np.asarray(after.users.current.slot)[0] == 3)
    assert float(after.swipes.own_left[1]) == 0.0
    assert float(after.swipes.own_left[0]) == 1.0


@pytest.mark.parametrize(("share", "code"), [(0.9, 0), (1.1, 2)])
def test_what_a_person_consented_to_stands_if_it_is_still_safe(live, share, code):
    loop, state = live
    held = state.standing.action.slice_bandwidth_hz
    capacity = loop.abstractor.params.topology.cell_bandwidth_hz
    wanted = jnp.zeros_like(held).at[:, 0].set(share * capacity)
    approved = first_approved(eqx.tree_at(lambda a: a.slice_bandwidth_hz, state.standing.action, wanted))
    after, found = compiled(adopt)(loop, state, approved)
    assert RESULTS[int(found)] == RESULTS[code]
    stands = wanted if code == 0 else held
    np.testing.assert_array_equal(after.standing.action.slice_bandwidth_hz, stands)
    np.testing.assert_array_equal(after.reservation.bandwidth_hz, stands)


class Stage:
    """A slot's decision that is ready when it is let go."""

    def __init__(self, result) -> None:
        self.go, self.calls, self.result = threading.Event(), 0, result

    def __call__(self, key, loop, state):
        self.calls += 1
        self.go.wait(10.0)
        return self.result


KEY = jax.random.key(0)


@pytest.fixture
def worker():
    with ThreadPoolExecutor(1) as pool:
        yield pool


@pytest.fixture(scope="module")
def result(live, deciding):
    """What a whole slot returns."""
    return deciding(KEY, *live)


def guard_of(stage, worker, held) -> Guard:
    return Guard(stage, lambda key, loop, state: held, worker)


def test_at_the_deadline_the_standing_decision_goes_on_and_the_late_result_is_dropped(live, result, worker):
    loop, state = live
    stage = Stage(result)
    guard = guard_of(stage, worker, state)
    after, trace, why = guarded_slot(guard, KEY, loop, state, 0.01)
    assert after is state
    assert trace is None
    assert "0.01 s" in why
    assert guarded_slot(guard, KEY, loop, state, 0.01)[2] == "the last slot's decision is still not ready"
    assert stage.calls == 1
    stage.go.set()
    guard.late.result(10.0)
    after, trace, why = guarded_slot(guard, KEY, loop, state, 10.0)
    assert after is not state
    assert trace is not None
    assert why == ""


def test_a_stage_that_fails_or_twins_that_are_not_trusted_hold(live, result, worker):
    loop, state = live

    def fails(key, loop, state):
        raise ValueError("nothing fits")

    after, trace, why = guarded_slot(guard_of(fails, worker, state), KEY, loop, state, 1.0)
    assert (after is state, trace, why) == (True, None, "a stage failed: ValueError: nothing fits")
    stage = Stage(result)
    assert guarded_slot(guard_of(stage, worker, state), KEY, loop, state, 1.0, "stale twins")[2] == "stale twins"
    assert stage.calls == 0
