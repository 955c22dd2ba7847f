"""Every number is checked once, in one place: what is in order goes on unchanged, the rest is refused with a reason."""

import json
import math

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_samples import CELL, HEAD, JSON, MSGPACK, NOW_S, USER, as_json, as_msgpack, rows

from twinloop.entities import USER_ATTRIBUTES, column
from twinloop.network.formats import KINDS, TABLES, Batch, Columns, Row, check, decode
from twinloop.network.formats.few import FEW

BUFFER, RSRP = column(USER_ATTRIBUTES, "buffer_s"), column(USER_ATTRIBUTES, "rsrp_dbm")


def of_rows(*made):
    return Batch("west", 1, [msgspec.convert(row, Row) for row in made])


def user(**changes):
    return {**USER, **changes}


def reason(*made):
    accepted = check(of_rows(*made), NOW_S)
    assert not accepted.rows
    return accepted.refused[0].reason


def test_rows_become_arrays_by_kind():
    made = [USER, CELL, user(id="ue-2", time_s=None, slice=None, group=None, values={"buffer_s": 1})]
    users, cells = check(of_rows(*made), NOW_S).rows
    assert (users.kind, cells.kind) == ("users", "cells")
    assert users.ids == ["ue-1", "ue-2"]
    assert users.time_s.tolist() == [1_700_000_000.0, NOW_S]
    assert users.slices == ["premium", None]
    assert users.groups == ["g1", None]
    assert users.value.dtype == np.float32
    assert users.value[:, BUFFER].tolist() == [3.25, 1.0]
    assert users.value[0, RSRP] == -87.5
    assert np.isnan(users.value).sum() == 2 * len(USER_ATTRIBUTES) - 3
    assert cells.slices == [None]


@pytest.mark.parametrize("kind", TABLES)
def test_every_attribute_is_taken_at_its_bounds_and_refused_beyond(kind):
    for index, attribute in enumerate(TABLES[kind]):
        for bound, beyond in ((attribute.low, -1.0), (attribute.high, 1.0)):
            row = {"kind": kind, "id": "x", "values": {attribute.name: bound}}
            (taken,) = check(of_rows(row), NOW_S).rows
            assert taken.value[0, index] == np.float32(bound)
            outside = bound + beyond * max(1.0, abs(bound) * 1e-6)
            told = reason({**row, "values": {attribute.name: outside}})
            assert told.startswith(f"{attribute.name} is ")
            assert f"{attribute.low:.10g} to {attribute.high:.10g}" in told
            assert attribute.unit == "1" or told.endswith(f" {attribute.unit}")


@pytest.mark.parametrize("name", ["version", "serving_cell", "swipes", "video_class", "last_class", "opinions"])
def test_labels_and_counts_are_whole(name):
    assert reason(user(values={name: 1.5})) == f"{name} is 1.5; allowed are whole numbers"
    assert check(of_rows(user(values={name: 2.0})), NOW_S).rows


def test_time_and_scores_need_not_be_whole():
    assert not check(of_rows(user(values={"rebuffer_s": 1.5, "opinion": 3.7})), NOW_S).refused


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"kind": "users"}, "kind is 'users'; allowed: user, cell, server"),
        ({"kind": "slice"}, "kind is 'slice'; allowed: user, cell, server"),
        ({"id": ""}, "id is ''; allowed are 1 to 128 printable characters without '/' and space"),
        ({"id": "a b"}, "id is 'a b'"),
        ({"id": "a/b"}, "id is 'a/b'"),
        ({"id": "a\x00"}, "id is 'a\\x00'"),
        ({"id": "a\u00a0b"}, "id is 'a\\xa0b'"),
        ({"id": "a\u2028"}, "id is 'a\\u2028'"),
        ({"id": "x" * 129}, "id is 'xxx"),
        ({"slice": "two words"}, "slice is 'two words'"),
        ({"group": ""}, "group is ''"),
        ({"time_s": -1.0}, "time_s is -1; allowed are epoch seconds from 0"),
        ({"time_s": math.inf}, "time_s is inf; allowed are epoch seconds"),
        ({"time_s": math.nan}, "time_s is nan; allowed are epoch seconds"),
        ({"time_s": 1.7e12}, "time_s is 1.7e+12, which looks like milliseconds; write epoch seconds"),
        (
            {"values": {"rate_bps": math.nan}},
            "rate_bps is nan; a value is a finite number, or null where there is none",
        ),
        ({"values": {"rate_bps": math.inf}}, "rate_bps is inf bit/s; a value is a finite number"),
        ({"values": {"rate_bps": -math.inf}}, "rate_bps is -inf bit/s; a value is a finite number"),
        ({"values": {"rate_bps": 1e300}}, "rate_bps is 1e+300 bit/s; allowed are 0 to 1000000000 bit/s"),
        ({"values": {"rate_bps": 1, "DRB.UEThpDl": 2}}, "rate_bps and DRB.UEThpDl are the same; send one of them"),
        (
            {"values": {"DRB.UEThpDl": 2e6}},
            "DRB.UEThpDl is 2000000 kbit/s, so rate_bps is 2000000000 bit/s; allowed are 0 to",
        ),
        ({"values": {"load": 0.5}}, "load is of a cell, not of a user"),
        ({"values": {"nothing": 0.5}}, "'nothing' is no value of a user; docs/formats.md lists the names"),
        ({"kind": "cell", "values": {"load": 0.5}}, "slice and group are for users; a cell has none"),
    ],
)
def test_a_refusal_says_why(changes, told):
    assert reason(user(**changes)).startswith(told)


def test_the_other_rows_stand_and_indices_count_rows_then_columns():
    block = {"kind": "cell", "attributes": ["load"], "ids": ["c1", "c2", "c 3"], "values": [[2], [0.5], [0.5]]}
    body = {**HEAD, "rows": [user(values={"RSRP": 0}), USER, user(id="a/b")], "columns": [block]}
    accepted = check(decode(as_json(body), JSON), NOW_S)
    assert [(r.index, r.kind, r.id) for r in accepted.refused] == [
        (0, "user", "ue-1"),
        (2, "user", "a/b"),
        (3, "cell", "c1"),
        (5, "cell", "c 3"),
    ]
    assert [part.ids for part in accepted.rows] == [["ue-1"], ["c2"]]
    assert json.loads(accepted.refused[1].row) == user(id="a/b")
    assert json.loads(accepted.refused[2].row) == {"kind": "cell", "id": "c1", "values": {"load": 2}}


def test_a_refusal_keeps_the_index_that_the_row_had_before_others_were_refused():
    body = {**HEAD, "rows": ["odd", user(id="a/b"), "odd", USER], "columns": [
        {"kind": "server", "attributes": ["utilisation"], "ids": ["e 1"], "values": [[1]]}
    ]}  # fmt: skip
    accepted = check(decode(as_json(body), JSON), NOW_S)
    assert [refused.index for refused in accepted.refused] == [0, 1, 2, 4]


def test_columns_of_uneven_length_refuse_the_uneven_rows():
    block = Columns(kind="cell", attributes=["load", "users"], ids=["a", "b"], values=[[0.5], [0.5, 3.0]])
    accepted = check(Batch("west", 1, columns=[block]), NOW_S)
    assert accepted.refused[0].reason == "has 1 values for 2 attributes"
    assert accepted.rows[0].ids == ["b"]
    with pytest.raises(ValueError, match="slices has 1 entries, ids has 2"):
        Columns(kind="user", attributes=[], ids=["a", "b"], values=[[], []], slices=["x"])


def test_the_text_of_a_refused_row_is_cut_and_refusals_do_not_fill_memory():
    values = dict.fromkeys(("x" * 120 + str(number) for number in range(100)), 1.0)
    accepted = check(of_rows(*[user(values=values, id=f"u{number}") for number in range(3_000)]), NOW_S)
    assert len(accepted.refused) == 3_000
    assert len(accepted.refused[0].row) == 2_000
    assert sum(len(refused.row) for refused in accepted.refused) <= 4 * 2**20 + 2_000
    assert accepted.refused[-1].reason == accepted.refused[0].reason


def test_a_flood_of_unknown_names_is_answered_at_once():
    made = [user(values={f"rsrp_dbn{number}": -90.0}) for number in range(2_000)]
    accepted = check(of_rows(*made), NOW_S)
    assert len(accepted.refused) == 2_000
    assert "did you mean rsrp_dbm" in accepted.refused[0].reason
    assert "docs/formats.md" in accepted.refused[-1].reason


def test_receipts_go_through():
    body = {**HEAD, "receipts": [{"revision": 3, "result": "refused", "detail": "busy"}]}
    accepted = check(decode(as_json(body), JSON), NOW_S)
    assert accepted.rows == ()
    assert [(r.revision, r.result, r.detail) for r in accepted.receipts] == [(3, "refused", "busy")]


def same(left, right):
    assert [part.kind for part in left.rows] == [part.kind for part in right.rows]
    for one, other in zip(left.rows, right.rows, strict=True):
        assert (one.ids, one.slices, one.groups) == (other.ids, other.slices, other.groups)
        np.testing.assert_array_equal(one.time_s, other.time_s)
        np.testing.assert_array_equal(one.value, other.value)


@settings(max_examples=40)
@given(made=st.lists(rows(), max_size=6), encoding=st.sampled_from([(JSON, as_json), (MSGPACK, as_msgpack)]))
def test_rows_in_order_are_taken_whole_and_exactly(made, encoding):
    media_type, write = encoding
    accepted = check(decode(write({**HEAD, "rows": made}), media_type), NOW_S)
    assert accepted.refused == ()
    taken = {plural: [row for row in made if row["kind"] == kind] for kind, plural in KINDS.items()}
    assert {part.kind: part.ids for part in accepted.rows} == {
        kind: [row["id"] for row in own] for kind, own in taken.items() if own
    }
    for part in accepted.rows:
        table = TABLES[part.kind.removesuffix("s")]
        expected = np.full(part.value.shape, np.nan, np.float32)
        for number, row in enumerate(taken[part.kind]):
            assert part.time_s[number] == (NOW_S if row["time_s"] is None else row["time_s"])
            for name, value in row["values"].items():
                expected[number, column(table, name)] = np.nan if value is None else value
        np.testing.assert_array_equal(part.value, expected)


@settings(max_examples=100)
@given(
    made=st.lists(rows(), min_size=1, max_size=4),
    field=st.sampled_from(["id", "slice", "time_s", "kind", "values"]),
    odd=st.sampled_from(["a b", "server", -1.0, math.nan, 1e12, {"rsrp_dbm": 3.0}, {"version": 1.5}, {"RSRP": -80.0}]),
)
def test_a_few_rows_are_checked_like_many(made, field, odd):
    wanted = {"id": str, "slice": str, "kind": str, "time_s": float, "values": dict}[field]
    if isinstance(odd, wanted):
        made[0] = made[0] | {field: odd}
    few, many = (check(of_rows(*made * times), NOW_S, shift_s=0.25) for times in (1, 1 + 2 * FEW))
    assert [part.kind for part in few.rows] == [part.kind for part in many.rows]
    for one, other in zip(few.rows, many.rows, strict=True):
        count = len(one.ids)
        assert (one.ids, one.slices, one.groups) == (other.ids[:count], other.slices[:count], other.groups[:count])
        np.testing.assert_array_equal(one.time_s, other.time_s[:count])
        np.testing.assert_array_equal(one.value, other.value[:count])
        assert (one.time_s.dtype, one.value.dtype) == (other.time_s.dtype, other.value.dtype)
    assert few.refused == many.refused[: len(few.refused)]
    assert len(many.refused) == len(few.refused) * (1 + 2 * FEW)


@settings(max_examples=30)
@given(made=st.lists(rows().filter(lambda row: row["kind"] == "user"), min_size=1, max_size=5), spoil=st.booleans())
def test_rows_and_columns_are_checked_alike(made, spoil):
    names = [attribute.name for attribute in USER_ATTRIBUTES]
    if spoil:
        made[0]["values"]["rsrp_dbm"] = 3.0
    block = {
        "kind": "user",
        "attributes": names,
        "ids": [row["id"] for row in made],
        "values": [[row["values"].get(name) for name in names] for row in made],
        "time_s": [row["time_s"] for row in made],
        "slices": [row["slice"] for row in made],
        "groups": [row["group"] for row in made],
    }
    by_row = check(decode(as_json({**HEAD, "rows": made}), JSON), NOW_S)
    by_column = check(decode(as_json({**HEAD, "columns": [block]}), JSON), NOW_S)
    same(by_row, by_column)
    assert [(r.index, r.id, r.reason) for r in by_row.refused] == [(r.index, r.id, r.reason) for r in by_column.refused]
    assert len(by_row.refused) == spoil


@settings(max_examples=60)
@given(
    made=st.lists(
        st.builds(
            Row,
            kind=st.sampled_from(["user", "cell", "server", "slice", "x"]),
            id=st.text(max_size=4),
            values=st.dictionaries(
                st.sampled_from(["RSRP", "rate_bps", "load", "RSRQ", "DRB.PdcpSduVolumeDL", "version", "odd"]),
                st.one_of(st.none(), st.floats()),
                max_size=4,
            ),
            time_s=st.one_of(st.none(), st.floats()),
            period_s=st.one_of(st.none(), st.floats()),
            slice=st.one_of(st.none(), st.text(max_size=3)),
        ),
        max_size=6,
    )
)
def test_every_row_is_either_taken_or_refused_with_a_reason(made):
    accepted = check(Batch("west", 1, made), NOW_S)
    assert sum(len(part.ids) for part in accepted.rows) + len(accepted.refused) == len(made)
    assert all(refused.reason and "\n" not in refused.reason for refused in accepted.refused)
    for part in accepted.rows:
        table = TABLES[part.kind.removesuffix("s")]
        low, high = (np.float32([getattr(a, end) for a in table]) for end in ("low", "high"))
        assert (np.isnan(part.value) | ((part.value >= low) & (part.value <= high))).all()
        assert (np.isfinite(part.time_s) & (part.time_s >= 0)).all()
