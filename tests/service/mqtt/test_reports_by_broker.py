"""Reports through a real broker: kept first, acknowledged then; what cannot be kept waits at the broker."""

import json

import msgspec
import pytest
from served_here import Server, eventually, forget, publish, report
from servers import Mosquitto

from twinloop.service.mqtt.client import RECEIVE_MAXIMUM

TOPIC = "twinloop/west/reports"
HEAD = b'{"source": "west", "sequence": 4}\n'
ROW = b'{"kind": "user", "id": "ue-1", "slice": "standard", "values": {"RSRP": -88.0}}\n'


@pytest.mark.parametrize(
    ("payload", "options"),
    [
        (report(1), ()),
        (report(1), ("-V", "mqttv311")),
        (HEAD + ROW + ROW, ()),
        (HEAD + ROW, ("-V", "mqttv5", "-D", "publish", "content-type", "application/x-ndjson")),
        (msgspec.msgpack.encode(json.loads(report(7))), ()),
        (b'{\n "sequence": 3,\n "columns": []\n}', ()),
    ],
)
def test_mosquitto_pub_reports_in_every_format(payload: bytes, options: tuple[str, ...], server: Server, broker):
    publish(broker, TOPIC, payload, *options)
    number, _ = server.arrived.get(timeout=30)
    assert number == 1
    assert server.events()[0][0] == "west"
    eventually(lambda: server.bridge.told()["waiting"] == 0)
    assert server.storage.refusals.newest() == []


@pytest.mark.parametrize(
    ("topic", "payload", "said"),
    [
        (TOPIC, b'{"source": "west", ', "ends too early"),
        (TOPIC, b"", "ends too early"),
        (TOPIC, b"\x00\xff", "twinloop/west/reports: "),
        (TOPIC, b'{"rows": []}', "sequence is missing"),
        (TOPIC, report(1, "east"), "source is 'east'; on twinloop/west/reports allowed are west and west:..."),
        (TOPIC, report(1, "western"), "allowed are west and west:..."),
        ("twinloop/north/reports", report(1, "west"), "source is 'west'"),
        (TOPIC, report(1, buffer_s=1e300), "buffer_s is 1e+300 s; allowed are 0 to 60 s"),
    ],
)
def test_what_cannot_be_kept_is_refused_with_its_topic_and_not_sent_again(topic, payload, said, server, broker):
    publish(broker, topic, payload)
    eventually(lambda: server.storage.refusals.newest())
    (refused,) = server.storage.refusals.newest()
    assert said in refused.reason
    assert refused.source == topic.split("/")[1] or refused.sequence is not None
    eventually(lambda: server.bridge.told()["waiting"] == 0)
    server.hang_up()
    server.connect()
    publish(broker, TOPIC, report(99))
    eventually(lambda: ("west", 99) in server.events())
    assert server.bridge.told()["received"] == 1


def test_a_part_of_a_site_reports_on_the_sites_topic(server, broker):
    publish(broker, TOPIC, report(5, "west:cmcd"))
    server.arrived.get(timeout=30)
    assert server.events() == [("west:cmcd", 5)]


def test_a_server_that_is_busy_leaves_reports_with_the_broker(server: Server, broker: Mosquitto):
    server.stand.backlog = 10**9
    count = 3 * RECEIVE_MAXIMUM
    lines = b"".join(report(number) + b"\n" for number in range(count))
    publish(broker, TOPIC, lines, "-l")
    eventually(lambda: server.bridge.told()["stalled"])
    eventually(lambda: server.bridge.told()["received"] == RECEIVE_MAXIMUM)
    assert server.events() == []
    assert "take them in" in server.bridge.told()["stalled"]
    server.stand.backlog = 0
    for _ in range(count):
        server.arrived.get(timeout=30)
    assert [sequence for _, sequence in server.events()] == list(range(count))
    eventually(lambda: server.bridge.told()["stalled"] == "")


def test_what_was_not_acknowledged_comes_again_to_the_next_process(server: Server, broker: Mosquitto):
    server.stand.backlog = 10**9
    for number in range(3):
        publish(broker, TOPIC, report(number))
    eventually(lambda: server.bridge.told()["received"] == 3)
    server.hang_up()
    publish(broker, TOPIC, report(3))
    assert server.events() == []
    server.stand.backlog = 0
    server.connect()
    eventually(lambda: len(server.events()) == 4)
    assert [sequence for _, sequence in server.events()] == [0, 1, 2, 3]


def test_a_message_that_breaks_the_program_is_refused_and_holds_up_nobody(server, broker, monkeypatch):
    def broken(*_: object) -> None:
        raise ZeroDivisionError("a fault of ours")

    monkeypatch.setattr(server.intake, "submit", broken)
    publish(broker, TOPIC, report(1))
    eventually(lambda: server.storage.refusals.newest())
    assert "could not be taken in (ZeroDivisionError)" in server.storage.refusals.newest()[0].reason
    monkeypatch.undo()
    publish(broker, TOPIC, report(2))
    server.arrived.get(timeout=30)
    assert server.events() == [("west", 2)]


def test_a_sites_topic_takes_no_cells_of_another_site(server, broker):
    rows = [{"kind": "cell", "id": f"{site}-macro", "values": {"load": 0.5}} for site in ("west", "east")]
    publish(broker, TOPIC, json.dumps({"sequence": 1, "rows": rows}).encode())
    assert server.arrived.get(timeout=30)[1] == ["west-macro"]
    eventually(lambda: server.storage.refusals.newest())
    (refused,) = server.storage.refusals.newest()
    assert refused.reason.startswith("cell 'east-macro' belongs to site east, and this was sent for site west")


def test_nothing_is_decoded_before_there_is_room_for_it(server, broker):
    server.stand.backlog = 10**9
    publish(broker, TOPIC, b'{"source": "west", ')
    eventually(lambda: server.bridge.told()["stalled"])
    assert server.storage.refusals.newest() == []
    server.stand.backlog = 0
    eventually(lambda: server.storage.refusals.newest())


def test_a_message_that_could_never_wait_is_refused_and_holds_up_nobody(open_server, broker):
    forget(broker, "twinloop-here")
    server = open_server(broker.url, waiting_bytes=2**16)
    server.connect()
    publish(broker, TOPIC, report(1).ljust(2**16 + 1))
    publish(broker, TOPIC, report(2))
    server.arrived.get(timeout=30)
    assert server.events() == [("west", 2)]
    (refused,) = server.storage.refusals.newest()
    assert "the message has 65,537 bytes; at most 65,536 are taken" in refused.reason


def test_messages_beyond_the_bytes_that_may_wait_come_again(server, broker, monkeypatch):
    monkeypatch.setattr("twinloop.service.mqtt.inward.MOST_AHEAD_BYTES", 10 * len(report(1)))
    server.stand.backlog = 10**9
    publish(broker, TOPIC, b"".join(report(number) + b"\n" for number in range(30)), "-l")
    eventually(lambda: server.bridge.told()["received"] >= 9)
    assert server.bridge.told()["waiting"] <= 10
    server.stand.backlog = 0
    eventually(lambda: {sequence for _, sequence in server.events()} == set(range(30)))
