"""What is stored of an event comes back exactly, or is recognised as damaged."""

import zlib

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_samples import CELL, HEAD, JSON, NOW_S, USER, as_json, rows

from twinloop.entities import CELL_ATTRIBUTES
from twinloop.errors import FormatError
from twinloop.network.formats import check, decode, pack, unpack


def accepted(*made):
    return check(decode(as_json({**HEAD, "rows": made}), JSON), NOW_S).rows


@settings(max_examples=30)
@given(made=st.lists(rows(), max_size=6))
def test_packing_loses_nothing(made):
    before = accepted(*made)
    after = unpack(pack(before))
    assert len(after) == len(before)
    for one, other in zip(before, after, strict=True):
        assert (one.kind, one.ids, one.slices, one.groups) == (other.kind, other.ids, other.slices, other.groups)
        assert one.time_s.tobytes() == other.time_s.tobytes()
        np.testing.assert_array_equal(one.value, other.value)
        assert other.value.dtype == np.float32
        assert other.value.flags.writeable


def test_attributes_that_nobody_reported_take_no_room():
    few = pack(accepted(*[{**USER, "id": f"u{number}", "values": {"RSRP": -90}} for number in range(100)]))
    assert len(few) < 100 * 40


def test_every_damaged_byte_is_found():
    payload = pack(accepted(USER, CELL))
    for place in range(len(payload)):
        damaged = bytearray(payload)
        damaged[place] ^= 1 << place % 8
        with pytest.raises(FormatError, match="the stored rows are"):
            unpack(bytes(damaged))
    for length in range(len(payload)):
        with pytest.raises(FormatError):
            unpack(payload[:length])


@given(st.binary(max_size=80))
def test_what_was_never_packed_is_refused(payload):
    body = payload[5:]
    for tried in (payload, b"\x01" + zlib.crc32(body).to_bytes(4, "big") + body):
        try:
            assert isinstance(unpack(tried), tuple)
        except FormatError:
            continue


def part(**changes):
    fields = {
        "kind": "cells",
        "ids": ["c"],
        "names": ["load"],
        "time_s": np.float64([1.0]).tobytes(),
        "value": np.float32([0.5]).tobytes(),
        "slices": None,
        "groups": None,
    } | changes
    body = msgspec.msgpack.encode([list(fields.values())])
    return b"\x01" + zlib.crc32(body).to_bytes(4, "big") + body


def test_an_attribute_that_the_table_no_longer_has_is_left_out():
    (cells,) = unpack(part(names=["load", "retired"], value=np.float32([0.5, 9.0]).tobytes()))
    assert cells.value[0].tolist()[0] == 0.5
    assert np.isnan(cells.value[0, 1:]).all()
    assert cells.value.shape == (1, len(CELL_ATTRIBUTES))


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "slices"},
        {"ids": ["c", "d"]},
        {"names": []},
        {"time_s": b"1234567"},
        {"time_s": np.float64([1.0, 2.0]).tobytes()},
        {"value": b"123"},
        {"slices": ["a", "b"]},
        {"ids": "c"},
    ],
)
def test_parts_that_do_not_fit_each_other_are_damage(changes):
    with pytest.raises(FormatError, match="damaged"):
        unpack(part(**changes))


def test_another_version_is_told():
    with pytest.raises(FormatError, match="version 9; this program reads version 1"):
        unpack(b"\x09" + pack(())[1:])
    with pytest.raises(FormatError, match="empty"):
        unpack(b"")
