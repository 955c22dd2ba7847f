"""The traps of the public sets, in the sets themselves."""

from pathlib import Path

import numpy as np
import pytest

from twinloop.datasets import (
    RATERS,
    check,
    fit_figures,
    load_cell_traffic,
    load_chunk_sizes,
    load_irish5g,
    load_leave_distributions,
    load_opinions,
    load_retention,
    load_sutd5g,
    load_svs_throughput,
    load_tractor,
    load_viewing_log,
    load_walks,
    on_grid,
    score_matrix,
    shipped_figures,
)

pytestmark = pytest.mark.data


def test_every_set_is_whole(data_dir: Path) -> None:
    reports = {report.name: report for report in check(data_dir)}
    for report in reports.values():
        assert report.present and report.items and not report.faults and not report.bad_hash, report.name
    assert (reports["irish5g"].items, reports["kaist_walks"].items, reports["waterloo4"].items) == (73, 60, 900)


def test_short_videos(data_dir: Path) -> None:
    retention = load_retention(data_dir).required()
    sizes = {video.name: video for video in load_chunk_sizes(data_dir).required()}
    assert len(retention) == 7
    for video in retention:
        assert video.leave_probability.sum() + video.end_share == pytest.approx(1)
        assert sizes[video.name].chunk_bits.shape == (3, video.length_s)
    rates = np.array([video.version_bps for video in sizes.values()]) / 1e3
    assert np.all((rates[:, 0] > 727) & (rates[:, 0] < 897) & (rates[:, 2] > 1818) & (rates[:, 2] < 2281))
    assert len(load_leave_distributions(data_dir).items) == 1288
    assert len(load_leave_distributions(data_dir, placeholders=True).items) == 1290


def test_challenge_traces_have_almost_no_structure_in_time(data_dir: Path) -> None:
    traces = load_svs_throughput(data_dir).required()
    assert min(trace.rate_bps.min() for trace in traces) == pytest.approx(0.2e6)
    lag = [np.corrcoef(trace.rate_bps[1:], trace.rate_bps[:-1])[0, 1] for trace in traces]
    assert 0.1 < np.median(lag) < 0.35


def test_views_have_images_and_replays(data_dir: Path) -> None:
    (log,) = load_viewing_log(data_dir).required()
    assert log.images_dropped > 0 and log.replayed.any() and (log.user_id % 2 == 0).all()
    assert (log.duration_s > 0).all()


def test_drive_tests(data_dir: Path) -> None:
    traces = load_irish5g(data_dir).required()
    assert len(traces) == 11 and all(trace.shows_capacity for trace in traces)
    for trace in traces:
        assert not np.any(trace.rsrp_dbm <= -150)
        grid = on_grid(trace)
        assert np.isfinite([grid.rate_bps, grid.sinr_db, grid.rsrp_dbm, grid.speed_mps]).all()
        assert 0.7 < grid.measured.mean() < 1
    assert 1e8 < max(trace.rate_bps.max() for trace in traces) < 1e9


def test_campus_walks_hold_their_rate_and_reach_these_shares_of_shannon(data_dir: Path) -> None:
    one, all_on = load_sutd5g(data_dir).required()
    assert np.mean(np.concatenate([one.held, all_on.held])) == pytest.approx(0.64, abs=0.03)
    for trace, share in ((one, 0.39), (all_on, 0.59)):
        rows = np.isfinite(trace.sinr_db) & (trace.rate_bps > 0)
        shannon = 46.08e6 * np.log2(1 + 10 ** (trace.sinr_db[rows] / 10))
        assert np.median(trace.rate_bps[rows] / shannon) == pytest.approx(share, abs=0.01)


def test_walks_stand_still_for_56_percent_of_their_steps_and_jump(data_dir: Path) -> None:
    walks = load_walks(data_dir).required()
    assert np.mean(np.concatenate([walk.stationary for walk in walks])) == pytest.approx(0.56, abs=0.01)
    assert sum(walk.jump.sum() for walk in walks) == 51
    assert {walk.step_s for walk in walks} == {30.0}


def test_opinions_form_a_matrix_and_mos_is_screened(data_dir: Path) -> None:
    sessions = load_opinions(data_dir).required()
    for device, raters in RATERS.items():
        assert score_matrix(sessions, device).shape == (raters, 300)
    off = np.array([session.mos - session.scores.mean() for session in sessions])
    assert np.abs(off).max() > 0.5 and np.abs(off).mean() < 3
    assert {session.trace for session in sessions} == {1, 2, 3, 4, 5, 6}


def test_traffic_is_bursty_and_has_gaps(data_dir: Path) -> None:
    traces = load_tractor(data_dir).required()
    zero = np.mean(np.concatenate([trace.rate_bps == 0 for trace in traces]))
    assert 0.5 < zero < 0.8 and any(trace.gap.any() for trace in traces)
    cells = load_cell_traffic(data_dir).required()
    assert all(16 <= cell.gaps <= 18 for cell in cells if cell.part == "train")


def test_the_shipped_figures_are_what_the_fit_makes_of_the_data(data_dir: Path) -> None:
    assert fit_figures(data_dir).to_json() == shipped_figures().to_json()
