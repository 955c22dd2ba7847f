import zipfile
from pathlib import Path

import numpy as np
import pytest
from set_samples import IRISH_HEADER, irish, irish_row, sutd, write

from twinloop.datasets import load_irish5g, load_sutd5g, on_grid


def test_sentinels_and_dashes_are_missing_and_rates_are_kbit(tmp_path: Path) -> None:
    irish(tmp_path)
    (trace,) = load_irish5g(tmp_path).items
    assert (trace.application, trace.motion, trace.content) == ("Download", "Driving", "")
    np.testing.assert_array_equal(np.isnan(trace.rsrp_dbm), [False, False, True, False])
    np.testing.assert_array_equal(np.isnan(trace.sinr_db), [False, False, True, False])
    np.testing.assert_allclose(trace.rate_bps, [8e6, 4e6, 8e6, 8e6])
    np.testing.assert_allclose(trace.speed_mps, 10.0)
    np.testing.assert_array_equal(trace.cell, [0, 0, 0, 1])
    np.testing.assert_array_equal(trace.time_s, [0, 0, 1, 4])


def test_only_downloads_show_link_capacity(tmp_path: Path) -> None:
    irish(tmp_path)
    every = {trace.application: trace for trace in load_irish5g(tmp_path, None).items}
    assert every["Download"].shows_capacity and not every["Netflix"].shows_capacity
    assert every["Netflix"].content == "Show"
    assert [trace.application for trace in load_irish5g(tmp_path, "Netflix").items] == ["Netflix"]


def test_a_grid_averages_duplicates_holds_gaps_and_knows_no_nan(tmp_path: Path) -> None:
    irish(tmp_path)
    grid = on_grid(load_irish5g(tmp_path).items[0], step_s=1.0, longest_hold_s=1.0)
    np.testing.assert_allclose(grid.rate_bps, [6e6, 8e6, 8e6, 0.0, 8e6])
    np.testing.assert_array_equal(grid.measured, [True, True, False, False, True])
    np.testing.assert_array_equal(grid.outage, [False, False, False, True, False])
    np.testing.assert_allclose(grid.rsrp_dbm, -99.0)
    np.testing.assert_array_equal(grid.cell, [0, 0, 0, 0, 1])
    assert np.isfinite(grid.sinr_db).all()


def test_a_trace_without_any_radio_value_gets_the_floor(tmp_path: Path) -> None:
    irish(tmp_path, {"Download/Static/B.csv": [irish_row(1, "-200", "-"), irish_row(2, "-200", "-")]})
    grid = on_grid(load_irish5g(tmp_path).items[0])
    np.testing.assert_allclose(grid.rsrp_dbm, -140.0)
    np.testing.assert_allclose(grid.sinr_db, -20.0)


def test_a_clock_that_steps_back_by_a_second_is_sorted_and_by_a_minute_is_a_fault(tmp_path: Path) -> None:
    irish(tmp_path, {"Download/Static/B.csv": [irish_row(9), irish_row(8, rate="1000"), irish_row(10)]})
    (trace,) = load_irish5g(tmp_path).items
    np.testing.assert_allclose(trace.rate_bps, [1e6, 8e6, 8e6])
    irish(tmp_path, {"Download/Static/B.csv": [irish_row(50), irish_row(8)]})
    (fault,) = load_irish5g(tmp_path).faults
    assert (fault.line, fault.column) == (3, 1) and "backwards by 42 s" in str(fault)


def test_a_bad_member_is_named_inside_its_archive_and_others_load(tmp_path: Path) -> None:
    rows = {"Download/Static/A.csv": [irish_row(1), irish_row(2)], "Download/Static/B.csv": [irish_row(1, rate="nan")]}
    archive = irish(tmp_path, rows)
    loaded = load_irish5g(tmp_path)
    assert len(loaded.items) == 1
    assert loaded.faults[0].path == archive / "5G-production-dataset/Download/Static/B.csv"
    assert (loaded.faults[0].line, loaded.faults[0].column) == (2, 13)


@pytest.mark.parametrize("damage", ["cut", "garbage", "member"])
def test_a_damaged_archive_is_a_fault_and_loose_files_beside_it_load(tmp_path: Path, damage: str) -> None:
    archive = irish(tmp_path)
    whole = archive.read_bytes()
    if damage == "member":
        with zipfile.ZipFile(archive) as opened:
            at = opened.infolist()[0].header_offset
        archive.write_bytes(whole[: at + 120] + b"\x00" * 40 + whole[at + 160 :])
    else:
        archive.write_bytes(whole[: len(whole) // 2] if damage == "cut" else b"no zip file")
    write(tmp_path / "irish5g/Download/Static/B_9.csv", "\n".join([IRISH_HEADER, irish_row(1), irish_row(2)]))
    loaded = load_irish5g(tmp_path)
    assert [trace.motion for trace in loaded.items] == ["Static"]
    assert len(loaded.faults) == 1 and "irish5g.zip" in str(loaded.faults[0])


def test_campus_rates_are_bits_and_held_ones_are_marked(tmp_path: Path) -> None:
    sutd(tmp_path)
    one, all_on = load_sutd5g(tmp_path).items
    assert not one.all_units_on and all_on.all_units_on
    assert one.rate_bps.max() > 1e8
    np.testing.assert_array_equal(one.held[:3], [False, True, False])
    np.testing.assert_array_equal(one.anomaly[:3], [False, True, False])
    assert np.isnan(one.sinr_db[3]) and np.isnan(one.mcs[3]) and np.isnan(one.prbs[3])


def test_a_wrong_time_stamp_is_named(tmp_path: Path) -> None:
    path = sutd(tmp_path) / "Lvl6_1RRUOn_Anomaly_label.csv"
    path.write_text(path.read_text().replace("2022-10-06 11:44:05.250", "06/10/2022 11:44"))
    loaded = load_sutd5g(tmp_path)
    assert len(loaded.items) == 1
    assert (loaded.faults[0].line, loaded.faults[0].column) == (7, 1)
