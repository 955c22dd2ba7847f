"""A run by digital agents: users' demand foretold and kept, the game played, interrupted and resumed exactly."""

import json
import os
import re
import signal

import numpy as np
import pyarrow.parquet as pq
import pytest

from twinloop import reporting, runs, scenario
from twinloop.decision import BINDING

MINUTES = 5
STOPPED = 180
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def described():
    shipped = scenario.load("da-qoe")
    judge = shipped.twin.judge.model_copy(update={"samples": 2, "slot_horizon": 2, "window_horizon": 3})
    policy = shipped.policy.model_copy(
        update={"reservation": "agents", "allocation": "groups", "objective": "experience", "windows": "adaptive"}
    )
    changes = {
        "duration": 60.0 * MINUTES,
        "users": [population.model_copy(update={"count": 2}) for population in shipped.users],
        "twin": shipped.twin.model_copy(update={"judge": judge}),
        "policy": policy,
    }
    return shipped.model_copy(update=changes)


@pytest.fixture(scope="module")
def lived(described, programs, tmp_path_factory):
    return runs.run(described, out=tmp_path_factory.mktemp("agents") / "run", command="twinloop run da-qoe")


def _columns(path):
    table = pq.read_table(path)
    return {name: table[name].to_numpy(zero_copy_only=False) for name in table.column_names}


def test_every_decision_foretells_what_each_user_needs(lived):
    needs, decided = (_columns(lived.directory / f"{name}.parquet") for name in ("needs", "decisions"))
    windows = decided["slot"][decided["scale"] == "window"]
    at, users = np.unique(needs["slot"], return_counts=True)
    assert set(at) == set(windows) and len(windows) >= 1
    assert users.max() <= 6
    assert set(needs["binding"]) <= set(BINDING)
    np.testing.assert_array_equal(needs["feasible"], needs["binding"] == "none")
    assert (needs["bandwidth_hz"] >= 0).all() and (needs["low"] <= needs["high"] + 1e-4).all()


def test_the_game_is_at_an_equilibrium_and_bands_are_in_order(lived):
    foreseen = _columns(lived.directory / "foreseen.parquet")
    assert (foreseen["game_gap"] < 1e-3).all()
    assert ((foreseen["game_level"] >= 0) & (foreseen["game_level"] <= 1)).all()
    assert (foreseen["bandwidth_hz_p05"] <= foreseen["bandwidth_hz_p95"]).all()
    assert foreseen["bandwidth_hz_p95"].sum() > 0


def test_the_report_says_what_users_need(lived):
    page = reporting.write_report(lived.directory).read_text()
    words = re.sub(r"<[^>]+>", " ", page)
    assert "What users need" in words and "found a mix that keeps it" in words
    assert "Demand by slice at the last decision" in words
    for name in ("demand_foreseen", "demand_binding"):
        assert (lived.directory / "figures" / f"{name}.png").exists()


def test_a_resumed_run_of_agents_equals_an_unbroken_one(described, lived, tmp_path):
    def stop(done: int, total: int) -> None:
        if done == STOPPED:
            os.kill(os.getpid(), signal.SIGINT)

    target = tmp_path / "run"
    assert runs.run(described, out=target, progress=stop).interrupted
    assert runs.run(described, out=target, resume=True).summary["slots"] == 60 * MINUTES
    for table in ("users", "needs", "experience", "slices"):
        left, right = (_columns(folder / f"{table}.parquet") for folder in (lived.directory, target))
        for name in left:
            np.testing.assert_array_equal(left[name], right[name], err_msg=f"{table} {name}")
    assert json.loads((target / "summary.json").read_text())["ela"] == lived.summary["ela"]
