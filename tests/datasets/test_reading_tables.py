from pathlib import Path

import numpy as np
import pytest
from set_samples import write

from twinloop.datasets import LeftOutWarning, load_edge_load, load_norway, load_sites, load_walks
from twinloop.datasets.reading import Column, bare_table, headed_table, load_each
from twinloop.errors import DataError


def fault_of(data: Path, load) -> DataError:
    (fault,) = load(data).faults
    return fault


def test_a_wrong_cell_is_named_with_line_column_and_what_was_expected(tmp_path: Path) -> None:
    path = write(tmp_path / "norway_hsdpa/norway_bus_1", "0.0\t4.0\n1.0\tfast\n2.0\t3.0\n")
    fault = fault_of(tmp_path, load_norway)
    assert (fault.path, fault.line, fault.column) == (path, 2, 2)
    assert str(fault) == f"{path}, line 2, column 2: found 'fast'; expected a number of at least 0 (mbit_per_s)"


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "NaN", "-3", "1e999", "1_000", "0x10"])
def test_what_is_no_possible_number_is_a_fault(tmp_path: Path, text: str) -> None:
    write(tmp_path / "norway_hsdpa/norway_bus_1", f"0.0\t4.0\n1.0\t{text}\n")
    fault = fault_of(tmp_path, load_norway)
    assert (fault.line, fault.column) == (2, 2) and text in str(fault)


@pytest.mark.parametrize("content", ["", " \n\n \n", "\ufeff"])
def test_an_empty_file_is_a_fault(tmp_path: Path, content: str) -> None:
    write(tmp_path / "norway_hsdpa/norway_bus_1", content)
    assert "empty" in str(fault_of(tmp_path, load_norway))


def test_a_truncated_row_names_the_column_that_is_missing(tmp_path: Path) -> None:
    write(tmp_path / "kaist_walks/KAIST_30sec_001.txt", "0 1 2\n30 2 3\n60 3")
    fault = fault_of(tmp_path, load_walks)
    assert (fault.line, fault.column) == (3, 3) and "y_m" in str(fault)


def test_a_row_that_is_too_long_is_a_fault(tmp_path: Path) -> None:
    write(tmp_path / "kaist_walks/KAIST_30sec_001.txt", "0 1 2\n30 2 3 4\n")
    fault = fault_of(tmp_path, load_walks)
    assert (fault.line, fault.column) == (2, 4)


def test_bytes_that_are_no_text_are_a_fault_with_their_line(tmp_path: Path) -> None:
    path = write(tmp_path / "norway_hsdpa/norway_bus_1", "0.0\t4.0\n")
    path.write_bytes(b"0.0\t4.0\n1.0\t\xff\xfe\n")
    fault = fault_of(tmp_path, load_norway)
    assert fault.line == 2 and "0xff" in str(fault)
    path.write_bytes(b"0.0\t4.0\n\x00\x00\x00\n")
    assert "NUL" in str(fault_of(tmp_path, load_norway))


def test_a_folder_in_the_place_of_a_file_is_a_fault_not_a_crash(tmp_path: Path) -> None:
    (tmp_path / "waterloo4" / "streaming_logs").mkdir(parents=True)
    with pytest.raises(DataError, match=r"cannot be read"):
        from twinloop.datasets.reading import text_of

        text_of(tmp_path / "waterloo4")


def test_another_header_names_the_missing_column(tmp_path: Path) -> None:
    write(tmp_path / "edge_load/a.csv", "cpu,mem_util_percent,net_in,net_out,disk_io_percent\n1,2,3,4,5\n")
    fault = fault_of(tmp_path, load_edge_load)
    assert fault.line == 1 and "cpu_util_percent" in str(fault)


def test_a_header_without_rows_is_a_fault(tmp_path: Path) -> None:
    write(tmp_path / "edge_load/a.csv", "cpu_util_percent,mem_util_percent,net_in,net_out,disk_io_percent\n")
    assert "no row" in str(fault_of(tmp_path, load_edge_load))


def test_good_files_beside_a_bad_one_still_load(tmp_path: Path) -> None:
    for name, text in (("1", "0 1\n1 2\n"), ("2", "0 1\n1 oops\n"), ("3", ""), ("4", "0 1\n1 2\n2 3\n")):
        write(tmp_path / f"norway_hsdpa/norway_tram_{name}", text)
    loaded = load_norway(tmp_path)
    assert [item.name for item in loaded.items] == ["norway_tram_1", "norway_tram_4"]
    assert sorted(fault.path.name for fault in loaded.faults) == ["norway_tram_2", "norway_tram_3"]
    assert loaded.rows == 5


def test_nothing_readable_raises_the_first_fault_when_data_are_required(tmp_path: Path) -> None:
    write(tmp_path / "norway_hsdpa/norway_tram_1", "0 oops\n")
    with pytest.raises(DataError, match=r"oops"):
        load_norway(tmp_path).required()


@pytest.mark.parametrize("make", ["nothing", "empty folder"])
def test_an_absent_set_says_how_to_get_it(tmp_path: Path, make: str) -> None:
    if make == "empty folder":
        (tmp_path / "eua_melbourne").mkdir()
    with pytest.raises(DataError, match=r"eua_melbourne"):
        load_sites(tmp_path)
    with pytest.raises(DataError, match=r"no such folder"):
        load_sites(tmp_path / "nowhere")


def test_time_that_does_not_increase_is_a_fault(tmp_path: Path) -> None:
    write(tmp_path / "norway_hsdpa/norway_tram_1", "0 1\n2 1\n2 1\n")
    fault = fault_of(tmp_path, load_norway)
    assert (fault.line, fault.column) == (3, 1)


def test_blank_lines_and_windows_ends_keep_their_line_numbers(tmp_path: Path) -> None:
    table = bare_table(tmp_path, "1 2\r\n\r\n3 4\r\n", ("a", "b"))
    assert table.lines == (1, 3)
    np.testing.assert_array_equal(table.numbers(Column("b")), [2.0, 4.0])


def test_quoted_cells_keep_commas_and_line_numbers(tmp_path: Path) -> None:
    table = headed_table(tmp_path, 'a,b\n"x, y",1\nz,2\n', ("a", "b"))
    assert table.texts("a") == ("x, y", "z")
    assert table.lines == (2, 3)


def test_whole_numbers_beyond_float_precision_stay_exact(tmp_path: Path) -> None:
    table = bare_table(tmp_path, "9007199254740993\n", ("id",))
    assert table.integers(Column("id"))[0] == 9007199254740993
    with pytest.raises(DataError, match=r"whole number"):
        bare_table(tmp_path, "1.5\n", ("id",)).integers(Column("id"))


def test_only_data_errors_become_faults() -> None:
    def broken(_: int):
        raise KeyError("a mistake of ours")

    with pytest.raises(KeyError):
        load_each([1], broken)


def test_a_faulty_file_beside_good_ones_is_left_out_and_told(tmp_path: Path) -> None:
    write(tmp_path / "kaist_walks/KAIST_30sec_001.txt", "0 1 2\n30 2 3\n60 3 4\n")
    write(tmp_path / "kaist_walks/KAIST_30sec_002.txt", "0 1 2\nnan nan nan\n")
    with pytest.warns(LeftOutWarning, match=r"1 faults.*002.txt, line 2"):
        (walk,) = load_walks(tmp_path).required()
    assert len(walk.position_m) == 3
