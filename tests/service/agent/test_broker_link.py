"""An agent's line through a broker: nothing counts as delivered before the server says so, whatever the broker does."""

import logging

import pytest
from served_here import NOW_S, eventually
from servers import start_mosquitto

from twinloop.network import Command, Plan
from twinloop.service.agent import BrokerLink, LinkError
from twinloop.service.agent.broker_link import PROBE_S, RESEND_S
from twinloop.service.mqtt import broker_of

ROW = {"kind": "user", "attributes": ["buffer_s"], "ids": ["ue-1"], "slices": ["standard"], "values": [[3.0]]}


class Tick:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def tick() -> Tick:
    return Tick()


@pytest.fixture
def open_link(tick):
    opened: list[BrokerLink] = []

    def make(url: str, site: str = "west", source: str = "") -> BrokerLink:
        opened.append(BrokerLink(broker_of(url), site, source, lambda: NOW_S, tick))
        return opened[-1]

    yield make
    for link in opened:
        link.close()


def sequences(server) -> list[int]:
    return [sequence for _, sequence in server.events()]


def test_a_report_is_delivered_once_the_server_has_it(server, broker, open_link):
    link = open_link(broker.url)
    link.put([ROW], [])
    eventually(link.send)
    assert (link.acknowledged, link.accepted, link.refused, link.waiting) == (1, 1, 0, 0)
    assert server.events() == [("west", int(NOW_S * 1000) + 1)]


def test_what_the_server_refuses_is_not_sent_again(server, broker, open_link, caplog):
    link = open_link(broker.url, "west", "east")
    link.put([ROW], [])
    with caplog.at_level(logging.WARNING, "twinloop.agent"):
        eventually(link.send)
    assert (link.acknowledged, link.refused) == (0, 1)
    assert "allowed are west and west:..." in caplog.text


def test_rows_that_are_refused_are_told(server, broker, open_link, caplog):
    link = open_link(broker.url)
    link.put([{**ROW, "values": [[1e9]]}], [])
    with caplog.at_level(logging.WARNING, "twinloop.agent"):
        eventually(link.send)
    assert "1 rows are refused, the first: buffer_s is 1000000000 s" in caplog.text


def test_two_that_speak_for_a_site_do_not_take_each_others_answers(server, broker, open_link):
    first, second = open_link(broker.url), open_link(broker.url, "west", "west:cmcd")
    first.put([ROW], [])
    second.put([ROW], [])
    eventually(lambda: first.send() & second.send())
    assert (first.acknowledged, second.acknowledged) == (1, 1)
    assert {source for source, _ in server.events()} == {"west", "west:cmcd"}


def test_a_broker_that_forgets_what_it_took_loses_nothing(open_server, open_link, tick):
    broker = start_mosquitto()
    try:
        server = open_server(broker.url)
        server.connect()
        link = open_link(broker.url)
        link.put([ROW], [])
        eventually(link.send)
        server.hang_up()
        link.put([ROW], [])
        link.send()
        eventually(lambda: link._waiting[max(link._waiting)].sent.is_published())
        broker.stop()
        broker.start()
        server.connect()
        link.put([ROW], [])
        eventually(lambda: link.send() or link.waiting == 1)
        assert len(server.events()) == 2
        tick.now += RESEND_S + 1
        link.put([ROW], [])
        eventually(link.send)
        first = int(NOW_S * 1000) + 1
        assert sorted(sequences(server)) == list(range(first, first + 4))
        assert (link.acknowledged, link.given_up) == (4, 0)
    finally:
        broker.close()


def test_without_any_answer_the_oldest_report_asks_for_the_server(server, broker, open_link, tick):
    server.hang_up()
    link = open_link(broker.url, "nobody")
    for _ in range(2):
        link.put([ROW], [])
    eventually(lambda: link.send() or all(held.sent and held.sent.is_published() for held in link._waiting.values()))
    before = [held.sent for held in link._waiting.values()]
    tick.now += PROBE_S + 1
    link.send()
    after = [held.sent for held in link._waiting.values()]
    assert (before[0] is after[0], before[1] is after[1]) == (False, True)


def test_a_link_that_comes_later_finds_the_last_command_and_plan(server, broker, open_link):
    server.stand.plans["west"] = Plan(7, "west", [])
    server.stand.commands["west"] = Command(3, "west", 0.0, [])
    link = open_link(broker.url)
    command = link.command("west", -1, 30.0)
    assert command is not None
    assert command.revision == 3
    assert link.command("west", 3) is None
    server.stand.commands["west"] = Command(4, "west", 0.0, [])
    assert link.command("west", 3, 30.0) == Command(4, "west", 0.0, [])
    eventually(lambda: link.plan("west", -1))
    assert link.plan("west", -1) is None


def test_every_report_repeats_the_last_receipt(server, broker, open_link):
    link = open_link(broker.url)
    link.put([ROW], [{"revision": 3, "result": "applied"}])
    link.put([ROW], [])
    eventually(link.send)
    assert server.receipts == [("west", 3), ("west", 3)]


def test_a_broker_that_refuses_is_an_error_to_read(open_link):
    broker = start_mosquitto("allow_anonymous false")
    try:
        link = open_link(f"mqtt://agent:hidden@127.0.0.1:{broker.port}")
        with pytest.raises(LinkError, match=r"refuses west: Not authorized") as raised:
            eventually(lambda: link.command("west", -1, 0.05))
        assert "hidden" not in str(raised.value) and raised.value.lasting
    finally:
        broker.close()


def test_an_absent_broker_leaves_reports_waiting(open_link):
    link = open_link("mqtt://127.0.0.1:1")
    link.put([ROW], [])
    assert not link.send()
    assert link.waiting == 1
