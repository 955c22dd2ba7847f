"""Acting on a real loop that was built and not compiled: what was compiled for it before still fits it after."""

import jax
import pytest

from twinloop.scenario import build_live
from twinloop.service.acting import DecisionError
from twinloop.service.acting.acting import LoopGround
from twinloop.service.live import Runner
from twinloop.slicing import SliceSpec, adjust_slice, create_slice, end_slice
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
