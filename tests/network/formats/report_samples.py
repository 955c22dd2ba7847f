"""Reports to test with: one of everything, and random ones that are in order."""

import json

import msgspec
from hypothesis import strategies as st

from twinloop.network.formats import TABLES

NOW_S = 1_700_000_100.0
JSON, NDJSON, MSGPACK = "application/json", "application/x-ndjson", "application/msgpack"

HEAD = {"source": "west", "sequence": 17, "sent_s": 1_700_000_000.5}
USER = {
    "kind": "user",
    "id": "ue-1",
    "time_s": 1_700_000_000.0,
    "slice": "premium",
    "group": "g1",
    "values": {"RSRP": -87.5, "buffer_s": 3.25},
}
CELL = {"kind": "cell", "id": "cell-7", "values": {"load": 0.5, "users": 12}}
SERVER = {"kind": "server", "id": "edge-1", "time_s": 1_700_000_001.0, "values": {"utilisation": None}}
RECEIPTS = [{"revision": 12, "result": "applied"}, {"revision": 13, "result": "failed", "detail": "no such cell"}]
ROWS = {**HEAD, "rows": [USER, CELL, SERVER], "receipts": RECEIPTS}
COLUMNS = {
    **HEAD,
    "columns": [
        {
            "kind": "user",
            "attributes": ["RSRP", "buffer_s"],
            "ids": ["ue-1", "ue-2"],
            "time_s": [1_700_000_000.0, None],
            "values": [[-87.5, 3.25], [-90, None]],
            "slices": ["premium", None],
            "groups": ["g1", None],
        }
    ],
}


def as_json(value):
    return json.dumps(value).encode()


def as_msgpack(value):
    return msgspec.msgpack.encode(value)


def as_ndjson(value):
    """The rows of a batch as lines below its header."""
    head = {name: part for name, part in value.items() if name in HEAD}
    return b"\n".join(as_json(line) for line in [head, *value["rows"]])


names = st.text(st.characters(exclude_characters="/ ", categories=("L", "N", "P", "S")), min_size=1, max_size=8)
moments = st.one_of(st.none(), st.floats(0, 2e9))


@st.composite
def rows(draw):
    """A row in order, with any of its kind's attributes."""
    kind = draw(st.sampled_from(sorted(TABLES)))
    chosen = draw(st.lists(st.sampled_from(TABLES[kind]), unique=True, max_size=5))
    values = {}
    for attribute in chosen:
        number = st.floats(attribute.low, attribute.high)
        if attribute.kind != "level" and attribute.unit == "1":
            number = st.integers(int(attribute.low), int(attribute.high)).map(float)
        values[attribute.name] = draw(st.one_of(st.none(), number))
    row = {"kind": kind, "id": draw(names), "values": values, "time_s": draw(moments)}
    if kind == "user":
        row |= {"slice": draw(st.one_of(st.none(), names)), "group": draw(st.one_of(st.none(), names))}
    return row
