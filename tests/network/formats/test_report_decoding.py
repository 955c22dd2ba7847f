"""Bodies become batches: three encodings, two forms, and a clear answer to everything else."""

import json
import math

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_samples import (
    CELL,
    COLUMNS,
    HEAD,
    JSON,
    MSGPACK,
    NDJSON,
    RECEIPTS,
    ROWS,
    SERVER,
    USER,
    as_json,
    as_msgpack,
    as_ndjson,
)

from twinloop.errors import FormatError
from twinloop.network.formats import MAX_BODY_BYTES, MAX_ROWS, Batch, Columns, Receipt, Row, decode, encode

WRITERS = {JSON: as_json, MSGPACK: as_msgpack, NDJSON: as_ndjson}


def refusal(body, media_type=JSON, **options):
    with pytest.raises(FormatError) as caught:
        decode(body, media_type, **options)
    told = str(caught.value)
    assert "\n" not in told
    assert len(told) < 600
    return told


@pytest.mark.parametrize("media_type", WRITERS)
def test_rows_read_the_same_in_every_encoding(media_type):
    batch = decode(WRITERS[media_type](ROWS), media_type)
    assert (batch.source, batch.sequence, batch.sent_s) == ("west", 17, 1_700_000_000.5)
    assert list(batch.rows) == [
        Row(
            kind="user",
            id="ue-1",
            time_s=1_700_000_000.0,
            slice="premium",
            group="g1",
            values={"RSRP": -87.5, "buffer_s": 3.25},
        ),
        Row(kind="cell", id="cell-7", values={"load": 0.5, "users": 12.0}),
        Row(kind="server", id="edge-1", time_s=1_700_000_001.0, values={"utilisation": None}),
    ]
    if media_type != NDJSON:
        assert list(batch.receipts) == [msgspec.convert(receipt, Receipt) for receipt in RECEIPTS]


@pytest.mark.parametrize("media_type", [JSON, MSGPACK, "application/x-msgpack", "Application/JSON; charset=utf-8"])
def test_columns_read_the_same_in_every_encoding(media_type):
    body = as_json(COLUMNS) if "json" in media_type.lower() else as_msgpack(COLUMNS)
    (block,) = decode(body, media_type).columns
    assert block.attributes == ["RSRP", "buffer_s"]
    assert block.values == [[-87.5, 3.25], [-90.0, None]]
    assert block.time_s == [1_700_000_000.0, None]


@pytest.mark.parametrize("media_type", [JSON, MSGPACK])
def test_what_is_encoded_decodes_to_the_same(media_type):
    batch = Batch(
        source="a:b_c-d.e",
        sequence=2**63 - 1,
        rows=[Row(kind="user", id="ü", values={"rate_bps": 1e9}, period_s=2.0)],
        columns=[Columns(kind="cell", attributes=["load"], ids=["c"], values=[[None]], time_s=3.0)],
        sent_s=0.0,
        receipts=[Receipt(revision=0, result="refused", detail="later")],
    )
    assert decode(encode(batch, media_type), media_type) == batch
    with pytest.raises(FormatError, match="cannot be written"):
        encode(batch, NDJSON)


def test_lines_may_come_without_a_header_where_the_source_is_known():
    body = as_json(USER) + b"\r\n\n  \n" + as_json(CELL) + b"\n"
    batch = decode(body, NDJSON, source="topic", sequence=4)
    assert (batch.source, batch.sequence) == ("topic", 4)
    assert [row.id for row in batch.rows] == ["ue-1", "cell-7"]
    assert "source is missing" in refusal(body, NDJSON)
    assert "sequence is missing" in refusal(body, NDJSON, source="topic")


def test_a_body_knows_its_source_better_than_the_caller():
    assert decode(as_json(ROWS), JSON, source="topic", sequence=4).source == "west"


def test_media_types_that_are_not_understood_are_told_what_is():
    told = refusal(b"", "text/csv")
    assert "'text/csv'" in told
    assert "application/json, application/x-ndjson, application/msgpack" in told


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", ["ends too early", "byte 0"]),
        (b'{"source": "a", "sequence": 1,', ["ends too early", "byte 30"]),
        (b'{"source": "a", "sequence": 1} x', ["trailing", "byte 32"]),
        (b'{"source": "a", "sequence": NaN}', ["byte 28", "JSON has no NaN"]),
        (b'{"source": "a", "sequence": 1, "rows": [{"values": {"load": NaN}}]}', ["byte", "write null"]),
        (b"[1, 2]", ["object"]),
        (b'{"source": "a b", "sequence": 1}', ["$.source"]),
        (b'{"source": "a\\n", "sequence": 1}', ["$.source"]),
        (b'{"source": "", "sequence": 1}', ["$.source"]),
        (b'{"source": "' + b"a" * 129 + b'", "sequence": 1}', ["$.source"]),
        (b'{"source": "a", "sequence": -1}', ["$.sequence"]),
        (b'{"source": "a", "sequence": 9223372036854775808}', ["$.sequence"]),
        (b'{"source": "a", "sequence": 1.5}', ["$.sequence", "int"]),
        (b'{"source": "a", "sequence": 1, "sent_s": -1}', ["sent_s is -1"]),
        (b'{"source": "a", "sequence": 1, "sent_s": 1700000000000}', ["sent_s is 1.7e+12", "looks like milliseconds"]),
        (b'{"source": "a", "sequence": 1, "sent_s": 1e308}', ["sent_s is 1e+308", "write epoch seconds"]),
        (b'{"source": "a", "sequence": 1, "rowz": []}', ["rowz", "rows, columns, receipts"]),
        (b'{"source": "a", "sequence": 1, "rows": {}}', ["$.rows", "array"]),
        (b'{"source": "a", "sequence": 1, "receipts": [{"revision": 1, "result": "done"}]}', ["done", "receipts[0]"]),
        (b'{"source": "a", "sequence": 1, "receipts": [{"revisions": 1}]}', ["revisions", "revision, result, detail"]),
        (b'{"source": "a", "sequence": 1, "columns": [{"kinds": "user"}]}', ["kinds", "attributes, ids, values"]),
        (
            b'{"source": "a", "sequence": 1, "columns": [{"kind": "x", "attributes": [], "ids": ["x"], "values": []}]}',
            ["values has 0 entries, ids has 1", "$.columns[0]"],
        ),
        (b'{"source": "a", "sequence": 1, "x": ' + b"[" * 100_000, ["x"]),
        (b'{"source": "a", "sequence": 1, "rows": ' + b"[" * 100_000, ["nested too deeply"]),
        (b'{"source": "a", "sequence": 1, "rows": ' + b'[{"values":' * 50_000, ["values"]),
        (b'{"source": "a\xff", "sequence": 1}', ["not UTF-8"]),
        (b'{"source": "a", "sequence": 1' + b"0" * 400 + b"}", ["sequence"]),
    ],
)
def test_a_broken_body_is_answered_with_place_and_field(body, words):
    told = refusal(body)
    assert all(word in told for word in words), told


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "ends too early"),
        (b"\xc1", "byte 0"),
        (as_msgpack(ROWS)[:-3], "ends too early"),
        (as_msgpack({**HEAD, "rows": 3}), "$.rows"),
        (b"\x83\xa6source\xa1a\xa8sequence\x01\xa4rows\xdd\xff\xff\xff\xff", "$.rows"),
        (b"\x91" * 100_000, "object"),
    ],
)
def test_broken_msgpack_is_answered(body, words):
    assert words in refusal(body, MSGPACK)


def test_a_typing_error_in_a_row_refuses_that_row_alone():
    rows = [
        USER,
        {**USER, "valus": {}},
        {**USER, "values": {"RSRP": "-90"}},
        {**USER, "values": {"RSRP": True}},
        {"kind": "user", "values": {}},
        {**USER, "time_s": "now"},
        {**USER, "id": 7},
        "row",
        CELL,
    ]
    for media_type, write in ((JSON, as_json), (MSGPACK, as_msgpack)):
        batch = decode(write({**HEAD, "rows": rows, "columns": COLUMNS["columns"]}), media_type)
        assert [row.id for row in batch.rows] == ["ue-1", "cell-7"]
        assert batch.places == [0, 8, 9, 10]
        assert [refused.index for refused in batch.refused] == [1, 2, 3, 4, 5, 6, 7]
        told = [refused.reason for refused in batch.refused]
        assert "valus" in told[0]
        assert "kind, id, values, time_s, slice, group, period_s" in told[0]
        assert told[1] == "'RSRP' is '-90'; a value is a number, or null where there is none"
        assert told[2].startswith("'RSRP' is True;")
        assert "id" in told[3]
        assert "time_s" in told[4]
        assert "$.id" in told[5]
        assert "object" in told[6]
        assert (batch.refused[0].kind, batch.refused[0].id) == ("user", "ue-1")
        assert "valus" in batch.refused[0].row


@pytest.mark.parametrize("value", [b"1e999", b"-" + b"9" * 400, b"1" * 5_000])
def test_a_number_beyond_all_floats_refuses_its_row(value):
    body = b'{"source": "a", "sequence": 1, "rows": [{"kind": "cell", "id": "c", "values": {"load": %s}}, %s]}'
    batch = decode(body % (value, as_json(CELL)), JSON)
    assert len(batch.rows) == 1
    assert "out of range" in batch.refused[0].reason
    assert len(batch.refused[0].row) <= 2_000


def test_a_bad_line_is_told_by_its_number():
    lines = [
        as_json(HEAD),
        b"",
        as_json(USER),
        b'{"kind": "user"',
        b'{"kind": "user", "id": "b", "values": {"RSRP": NaN}}',
    ]
    batch = decode(b"\n".join(lines), NDJSON)
    assert len(batch.rows) == 1
    assert [(r.index, r.reason[:7]) for r in batch.refused] == [(1, "line 4:"), (2, "line 5:")]
    assert batch.places == [0]


def test_a_body_without_any_good_line_is_no_ndjson():
    told = refusal(json.dumps(ROWS, indent=1).encode(), NDJSON)
    assert told.startswith("line 1: ")
    assert "no line of the body is a row" in told


def test_a_wrong_header_is_answered_and_not_taken_for_a_row():
    told = refusal(b'{"sorce": "west", "sequence": 1}\n' + as_json(USER), NDJSON)
    assert told.startswith("line 1: ")
    assert "sorce" in told
    assert "source, sequence, sent_s" in told


def test_limits_are_told():
    assert "1,000" in refusal(b" " * 1_001, JSON, most_bytes=1_000)
    assert f"{MAX_BODY_BYTES:,}" in refusal(b" " * (MAX_BODY_BYTES + 1), JSON)
    line = b'{"kind":"user","id":"u","values":{}}\n'
    assert f"{MAX_ROWS:,}" in refusal(line * (MAX_ROWS + 1), NDJSON, source="a", sequence=1)
    block = {"kind": "cell", "attributes": [], "ids": ["c"] * 60_000, "values": [[]] * 60_000}
    assert "120,000 rows" in refusal(as_msgpack({**HEAD, "columns": [block, block]}), MSGPACK)
    assert "$.rows" in refusal(as_msgpack({**HEAD, "rows": [0] * (MAX_ROWS + 1)}), MSGPACK)
    for flood in (b"{}", b"[]", b"1"):
        body = b'{"source":"a","sequence":1,"rows":[' + (flood + b",") * 4_000_001 + b"0]}"
        assert f"{MAX_ROWS:,}" in refusal(body, JSON)


def test_names_of_values_are_bounded():
    batch = decode(as_json({**HEAD, "rows": [{**CELL, "values": {"x" * 129: 1}}]}), JSON)
    assert "128" in batch.refused[0].reason
    batch = decode(as_json({**HEAD, "rows": [{**CELL, "values": {f"x{i}": 1 for i in range(129)}}]}), JSON)
    assert "128" in batch.refused[0].reason


def test_refused_rows_do_not_fill_memory():
    row = {"kind": "user", "id": "x", "value": {}, "note": "y" * 3_000}
    batch = decode(as_json({**HEAD, "rows": [row] * 4_000}), JSON)
    assert len(batch.refused) == 4_000
    assert len(batch.refused[0].row) == 2_000
    assert sum(len(refused.row) for refused in batch.refused) <= 4 * 2**20
    assert batch.refused[-1].reason == batch.refused[0].reason


anything = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**63), 2**63 - 1),
        st.floats(),
        st.text(max_size=5),
        st.sampled_from(["user", "cell"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["kind", "id", "values", "time_s", "rows", "columns", "ids", "attributes", "RSRP", "x"]),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=8,
)


@settings(max_examples=60)
@given(rows=anything, columns=anything, sequence=anything)
def test_whatever_has_the_wrong_shape_raises_nothing_but_format_errors(rows, columns, sequence):
    for body in ({**HEAD, "rows": rows}, {**HEAD, "columns": columns}, {**HEAD, "sequence": sequence, "rows": [rows]}):
        for media_type, write in ((JSON, as_json), (MSGPACK, as_msgpack)):
            try:
                batch = decode(write(body), media_type)
            except FormatError as error:
                assert "\n" not in str(error)
                continue
            assert isinstance(batch, Batch)


@settings(max_examples=60)
@given(data=st.data(), media_type=st.sampled_from([JSON, NDJSON, MSGPACK]))
def test_whatever_bytes_come_raise_nothing_but_format_errors(data, media_type):
    body = bytearray(WRITERS[media_type](data.draw(st.sampled_from([ROWS, {**ROWS, "rows": [SERVER] * 3}]))))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(body) - 1))
        body[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    for tried in (bytes(body), data.draw(st.binary(max_size=40))):
        try:
            decode(tried, media_type, source="a", sequence=0)
        except FormatError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize("sent_s", [1.7e12, 1e308, math.inf, math.nan])
def test_a_time_of_sending_that_is_none_is_refused_in_every_encoding(sent_s):
    head = {"source": "a", "sequence": 1, "sent_s": sent_s}
    bodies = {"application/msgpack": msgspec.msgpack.encode(head)}
    if math.isfinite(sent_s):
        text = msgspec.json.encode(head)
        bodies |= {"application/json": text, "application/x-ndjson": text}
    for media_type, body in bodies.items():
        with pytest.raises(FormatError, match=r"sent_s is .* epoch seconds"):
            decode(body, media_type)
