"""CSV as batches: our names, the standards', and other people's tables explained by a mapping."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_samples import NOW_S

from twinloop.datasets import load_tractor
from twinloop.entities import CELL_ATTRIBUTES, USER_ATTRIBUTES, column
from twinloop.errors import DataError
from twinloop.network.formats import ColumnMap, MappedValue, check, read_file, read_mapping


def written(tmp_path, text, name="reports.csv"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8", newline="")
    return path


def table(path, **options):
    """Everything that a file gives: rows by kind over all its batches, and refusals."""
    found, refused = {}, []
    for batch in read_file(path, **options):
        accepted = check(batch, NOW_S)
        refused += accepted.refused
        for part in accepted.rows:
            found.setdefault(part.kind, []).append(part)
    return found, refused


def fault(path, **options):
    with pytest.raises(DataError) as caught:
        list(read_file(path, **options))
    assert "\n" not in str(caught.value)
    return caught.value


def test_columns_named_as_on_the_wire_need_no_mapping(tmp_path):
    path = written(
        tmp_path,
        "kind,id,time_s,slice,group,period_s,RSRP,buffer_s,RRU.PrbTotDl,DRB.PdcpSduVolumeDL,RSRQ\n"
        "user,ue-1,1700000000.5,premium,g1,,-87.5,3.2,,,-11\n"
        "cell,cell-7,1700000001,,,10,,,63,1840,-\n"
        'user,"ue-2",,,,,-90,nan,,,\n',
    )
    found, refused = table(path)
    assert not refused
    (users,), (cells,) = found["users"], found["cells"]
    assert users.ids == ["ue-1", "ue-2"]
    assert users.time_s.tolist() == [1_700_000_000.5, NOW_S]
    assert (users.slices, users.groups) == (["premium", None], ["g1", None])
    np.testing.assert_array_equal(users.value[:, column(USER_ATTRIBUTES, "rsrp_dbm")], np.float32([-87.5, -90]))
    np.testing.assert_array_equal(users.value[:, column(USER_ATTRIBUTES, "buffer_s")], np.float32([3.2, np.nan]))
    assert cells.value[0, column(CELL_ATTRIBUTES, "load")] == np.float32(0.63)
    assert cells.value[0, column(CELL_ATTRIBUTES, "throughput_bps")] == 184e6


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_delimiters_marks_of_order_and_blank_lines_are_understood(tmp_path, delimiter):
    text = "\ufeffid,rate_bps\r\nue-1,5\r\n\r\nue-2,6\r\n".replace(",", delimiter)
    found, _ = table(written(tmp_path, text))
    assert found["users"][0].ids == ["ue-1", "ue-2"]


@pytest.mark.parametrize(
    ("stamp", "time_s"),
    [
        ("1700000000.25", 1_700_000_000.25),
        ("1700000000250", 1_700_000_000.25),
        ("1700000000250000", 1_700_000_000.25),
        ("2023-11-14T22:13:20.250Z", 1_700_000_000.25),
        ("2023-11-14 23:13:20.250+01:00", 1_700_000_000.25),
        ("2023-11-14 22:13:20.250", 1_700_000_000.25),
    ],
)
def test_timestamps_are_seconds_milliseconds_or_dates(tmp_path, stamp, time_s):
    found, _ = table(written(tmp_path, f"timestamp,id,rate_bps\n{stamp},ue-1,5\n"))
    assert found["users"][0].time_s.tolist() == [time_s]


def test_a_file_comes_in_batches_that_are_recognised_when_read_again(tmp_path):
    path = written(tmp_path, "id,rate_bps\n" + "".join(f"ue-{n},{n}\n" for n in range(25)))
    batches = list(read_file(path, rows_a_batch=10))
    assert [batch.sequence for batch in batches] == [0, 1, 2]
    assert [len(batch.columns[0].ids) for batch in batches] == [10, 10, 5]
    assert batches[1].places == list(range(12, 22))
    assert {batch.source for batch in read_file(path)} == {batches[0].source}
    assert batches[0].source.startswith("file:reports.csv:")
    path.write_text(path.read_text() + "ue-25,1\n")
    assert next(read_file(path)).source != batches[0].source
    assert next(read_file(path, source="mine")).source == "mine"


def test_what_cannot_be_read_refuses_its_row_with_line_and_column(tmp_path):
    path = written(
        tmp_path,
        "kind,id,time_s,period_s,rate_bps,load\n"
        "user,ue-1,soon,,5,\n"
        "user,ue-2,,,fast,\n"
        "user,ue-3,,,5\n"
        "users,ue-4,,,5,\n"
        "user,ue-5,,,5,0.5\n"
        "user,ue-6,,x,5,\n"
        "user,ue-7,,,-5,\n"
        "user,ue-8,,,5,\n",
    )
    found, refused = table(path)
    assert found["users"][0].ids == ["ue-8"]
    assert [(r.index, r.id) for r in refused] == [
        (2, "ue-1"), (3, "ue-2"), (4, "ue-3"), (5, "ue-4"), (6, "ue-5"), (7, "ue-6"), (8, "ue-7")
    ]  # fmt: skip
    assert [r.reason for r in refused] == [
        "line 2, column 3: 'soon' is no time",
        "line 3, column 5: rate_bps is 'fast'; a value is a number, empty for none",
        "line 4: 5 cells, the header has 6",
        "line 5, column 1: kind is 'users'; allowed: user, cell, server",
        "line 6, column 6: load is of a cell, not of a user",
        "line 7, column 4: period_s is 'x', no number",
        "rate_bps is -5 bit/s; allowed are 0 to 1000000000 bit/s",
    ]
    assert refused[0].row == "user,ue-1,soon,,5,"


@pytest.mark.parametrize(
    ("text", "line", "at", "told"),
    [
        ("", 1, None, "no header"),
        (",,\n", 1, None, "no header"),
        ("rate_bps\n5\n", 1, None, "no column id"),
        ("id,rate_bsp\nx,5\n", 1, 2, "did you mean rate_bps"),
        ("id,rate_bps,rate_bps\nx,5,6\n", 1, None, "same name"),
        ('id,rate_bps\nx,5\n"y,6\nz,7\n', 4, None, "no CSV"),
        ("id,rate_bps\nx,5\n" + "y" * 2_000_000, 3, None, "does not end"),
        ("id,rate_bps\n" + "y" * 200_000 + ",5\n", 2, None, "no CSV"),
    ],
)
def test_a_file_that_cannot_be_read_is_told_with_its_place(tmp_path, text, line, at, told):
    error = fault(written(tmp_path, text))
    assert (error.line, error.column) == (line, at)
    assert told in str(error)
    assert "reports.csv" in str(error)


def test_text_of_another_encoding_is_told(tmp_path):
    path = tmp_path / "latin.csv"
    path.write_bytes(b"id,rate_bps\nue-1,5\ncaf\xe9,6\n")
    assert "not UTF-8" in str(fault(path))


def test_files_that_are_no_reports_are_told(tmp_path):
    assert ".csv, .tsv, .json" in str(fault(tmp_path / "notes.txt"))
    assert "No such file" in str(fault(tmp_path / "absent.csv"))
    (tmp_path / "folder.csv").mkdir()
    assert "directory" in str(fault(tmp_path / "folder.csv")).lower()
    mapping = ColumnMap(id="x", values={"y": MappedValue(name="load")}, kind="cell")
    assert "is for CSV" in str(fault(written(tmp_path, "{}", "a.json"), mapping=mapping))


def test_a_large_file_is_read_as_a_stream(tmp_path, monkeypatch):
    path = written(tmp_path, "id,rate_bps\n" + "ue-1,5\n" * 20_000)
    batches = read_file(path, rows_a_batch=10)
    next(batches)
    with path.open("rb") as file:
        size = len(file.read())
    path.write_text("")  # what is behind the buffer can no longer be read
    assert sum(len(batch.columns[0].ids) for batch in batches) < 20_000 < size


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"id": ""}, "give either id"),
        ({"id_value": "x"}, "give either id"),
        ({"values": {}}, "values is empty"),
        ({"kind": "slice"}, "slice"),
        ({"delimiter": "||"}, "one character"),
        ({"values": {"c": {"name": "rate_bsp"}}}, "did you mean rate_bps"),
        ({"values": {"c": {"name": "load"}}}, "load is of a cell, not of a user"),
        ({"values": {"c": {"name": "RSRQ"}}}, "no attribute for RSRQ"),
        ({"values": {"c": {"name": "rate_bps", "unit": "furlong"}}}, "allowed: bit/s, kbit/s, Mbit/s"),
        ({"values": {"c": {"name": "rate_bps", "unit": "ms"}}}, "'ms' does not become bit/s"),
        ({"values": {"c": {"name": "rate_bps", "unit": "MB"}}}, "give period_s"),
        ({"values": {"c": {"name": "rate_bps", "units": "MB"}}}, "units"),
        ({"time_unit": "h"}, "time_unit"),
    ],
)
def test_a_mapping_that_cannot_work_is_told(tmp_path, changes, told):
    mapping = {"id": "who", "values": {"c": {"name": "rate_bps"}}} | changes
    path = written(tmp_path, json.dumps(mapping), "mapping.json")
    with pytest.raises(DataError) as caught:
        read_mapping(path)
    assert told in str(caught.value)
    assert "mapping.json" in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "\ud800", '{"values":' * 3_000])
def test_a_mapping_that_is_no_json_is_told(tmp_path, text):
    path = tmp_path / "mapping.json"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(DataError):
        read_mapping(path)
    with pytest.raises(DataError, match="No such file"):
        read_mapping(tmp_path / "absent.json")


@pytest.mark.parametrize(
    ("name", "unit", "period_s", "cell", "expected"),
    [
        ("rate_bps", "Mbit/s", None, "2.5", 2.5e6),
        ("rate_bps", "kbit/s", None, "2.5", 2.5e3),
        ("rate_bps", "", None, "2.5", 2.5),
        ("DRB.UEThpDl", "", None, "2.5", 2.5e3),
        ("DRB.UEThpDl", "Mbit/s", None, "2.5", 2.5e6),
        ("rate_bps", "byte", 0.5, "1000", 16_000.0),
        ("rate_bps", "kbit", 2.0, "1000", 0.5e6),
        ("rate_bps", "Mbit", 2.0, "1", 0.5e6),
        ("rate_bps", "MB", 4.0, "1", 2e6),
        ("delay_s", "ms", None, "20", 0.02),
        ("delay_s", "us", None, "20", 2e-5),
        ("delay_s", "0.1 ms", None, "20", 0.002),
        ("loss_ratio", "%", None, "2.5", 0.025),
        ("loss_ratio", "per 10^6", None, "2500", 0.0025),
    ],
)
def test_units_of_a_mapping_are_converted(tmp_path, name, unit, period_s, cell, expected):
    mapping = ColumnMap(id="who", values={"c": MappedValue(name=name, unit=unit, period_s=period_s)})
    (users,) = table(written(tmp_path, f"who,other,c\nue-1,x,{cell}\nue-2,x,-\n"), mapping=mapping)[0]["users"]
    (index,) = np.flatnonzero(~np.isnan(users.value[0]))
    assert users.value[0, index] == pytest.approx(expected, rel=1e-6)
    assert np.isnan(users.value[1]).all()


def test_times_of_a_mapping(tmp_path):
    values = {"c": MappedValue(name="rate_bps")}
    for stamp, time in (
        ("1700000000250", {"time_unit": "ms"}),
        ("1700000000250000", {"time_unit": "us"}),
        ("1700003600.25", {"utc_offset_s": 3_600.0}),
        ("14.11.2023 23:13:20.25", {"time_format": "%d.%m.%Y %H:%M:%S.%f", "utc_offset_s": 3_600.0}),
    ):
        mapping = ColumnMap(id="who", time="when", values=values, **time)
        found, refused = table(written(tmp_path, f"when,who,c\n{stamp},ue-1,1\nnever,ue-2,1\n"), mapping=mapping)
        assert found["users"][0].time_s.tolist() == [1_700_000_000.25]
        assert refused[0].reason == "line 3, column 1: 'never' is no time"


def test_a_column_that_is_not_there_is_told(tmp_path):
    mapping = ColumnMap(id="IMSI", values={"rate": MappedValue(name="rate_bps")})
    assert "there is no column 'IMSI'; expected 'imsi'" in str(fault(written(tmp_path, "imsi,rate\n"), mapping=mapping))


@settings(max_examples=40)
@given(st.one_of(st.text(max_size=60), st.text(',;"\n\ridrate_bps.5', max_size=60)), st.booleans())
def test_nothing_but_data_errors(tmp_path_factory, text, mapped):
    path = tmp_path_factory.mktemp("fuzz") / "reports.csv"
    mapping = (
        ColumnMap(id="id", time="t", values={"b": MappedValue(name="rate_bps", unit="Mbit/s")}) if mapped else None
    )
    for body in (text, "id,rate_bps,timestamp\n" + text, "id,t,b\n" + text):
        path.write_bytes(body.encode("utf-8", "surrogatepass"))
        try:
            table(path, mapping=mapping)
        except DataError as error:
            assert "\n" not in str(error)


TRACTOR = ColumnMap(
    id="IMSI",
    time="Timestamp",
    time_unit="ms",
    slice="slice_id",
    values={"tx_brate downlink [Mbps]": MappedValue(name="rate_bps", unit="Mbit/s")},
)


@pytest.mark.data
def test_rates_of_tractor_are_those_of_the_data_set(data_dir, tmp_path):
    whole = data_dir / "tractor_oran" / "embb_04_10.csv"
    lines = whole.read_text(encoding="utf-8").splitlines()[:1_501]
    found, refused = table(written(tmp_path, "\n".join(lines)), mapping=TRACTOR)
    assert not refused
    trace = next(item for item in load_tractor(data_dir).items if item.name == "embb_04_10")
    rates = np.concatenate([part.value[:, column(USER_ATTRIBUTES, "rate_bps")] for part in found["users"]])
    np.testing.assert_allclose(rates, trace.rate_bps[: len(rates)], rtol=1e-6)
    assert set(found["users"][0].slices) == {str(trace.slice_id[0])}
    assert found["users"][0].time_s[0] == int(lines[1].split(",")[0]) / 1e3


@pytest.mark.data
def test_hourly_megabytes_become_rates(data_dir):
    path = data_dir / "lte_cell_hourly" / "Cell_000113" / "test_Cell000113.csv"
    mapping = ColumnMap(
        kind="cell",
        id_value="Cell_000113",
        time="DateTime",
        time_format="%m/%d/%Y %H:%M",
        values={"Traffic": MappedValue(name="throughput_bps", unit="MB", period_s=3_600.0)},
    )
    found, refused = table(path, mapping=mapping)
    assert not refused
    (cells,) = found["cells"]
    # 117.12294 MB x 8e6 bit / 3,600 s
    assert cells.value[0, column(CELL_ATTRIBUTES, "throughput_bps")] == pytest.approx(260_273.2, rel=1e-6)
    assert cells.time_s[0] == 1_539_648_000.0
    assert len(cells.ids) == len(path.read_text().splitlines()) - 1


@pytest.mark.data
def test_a_campus_walk_is_read(data_dir, tmp_path):
    lines = (data_dir / "sutd5g" / "Lvl6_AllRRUOn_Anomaly_label.csv").read_text(encoding="utf-8").splitlines()[:500]
    mapping = ColumnMap(
        id="C-RNTI",
        time="Time",
        time_format="%Y-%m-%d %H:%M:%S.%f",
        utc_offset_s=8 * 3_600.0,
        values={
            "RSRP": MappedValue(name="RSRP"),
            "SINR": MappedValue(name="sinr_db"),
            "throughput_DL": MappedValue(name="rate_bps"),
        },
    )
    found, refused = table(written(tmp_path, "\n".join(lines)), mapping=mapping)
    assert all("allowed are" in r.reason for r in refused)
    assert len(refused) < 5
    users = found["users"][0]
    assert users.ids[0] == "16125"
    assert users.value[0, column(USER_ATTRIBUTES, "rsrp_dbm")] == -81.5
    assert users.value[0, column(USER_ATTRIBUTES, "rate_bps")] == np.float32(486_866_153)
