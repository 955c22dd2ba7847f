from pathlib import Path

import numpy as np
import pytest
from set_samples import edge, lte, throughput, tractor, tractor_row

from twinloop.datasets import load_cell_traffic, load_edge_load, load_norway, load_oboe, load_tractor


def test_throughput_traces_name_their_vehicle_and_are_mbit(tmp_path: Path) -> None:
    throughput(tmp_path)
    (bus,), (oboe,) = load_norway(tmp_path).items, load_oboe(tmp_path).items
    assert (bus.group, oboe.group) == ("bus", "oboe")
    np.testing.assert_allclose(bus.rate_bps, [4.03e6, 4.79e6, 0.3e6])
    np.testing.assert_allclose(oboe.time_s, [0.222, 3.6])


def test_key_figures_skip_the_five_empty_columns_and_mark_idle_gaps(tmp_path: Path) -> None:
    tractor(tmp_path)
    (trace,) = load_tractor(tmp_path).items
    assert (trace.traffic_class, trace.capture) == ("embb", "03_03a")
    np.testing.assert_allclose(trace.rate_bps, [0, 2.5e6, 0])
    np.testing.assert_allclose(trace.time_s, [0, 0.25, 1.25])
    np.testing.assert_array_equal(trace.gap, [False, True])
    np.testing.assert_allclose((trace.buffer_bytes[0], trace.requested_prbs[0], trace.granted_prbs[0]), (300, 4, 2))
    assert trace.epoch_ms[0] == 1_700_171_855_347


def test_another_number_of_separators_is_a_fault(tmp_path: Path) -> None:
    path = tractor(tmp_path)
    path.write_text(path.read_text().replace("RNTI,,", "RNTI,extra,"))
    (fault,) = load_tractor(tmp_path).faults
    assert fault.line == 1 and "4 of them empty" in str(fault)


def test_a_traffic_class_that_is_none_is_a_fault(tmp_path: Path) -> None:
    path = tractor(tmp_path)
    path.rename(path.with_name("voice_1.csv"))
    assert "voice" in str(load_tractor(tmp_path).faults[0])


def test_a_cut_row_of_key_figures_is_named(tmp_path: Path) -> None:
    path = tractor(tmp_path)
    path.write_text(path.read_text() + tractor_row(1_700_171_860_000, 1.0)[:60])
    (fault,) = load_tractor(tmp_path).faults
    assert fault.line == 5


def test_hours_missing_from_cell_traffic_are_counted(tmp_path: Path) -> None:
    lte(tmp_path)
    (cell,) = load_cell_traffic(tmp_path).items
    assert (cell.cell, cell.part, cell.gaps, cell.missing_hours) == ("Cell_000113", "train", 1, 3)
    np.testing.assert_allclose(cell.traffic_bytes, [59e6, 40.5e6, 1e6])
    np.testing.assert_array_equal(np.diff(cell.epoch_s), [3600, 4 * 3600])


@pytest.mark.parametrize("stamp", ["23/10/2017 1:00", "10/23/2017", "10/23/2017 0:00"])
def test_a_wrong_hour_is_named(tmp_path: Path, stamp: str) -> None:
    path = lte(tmp_path)
    path.write_text(path.read_text().replace("10/23/2017 1:00", stamp))
    (fault,) = load_cell_traffic(tmp_path).faults
    assert (fault.line, fault.column) == (3, 1)


def test_the_cluster_has_no_time_stamps_but_300_s_a_row(tmp_path: Path) -> None:
    edge(tmp_path)
    (load,) = load_edge_load(tmp_path).items
    np.testing.assert_allclose(load.time_s, [0, 300])
    np.testing.assert_allclose(load.cpu_ratio, [0.161, 0.184])
    np.testing.assert_allclose(load.disk_ratio, [0.04, 0.041])
