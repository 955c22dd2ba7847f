"""JSON, NDJSON and XML files as batches."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_samples import CELL, HEAD, ROWS, USER, as_json, as_ndjson

from twinloop.errors import DataError
from twinloop.network.formats import MAX_BODY_BYTES, Row, read_file

USER_ROW = Row(
    kind="user",
    id="ue-1",
    time_s=1_700_000_000.0,
    slice="premium",
    group="g1",
    values={"RSRP": -87.5, "buffer_s": 3.25},
)
REPORT = """<?xml version="1.0" encoding="utf-8"?>
<report>
  <!-- measured by hand -->
  <row kind="user" id="ue-1" time_s="1700000000" slice="premium" group="g1">
    <value name="RSRP">-87.5</value> <value name="buffer_s"> 3.25
    </value>
  </row>
  <row kind="cell" id="cell-7" period_s="10"><value name="load"/></row>
</report>
"""


def written(tmp_path, data, name):
    path = tmp_path / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def fault(path):
    with pytest.raises(DataError) as caught:
        list(read_file(path))
    assert "\n" not in str(caught.value)
    assert path.name in str(caught.value)
    return caught.value


def test_json_is_one_batch_under_its_own_name(tmp_path):
    (batch,) = read_file(written(tmp_path, as_json(ROWS), "a.json"))
    assert (batch.source, batch.sequence, len(batch.rows), len(batch.receipts)) == ("west", 17, 3, 2)
    assert batch.rows[0] == USER_ROW


def test_json_without_a_source_gets_one(tmp_path):
    (batch,) = read_file(written(tmp_path, as_json({"rows": [USER]}), "a b.json"))
    assert batch.source.startswith("file:a_b.json:")
    assert batch.sequence == 0


def test_lines_with_a_header_are_one_batch(tmp_path):
    (batch,) = read_file(written(tmp_path, b"\n" + as_ndjson(ROWS), "a.ndjson"), rows_a_batch=2)
    assert (batch.source, batch.sequence, len(batch.rows)) == ("west", 17, 3)


def test_lines_without_a_header_are_a_stream(tmp_path):
    lines = [as_json(USER), b"", as_json(CELL), b'{"kind": "user"}', as_json(USER), b"nonsense"]
    batches = list(read_file(written(tmp_path, b"\r\n".join(lines), "a.jsonl"), rows_a_batch=2))
    assert [[row.id for row in batch.rows] for batch in batches] == [["ue-1", "cell-7"], ["ue-1"], []]
    assert [list(batch.places) for batch in batches] == [[1, 3], [5], []]
    told = [(r.index, r.reason) for batch in batches for r in batch.refused]
    assert [index for index, _ in told] == [4, 6]
    assert told[0][1].startswith("line 4: ")
    assert "malformed" in told[1][1]


@pytest.mark.parametrize(
    ("data", "name", "told"),
    [
        (b"", "a.json", "ends too early"),
        (b'{"rows": 3}', "a.json", "$.rows"),
        (b" " * (MAX_BODY_BYTES + 1), "a.json", "NDJSON without a header"),
        (b'{"source": 5}\n', "a.ndjson", "line 1: "),
        (b"x" * 2_000_000, "a.ndjson", "line 1: the line does not end"),
    ],
)
def test_broken_documents_are_told(tmp_path, data, name, told):
    assert told in str(fault(written(tmp_path, data, name)))


def test_xml_mirrors_rows(tmp_path):
    (batch,) = read_file(written(tmp_path, REPORT, "a.xml"))
    assert list(batch.rows) == [USER_ROW, Row(kind="cell", id="cell-7", values={"load": None}, period_s=10.0)]
    assert list(batch.places) == [4, 8]


def test_xml_is_read_as_a_stream(tmp_path):
    row = '<row kind="cell" id="c"><value name="load">0.5</value></row>\n'
    path = written(tmp_path, "<report>\n" + row * 5_000 + "</report>", "a.xml")
    batches = list(read_file(path, rows_a_batch=500))
    assert sum(len(batch.rows) for batch in batches) == 5_000
    assert [batch.sequence for batch in batches] == list(range(len(batches)))
    assert max(len(batch.rows) for batch in batches) < 2_000
    assert batches[-1].places[-1] == 5_001


def test_a_value_that_is_no_number_refuses_its_row(tmp_path):
    text = """<report>
<row kind="user" id="a"><value name="RSRP">low</value></row>
<row kind="user" id="b" time_s="soon"/>
<row kind="user" id="c"><value name="RSRP">1</value><value name="RSRP">2</value></row>
<row kind="user" id="d"/>
</report>"""
    (batch,) = read_file(written(tmp_path, text, "a.xml"))
    assert [row.id for row in batch.rows] == ["d"]
    assert [(r.index, r.id, r.reason) for r in batch.refused] == [
        (2, "a", "line 2: 'RSRP' is 'low'; a value is a number, empty for none"),
        (3, "b", "line 3: 'time_s' is 'soon'; a value is a number, empty for none"),
        (4, "c", "line 4: 'RSRP' is given twice"),
    ]


@pytest.mark.parametrize(
    ("text", "line", "told"),
    [
        ("", 1, "broken XML (no element found)"),
        ("<report>", 1, "broken XML (no element found)"),
        ("<reports/>", 1, "element 'reports'; expected <report>"),
        ("<report>\n <user/></report>", 2, "element 'user'; expected <row>"),
        ("<report>\n<row><x/></row></report>", 2, "element 'x'; expected <value>"),
        ('<report><row>\n<value name="load">1<b/></value></row></report>', 2, "element 'b'; expected a number"),
        ("<report>\n<row knd='user'/></report>", 2, "'knd'; expected kind, id, time_s"),
        ("<report source='x'/>", 1, "'source'; expected none"),
        ("<report><row>\n<value>1</value></row></report>", 2, "<value> has no name"),
        ("<report>\nhello</report>", 2, "text 'hello'"),
        ("<report><row></report>", 1, "mismatched tag"),
        ("<report>\n&nbsp;</report>", 2, "undefined entity"),
        ('<!DOCTYPE r [<!ENTITY a "b">]>\n<report>&a;</report>', 1, "a document type or entities"),
        ('<!DOCTYPE r SYSTEM "file:///etc/passwd">\n<report/>', 1, "a document type or entities"),
        ('<?xml version="1.0" encoding="klingon"?><report/>', 1, "broken XML"),
    ],
)
def test_xml_that_is_no_report_is_told_with_its_place(tmp_path, text, line, told):
    error = fault(written(tmp_path, text, "a.xml"))
    assert told in str(error)
    assert error.line == line
    assert error.column is not None


pieces = st.sampled_from(
    [
        "<report>",
        "</report>",
        "<row kind='user' id='x'>",
        "</row>",
        "<value name='load'>",
        "</value>",
        "0.5",
        "<",
        "&",
        "x",
    ]
)


@settings(max_examples=60)
@given(
    st.one_of(st.lists(pieces, max_size=8).map(lambda made: "".join(made).encode()), st.binary(max_size=40)),
    st.sampled_from(["a.xml", "a.json", "a.ndjson"]),
)
def test_nothing_but_data_errors(tmp_path_factory, data, name):
    path = tmp_path_factory.mktemp("fuzz") / name
    for body in (data, json.dumps({**HEAD, "rows": [USER]}).encode()[:-2] + data):
        path.write_bytes(body)
        try:
            for batch in read_file(path):
                assert len(batch.places or ()) in (0, len(batch.rows))
        except DataError as error:
            assert "\n" not in str(error)
