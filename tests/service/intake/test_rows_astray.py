"""A row of somebody who has no place here is refused as itself: its number, its text, the reason."""

import asyncio
import json

import pytest

from twinloop.network.formats import Batch, Columns, Row, decode

NOW_S = 1.7e9


@pytest.fixture(scope="module")
def stage(new_stage):
    return new_stage()


def submit(stage, batch: Batch):
    return asyncio.run(stage.platform.intake.submit(batch, 100))


def test_rows_and_columns_are_named_by_their_place_in_the_batch(stage):
    rows = [
        Row(kind="user", id="ann", values={"buffer_s": 1e9}),
        Row(kind="cell", id="nowhere", values={"load": 0.5}),
        Row(kind="user", id="bob", values={"buffer_s": 1.0}, slice="gold"),
        Row(kind="user", id="cy", values={"buffer_s": 1.0}, slice="premium"),
        Row(kind="user", id="fay", values={"buffer_s": 1.0}),
    ]
    columns = [
        Columns(
            kind="user",
            attributes=["buffer_s"],
            ids=["cy", "eve"],
            values=[[1.0], [2.0]],
            slices=[None, "gold"],
        )
    ]
    ack = submit(stage, Batch("west", 1, rows, columns, NOW_S))
    assert ack.accepted == 2
    assert [(one.index, one.kind, one.id) for one in ack.refused] == [
        (0, "user", "ann"),
        (1, "cell", "nowhere"),
        (2, "user", "bob"),
        (4, "user", "fay"),
        (6, "user", "eve"),
    ]
    assert ack.refused[3].reason.startswith("user 'fay' is new and of no slice yet; name one of premium")
    assert json.loads(ack.refused[1].row) == {"kind": "cell", "id": "nowhere", "values": {"load": 0.5}}
    assert json.loads(ack.refused[4].row) == {
        "kind": "user",
        "id": "eve",
        "values": {"buffer_s": 2.0},
        "slice": "gold",
    }
    stage.platform.storage.check().result()
    kept = sorted(stage.platform.storage.refusals.newest(), key=lambda one: one.index)
    assert [(one.index, bool(one.row)) for one in kept] == [(0, True), (1, True), (2, True), (4, True), (6, True)]


def test_rows_after_one_that_could_not_be_read_keep_their_numbers(stage):
    body = {
        "source": "west",
        "sequence": 2,
        "rows": [
            {"kind": "user", "id": "ann", "values": {"buffer_s": "full"}},
            {"kind": "server", "id": "nobody", "values": {"utilisation": 0.5}},
        ],
    }
    ack = submit(stage, decode(json.dumps(body).encode(), "application/json"))
    assert [one.index for one in ack.refused] == [0, 1]
    assert "server 'nobody' is not in the scenario" in ack.refused[1].reason
