import json
import threading
import time
from dataclasses import replace
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array, Float

from twinloop.errors import ModelError, OutputError
from twinloop.learning import (
    BackgroundTraining,
    Lineage,
    Upkeep,
    UpkeepRules,
    cumulative_detector,
    load_version,
    paired_difference,
    read_lineage,
)
from twinloop.learning.upkeep import empty_reservoir, keep_examples, with_replay

KEY = jax.random.key(0)
RULES = UpkeepRules(gather=15, fresh=5, probation=12, rest=5, courses=5, steps=40, batch=32, learning_rate=0.05, lag=2)


class Line(eqx.Module):
    weight: Float[Array, " features"]


def line(first: float, second: float = 0.0) -> Line:
    return Line(jnp.asarray([first, second]))


def squared(model: Line, examples) -> Float[Array, " examples"]:
    x, y = examples
    return (x @ model.weight - y) ** 2


def slot(number: int, weight: tuple[float, float], *, second: bool = False, size: int = 16):
    """y = weight . x + noise; x has its first feature, or where `second` its second one, and the other is 0."""
    draw = np.random.default_rng(number)
    x = draw.standard_normal((size, 2)) * np.array([not second, second])
    y = x @ np.array(weight) + 0.1 * draw.standard_normal(size)
    return jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32)


def upkeep(model: Line, rules: UpkeepRules = RULES, **more) -> Upkeep[Line]:
    return Upkeep(KEY, model, squared, cumulative_detector(10.0, 0.5, settle=20), rules, **more)


def lived(kept: Upkeep[Line], slots: range, weight: tuple[float, float], **how) -> list[str]:
    for number in slots:
        kept.observe(number, slot(number, weight, **how))
    return [event.kind for event in kept.events]


def test_nothing_is_done_while_the_world_is_as_it_was() -> None:
    kept = upkeep(line(2.0))
    assert lived(kept, range(120), (2.0, 0.0)) == []
    assert kept.version == 0 and kept.error == pytest.approx(0.01, abs=0.01)


def test_after_a_drift_a_better_model_is_trained_tried_promoted_and_kept() -> None:
    kept = upkeep(line(2.0), UpkeepRules(**{**vars(RULES), "replay": 0.0}))
    lived(kept, range(40), (2.0, 0.0))
    before = kept.error
    assert lived(kept, range(40, 110), (-1.0, 0.0)) == ["drift", "training", "promoted", "kept"]
    assert float(kept.model.weight[0]) == pytest.approx(-1.0, abs=0.1)
    assert kept.error < 1.5 * before
    assert [version.standing for version in kept.lineage.versions] == ["replaced", "in service"]
    made = kept.lineage.versions[1]
    assert made.parent == 0 and 40 <= made.data[0] < made.data[1] < made.slot and made.reason == "error"
    assert made.metrics["error"] < made.metrics["incumbent"]


def test_replay_keeps_what_the_new_data_do_not_show() -> None:
    """The old world shows the second feature, the new one only the first, together with noise on the second."""

    def after(share: float) -> float:
        kept = upkeep(line(0.0, 3.0), UpkeepRules(**{**vars(RULES), "replay": share, "learning_rate": 0.2}))
        lived(kept, range(40), (0.0, 3.0), second=True)
        draw = np.random.default_rng(9)
        for number in range(40, 90):
            x, y = slot(number, (2.0, 0.0))
            crossed = x.at[:, 1].set(jnp.asarray(draw.standard_normal(16) * 0.5, jnp.float32))
            kept.observe(number, (crossed, y))
        assert "promoted" in [event.kind for event in kept.events]
        return float(jnp.mean(squared(kept.model, slot(5, (0.0, 3.0), second=True))))

    assert after(0.5) < 0.5 * after(0.0)


def test_an_update_that_does_not_help_is_refused_and_the_second_refusal_accepts_the_noise() -> None:
    kept = upkeep(line(2.0))
    lived(kept, range(40), (2.0, 0.0))
    draw = np.random.default_rng(3)
    for number in range(40, 200):
        x, y = slot(number, (2.0, 0.0))
        kept.observe(number, (x, y + jnp.asarray(draw.standard_normal(16), jnp.float32)))
    kinds = [event.kind for event in kept.events]
    assert kinds == ["drift", "training", "refused"] * 2
    assert kept.version == 0 and float(kept.model.weight[0]) == 2.0


def test_data_poisoned_while_they_were_gathered_make_a_model_that_is_refused() -> None:
    kept = upkeep(line(2.0))
    lived(kept, range(40), (2.0, 0.0))
    for number in range(40, 100):
        x, y = slot(number, (1.0, 0.0))
        kept.observe(number, (x, y + 50.0 * x[:, 0] if kept.phase == "gathering" else y))
        if kept.events and kept.events[-1].kind == "refused":
            break
    assert [event.kind for event in kept.events] == ["drift", "training", "refused"]
    assert kept.version == 0 and kept.lineage.versions[1].standing == "refused" and 1 not in kept.lineage.models


@pytest.mark.parametrize("weight", [np.nan, np.inf, 1e20, 5.0])
def test_a_bad_model_put_into_service_is_rolled_back(weight: float) -> None:
    kept = upkeep(line(2.0))
    lived(kept, range(30), (2.0, 0.0))
    kept.impose(30, line(weight), "fault put in")
    assert lived(kept, range(30, 50), (2.0, 0.0)) == ["promoted", "rolled back"]
    assert kept.version == 0 and float(kept.model.weight[0]) == 2.0 and kept.error < 0.05
    served = kept.events[-1].slot - 30
    assert served <= 8 if np.isfinite(weight) else served == 0
    assert [version.standing for version in kept.lineage.versions] == ["in service", "rolled back"]


def test_a_poisoned_trial_is_found_out_on_probation() -> None:
    kept = upkeep(line(2.0), UpkeepRules(**{**vars(RULES), "replay": 0.0}))
    lived(kept, range(40), (2.0, 0.0))
    for number in range(40, 100):
        bad = kept.phase in ("gathering", "training", "trial") or not kept.events
        kept.observe(number, slot(number, (-9.0, 0.0) if bad else (2.0, 0.0)))
        if kept.events and kept.events[-1].kind == "rolled back":
            break
    assert [event.kind for event in kept.events] == ["drift", "training", "promoted", "rolled back"]
    assert float(kept.model.weight[0]) == 2.0


def test_a_fault_in_training_leaves_the_model_and_is_told() -> None:
    def broken(*_: object):
        yield line(-1.0)
        raise MemoryError("no room")

    kept = upkeep(line(2.0))
    kept._courses = broken  # pyright: ignore - a fault put in
    lived(kept, range(40), (2.0, 0.0))
    assert lived(kept, range(40, 80), (-1.0, 0.0))[:3] == ["drift", "training", "fault"]
    assert kept.events[2].reason == "MemoryError: no room"
    assert kept.version == 0 and float(kept.model.weight[0]) == 2.0 and len(kept.lineage.versions) == 1


def test_a_live_loop_is_never_kept_waiting() -> None:
    """The job goes on until it is told to stop; every slot passes meanwhile."""
    release = threading.Event()

    def slow():
        while not release.is_set():
            time.sleep(0.02)
            yield line(-1.0)

    training: BackgroundTraining[Line] = BackgroundTraining(duty=0.5)
    kept = upkeep(line(2.0), UpkeepRules(**{**vars(RULES), "lag": None}), training=training)
    kept._courses = lambda *_: slow()  # pyright: ignore - a job of known length in place of training
    lived(kept, range(60), (2.0, 0.0))
    begun = time.perf_counter()
    for number in range(60, 100):
        kept.observe(number, slot(number, (-1.0, 0.0)))
    assert time.perf_counter() - begun < 5.0 and kept.phase == "training" and training.busy
    release.set()
    for number in range(100, 400):
        kept.observe(number, slot(number, (-1.0, 0.0)))
        time.sleep(0.005)
        if kept.phase != "training":
            break
    lived(kept, range(400, 406), (-1.0, 0.0))
    assert "promoted" in [event.kind for event in kept.events]


def test_the_background_rests_and_refuses_a_second_job() -> None:
    def job():
        for number in range(8):
            time.sleep(0.01)
            yield number

    training: BackgroundTraining[int] = BackgroundTraining(duty=0.25)
    assert training.poll() is None and training.wait() is None
    training.start(job)
    assert training.poll() is None
    with pytest.raises(RuntimeError, match="a job is under way"):
        training.start(job)
    outcome = training.wait()
    assert outcome is not None and outcome.result == 7
    assert outcome.elapsed_s > 3 * outcome.busy_s
    training.start(job)
    stopped = training.stop()
    assert stopped is not None and (stopped.result or 0) < 7
    with pytest.raises(ValueError, match="duty"):
        BackgroundTraining(duty=0.0)


def test_the_same_key_lives_the_same_life() -> None:
    lives = [upkeep(line(2.0)) for _ in range(2)]
    for one in lives:
        one.prepare(slot(0, (2.0, 0.0)))
        lived(one, range(40), (2.0, 0.0))
        lived(one, range(40, 90), (-1.0, 0.0))
    first, second = lives
    assert first.events == second.events and (first.model.weight == second.model.weight).all()


def test_signals_beside_the_error_alarm_by_their_name() -> None:
    kept = upkeep(line(2.0), signals=("entropy",))
    draw = np.random.default_rng(0)
    for number in range(60):
        kept.observe(number, slot(number, (2.0, 0.0)), (draw.normal() + (8.0 if number > 45 else 0.0),))
    assert kept.events[0].kind == "drift" and kept.events[0].reason == "entropy"
    with pytest.raises(ValueError, match="expected entropy"):
        kept.observe(61, slot(61, (2.0, 0.0)))


def test_the_lineage_is_saved_and_read_back(tmp_path: Path) -> None:
    lineage = Lineage(line(0.0), "first", kept=2)
    for number in range(1, 5):
        lineage.add(line(float(number)), number - 1, 10 * number, (0, number), "drift")
        lineage.mark(number - 1, "replaced")
        lineage.mark(number, "in service", error=0.5)
    lineage.add(line(9.0), 4, 60, (50, 60), "drift")
    lineage.mark(5, "refused")
    assert lineage.path_to(4) == (4, 3, 2, 1, 0) and sorted(lineage.models) == [2, 3, 4]
    lineage.save(tmp_path / "models", {"model": "line"})
    assert read_lineage(tmp_path / "models") == tuple(lineage.versions)
    assert float(load_version(tmp_path / "models", 4, line(0.0)).weight[0]) == 4.0
    card = json.loads((tmp_path / "models" / "version-0004.json").read_text())
    assert card["model"] == "line" and card["lineage"] == [4, 3, 2, 1, 0] and card["version"]["metrics"]["error"] == 0.5
    with pytest.raises(ModelError, match="cannot be read"):
        load_version(tmp_path / "models", 0, line(0.0))


def test_a_lineage_that_is_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="the lineage that a run wrote"):
        read_lineage(tmp_path)
    for content in ("{", '{"versions": [{"number": 1}]}', "[]"):
        (tmp_path / "lineage.json").write_text(content)
        with pytest.raises(ModelError, match="this is no lineage"):
            read_lineage(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="give another path"):
        Lineage(line(0.0), "first").save(tmp_path / "file" / "models", {})


def test_a_paired_difference_needs_more_than_luck() -> None:
    draw = np.random.default_rng(0)
    level = draw.exponential(5.0, 30)
    better = paired_difference(level - 0.2 + 0.1 * draw.standard_normal(30), level)
    assert better.better and not better.worse and better.low < -0.2 < better.high
    same = paired_difference(level + draw.standard_normal(30), level)
    assert not same.better and not same.worse
    assert paired_difference(np.array([1.0, np.nan]), np.array([1.0, 1.0])).worse
    assert not paired_difference(np.array([0.0]), np.array([9.0])).better


def test_few_wild_errors_do_not_hide_who_is_steadily_better() -> None:
    old = np.array([1.0, 1.2, 0.9, 1.1, 1.3, 40.0, 1.0, 0.8, 1.1, 1.2])
    wild = paired_difference(0.7 * old, old)
    assert wild.better and wild.high > 0 and wild.steady
    hidden = 0.7 * old
    hidden[0] = 90.0
    assert not paired_difference(hidden, old).better
    assert not paired_difference(0.7 * old[:5], old[:5]).steady


def test_a_reservoir_is_a_fair_sample_of_everything() -> None:
    reservoir = empty_reservoir(jnp.zeros((1,)), 400)
    assert with_replay(KEY, jnp.arange(8.0), reservoir, 0.5).tolist() == list(range(8))
    for number in range(40):
        reservoir = keep_examples(jax.random.fold_in(KEY, number), reservoir, jnp.arange(100.0) + 100 * number)
    assert int(reservoir.filled) == 400
    kept = np.asarray(reservoir.examples)
    assert len(np.unique(kept)) == 400 and abs(kept.mean() - 2000) < 4 * 4000 / np.sqrt(12 * 400)
    mixed = np.asarray(with_replay(KEY, jnp.full(2000, -1.0), reservoir, 0.25))
    assert np.mean(mixed >= 0) == pytest.approx(0.25, abs=0.05) and set(mixed[mixed >= 0]) <= set(kept)


def test_an_update_by_calendar_is_kept_where_it_helps_and_refused_where_it_does_not():
    rules = replace(RULES, refresh=60)
    biased = upkeep(line(0.6), rules)
    kinds = lived(biased, range(120), (1.0, 0.0))
    assert kinds[:4] == ["refresh", "training", "promoted", "kept"]
    assert biased.events[0].slot == 60
    true = upkeep(line(1.0), rules)
    assert lived(true, range(110), (1.0, 0.0))[:3] == ["refresh", "training", "refused"]
    assert lived(upkeep(line(0.6)), range(120), (1.0, 0.0)) == []
