from pathlib import Path

import pytest
from set_samples import every_set, write

from twinloop.datasets import CATALOGUE, check, find_set
from twinloop.errors import DataError


def test_every_set_says_what_it_is_where_it_is_and_who_to_cite() -> None:
    assert len(CATALOGUE) == 13
    for data_set in CATALOGUE:
        assert data_set.title and data_set.source and data_set.citation and data_set.licence
        assert data_set.layout.startswith(data_set.name + "/")
        assert data_set.source in data_set.where and data_set.layout in data_set.where
        for remote in data_set.files:
            assert remote.url.startswith("https://") and remote.url.endswith(Path(remote.path).name)
            assert len(remote.sha256) == 64 and set(remote.sha256) <= set("0123456789abcdef")


def test_an_unknown_name_suggests_near_ones() -> None:
    assert find_set("oboe").name == "oboe"
    with pytest.raises(DataError, match=r"kaist_walks"):
        find_set("kaist")


def test_check_counts_what_is_there(tmp_path: Path) -> None:
    reports = {report.name: report for report in check(every_set(tmp_path))}
    assert all(report.present and not report.faults for report in reports.values())
    assert (reports["kaist_walks"].files, reports["kaist_walks"].items) == (3, 3)
    assert (reports["svs_challenge"].files, reports["svs_challenge"].items) == (6, 4)
    assert reports["waterloo4"].rows == 32 + 29
    assert reports["irish5g"].items == 2


def test_check_goes_on_past_absent_empty_and_faulty_sets(tmp_path: Path) -> None:
    every_set(tmp_path)
    write(tmp_path / "oboe/oboe_trace_2.txt", "0 1\n1 bad\n")
    (tmp_path / "edge_load/alibaba2018_300s.csv").unlink()
    for path in (tmp_path / "dashlet_turk").iterdir():
        path.unlink()
    (tmp_path / "dashlet_turk").rmdir()
    reports = {report.name: report for report in check(tmp_path)}
    assert not reports["dashlet_turk"].present
    assert reports["edge_load"].present and len(reports["edge_load"].faults) == 1
    assert reports["oboe"].items == 1 and reports["oboe"].faults[0].line == 2
    assert not reports["norway_hsdpa"].faults


def test_check_tells_a_file_that_is_not_the_published_one(tmp_path: Path) -> None:
    reports = {report.name: report for report in check(every_set(tmp_path))}
    assert "Cell_000113/train_Cell000113.csv" in reports["lte_cell_hourly"].bad_hash


def test_check_refuses_what_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no such folder"):
        check(tmp_path / "nowhere")
