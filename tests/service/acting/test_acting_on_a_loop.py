"""Acting on a real loop that was built and not compiled: what was compiled for it before still fits it after."""

from concurrent.futures import Future
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from twinloop.entities import USER_ATTRIBUTES
from twinloop.network.formats import Rows
from twinloop.scenario import build_live
from twinloop.service.acting import Acting, ActingSettings, DecisionError
from twinloop.service.acting.acting import LoopGround
from twinloop.service.live import Runner, Slot
from twinloop.service.records import Records
from twinloop.service.security import Grants
from twinloop.slicing import SliceSpec, adjust_slice, create_slice, end_slice
from twinloop.storage import open_storage
from twinloop.validation import first_approved


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
    before, first = ground.standing(), runner.loop.slices
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
    other = jax.tree.map(lambda leaf: leaf + 1 if leaf.dtype != bool else leaf, before[1].action)
    ground.stand_on((before[0], first_approved(other)))
    assert avals(runner.state) == state
    ground.stand_on(before)
    assert runner.state.standing.action.slice_bandwidth_hz is before[1].action.slice_bandwidth_hz


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
    first.decisions._ground.stand_on(runner.stands_on)
    assert lived(first, runner) is True and first.moved
    assert lived(first, runner, "no report in 10 s") is False, "who gets what is left to the sites"
    assert lived(acting(), runner) is True, "it goes on after another start"


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
    monkeypatch.setattr(runner, "deciding", SimpleNamespace(window=None))
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
    monkeypatch.setattr(runner, "deciding", SimpleNamespace(window=None))
    monkeypatch.setattr(runner, "_planning", Future())
    monkeypatch.setattr(runner, "window_fault", "")
    monkeypatch.setattr(runner, "_next_window", 30)
    runner._plan(29)
    assert runner.window_fault == ""
    runner._plan(30)
    assert "not ready though the next one is due" in runner.window_fault
