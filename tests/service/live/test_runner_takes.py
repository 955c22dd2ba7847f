"""What arrived together and cannot be taken in together is taken in one by one."""

import logging

import numpy as np

from twinloop.network.formats import Rows
from twinloop.twins import ATTRIBUTES


def rows(value: float, attributes: int | None = None) -> tuple[Rows, ...]:
    width = len(ATTRIBUTES["users"]) if attributes is None else attributes
    return (Rows("users", ["ann"], np.array([1.7e9]), np.full((1, width), value, np.float32), ["standard"], [None]),)


def test_an_event_that_cannot_be_taken_in_takes_no_other_with_it(make_platform, tmp_path, caplog):
    platform = make_platform(tmp_path / "live.db")
    platform.prepare()
    runner = platform.runner
    runner.members.join(rows(1.0))
    for event, part in ((1, rows(1.0)), (2, rows(2.0, attributes=3)), (3, rows(3.0))):
        runner.accept(event, 1.7e9, part)
    with caplog.at_level(logging.ERROR, "twinloop.live"):
        runner.drain()
    assert [record.message for record in caplog.records] == ["event 2 could not be taken into the twins"]
    assert (runner.event, runner.inboxes["users"].value[0, 0]) == (3, 3.0)
