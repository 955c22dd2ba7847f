"""Orders of slices in a run: judged by the twins, refused or admitted, and told wherever a person looks."""

import os
import signal

import jax
import numpy as np
import pyarrow.parquet as pq
import pytest

from twinloop import runs, scenario
from twinloop.errors import ScenarioError
from twinloop.runs.orders import Orders
from twinloop.scenario.models import Event

EVENTS = [
    Event(at=60.0, change="end", slice="standard"),
    Event(at=60.0, change="adjust", slice="premium", floor_share=0.95),
    Event(at=60.0, change="create", slice="standard", target_bps=90e6),
    Event(at=60.0, change="adjust", slice="standard", target_bps=2e6),
    Event(at=120.0, change="create", slice="standard", target_bps=0.5e6),
    Event(at=120.0, change="create", slice="standard"),
]
ANSWERS = ["refused", "refused", "left out", "admitted", "left out"]


@pytest.fixture(scope="module")
def ordering(tiny):
    """`tiny` with an order for more than there is, one for too much, and one that fits."""
    return tiny.model_copy(update={"events": EVENTS, "duration": 180.0})


@pytest.fixture(scope="module")
def ordered(ordering, programs, tmp_path_factory):
    return runs.run(ordering, out=tmp_path_factory.mktemp("ordered") / "run")


def test_what_does_not_fit_is_refused_with_an_offer_and_not_applied(ordered):
    told = ordered.summary["orders"]
    assert [order["answer"] for order in told] == ANSWERS
    floors, rate, adjusted, small, again = told
    assert "floors promise more" in floors["reason"] and 0.15 <= floors["offer_floor_share"] <= 0.9001
    assert "below what was agreed" in rate["reason"] and rate["offer_bps"] < 90e6
    assert "was refused" in adjusted["reason"] and "stands already" in again["reason"]
    assert (small["offer"], small["target_bps"]) == (1.0, 0.5e6)
    rows = pq.read_table(ordered.directory / "slices.parquet")
    slot, row = rows["slot"].to_numpy(), rows["slice"].to_numpy()
    assert set(row[(slot >= 66) & (slot < 120)]) == {0, 2} and set(row[slot >= 126]) == {0, 1, 2}
    asked = pq.read_table(ordered.directory / "users.parquet")
    needed, at = asked["needed_bps"].to_numpy(), asked["slot"].to_numpy()
    assert np.median(needed[(asked["slice"].to_numpy() == 1) & (at >= 126)]) < 0.8e6, "the small order is what stands"


def test_a_resumed_run_keeps_its_answers(ordering, ordered, programs, tmp_path):
    def press_ctrl_c(done, total):
        if done == 120:
            os.kill(os.getpid(), signal.SIGINT)

    half = runs.run(ordering, out=tmp_path / "run", progress=press_ctrl_c)
    assert [order["answer"] for order in half.summary["orders"]] == ANSWERS[:3]
    whole = runs.run(ordering, out=tmp_path / "run", resume=True)
    assert whole.summary["orders"] == ordered.summary["orders"]
    assert whole.summary["satisfaction"] == ordered.summary["satisfaction"]


def test_the_command_prints_every_answer_and_the_report_lists_them(ordering, ordered, programs, twinloop, tmp_path):
    (tmp_path / "ordering.yaml").write_text(scenario.dump(ordering))
    status, out, err = twinloop("run", "ordering.yaml", "--out", "out")
    assert status == 0, err
    lines = [line for line in out.splitlines() if line.startswith("order at ")]
    assert len(lines) == 5 and "would fit (3 Mbit/s, floor 90%)" in lines[0]
    assert "create standard at 90 Mbit/s, floor 15%: refused" in lines[1]
    text = (tmp_path / "out" / "report.html").read_text().replace("\N{NO-BREAK SPACE}", " ")
    assert "Orders of slices" in text and "5 orders: 1 admitted, 2 refused" in text
    assert "500 kbit/s, floor 15" in text
    assert "refused: standard" in text and "adjust standard" not in text


def test_worlds_side_by_side_judge_their_own_orders(ordering, ordered, programs):
    lanes = runs.Lanes([ordering.model_copy(update={"seed": 5})], 180)
    loop = lanes._with_events(lanes._loop, lanes._state, 60)
    assert [[order["answer"] for order in one.told()] for one in lanes.orders] == [["refused", "admitted"]]
    floors = np.asarray(loop.slices.floor_share)
    assert floors[:, 0] == pytest.approx(0.15) and floors.sum(axis=1).max() <= 1.0
    assert np.asarray(loop.slices.active).all(), "nothing is known of anybody yet, so nothing breaks"


def test_without_admission_everything_is_applied_and_a_repeated_order_is_a_fault(ordering):
    free = ordering.policy.model_copy(update={"admission": False})
    applied = ordering.model_copy(update={"policy": free, "events": [*EVENTS[:1], EVENTS[2]]})
    loop, state = scenario.build_loop(applied)
    orders = Orders(applied)
    orders.judge(jax.random.key(0), loop, state, 60, 60)
    assert orders.told() == [] and orders.left_out == set()
    assert float(scenario.apply_events(applied, loop, 60, 60).slices.target_bps[1]) == 90e6
    with pytest.raises(ScenarioError, match="taken"):
        scenario.check_events(applied.model_copy(update={"events": [EVENTS[0], EVENTS[4], EVENTS[5]]}), loop, 180)
    with pytest.raises(ScenarioError, match=r"event at 120 s \(adjust standard\)"):
        late = Event(at=120.0, change="adjust", slice="standard", target_bps=1e6)
        scenario.check_events(ordering.model_copy(update={"events": [EVENTS[0], late]}), loop, 180)
