"""The model of viewers is kept current while a run lives, and a resumed run knows all that was done."""

import os
import signal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from twinloop import reporting, runs, scenario
from twinloop.emulation import leaving_model
from twinloop.errors import ScenarioError
from twinloop.learning import load_version, read_lineage
from twinloop.runs.upkeep import DRILL, ViewingUpkeep, fate_of
from twinloop.scenario import Drift, Upkeep
from twinloop.twins import empty_swipes

QUICK = Upkeep(look_views=8, gather=20, trial=12, probation=15, training=5.0, refresh=3600.0, threshold=8.0)
CHANGE_S = 420.0


@pytest.fixture(scope="module")
def drifting(tiny):
    """`tiny` for half an hour, after seven minutes of which everybody leaves six times as soon; with a drill."""
    twin = tiny.twin.model_copy(update={"upkeep": QUICK.model_copy(update={"drill": 1440.0})})
    drift = Drift(at=CHANGE_S, change="impatience", factor=6.0)
    return tiny.model_copy(update={"duration": 1800.0, "twin": twin, "drifts": [drift]})


@pytest.fixture(scope="module")
def kept(drifting, programs, tmp_path_factory):
    return runs.run(drifting, out=tmp_path_factory.mktemp("drifting") / "run")


def events(result, kind):
    return [event for event in result.summary["upkeep"]["events"] if event["kind"] == kind]


def test_a_drift_is_found_and_the_error_returns_with_no_late_slot(kept):
    (fate,) = kept.summary["upkeep"]["drifts"]
    assert 0 <= fate["found_after_s"] <= 120
    assert fate["found_after_s"] < fate["answered_after_s"] <= 400
    assert fate["twins_after"] <= 1.1 * fate["truth_after"]
    assert kept.summary["pace"]["late_slots"] == 0
    looks = pq.read_table(kept.directory / "looks.parquet").to_pydict()
    after = np.array(looks["slot"]) > CHANGE_S + fate["answered_after_s"]
    assert np.mean(np.array(looks["first_model"])[after]) > np.mean(np.array(looks["twins"])[after]) + 0.1


def test_a_spoiled_version_serves_shortly_and_is_rolled_back(kept):
    drill = next(event for event in events(kept, "promoted") if event["reason"].startswith("drill"))
    back = next(event for event in events(kept, "rolled back") if event["version"] == drill["version"])
    assert 1440 <= drill["slot"] < back["slot"] <= drill["slot"] + 120


def test_what_serves_in_the_end_is_the_version_in_service(kept):
    folder = kept.directory / "models"
    serving = next(version for version in read_lineage(folder) if version.standing in ("in service", "probation"))
    assert serving.number == kept.summary["upkeep"]["version"]
    like = leaving_model(jnp.zeros_like(kept.twins.swipes.prior))
    model = load_version(folder, serving.number, like)
    np.testing.assert_allclose(kept.twins.swipes.prior, model.hazard(), rtol=1e-5)


def test_a_resumed_run_has_done_the_same(drifting, kept, programs, tmp_path):
    def press_ctrl_c(done, total):
        if done == 660:
            os.kill(os.getpid(), signal.SIGINT)

    target = tmp_path / "run"
    half = runs.run(drifting, out=target, progress=press_ctrl_c)
    assert half.interrupted
    whole = runs.run(drifting, out=target, resume=True)
    assert whole.summary["upkeep"] == kept.summary["upkeep"]
    assert eqx.tree_equal(whole.twins, kept.twins)


def test_the_report_tells_what_was_done(kept):
    page = reporting.write_report(kept.directory).read_text()
    assert "Drifts found, and what was done" in page
    assert "none fell behind" in page
    assert "drill: a spoiled version" in page
    assert (kept.directory / "figures" / "upkeep.png").stat().st_size > 10_000


def test_without_upkeep_nothing_is_kept(tiny, programs, tmp_path):
    twin = tiny.twin.model_copy(update={"upkeep": Upkeep(enabled=False)})
    result = runs.run(tiny.model_copy(update={"twin": twin}), out=tmp_path / "run")
    assert "upkeep" not in result.summary
    assert not (tmp_path / "run" / "models").exists()
    assert "was not kept" in reporting.write_report(tmp_path / "run").read_text()


@pytest.mark.parametrize(
    ("drift", "words"),
    [
        ("{at: 90, change: exchange}", "drift at 90 s must be at a multiple of 60 s"),
        ("{at: 60, change: impatience}", "factor is given with change impatience"),
        ("{at: 60, change: exchange, factor: 2}", "factor is given with change impatience"),
        ("{at: 60, change: mood}", "'impatience', 'exchange' or 'speed'"),
        ("{at: 60, change: impatience, factor: 0}", "greater than 0"),
    ],
)
def test_a_drift_that_cannot_be_is_told(drift, words):
    text = scenario.shipped()["campus"] + f"drifts:\n  - {drift}\n"
    with pytest.raises(ScenarioError) as told:
        scenario.parse(text)
    assert words in str(told.value)


def views(leaves: float, first_slot: int, count: int) -> pa.Table:
    """One view a slot of a video of three seconds, each left with the chance `leaves`."""
    draw = np.random.default_rng(first_slot)
    gone = draw.random((count, 3)) < leaves
    second = np.where(gone.any(axis=1), gone.argmax(axis=1), 3)
    none = np.zeros(count)
    columns = {"slot": first_slot + np.arange(count), "video_class": none, "second": second, "factor": none + 1.0}
    return pa.table(columns | {"twins": none, "truth": none})


def test_counting_begins_anew_at_an_alarm_and_not_before():
    counts = empty_swipes(jnp.ones(2, bool), jnp.array([3.0]), jnp.full((1, 3), 0.1), 0.4)
    counts = eqx.tree_at(lambda c: c.reached, counts, jnp.full((1, 3), 50.0))
    upkeep = ViewingUpkeep(QUICK, counts, jax.random.key(0), 1.0)
    upkeep.observe(views(0.1, 0, 600))
    assert upkeep.served(counts) is counts
    upkeep.observe(views(0.8, 600, 100))
    assert upkeep.told([], pa.table({}), 700)["events"][0]["kind"] == "drift"
    anew = upkeep.served(counts)
    assert not anew.reached.any() and eqx.tree_equal(anew.prior, counts.prior)
    assert upkeep.served(counts) is counts


LOOKS = pa.table({name: np.arange(0.0, 900.0, 10.0) for name in ("slot", "twins", "truth")})


@pytest.mark.parametrize(
    ("events", "answered"),
    [
        ([("drift", 310, 0, ""), ("promoted", 400, 1, "better")], 100.0),
        ([("refresh", 290, 0, ""), ("promoted", 400, 1, "better")], None),
        ([("drift", 310, 0, ""), ("promoted", 400, 1, DRILL)], None),
        ([("drift", 310, 0, ""), ("promoted", 400, 1, "better"), ("rolled back", 420, 1, "worse")], None),
    ],
)
def test_only_a_version_of_new_data_that_stays_answers_a_drift(events, answered):
    told = [dict(zip(("kind", "slot", "version", "reason"), event, strict=True)) for event in events]
    drift = Drift(at=300.0, change="exchange")
    assert fate_of(drift, [drift], LOOKS, told, 1.0)["answered_after_s"] == answered
