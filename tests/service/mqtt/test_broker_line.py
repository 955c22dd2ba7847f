"""The line to a broker: what stands is published, breaks are outlived, secrets are kept, 3.1.1 is spoken if need be."""

import asyncio
import contextlib
import getpass
import json
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import pytest
from paho.mqtt.client import MQTTMessage
from served_here import eventually, publish, report
from servers import PATIENCE_S, Mosquitto, program, start_mosquitto

from twinloop.errors import TwinloopError
from twinloop.network import Command, Plan
from twinloop.service.mqtt import Topic, broker_of, publish_properties, topic_of
from twinloop.service.mqtt.client import AcknowledgingClient
from twinloop.service.mqtt.inward import Counts, Inward
from twinloop.service.mqtt.topics import media_type_of

TOPIC = "twinloop/west/reports"


def command(revision: int) -> Command:
    return Command(revision, "west", 0.0, [])


def retained(broker: Mosquitto, topic: str) -> dict:
    """What a client finds that connects now."""
    asked = [program("mosquitto_sub", "mosquitto-clients"), "-p", str(broker.port), "-t", topic, "-C", "1", "-W", "30"]
    return json.loads(subprocess.run(asked, check=True, capture_output=True, timeout=PATIENCE_S).stdout)


def test_plans_and_commands_are_there_for_whoever_comes_later(server, broker):
    server.stand.plans["west"] = Plan(7, "west", [])
    server.stand.commands["west"] = command(3)
    assert retained(broker, "twinloop/west/command")["revision"] == 3
    assert retained(broker, "twinloop/west/plan") == {"revision": 7, "site": "west", "parts": []}
    server.stand.commands["west"] = command(4)
    eventually(lambda: retained(broker, "twinloop/west/command")["revision"] == 4)


def test_receipts_come_inside_reports(server, broker):
    body = {"source": "west", "sequence": 1, "receipts": [{"revision": 12, "result": "applied"}]}
    publish(broker, TOPIC, msgspec.json.encode(body))
    eventually(lambda: server.receipts == [("west", 12)])


def test_a_broker_that_ends_and_comes_back_loses_nothing_that_it_acknowledged(open_server, tmp_path):
    broker = start_mosquitto("persistence true", f"persistence_location {tmp_path}/", f"user {getpass.getuser()}")
    try:
        server = open_server(broker.url)
        server.connect()
        publish(broker, TOPIC, report(0))
        broker.stop()
        server.until("waiting")
        assert server.bridge.told()["fault"]
        broker.start()
        server.until("connected")
        publish(broker, TOPIC, report(1))
        eventually(lambda: len(server.events()) == 2)
        server.hang_up()
        publish(broker, TOPIC, b"".join(report(number) + b"\n" for number in range(2, 52)), "-l")
        broker.stop()
        broker.start()
        server.connect()
        eventually(lambda: len(server.events()) == 52)
        assert [sequence for _, sequence in server.events()] == list(range(52))
    finally:
        broker.close()


def test_a_broker_that_refuses_is_told_without_its_password(open_server, caplog):
    broker = start_mosquitto("allow_anonymous false")
    try:
        server = open_server(f"mqtt://reader:hidden%40word@127.0.0.1:{broker.port}")
        server.connect("waiting")
        told = server.bridge.told()
    finally:
        broker.close()
    assert told["address"] == f"mqtt://127.0.0.1:{broker.port}"
    assert "ot authorized" in told["fault"] or "ot authorised" in told["fault"]
    assert "hidden" not in json.dumps(told) + caplog.text + repr(server.broker)


@contextmanager
def before_mqtt_5(broker: Mosquitto) -> Iterator[int]:
    """A port behind which the broker stands, and says of MQTT 5 what a broker says that does not know it."""
    listener = socket.create_server(("127.0.0.1", 0))

    def carry(source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65_536):
                target.sendall(data)
        except OSError:
            pass
        target.close()

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            first = client.recv(65_536)
            level = first[first.index(b"MQTT") + 4]
            if level == 5:
                client.sendall(b"\x20\x02\x00\x01")
                client.close()
                continue
            behind = socket.create_connection(("127.0.0.1", broker.port))
            behind.sendall(first)
            for pair in ((client, behind), (behind, client)):
                threading.Thread(target=carry, args=pair, daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def test_a_broker_that_does_not_know_mqtt_5_is_asked_in_3_1_1(open_server, broker):
    with before_mqtt_5(broker) as port:
        server = open_server(f"mqtt://127.0.0.1:{port}")
        server.connect()
        assert server.bridge.told()["protocol"] == "3.1.1"
        publish(broker, TOPIC, report(1))
        server.arrived.get(timeout=PATIENCE_S)
        server.hang_up()
    assert server.events() == [("west", 1)]


@pytest.mark.parametrize(
    "url",
    [
        "http://host",
        "mqtt://",
        "host:1883",
        "mqtt://host:port",
        "mqtt://host:99999",
        "mqtt://user:sec/ret@host",
        "mqtt://user:sec#ret@host",
        "mqtt://host/topic",
        "mqtt://:secret@host",
        "mqtt://[::1",
        "",
    ],
)
def test_what_is_no_address_is_said_in_a_line_that_repeats_nothing(url):
    with pytest.raises(TwinloopError, match="--broker") as raised:
        broker_of(url)
    assert "secret" not in str(raised.value)
    assert "sec" not in str(raised.value).replace("USER:PASSWORD", "")


def test_addresses_are_read(tmp_path):
    broker = broker_of("mqtts://user:p%40ss%2F@[::1]", None)
    assert (broker.host, broker.port, broker.user, broker.password, broker.tls) == ("::1", 8883, "user", "p@ss/", True)
    assert str(broker) == "mqtts://[::1]:8883"
    assert broker_of("mqtt://host").port == 1883
    with pytest.raises(TwinloopError, match="--broker-ca is for mqtts"):
        broker_of("mqtt://host", tmp_path)
    with pytest.raises(TwinloopError, match=r"--broker-ca .* cannot be used"):
        broker_of("mqtts://host", tmp_path / "absent.pem").tls_context()


@pytest.mark.parametrize(
    ("payload", "said", "kind"),
    [
        (b"{}", "", "application/json"),
        (b'{"rows": [\n]}', "", "application/json"),
        (b'{"sequence": 1}\n\n', "", "application/json"),
        (b'{"sequence": 1}\n{"kind": "user"}', "", "application/x-ndjson"),
        (b"\x82\xa6source", "", "application/msgpack"),
        (b"\xde\x00\x10", "", "application/msgpack"),
        (b"\xff", "", "application/json"),
        (b"{}", "application/msgpack", "application/msgpack"),
    ],
)
def test_a_payload_is_what_it_says_or_looks_like(payload, said, kind):
    assert media_type_of(payload, said) == kind


class _KeepsCancellation(AcknowledgingClient):
    """A line that keeps a cancellation to itself while it answers, as `asyncio.wait_for` may until Python 3.12."""

    def __init__(self) -> None:
        self.answers = asyncio.Event()

    def acknowledge(self, message: MQTTMessage) -> None:
        """Nobody listens."""

    async def publish(self, *told: object, **more: object) -> None:
        self.answers.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)


def test_a_line_that_is_ended_while_it_answers_ends(make_platform, tmp_path):
    platform = make_platform(tmp_path / "live.db")
    message = MQTTMessage(1, topic_of("west", Topic.REPORTS).encode())
    message.payload = b'{"source": "west", "sequence": 1, "rows": []}'
    message.properties = publish_properties(ResponseTopic=topic_of("west", Topic.ANSWERS))

    async def lives() -> None:
        inward, client = Inward(platform.intake, platform.storage, platform.clock, Counts()), _KeepsCancellation()
        inward.take(message, client)
        acknowledging = asyncio.create_task(inward.acknowledge(client))
        await client.answers.wait()
        acknowledging.cancel()
        await asyncio.wait({acknowledging}, timeout=10)
        assert acknowledging.cancelled()
        inward.drop()

    asyncio.run(lives())
