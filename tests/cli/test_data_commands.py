import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from twinloop.cli.data import app
from twinloop.cli.evaluate import app as evaluate_app
from twinloop.datasets import CATALOGUE, read_figures
from twinloop.errors import DataError, OutputError

sys.path.insert(0, str(Path(__file__).parent.parent / "datasets"))

from set_samples import every_set, write

WIDE = {"COLUMNS": "200"}


def run(*arguments: object, group=app):
    return CliRunner(env=WIDE).invoke(group, [str(argument) for argument in arguments])


def test_the_list_names_every_set_its_licence_and_how_to_get_it() -> None:
    result = run("list")
    assert result.exit_code == 0
    for data_set in CATALOGUE:
        assert data_set.name in result.output
    assert "CC BY-SA 4.0" in result.output and "by hand" in result.output
    assert "NSDI 2023" in run("list", "--cite").output


def test_a_whole_folder_is_ok_but_for_files_that_are_not_the_published_ones(tmp_path: Path) -> None:
    result = run("check", every_set(tmp_path))
    assert result.output.count("ok") >= 11
    assert isinstance(result.exception, DataError) and "3 faulty files" in str(result.exception)
    assert "SHA-256 differs" in result.output


def test_check_names_every_fault_and_goes_on(tmp_path: Path) -> None:
    write(tmp_path / "oboe/oboe_trace_1.txt", "0 1\n1 oops\n")
    write(tmp_path / "oboe/oboe_trace_2.txt", "0 1\n1 2\n")
    result = run("check", tmp_path)
    assert "oboe_trace_1.txt, line 2, column 2: found 'oops'" in result.output
    assert "absent" in result.output and "1 faulty" in result.output
    assert "1 faulty file" in str(result.exception)


def test_check_of_a_folder_without_any_set_is_an_error(tmp_path: Path) -> None:
    assert "none of the data sets is here" in str(run("check", tmp_path).exception)
    assert "no such folder" in str(run("check", tmp_path / "nowhere").exception)


def test_a_set_without_hash_prints_where_it_is_and_its_layout(tmp_path: Path) -> None:
    result = run("get", "kaist_walks", "--data", tmp_path)
    assert result.exit_code == 0
    assert "CRAWDAD" in result.output and "KAIST_30sec_NNN" in result.output


def test_an_unknown_set_suggests_near_ones() -> None:
    assert "dashlet_turk" in str(run("get", "dashlet").exception)


def test_a_fit_of_a_folder_that_lacks_sets_names_the_first(tmp_path: Path) -> None:
    assert isinstance(run("fit", "--data", tmp_path).exception, DataError)


@pytest.mark.data
def test_a_fit_is_written_to_a_file_that_can_be_read_back(data_dir: Path, tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    assert run("fit", "--data", data_dir, "--out", out).exit_code == 0
    assert read_figures(out).version == 1
    result = run("fit", "--data", data_dir, "--out", tmp_path / "no" / "folder.json")
    assert isinstance(result.exception, OutputError)


@pytest.mark.data
def test_an_evaluation_prints_its_table_and_writes_figures_and_json(data_dir: Path, tmp_path: Path) -> None:
    arguments = ("mobility", "--data", data_dir, "--out", tmp_path / "out", "--json", tmp_path / "m.json", "--seed", 0)
    result = run(*arguments, group=evaluate_app)
    assert result.exit_code == 0 and "flight length above 50 m" in result.output and "random waypoint" in result.output
    assert (tmp_path / "m.json").read_text().startswith("{") and len(list((tmp_path / "out").glob("*.png"))) == 2


def test_an_evaluation_without_data_is_an_error_to_read(tmp_path: Path) -> None:
    assert isinstance(run("swipe", "--data", tmp_path, group=evaluate_app).exception, DataError)
