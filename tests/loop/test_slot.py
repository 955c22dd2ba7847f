"""The closed loop slot by slot: reports make twins, twins make decisions, and only what was confirmed is in effect."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from twinloop import scenario
from twinloop.collection import control
from twinloop.entities import USER_ATTRIBUTES, column
from twinloop.loop import SILENT_SLOTS, window

SLOTS = 40
QUICK_COMPILE = {"xla_backend_optimization_level": 0}
SINCE = 15
X = column(USER_ATTRIBUTES, "position_x_m")
MOST_AGE_S = 8.0
PREMIUM, STANDARD, MULTICAST = range(3)


def failing(loop, chance: float):
    return eqx.tree_at(lambda lp: lp.network.failure_p, loop, jnp.float32(chance))


def coming_and_going(loop, chance: float):
    return eqx.tree_at(
        lambda lp: (lp.network.params.viewers.session_on_p, lp.network.params.viewers.session_off_p),
        loop,
        (jnp.float32(chance), jnp.float32(chance)),
    )


def mute(loop, *, users_only: bool = False):
    """The loop whose network loses every report."""
    channels = ("users_channel",) if users_only else ("users_channel", "cells_channel", "servers_channel")
    return eqx.tree_at(
        lambda lp: tuple(getattr(lp.network, name).loss_p for name in channels),
        loop,
        (jnp.float32(1.0),) * len(channels),
    )


def controlled(small, kind: str):
    """The small loop under a negative control from slot `SINCE` on."""
    _, loop, state = small
    return dataclasses.replace(loop, control=control(kind, SINCE)), state


def flow_slices(loop, lived) -> tuple[np.ndarray, np.ndarray]:
    """Cell and slice of every flow in every slot, [slots, flows] each."""
    params = loop.network.params
    cells, groups = params.topology.cell_server.shape[0], params.group_slice.shape[0]
    shared = np.tile(np.tile(np.arange(cells), groups), (SLOTS, 1))
    cell = np.concatenate([np.asarray(lived.outcome.serving_cell), shared], axis=1)
    row = np.concatenate([np.asarray(params.user_slice), np.repeat(np.asarray(params.group_slice), cells)])
    return cell, np.tile(row, (SLOTS, 1))


def test_twins_are_young_and_better_than_knowing_nothing(usual):
    _, story = usual
    age, fidelity = np.asarray(story.trace.age_s), np.asarray(story.trace.fidelity)
    assert np.all(np.isfinite(age)) and np.all(np.isfinite(fidelity))
    assert np.all((age >= 0) & (age < SLOTS))
    periodic = [a.method == "periodic" for a in USER_ATTRIBUTES]
    assert age[5:, periodic].max() < MOST_AGE_S
    assert age[5:, X].mean() > 0.2, "positions are asked for every other slot"
    assert np.all((fidelity >= 0) & (fidelity <= 1))
    assert fidelity[10:, X].min() > 0.8
    assert np.asarray(story.trace.bits)[:, 0].min() > 0


def test_user_twins_follow_the_people(usual):
    _, story = usual
    there = np.asarray(story.users.active)[5:]
    assert there.mean() > 0.95
    off = np.abs(np.asarray(story.users.value)[5:, :, X] - np.asarray(story.lived.outcome.x_m)[5:])
    assert np.median(off[there]) < 5.0
    swiped = np.asarray(story.lived.outcome.views_total)[-1].sum()
    counted = np.asarray(story.users.value)[-1, :, column(USER_ATTRIBUTES, "swipes")].sum()
    assert swiped > 10
    assert 0.8 * swiped <= counted <= swiped


def test_a_decision_goes_from_report_to_effect(small, usual):
    loop, (_, story) = small[1], usual
    trace, lived = story.trace, story.lived
    assert set(np.asarray(trace.code)) <= {0, 1}
    assert np.mean(np.asarray(trace.winner) == 0) > 0.3
    for asked, taken in zip(jax.tree.leaves(story.asked), jax.tree.leaves(lived.in_effect), strict=True):
        np.testing.assert_array_equal(asked[:-1], taken[1:])
    cell, row = flow_slices(loop, lived)
    used = np.asarray(lived.outcome.flow_bandwidth_hz)
    assert np.all(used <= np.asarray(lived.in_effect.flow_bandwidth_hz) * (1 + 1e-5) + 1.0)
    reserved = np.asarray(lived.in_effect.slice_bandwidth_hz)
    for slot in range(SLOTS):
        total = np.zeros(reserved.shape[1:])
        np.add.at(total, (cell[slot], row[slot]), used[slot])
        assert np.all(total <= reserved[slot] * (1 + 1e-4) + 1.0)
    assert used[5:].sum(axis=1).min() > 1e5


def test_what_is_approved_is_what_is_asked_for(usual):
    _, story = usual
    for approved, asked in zip(jax.tree.leaves(story.approved), jax.tree.leaves(story.asked), strict=True):
        np.testing.assert_array_equal(approved, asked)
    refused = np.flatnonzero(np.asarray(story.trace.winner) == -1)
    refused = refused[refused > 0]
    assert refused.size > 0, "nothing was refused: the standing decision was never kept"
    flows = np.asarray(story.approved.flow_bandwidth_hz)
    np.testing.assert_array_equal(flows[refused], flows[refused - 1])


def test_a_confirmed_action_is_in_effect_in_the_next_report(usual):
    _, story = usual
    assert not np.any(story.trace.effect)
    np.testing.assert_array_equal(story.revision, np.arange(1, SLOTS + 1))
    np.testing.assert_array_equal(story.confirmed_revision, np.arange(SLOTS))
    shown, held = story.trace.in_effect.flow_bandwidth_hz, story.lived.in_effect.flow_bandwidth_hz
    np.testing.assert_array_equal(shown, held)


def test_a_lost_action_is_never_shown_as_in_effect(small, life):
    _, loop, state = small
    after, story = life(failing(loop, 1.0), state)
    first = np.asarray(state.standing.action.flow_bandwidth_hz)
    for held in (story.trace.in_effect, story.lived.in_effect):
        np.testing.assert_array_equal(held.flow_bandwidth_hz, np.tile(first, (SLOTS, 1)))
    assert not np.any(story.confirmed_revision)
    assert np.asarray(story.approved.flow_bandwidth_hz)[5:].sum(axis=1).min() > 0, "nothing else was ever wanted"
    round_length = loop.retries + 1
    effect = np.asarray(story.trace.effect)
    assert effect[0] == 0, "the first action was in effect from the start"
    expected = np.resize([1] * loop.retries + [2], SLOTS - 1)
    np.testing.assert_array_equal(effect[1:], expected)
    assert int(after.pending.rolled_back) == (SLOTS - 1) // round_length
    rolled = effect == 2
    np.testing.assert_array_equal(np.asarray(story.asked.flow_bandwidth_hz)[rolled], np.tile(first, (rolled.sum(), 1)))


def test_an_action_lost_now_and_then_is_asked_for_again(small, life):
    _, loop, state = small
    _, story = life(failing(loop, 0.3), state)
    effect = np.asarray(story.trace.effect)
    assert 3 < np.sum(effect == 1) < 25
    taken = np.asarray(story.lived.revision)
    np.testing.assert_array_equal(story.confirmed_revision, taken)
    assert np.all(np.diff(taken) >= 0) and taken[-1] > 20


def test_a_frozen_control_stops_writing_user_twins(small, life):
    _, story = life(*controlled(small, "frozen"))
    users, outcome = story.users, story.lived.outcome
    for part in (users.value, users.slot, users.active, users.revision):
        np.testing.assert_array_equal(part[SINCE:], np.broadcast_to(part[SINCE - 1], part[SINCE:].shape))
    wrote = np.diff(np.asarray(users.revision)[:SINCE], axis=0)
    assert np.all(wrote.sum(axis=1) > 0), "twins were not written before the control set in"
    off = np.abs(np.asarray(users.value)[:, :, X] - np.asarray(outcome.x_m))
    assert np.median(off[5:SINCE]) < 5.0 < np.median(off[-3:])


def test_a_shuffled_control_gives_every_twin_somebody_else(small, life):
    _, story = life(*controlled(small, "shuffled"))
    users, outcome = story.users, story.lived.outcome
    value, truth = np.asarray(users.value)[:, :, X], np.asarray(outcome.x_m)
    others = np.roll(truth, truth.shape[1] // 2, axis=1)
    assert np.median(np.abs(value - truth)[5:SINCE]) < 5.0
    assert np.median(np.abs(value - others)[SINCE + 6 :]) < 5.0
    assert np.median(np.abs(value - truth)[SINCE + 6 :]) > 20.0
    assert np.all(np.diff(np.asarray(users.revision)[SINCE:], axis=0).sum(axis=1) > 0), "nothing is reported any more"


def test_silence_retires_a_twin_but_not_before_its_time(small, life):
    _, loop, state = small
    told, _ = life(loop, state)
    silent, story = life(mute(loop, users_only=True), told)
    heard = np.asarray(told.twin.users.current.slot).max(axis=1)
    assert np.asarray(story.users.active).all(), "retired within forty silent slots"
    later, story = life(mute(loop, users_only=True), silent)
    active = np.asarray(story.users.active)
    for user, gone in enumerate(heard + SILENT_SLOTS - 2 * SLOTS):
        assert active[:gone, user].all()
        assert not active[gone:, user].any()
    assert not np.any(later.twin.users.current.active)


def test_twins_learn_of_the_network_only_from_its_reports(small, life):
    _, loop, state = small
    deaf = mute(loop)
    elsewhere = eqx.filter_jit(loop.network.begin)(jax.random.key(99), state.standing.action)
    other = eqx.tree_at(lambda s: s.plant, state, elsewhere)
    stories = [life(deaf, begin)[1] for begin in (state, other)]
    assert not np.allclose(*(story.lived.outcome.x_m for story in stories))
    assert eqx.tree_equal(*(story.users for story in stories))
    assert eqx.tree_equal(*(story.approved for story in stories))
    assert eqx.tree_equal(*(story.trace for story in stories))
    heard = life(loop, other)[1]
    assert not np.allclose(heard.approved.flow_bandwidth_hz, stories[0].approved.flow_bandwidth_hz)


def test_people_come_and_go_without_a_new_compilation(small, life, usual):
    _, loop, state = small
    before = life.traced
    first, last = (jax.tree.map(jax.typeof, entry) for entry in (state, usual[0]))
    assert first == last, "the second block would be compiled anew"
    counts = {}
    for chance in (0.0, 0.02, 0.3):
        _, story = life(coming_and_going(loop, chance), state)
        counts[chance] = np.asarray(story.lived.outcome.active).sum(axis=1)
    assert life.traced == before
    assert np.ptp(counts[0.0]) == 0
    assert np.ptp(counts[0.3]) >= 3
    assert np.asarray(story.approved.flow_bandwidth_hz).any()


def test_a_granted_report_is_asked_of_links_alone_and_never_less_often_than_asked(small, life):
    _, loop, state = small
    seldom = jnp.full_like(state.collection.request.users.period_s, 8.0)
    slow = eqx.tree_at(lambda lp: lp.collector.request.users.period_s, loop, seldom)
    waiting = eqx.tree_at(lambda s: s.collection.request.users.period_s, state, seldom)
    sinr, rate = (column(USER_ATTRIBUTES, name) for name in ("sinr_db", "rate_bps"))
    sent = {}
    for granted in (0.0, 0.05, 0.5):
        _, story = life(slow, eqx.tree_at(lambda s: s.sensing, waiting, jnp.full_like(state.sensing, granted)))
        last = np.asarray(story.lived.users.last_slot)
        sent[granted] = (last[1:] != last[:-1]).sum(axis=(0, 1))
    np.testing.assert_array_equal(sent[0.05], sent[0.0])
    assert sent[0.5][sinr] > 2 * sent[0.0][sinr]
    assert sent[0.5][rate] == sent[0.0][rate]


def test_a_flooded_slice_takes_nothing_that_another_needs(small, life):
    _, loop, state = small
    flooded = eqx.tree_at(lambda t: t.target_bps, loop.slices, loop.slices.target_bps.at[STANDARD].set(2e8))
    flood = scenario.with_slices(loop, flooded)
    decide = eqx.filter_jit(window, compiler_options=QUICK_COMPILE)
    held = {}
    for name, lp in (("calm", loop), ("flooded", flood)):
        now, _ = life(lp, state)
        now, verdict, _ = decide(jax.random.key(1), lp, now)
        assert int(verdict.code) in (0, 1)
        now, story = life(lp, now, seed=1)
        held[name] = story
    share = np.asarray(loop.slices.floor_share)
    promised = share[None, :] * np.asarray(loop.network.params.topology.cell_bandwidth_hz)[:, None]
    calm, full = (np.asarray(held[name].lived.in_effect.slice_bandwidth_hz)[-1] for name in ("calm", "flooded"))
    wanted = np.asarray(held["flooded"].trace.slice_demand_hz)
    assert wanted[-1, :, STANDARD].sum() > 10 * promised.sum()
    assert full[:, STANDARD].sum() > calm[:, STANDARD].sum(), "the flood changed nothing"
    for row in (PREMIUM, MULTICAST):
        least = np.minimum(promised[:, row], wanted[..., row].min(axis=0))
        assert np.all(full[:, row] >= least - 1e-3 * promised.max() / share[row])


def test_the_twin_believes_other_parameters_than_the_network_has(small):
    _, loop, _ = small
    worlds = (loop.network.params, loop.abstractor.params, loop.slot_judge.model.params)
    figures = [
        (
            float(p.radio.se_factor),
            float(p.topology.cell_power_dbm[0]),
            float(p.topology.cell_exponent[0]),
            float(p.viewers.hazard.sum()),
            float(p.edge.cycles_per_bit),
        )
        for p in worlds
    ]
    for name in zip(*figures, strict=True):
        assert len(set(name)) == 3, "two of network, policy and judge believe the same"
    assert [float(p.radio.shadow_scale) for p in worlds] == [1.0, 0.0, 0.0]
    assert all(p.radio_trace is None for p in worlds[1:])
    assert np.all(np.asarray(loop.slot_judge.model.environment.leave_factor) == 1.0)
