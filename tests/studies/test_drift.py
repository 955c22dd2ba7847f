import json
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.figure import Figure

from twinloop.scenario import Drift, Upkeep
from twinloop.studies.evaluate.drift import (
    beside,
    detecting,
    drawing,
    in_runs,
    judging,
    operating,
    sizing,
    transferring,
    worlds,
)
from twinloop.studies.evaluate.drift.calendar_drift import calendar_rows, judge_calendar, load_calendar


@pytest.fixture(scope="module")
def swipes() -> operating.World:
    return operating.swipe_world(5)


@pytest.fixture(scope="module")
def courses(swipes) -> dict[str, list[operating.Course]]:
    ours = next(iter(operating.strategies()))
    return {"frozen": [operating.serve_frozen(swipes)], ours: [operating.operate(swipes, operating.RULES, 5)]}


def test_exchanged_types_are_as_hard_to_predict_but_another_world() -> None:
    usual, other = worlds.patient_and_not(), worlds.swapped_hazard()
    order = np.argsort(usual.sum(axis=1))
    np.testing.assert_allclose(np.sort(usual.sum(axis=1)), np.sort(other.sum(axis=1)))
    assert (np.argsort(other.sum(axis=1)) == order[::-1]).all() and ((usual > 0) & (usual < 1)).all()


def test_the_chances_of_all_seconds_and_of_the_end_sum_to_one() -> None:
    chance = worlds.leave_distribution(jnp.asarray(worlds.patient_and_not(), jnp.float32))
    np.testing.assert_allclose(chance.sum(axis=1), 1.0, rtol=1e-5)


def test_simulated_viewers_leave_as_the_hazards_say() -> None:
    table = jnp.asarray(worlds.patient_and_not(), jnp.float32)
    people = replace(worlds.crowd(jax.random.key(0), 200), factor=jnp.ones(200))
    views = worlds.watch_videos(jax.random.key(1), people, jnp.broadcast_to(table, (60, *table.shape)))[1]
    for kind in (0, 7):
        left = np.asarray(views.left)[np.asarray(views.kind) == kind]
        shown = np.asarray(worlds.leave_distribution(table))[kind]
        assert abs(np.mean(left == worlds.SECONDS) - shown[-1]) < 4 * np.sqrt(shown[-1] / len(left))


@pytest.mark.parametrize("change", worlds.CHANGES)
def test_series_change_as_they_are_told_and_when(change: str) -> None:
    draw = np.random.default_rng(0)
    made = worlds.series(draw, 200, 300, worlds.CALM, worlds.CHANGES[change](worlds.CALM), 150)
    before, after = made[:, 50:150], made[:, 200:]
    assert before.mean() == pytest.approx(10.0, abs=0.1) and before.std() == pytest.approx(1.0, abs=0.1)
    lag = [np.mean((x[:, 1:] - x.mean()) * (x[:, :-1] - x.mean())) / x.var() for x in (before, after)]
    told = {"level": after.mean() < 6.5, "scale": after.std() > 1.4, "dynamics": lag[1] < 0 < 0.8 < lag[0]}
    assert told[change] and sum(told.values()) == 1


def test_the_error_comes_back_with_upkeep_and_not_without(courses) -> None:
    ours, frozen = (courses[name][0] for name in (next(iter(operating.strategies())), "frozen"))
    assert frozen.after > 1.3 * frozen.before
    assert ours.after < judging.BACK * ours.before
    alarm, promoted = ours.first("drift"), ours.first("promoted")
    assert alarm is not None and promoted is not None
    assert alarm - operating.CHANGE < 15 and alarm < promoted < operating.CHANGE + 90


def test_rows_and_figures_of_courses(courses) -> None:
    rows = operating.course_rows("swipes", courses)
    assert [row.role for row in rows] == ["baseline", "proposed"]
    assert rows[0].values["after / before"].low is None
    figure = drawing.draw_courses({"swipes": courses})
    assert isinstance(figure, Figure) and "world changes" in "".join(text.get_text() for text in figure.axes[0].texts)


def test_every_fault_is_answered(swipes) -> None:
    found = {fault.name: fault for fault in operating.inject_faults(swipes, 5)}
    assert len(found) == 4 and all(fault.settled for fault in found.values())
    assert found["weights that are no numbers"].served <= 1
    assert found["exploded weights (x 10)"].answer == "rolled back"
    assert all(fault.error < 1.05 for fault in found.values())


def test_detectors_are_tuned_on_other_streams_and_entropy_is_blind_to_exchanged_types(monkeypatch) -> None:
    few = {name: several[4:8] for name, several in detecting.settings().items() if name != "plain sum"}
    monkeypatch.setattr(detecting, "settings", lambda: few)
    found = detecting.judge_detectors(0, streams=4)
    ours = found.scores["swipes", "types exchanged", detecting.OURS]
    assert ours.missed == 0 and ours.delay.max() < 40
    assert found.scores["swipes", "types exchanged", detecting.ENTROPY].missed > 0.5
    assert found.scores["clusters", "blend", detecting.OURS].delay.max() < 10
    assert {row.names[1] for row in found.rows(0)} == {*few, detecting.ENTROPY}
    assert isinstance(drawing.draw_detectors(found), Figure)


def test_scores_count_false_alarms_before_and_delay_after() -> None:
    alarms = np.zeros((2, detecting.STEPS), bool)
    alarms[0, [50, 200, detecting.CHANGE + 7]] = True
    score = detecting.scored(alarms)
    assert score.delay.tolist() == [7, detecting.STEPS - detecting.CHANGE] and score.missed == 0.5
    assert score.false_alarms == pytest.approx(1000 / (2 * (detecting.CHANGE - detecting.SETTLE)))


def test_the_price_chosen_keeps_the_error_and_saves_energy() -> None:
    found = sizing.judge_sizes("simulated", sizing.simulated_links(0, 12, 200), 0, steps=40)
    large = "always GRU-48"
    assert found.multiply_adds[sizing.OURS] < found.multiply_adds[large]
    assert set(found.seconds) == {sizing.OURS, *(f"always {size}" for size in sizing.SIZES)}
    assert len(sizing.sizing_rows(found, 0)) == 5 and isinstance(drawing.draw_sizes([found]), Figure)


def test_what_a_twin_knows_of_its_errors_is_from_before() -> None:
    known = sizing._running(np.array([1.0, 5.0, 5.0, 5.0]))  # pyright: ignore - the guard against looking ahead
    assert known[0] == known[1] == 1.0 and known[2] == pytest.approx(1.0) and known[3] > 1.0


def test_users_of_four_kinds_start_better_from_their_like_than_from_nothing() -> None:
    found = transferring.judge_transfer("simulated", transferring.simulated_users(0, 16, 300), 0, (30, 60))
    assert found.error["scratch"].shape == (2, 8)
    gain = transferring.paired_gain(found, "scratch", 0, 0)
    assert gain.value < 0
    rows = transferring.transfer_rows(found, 0)
    assert [row.names[1] for row in rows] == list(transferring.STARTS)
    assert isinstance(drawing.draw_transfer([found]), Figure)


def test_time_to_useful_error() -> None:
    error = {"a": np.array([[2.0, 9.0], [1.0, 9.0]]), "b": np.array([[1.05, 1.0], [1.0, 1.0]])}
    found = transferring.Newcomers("x", (30, 60), error)
    assert found.useful_after("a").tolist() == [60.0, np.inf] and found.useful_after("b").tolist() == [30.0, 30.0]


def test_runs_are_held_against_twins_that_only_count(tiny, programs, monkeypatch) -> None:
    quick = Upkeep(look_views=8, gather=10, trial=5, probation=10, training=5.0, refresh=3600.0, threshold=8.0)
    changes = {
        "duration": 1200.0,
        "twin": tiny.twin.model_copy(update={"upkeep": quick}),
        "drifts": [Drift(at=300.0, change="impatience", factor=6.0)],
    }
    monkeypatch.setattr(in_runs, "load", lambda _: tiny.model_copy(update=changes))
    spans = {"before": (-180, 0), "after": (300, 780)}
    monkeypatch.setattr(in_runs, "SPANS_S", spans)
    found = in_runs.judge_runs(0, 1)
    np.testing.assert_allclose(found.ways[in_runs.OURS][0, 0], found.ways[in_runs.ALONE][0, 0], atol=1e-3)
    np.testing.assert_allclose(found.ways[in_runs.ANEW][0, 0], found.ways[in_runs.ALONE][0, 0], atol=1e-3)
    after = {name: spans[0, 1] for name, spans in found.ways.items()}
    assert len({round(value, 4) for value in after.values()}) == 4
    assert found.found_s[0] >= 0 and np.isnan(found.back_s[0])
    assert {row.names[1] for row in in_runs.run_rows(found)} >= {in_runs.OURS, in_runs.FADING, in_runs.NETWORK}


def test_slots_are_counted_against_their_deadline() -> None:
    times = {"alone": np.array([0.1, 0.2]), "beside training, duty 0.5": np.array([0.1, 0.3])}
    found = beside.Beside(times, 0.25, {"alone": 0, "beside training, duty 0.5": 40})
    assert [found.missed(way) for way in times] == [0, 1]
    assert [row.values["deadlines missed"].value for row in beside.beside_rows(found)] == [0.0, 1.0]
    assert isinstance(drawing.draw_slots(found), Figure)


@pytest.mark.data
def test_the_calendar_of_irish5g_is_in_order_of_date(data_dir: Path) -> None:
    calendar = load_calendar(data_dir, 0, steps=20)
    dates = [name.rsplit("_", 2)[-2:] for name in calendar.files]
    assert dates == sorted(dates) and len(set(calendar.regimes)) == 6
    short = replace(calendar, slots=calendar.slots[:80], file=calendar.file[:80])
    drifted = judge_calendar(short, 0)
    assert {row.names[1] for row in calendar_rows(drifted, 0)} == {"frozen", "update, replay", "update, no replay"}
    assert isinstance(drawing.draw_calendar([drifted]), Figure)


def test_a_judgement_of_parts_says_what_holds(courses, monkeypatch) -> None:
    ours = next(iter(operating.strategies()))
    frozen, updated = courses["frozen"][0], courses[ours][0]
    monkeypatch.setattr(
        judging, "compare_strategies", lambda *_: {"frozen": [frozen], ours: [updated], "update, no replay": [updated]}
    )
    fault = operating.Fault("bad", "nothing", 0, 1.0, False)
    monkeypatch.setattr(judging, "inject_faults", lambda *_: [fault])
    monkeypatch.setattr(judging, "swipe_world", lambda *_: None)
    spans = np.full((2, len(in_runs.SPANS_S)), 2.0)
    ways = {in_runs.OURS: spans, in_runs.ANEW: spans - 0.1, in_runs.FADING: spans, in_runs.ALONE: spans + 0.1}
    lived = in_runs.InRuns(ways, np.full(2, 1.9), np.ones(2), np.ones(2), np.array([40.0, np.nan]), 0)
    monkeypatch.setattr(judging, "judge_runs", lambda *_: lived)
    times = {"alone": np.ones(3), f"beside training, duty {beside.DUTY:g}": np.ones(3)}
    monkeypatch.setattr(judging, "time_slots", lambda *_: beside.Beside(times, 2.0, dict.fromkeys(times, 20)))
    score = detecting.Score(np.array([3.0]), 0.5)
    names = [("swipes", "types exchanged", way) for way in (detecting.OURS, "ADWIN", "Page-Hinkley")]
    blind = detecting.Score(np.array([300.0]), 0.5)
    scores = dict.fromkeys(names, score) | {("swipes", "types exchanged", detecting.ENTROPY): blind}
    tried = {name: np.array([[0.5, 3.0]]) for name in (detecting.OURS, "ADWIN", "Page-Hinkley")}
    monkeypatch.setattr(judging, "judge_detectors", lambda *_: detecting.Detected({}, scores, tried))
    error = {start: np.array([[1.0, 1.0], [1.0, 1.0]]) + place for place, start in enumerate(transferring.STARTS)}
    monkeypatch.setattr(judging, "judge_transfer", lambda name, *_: transferring.Newcomers(name, (30, 60), error))
    ways = [sizing.OURS, *(f"always {size}" for size in sizing.SIZES), "random mix, same shares"]
    sized = sizing.Sizing(
        "s", {way: np.ones(3) for way in ways}, dict.fromkeys(ways, 10.0), dict.fromkeys(ways, 1.0), "p"
    )
    monkeypatch.setattr(judging, "judge_sizes", lambda *_: sized)
    told: list[str] = []
    judged = judging.evaluate_drift(None, 0, progress=told.append)
    held = {claim.statement: claim.holds for claim in judged.claims}
    assert not judged.passed and not held["bad updates that were neither refused nor rolled back"]
    assert held["slots over the deadline of 2000 ms beside training"]
    assert sum("back within 10 %" in name and holds for name, holds in held.items()) == 2
    assert sum("transfer" in name and holds for name, holds in held.items()) == 2
    assert not any("half its energy" in name and holds for name, holds in held.items())
    assert [holds for name, holds in held.items() if "campus-drift" in name] == [True, True, True, False]
    assert len(told) == 8 and json.loads(judged.to_json())["claims"]
