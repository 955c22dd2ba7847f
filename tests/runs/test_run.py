"""A run: repeatable by its seed, complete in its directory, interrupted and resumed without a trace of it."""

import json
import os
import shutil
import signal
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow.parquet as pq
import pytest

from twinloop import reporting, runs, scenario
from twinloop.entities import USER_ATTRIBUTES
from twinloop.errors import OutputError, ScenarioError
from twinloop.scenario.models import Event

COMPILED = "/jax/core/compile/backend_compile_duration"
TIMED = {"wall_s", "compile_s", "user_slots_per_s", "pace"}
PROMISED = {
    *("scenario", "seed", "slots", "users", "mean_rate_bps", "satisfaction", "rebuffer_ratio", "mean_quality"),
    *(
        "wasted_ratio",
        "resource_use",
        "load_factor",
        "fidelity",
        "coverage",
        "mean_age_s",
        "collected_bits",
        "decisions",
    ),
    *("wall_s", "user_slots_per_s"),
}
COLUMNS = {
    "users": "slot user slice cell x_m y_m rate_bps needed_bps delivered_bps satisfaction delay_s jitter_s loss_ratio "
    "buffer_s version quality quality_change rebuffer_s swipes wasted_bits delivered_bits sinr_db last_watch_s "
    "last_class",
    "cells": "slot cell load used_bandwidth_hz overhead_bandwidth_hz throughput_bps users power_w",
    "servers": "slot server utilisation queue_cycles cache_hit_ratio power_w",
    "slices": "slot slice users reserved_bandwidth_hz used_bandwidth_hz reserved_cycles_per_s reserved_cache_bytes "
    "demand_bandwidth_hz demand_cycles_per_s satisfaction",
    "twins": "slot attribute mean_age_s fidelity compared covered",
    "forecasts": "slot user attribute emulated std truth",
    "collection": "slot users_bits cells_bits servers_bits periodic_bits discriminator shed reports late duplicates",
    "requests": "slot slice attribute period_s bits alarm error importance shift",
    "decisions": "slot scale proposals winner code reason objective_proposed objective_standing "
    "reservation_value reservation_bound effect",
    "views": "slot video_class second factor twins truth",
    "looks": "slot version twins model first_model truth",
}


def columns(path: Path) -> dict[str, np.ndarray]:
    table = pq.read_table(path)
    return {name: table[name].to_numpy() for name in table.column_names}


def untimed(summary: dict) -> dict:
    """A summary without what depends on the machine."""
    return {name: value for name, value in summary.items() if name not in TIMED}


def interrupt_after(slots: int):
    """A progress that presses Ctrl-C once, when so many slots are done."""

    def advance(done: int, total: int) -> None:
        if done == slots:
            os.kill(os.getpid(), signal.SIGINT)

    return advance


@pytest.fixture(scope="module")
def again(tiny, programs):
    """`tiny` once more, kept in memory."""
    return runs.run(tiny)


@pytest.fixture(scope="module")
def interrupted(tiny, programs, tmp_path_factory):
    """`tiny` stopped by Ctrl-C halfway; read it only."""
    target = tmp_path_factory.mktemp("half") / "run"
    return runs.run(tiny, out=target, progress=interrupt_after(60))


@pytest.fixture
def halfway(interrupted, tmp_path) -> Path:
    """A copy of the interrupted run's directory."""
    return Path(shutil.copytree(interrupted.directory, tmp_path / "run"))


def test_one_seed_gives_one_run(tiny_run, again):
    assert untimed(again.summary) == untimed(tiny_run.summary)
    rows = pq.read_table(tiny_run.directory / "users.parquet")
    slot, user = rows["slot"].to_numpy(), rows["user"].to_numpy()
    for name in ("rate_bps", "x_m", "buffer_s", "sinr_db"):
        np.testing.assert_array_equal(rows[name].to_numpy(), again.arrays[name][slot, user])


def test_another_seed_gives_another_run(tiny, again, programs):
    other = runs.run(tiny, seed=tiny.seed + 1, duration_s=60.0)
    assert other.summary["seed"] == tiny.seed + 1
    assert other.summary["slots"] == 60
    for name in ("rate_bps", "x_m", "sinr_db"):
        assert np.mean(other.arrays[name] != again.arrays[name][:60]) > 0.5, name


def test_a_longer_run_begins_as_the_shorter_one(tiny, again, programs):
    shorter = runs.run(tiny, duration_s=60.0)
    for name, values in shorter.arrays.items():
        np.testing.assert_array_equal(values, again.arrays[name][:60], err_msg=name)


def test_the_summary_holds_what_is_promised(tiny, tiny_run):
    saved = json.loads((tiny_run.directory / "summary.json").read_text())
    assert saved == tiny_run.summary
    assert saved.keys() >= PROMISED
    assert set(saved["decisions"]) == {"proposed", "approved", "refused", "rolled_back"}
    assert (saved["slots"], saved["users"], saved["seed"]) == (120, tiny.user_count, tiny.seed)
    for name in ("satisfaction", "rebuffer_ratio", "mean_quality", "wasted_ratio", "resource_use", "fidelity"):
        assert 0.0 <= saved[name] <= 1.0, name
    for name in ("mean_rate_bps", "load_factor", "mean_age_s", "collected_bits", "wall_s", "user_slots_per_s"):
        assert saved[name] > 0.0, name
    assert saved["satisfaction"] <= saved["satisfaction_bound"] + 1e-6


def test_every_decision_is_approved_or_refused_and_in_the_table(tiny_run):
    told = tiny_run.summary["decisions"]
    assert told["proposed"] == told["approved"] + told["refused"]
    rows = pq.read_table(tiny_run.directory / "decisions.parquet").to_pylist()
    assert len(rows) == told["proposed"] == 121
    assert sum(row["winner"] == "standing" for row in rows) == told["refused"]
    assert [row["slot"] for row in rows if row["scale"] == "window"] == [60]
    assert sum(row["effect"] == "rolled_back" for row in rows) == told["rolled_back"]
    assert all(row["reason"] for row in rows)


@pytest.mark.parametrize("table", COLUMNS)
def test_a_table_has_its_columns_and_every_slot(table, tiny_run):
    rows = pq.read_table(tiny_run.directory / f"{table}.parquet")
    assert set(rows.column_names) == set(COLUMNS[table].split())
    slots = rows["slot"].to_numpy()
    if table not in ("views", "looks"):
        assert set(slots) == set(range(0, 120, 10 if table == "requests" else 1))
    assert np.all(np.diff(slots) >= 0)


def test_the_tables_agree_with_the_summary(tiny_run):
    users = columns(tiny_run.directory / "users.parquet")
    summary = tiny_run.summary
    assert len(users["user"]) == 120 * summary["users"]
    by_user = [np.nanmean(users["satisfaction"][users["user"] == user]) for user in np.unique(users["user"])]
    assert np.mean(by_user) == pytest.approx(summary["satisfaction"], rel=1e-5)
    assert users["delivered_bps"].mean() == pytest.approx(summary["mean_rate_bps"], rel=1e-5)
    wasted = users["wasted_bits"].sum(dtype=np.float64) / users["delivered_bits"].sum(dtype=np.float64)
    assert wasted == pytest.approx(summary["wasted_ratio"], rel=1e-5)
    twins = columns(tiny_run.directory / "twins.parquet")
    assert np.all((twins["fidelity"] >= 0.0) & (twins["fidelity"] <= 1.0))
    names = [entry.name for entry in USER_ATTRIBUTES if entry.method == "periodic"]
    periodic = np.isin(twins["attribute"].astype(str), names)
    for name in ("fidelity", "mean_age_s"):
        assert twins[name][periodic].mean(dtype=np.float64) == pytest.approx(summary[name], rel=1e-5)
    levels = np.isin(twins["attribute"].astype(str), [entry.name for entry in USER_ATTRIBUTES if entry.kind == "level"])
    held = twins["covered"][levels].sum() / twins["compared"][levels].sum()
    assert held == pytest.approx(summary["coverage"], rel=1e-6)
    collected = columns(tiny_run.directory / "collection.parquet")
    bits = sum(collected[f"{kind}_bits"].sum(dtype=np.float64) for kind in ("users", "cells", "servers"))
    assert bits == pytest.approx(summary["collected_bits"])
    assert collected["users_bits"].sum(dtype=np.float64) == pytest.approx(summary["user_report_bits"])
    assert collected["periodic_bits"].sum(dtype=np.float64) == pytest.approx(summary["periodic_report_bits"])


def test_attributes_climb_the_ladder_and_users_cost_less_than_at_fixed_periods(tiny, tiny_run):
    rows = columns(tiny_run.directory / "requests.parquet")
    assert set(rows["period_s"]) <= set(map(float, tiny.collection.ladder_slots))
    assert len(rows["slot"]) == 12 * 3 * len(USER_ATTRIBUTES)
    climbed = rows["period_s"][rows["slot"] == 110]
    assert rows["period_s"][rows["slot"] == 0].max() == 1.0 < np.median(climbed)
    assert np.all((rows["error"] >= 0) & (rows["error"] <= 1))
    collected = columns(tiny_run.directory / "collection.parquet")
    late = collected["slot"] >= 40
    assert collected["users_bits"][late].sum() < 0.85 * collected["periodic_bits"][late].sum()
    assert 0.5 < tiny_run.summary["true_fidelity"] < 1.0


def test_forecasts_of_a_few_users_stand_beside_what_came(tiny_run):
    rows = columns(tiny_run.directory / "forecasts.parquet")
    users = columns(tiny_run.directory / "users.parquet")
    assert len(np.unique(rows["user"])) == 4
    of_one = (rows["user"] == 0) & (rows["attribute"].astype(str) == "rate_bps")
    np.testing.assert_array_equal(rows["truth"][of_one], users["rate_bps"][users["user"] == 0])
    settled = of_one & (rows["slot"] > 10)
    miss = np.abs(rows["truth"] - rows["emulated"])[settled]
    assert np.all(rows["std"][settled] > 0)
    assert 0.6 < np.mean(miss < 1.6449 * rows["std"][settled]) <= 1.0
    assert miss.mean() < np.abs(rows["truth"][settled] - rows["truth"][settled].mean()).mean() * 1.5


def test_a_window_says_how_good_its_reservation_is(tiny_run):
    rows = columns(tiny_run.directory / "decisions.parquet")
    window = rows["scale"] == "window"
    value, bound = rows["reservation_value"], rows["reservation_bound"]
    assert np.all(np.isnan(value[~window]) & np.isnan(bound[~window]))
    assert np.all((value[window] > 0) & (value[window] <= bound[window] * (1 + 1e-4)))


def test_the_directory_tells_how_the_run_was_made(tiny, tiny_run):
    kept = {path.name for path in tiny_run.directory.iterdir()}
    assert {f"{table}.parquet" for table in COLUMNS} | {"summary.json", "scenario.yaml", "command.json"} <= kept
    assert not kept & {"parts", "state.eqx", "progress.json", "run.lock"}
    assert scenario.load(str(tiny_run.directory / "scenario.yaml")) == tiny
    assert json.loads((tiny_run.directory / "command.json").read_text())["command"] == "twinloop run tiny"


def test_a_report_with_figures_is_made_of_a_run(tiny_run, tmp_path):
    target = Path(shutil.copytree(tiny_run.directory, tmp_path / "run"))
    page = reporting.write_report(target)
    assert page == target / "report.html"
    assert "tiny" in page.read_text()
    figures = list((target / "figures").glob("*.png"))
    assert len(figures) >= 5
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in figures)


def test_ctrl_c_leaves_partial_results(interrupted):
    assert interrupted.interrupted
    summary = json.loads((interrupted.directory / "summary.json").read_text())
    assert (summary["slots"], summary["planned_slots"], summary["interrupted"]) == (60, 120, True)
    assert set(pq.read_table(interrupted.directory / "users.parquet")["slot"].to_pylist()) == set(range(60))
    assert not (interrupted.directory / "run.lock").exists()


def test_a_resumed_run_ends_as_the_unbroken_one(tiny, tiny_run, halfway, programs):
    late = halfway / "parts" / "users" / "000001.parquet"
    shutil.copy(halfway / "parts" / "users" / "000000.parquet", late)
    result = runs.run(tiny, out=halfway, resume=True)
    assert not result.interrupted
    assert untimed(result.summary) == untimed(tiny_run.summary)
    assert result.summary["wall_s"] > 0
    for table in COLUMNS:
        ours, theirs = (pq.read_table(place / f"{table}.parquet") for place in (halfway, tiny_run.directory))
        assert ours.column_names == theirs.column_names
        for name in ours.column_names:
            np.testing.assert_array_equal(ours[name].to_numpy(), theirs[name].to_numpy(), err_msg=f"{table}.{name}")
    assert not (halfway / "parts").exists()


def test_an_interrupted_run_is_not_overwritten_or_mixed(tiny, halfway):
    before = {path: path.read_bytes() for path in halfway.rglob("*") if path.is_file()}
    with pytest.raises(OutputError, match="go on with --resume"):
        runs.run(tiny, out=halfway)
    with pytest.raises(OutputError, match="another scenario, seed or duration"):
        runs.run(tiny, out=halfway, seed=77, resume=True)
    assert {path: path.read_bytes() for path in halfway.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("left", [0, 1000])
def test_a_truncated_checkpoint_is_told(left, tiny, halfway):
    checkpoint = halfway / "state.eqx"
    checkpoint.write_bytes(checkpoint.read_bytes()[:left])
    with pytest.raises(OutputError, match=r"checkpoint .* cannot be read"):
        runs.run(tiny, out=halfway, resume=True)


def test_a_checkpoint_of_another_version_is_told(tiny, halfway):
    checkpoint = halfway / "state.eqx"
    head, _, rest = checkpoint.read_bytes().partition(b"\n")
    sums = json.loads(head)
    del sums["orders"]
    checkpoint.write_bytes(json.dumps(sums).encode() + b"\n" + rest)
    with pytest.raises(OutputError, match="lacks 'orders': another version"):
        runs.run(tiny, out=halfway, resume=True)


def test_a_finished_run_is_not_overwritten(tiny, tiny_run):
    before = {path.name: path.stat().st_mtime_ns for path in tiny_run.directory.iterdir()}
    for resume, words in ((False, "is not empty"), (True, "no interrupted run")):
        with pytest.raises(OutputError, match=words):
            runs.run(tiny, out=tiny_run.directory, resume=resume)
    assert {path.name: path.stat().st_mtime_ns for path in tiny_run.directory.iterdir()} == before


def test_people_come_and_go_without_a_new_compilation(tiny, programs):
    busy = tiny.viewing.model_copy(update={"session_on_p": 0.1, "session_off_p": 0.05})
    compiled: list[str] = []
    living = False

    def count(event: str, duration: float, **_: object) -> None:
        if living and event == COMPILED:
            compiled.append(event)

    def live(done: int, total: int) -> None:
        nonlocal living
        living = done == 120

    jax.monitoring.register_event_duration_secs_listener(count)
    try:
        result = runs.run(tiny.model_copy(update={"viewing": busy, "duration": 240.0}), progress=live)
    finally:
        jax.monitoring.unregister_event_duration_listener(count)
    present = result.arrays["active"].sum(axis=1)
    assert len(np.unique(present[120:180])) > 3
    assert not compiled


def test_a_new_compilation_would_be_counted():
    compiled: list[str] = []

    def count(event: str, duration: float, **_: object) -> None:
        compiled.append(event)

    jax.monitoring.register_event_duration_secs_listener(count)
    try:
        jax.jit(lambda x: 3.25 * x)(jnp.ones(17))
    finally:
        jax.monitoring.unregister_event_duration_listener(count)
    assert COMPILED in compiled


def test_an_ended_slice_leaves_the_tables_and_the_others_stay(tiny, programs, tmp_path):
    ending = tiny.model_copy(update={"events": [Event(at=60.0, change="end", slice="standard")]})
    runs.run(ending, out=tmp_path / "run")
    rows = columns(tmp_path / "run" / "slices.parquet")
    assert set(rows["slice"][rows["slot"] < 60]) == {0, 1, 2}
    assert set(rows["slice"][rows["slot"] >= 66]) == {0, 2}


def test_a_slice_created_again_is_served_at_once(tiny, programs, tmp_path):
    events = [Event(at=60.0, change="end", slice="standard"), Event(at=120.0, change="create", slice="standard")]
    runs.run(tiny.model_copy(update={"events": events}), duration_s=180.0, out=tmp_path / "run")
    rows = columns(tmp_path / "run" / "slices.parquet")
    of = {when: rows["satisfaction"][(rows["slice"] == 1) & (rows["slot"] // 60 == when)] for when in (0, 1, 2)}
    assert np.mean(of[2]) > 0.5
    decisions = columns(tmp_path / "run" / "decisions.parquet")
    assert set(decisions["slot"][decisions["scale"] == "window"]) == {60, 120}
    assert np.mean(decisions["code"][decisions["slot"] >= 125] == 3) == 0.0


def test_an_event_that_does_not_fit_is_told_before_anything_is_written(tiny, tmp_path):
    events = [Event(at=60.0, change="end", slice="standard"), Event(at=120.0, change="adjust", slice="standard")]
    with pytest.raises(ScenarioError, match="event at 120 s"):
        runs.run(tiny.model_copy(update={"events": events}), duration_s=180.0, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
