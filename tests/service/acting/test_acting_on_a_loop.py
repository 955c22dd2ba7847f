"""Acting on a real loop that was built and not compiled: what was compiled for it before still fits it after."""

import json
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from service.acting.conftest import make_picture

from twinloop.entities import USER_ATTRIBUTES, column
from twinloop.loop import adopt, slot, window
from twinloop.network.formats import Rows
from twinloop.scenario import build_live
from twinloop.service.acting import Acting, ActingSettings, Blackout, DecisionError, Fate, Limits, Orders
from twinloop.service.acting.acting import LoopGround
from twinloop.service.acting.record import Decision, held_by
from twinloop.service.live import Runner, Slot
from twinloop.service.live.programs import Deciding
from twinloop.service.records import Records
from twinloop.service.security import Grants
from twinloop.slicing import SliceSpec, adjust_slice, create_slice, end_slice
from twinloop.storage import open_storage
from twinloop.validation import RESULTS, Verdict, first_approved


def avals(tree) -> list:
    """What a compiled program asks of its arguments."""
    return [(leaf.shape, leaf.dtype, leaf.weak_type) for leaf in jax.tree.leaves(tree) if isinstance(leaf, jax.Array)]


@pytest.fixture(scope="module")
def runner(small_site):
    made = Runner(small_site, lambda: 1.7e9)
    made.loop, made.state = build_live(small_site)
    return made


def test_other_slices_and_another_standing_decision_fit_the_same_programs(runner, small_site):
    ground, loop, state = LoopGround(runner), avals(runner.loop), avals(runner.state)
    before, first = runner.stands_on, runner.loop.slices
    row = next(row for row, entry in enumerate(small_site.slices) if entry.name == "multicast")
    runner.slot, runner._next_window = 50, 99
    ended = adjust_slice(end_slice(first, row), 0, target_bps=2e6, floor_share=0.05)
    ground.change_slices(ended)
    assert avals(runner.loop) == loop
    for params in (runner.loop.abstractor.params, runner.loop.slot_judge.model.params):
        assert params.slices.active is runner.loop.slices.active, "twins and judges know of it"
    assert runner._next_window == 51, "the next window is decided at once"
    entry = small_site.slices[row].model_dump()
    ground.change_slices(create_slice(ended, row, SliceSpec(**entry)))
    assert avals(runner.loop) == loop and bool(runner.loop.slices.active[row])
    assert before is runner.state.standing
    runner.state, _ = eqx.filter_jit(adopt)(runner.loop, runner.state, before)
    assert avals(runner.state) == state


def test_before_anything_can_decide_nothing_is_adopted(runner):
    with pytest.raises(DecisionError, match="still being compiled"):
        LoopGround(runner).adopt(runner.state.standing)


def test_what_the_loop_does_not_come_to_is_taken_back(runner, monkeypatch):
    monkeypatch.setattr("twinloop.service.acting.acting._LONGEST_WAIT_S", 0.0)
    done = []
    with pytest.raises(DecisionError, match="the loop is busy and did not come to it"):
        LoopGround(runner).run(lambda: done.append("late"))
    runner._do_jobs()
    assert done == [], "nobody waits for it any more, so it is not done behind anybody's back"


@pytest.fixture
def acting(runner, small_site, tmp_path, clock):
    """What acts on the loop, over records of its own; called again it is another start of the server."""
    opened = []

    def start() -> Acting:
        storage = open_storage(str(tmp_path / f"{len(opened)}.db")) if not opened else opened[0]
        opened.append(storage)
        storage.check().result()
        records = Records(storage, clock)
        return Acting(small_site, runner, records, Grants(records, clock), clock, ActingSettings(mode="act"))

    yield start
    opened[0].close()


def lived(acting: Acting, runner: Runner, held: str = "") -> bool | None:
    """Whether flows are asked for after a slot; None where nothing is asked."""
    asked = []
    acting.dispatcher.offer = lambda action, revision, picture, *, flows: asked.append(flows)
    order = jax.device_get(runner.state.standing.action)
    acting.lived(Slot(runner._paint(3), None, held, order, 5))
    return asked[0] if asked else None


def test_nothing_is_asked_of_a_network_before_something_was_decided(acting, runner):
    first = acting()
    assert lived(first, runner) is None and not first.moved
    first.decisions._ground.change_slices(runner.loop.slices)
    assert lived(first, runner) is True and first.moved
    assert lived(first, runner, "no report in 10 s") is False, "who gets what is left to the sites"
    assert lived(acting(), runner) is True, "it goes on after another start"


def test_in_a_blackout_nothing_new_is_commanded_and_mirroring_goes_on(acting, runner, clock):
    first = acting()
    first.decisions._ground.change_slices(runner.loop.slices)
    now = datetime.fromtimestamp(clock(), UTC)
    night = Blackout.model_validate({"from": f"{now:%H:%M}", "to": f"{now + timedelta(hours=1):%H:%M}"})
    first.authority.set_limits(Limits(blackout=(night,)))
    asked, seen = [], first.effects.note
    first.effects.note = lambda *told: asked.append(told) or seen(*told)
    assert lived(first, runner) is False, "what slices hold is asked for; who gets what is left to the sites"
    assert len(asked) == 1, "what reports show is still drawn up"
    clock.now_s += 3600.0
    assert lived(first, runner) is True


def test_nothing_is_decided_on_what_is_old(runner, monkeypatch):
    def heard(time_s: float) -> str:
        table = len(USER_ATTRIBUTES)
        value = np.full((1, table), np.nan, np.float32)
        value[0, 0] = 5.0
        runner.accept(1, 1.7e9, (Rows("users", ["nobody"], np.array([time_s]), value, [None], [None]),))
        runner.drain()
        return runner.distrust

    assert runner.distrust == "nothing was ever reported"
    runner.accept(1, 1.7e9, ())
    runner.drain()
    assert runner.distrust == "nothing was ever reported", "a batch without rows tells nothing"
    assert heard(1.7e9 - 3600.0) == "no report in 10 s", "what is old does not get younger by being sent"
    monkeypatch.setattr(runner, "deciding", SimpleNamespace(window=lambda *given: None))
    with pytest.raises(DecisionError, match="the twins are not trusted now: no report in 10 s"):
        LoopGround(runner).adopt(runner.state.standing)
    planned = []
    monkeypatch.setattr(runner._planner, "submit", lambda *given: planned.append(given))
    runner._next_window = 5
    runner._plan(9)
    assert planned == []
    assert heard(1.7e9) == ""
    runner._plan(10)
    assert len(planned) == 1


def test_a_window_that_fails_or_never_ends_is_said(runner, monkeypatch):
    monkeypatch.setattr(runner, "last_heard_s", 1.7e9)
    failed: Future = Future()
    failed.set_exception(RuntimeError("no worlds left"))
    monkeypatch.setattr(runner, "_planning", failed)
    runner._plan(20)
    assert runner.window_fault == "the last window's decision failed: no worlds left"
    monkeypatch.setattr(runner, "deciding", SimpleNamespace(window=lambda *given: None))
    monkeypatch.setattr(runner, "_planning", Future())
    monkeypatch.setattr(runner, "window_fault", "")
    monkeypatch.setattr(runner, "_next_window", 30)
    runner._plan(29)
    assert runner.window_fault == ""
    runner._plan(30)
    assert "not ready though the next one is due" in runner.window_fault


@pytest.fixture
def taken(acting, runner, clock, monkeypatch):
    """What acts, and a decision that it has taken at once; the loop is as it was when the test ends."""
    monkeypatch.setattr(runner, "state", runner.state)
    monkeypatch.setattr(runner, "loop", runner.loop)
    monkeypatch.setattr(runner, "last_heard_s", clock())
    monkeypatch.setattr(runner, "deciding", Deciding(slot, window, eqx.filter_jit(adopt)))
    action = runner.state.standing.action
    held = action.slice_bandwidth_hz
    part = 0.1 * held[0, 0]
    wanted = eqx.tree_at(lambda a: a.slice_bandwidth_hz, action, held.at[0, 0].add(-part).at[0, 1].add(part))
    approved = type(runner.state.standing)(wanted, jnp.int32(0))
    verdict = Verdict(approved, jnp.int32(0), jnp.int32(0), jnp.array([0.5, 0.6]), jnp.zeros(2, jnp.int32))
    first = acting()
    decision = first.decisions.decided(runner._paint(3), verdict)
    assert (decision.state, decision.by) == ("adopted", "loop")
    return first, decision, held


FAILED = Fate("failed", "west: refused: no licence")


def test_what_stood_before_stands_again_for_the_people_of_now(taken, runner):
    acting, decision, held = taken
    users = runner.state.twin.users.current
    serving, rate = (column(USER_ATTRIBUTES, name) for name in ("serving_cell", "rate_bps"))
    runner.state = eqx.tree_at(
        lambda s: (s.twin.users.current.active, s.twin.users.current.value, s.twin.users.current.slot),
        runner.state,
        (
            jnp.ones_like(users.active),
            users.value.at[:, serving].set(0.0).at[:, rate].set(1e6),
            jnp.full_like(users.slot, 3),
        ),
    )
    assert float(jnp.sum(runner.state.standing.action.flow_bandwidth_hz)) == 0.0, "nobody was there when it was decided"
    assert acting.decisions.follow(lambda revision: FAILED)
    assert (decision.state, decision.why) == (
        "rolled_back",
        "the last confirmed decision is asked for again; west: refused: no licence",
    )
    standing = runner.state.standing.action
    np.testing.assert_array_equal(standing.slice_bandwidth_hz, held)
    np.testing.assert_array_equal(runner.state.reservation.bandwidth_hz, held)
    assert float(jnp.sum(standing.flow_bandwidth_hz)) > 0.0, "and gets bandwidth now that people are there"


def test_what_stood_before_does_not_stand_again_where_a_slice_has_ended(taken, runner, small_site):
    acting, decision, held = taken
    row = next(row for row, entry in enumerate(small_site.slices) if entry.name == "multicast")
    acting.decisions._ground.change_slices(end_slice(runner.loop.slices, row))
    stands = runner.state.standing.action.slice_bandwidth_hz
    assert not acting.decisions.follow(lambda revision: FAILED), "whoever failed is not waited for"
    assert (decision.state, decision.revision is None) == ("failed", False)
    assert decision.why == (
        "west: refused: no licence; could not be rolled back: refused: it holds something for a slice that has ended; "
        "it stands until the next window"
    )
    assert decision.history[-1]["comment"] == decision.why
    np.testing.assert_array_equal(runner.state.standing.action.slice_bandwidth_hz, stands)
    assert not np.array_equal(stands, held)


def test_a_slice_that_was_created_meanwhile_is_there_after_a_roll_back(taken, runner, small_site):
    acting, _, _ = taken
    row = next(row for row, entry in enumerate(small_site.slices) if entry.name == "multicast")
    before, ground = acting.decisions._confirmed_standing, acting.decisions._ground
    emptied = eqx.tree_at(
        lambda a: (a.slice_active, a.slice_bandwidth_hz, a.slice_cycles_per_s, a.slice_cache_bytes),
        before.action,
        (
            before.action.slice_active.at[row].set(False),
            before.action.slice_bandwidth_hz.at[:, row].set(0.0),
            before.action.slice_cycles_per_s.at[:, row].set(0.0),
            before.action.slice_cache_bytes.at[:, row].set(0.0),
        ),
    )
    assert ground.stand_again(first_approved(emptied)) == 0, RESULTS
    assert bool(runner.state.standing.action.slice_active[row]), "it stands, and holds nothing until a window decides"


def test_a_site_is_silent_where_neither_its_cells_nor_its_servers_were_measured(three_sites):
    orders, picture = Orders(three_sites), make_picture(slot=100)
    picture.cells.slot[2, 0] = 90
    picture.servers.slot[1, 0] = 95
    picture.cells.slot[5, 1] = 70
    told = orders.reported_s(picture)
    assert told == {"west": float("-inf"), "centre": picture.time_s(95), "east": picture.time_s(70)}


def test_after_a_restart_nothing_is_asked_before_the_loop_stands_on_what_was_asked_last(acting, runner):
    first = acting()
    stands = runner.state.standing
    other = eqx.tree_at(lambda one: one.action.slice_bandwidth_hz, stands, stands.action.slice_bandwidth_hz * 0.5)
    told = {"decision": "a", "slot": 3, "asked": held_by(other), "before": held_by(stands)}
    first._records.put("acting", "begun", "{}")
    first._records.put("standing", "asked", json.dumps(told))
    again = acting()
    assert again.dispatcher.begins_anew
    again.decisions.recovered_slot = 3
    assert lived(again, runner) is None, "what decides is not compiled yet, and the snapshot has less"
    later = acting()
    later.decisions.recovered_slot = 4
    assert lived(later, runner) is not None, "the snapshot is newer than what was asked"


def test_what_sites_confirmed_last_bounds_what_is_automatic(acting, runner):
    here = acting()
    site, held = next(iter(here.dispatcher.sites.values())), jax.device_get(runner.state.standing.action)
    picture = runner._paint(3)
    site.held = here.orders.write(held, 1, picture, 0.0, flows=False)[site.name].slices
    shares = {pool: dict.fromkeys(told, 1.0) for pool, told in here.dispatcher.held(picture).items()}
    decision = Decision("a", 0.0, 3, "waiting", "act", proposal=shares)
    assert "with orders that have not arrived" in here.decisions._why_not(decision, 0.0, picture)
    site.held = []
    assert here.decisions._why_not(decision, 0.0, picture) == ""


@pytest.mark.parametrize(("mode", "state"), [("act", "silent"), ("advise", "asked")])
def test_in_mode_act_a_site_that_was_never_reported_is_asked_nothing(acting, runner, mode, state):
    first = acting()
    first.authority.set_mode(mode)
    first.decisions._ground.change_slices(runner.loop.slices)
    site = next(iter(first.dispatcher.sites))
    first.dispatcher.fetch(site, -1)
    order = jax.device_get(runner.state.standing.action)
    first.lived(Slot(runner._paint(3), None, "", order, 5))
    assert (first.dispatcher.told()[0]["state"], first.dispatcher.told()[0]["silent"]) == (state, True)
    assert (first.dispatcher.fetch(site, -1) is None) == (mode == "act")
