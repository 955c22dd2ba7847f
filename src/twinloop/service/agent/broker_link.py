"""An agent's line to its server through a broker: reports until the server says that it has them, plans and commands.

A broker that has taken a report can still lose it. Under MQTT 5 the server answers each report once it is durable, and
only that counts; under 3.1.1, where nothing can be answered, the broker's own word does.
"""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.reasoncodes import ReasonCode

from twinloop.network import Command, Plan
from twinloop.service.agent.link import MOST_WAITING, LinkError
from twinloop.service.mqtt import MOST_BYTES, Broker, Topic, publish_properties, topic_of

RESEND_S = 10.0
"""A report that is not answered for so long, while later ones are, got lost between broker and server."""

PROBE_S = 60.0
"""After so long without any answer the oldest report is sent again, so that a server that lost all is found back."""

_MOST_IN_FLIGHT = 200
_KEEPALIVE_S = 30
_FIRST_WAIT_S, _LONGEST_WAIT_S = 1, 30
_LASTING = ("Bad user name or password", "Not authorized", "Banned")
_log = logging.getLogger("twinloop.agent")
_plan = msgspec.json.Decoder(Plan)
_command = msgspec.json.Decoder(Command)
_answer = msgspec.json.Decoder(dict[str, Any])


@dataclass
class _Held:
    """A batch that the server is not known to have; `sent` is its last way out, at `sent_s` of the monotonic clock."""

    batch: dict[str, Any]
    sent: mqtt.MQTTMessageInfo | None = None
    sent_s: float = 0.0


class BrokerLink:
    """Speaks through one broker for one source, as `Link` does over HTTP. `site` names the topics.

    At most an hour of slots waits here; then the oldest batch is given up, and counted. Every batch repeats the last
    receipt, by which the server knows that commands are listened to.
    """

    def __init__(
        self,
        broker: Broker,
        site: str,
        source: str = "",
        wall: Callable[[], float] = time.time,
        tick: Callable[[], float] = time.monotonic,
    ) -> None:
        self.source = source or site
        self.acknowledged = 0
        self.accepted = 0
        self.refused = 0
        self.given_up = 0
        self._broker = broker
        self._site = site
        self._wall = wall
        self._tick = tick
        self._sequence = int(wall() * 1000)
        self._waiting: OrderedDict[int, _Held] = OrderedDict()
        self._receipts: list[dict[str, Any]] = []
        self._news = threading.Condition()
        self._plan: Plan | None = None
        self._command: Command | None = None
        self._answered_s = float("-inf")
        self._connected = False
        self._refusal = ""
        self._version = MQTTProtocolVersion.MQTTv5
        self._client = self._begin()

    @property
    def waiting(self) -> int:
        """Batches that the server is not known to have."""
        with self._news:
            return len(self._waiting)

    def put(self, columns: list[dict[str, Any]], receipts: list[dict[str, Any]]) -> None:
        """Queues one batch."""
        self._receipts = receipts[-1:] or self._receipts
        with self._news:
            self._sequence += 1
            self._waiting[self._sequence] = _Held({"columns": columns, "receipts": receipts or self._receipts})
            while len(self._waiting) > MOST_WAITING:
                self._waiting.popitem(last=False)
                self.given_up += 1

    def send(self) -> bool:
        """Sends what waits and is not under way, oldest first; True where the server has everything.

        Raises LinkError where the broker refuses this agent.
        """
        self._check()
        now = self._tick()
        with self._news:
            first = list(self._waiting.items())[:_MOST_IN_FLIGHT]
            connected = self._connected
        for at, (sequence, held) in enumerate(first):
            # Never while the lock is held: paho calls back with locks of its own.
            if _has_left(held) and self._version is MQTTProtocolVersion.MQTTv311:
                self._done(sequence, accepted=sum(len(block["ids"]) for block in held.batch["columns"]))
            elif connected and (held.sent is None or self._is_lost(held, now, oldest=at == 0)):
                self._publish(sequence, held, now)
        return not self.waiting

    def plan(self, site: str, after: int) -> Plan | None:
        """The plan of the site, once each time that it comes."""
        del site, after
        self._check()
        with self._news:
            plan, self._plan = self._plan, None
        return plan

    def command(self, site: str, after: int, wait_s: float = 0.0) -> Command | None:
        """The command of the site if it is another than number `after`, within `wait_s`."""
        del site
        self._check()
        with self._news:
            self._news.wait_for(lambda: self._command is not None and self._command.revision != after, wait_s)
            command = self._command
        return command if command is not None and command.revision != after else None

    def close(self) -> None:
        """Hangs up."""
        self._client.disconnect()
        self._client.loop_stop()

    def _begin(self) -> mqtt.Client:
        """A client that connects, and connects again, in a thread of its own."""
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=f"twinloop-agent-{self.source}", protocol=self._version
        )
        broker, context = self._broker, self._broker.tls_context()
        if broker.user:
            client.username_pw_set(broker.user, broker.password or None)
        if context is not None:
            client.tls_set_context(context)
        client.reconnect_delay_set(_FIRST_WAIT_S, _LONGEST_WAIT_S)
        client.on_connect, client.on_disconnect, client.on_message = self._came, self._went, self._heard
        client.connect_async(broker.host, broker.port, _KEEPALIVE_S)
        client.loop_start()
        return client

    def _check(self) -> None:
        with self._news:
            refusal, self._refusal = self._refusal, ""
            again = refusal == "Unsupported protocol version" and self._version is MQTTProtocolVersion.MQTTv5
            if again:
                self._version = MQTTProtocolVersion.MQTTv311
        if again:
            self.close()
            _log.warning("%s does not speak MQTT 5; going on in 3.1.1", self._broker)
            self._client = self._begin()
        elif refusal:
            raise LinkError(f"{self._broker} refuses {self.source}: {refusal}", lasting=refusal in _LASTING)

    def _is_lost(self, held: _Held, now: float, *, oldest: bool) -> bool:
        silent_s = now - held.sent_s
        overtaken = silent_s > RESEND_S and self._answered_s > held.sent_s
        return (overtaken or (oldest and silent_s > PROBE_S)) and _has_left(held)

    def _publish(self, sequence: int, held: _Held, now: float) -> None:
        body = msgspec.msgpack.encode(
            {"source": self.source, "sequence": sequence, "sent_s": self._wall(), **held.batch}
        )  # fmt: skip
        if len(body) > MOST_BYTES:
            self._done(sequence, f"it has {len(body):,} bytes; through a broker {MOST_BYTES:,} are taken")
            return
        properties = None
        if self._version is MQTTProtocolVersion.MQTTv5:
            properties = publish_properties(
                ContentType="application/msgpack",
                ResponseTopic=topic_of(self._site, Topic.ANSWERS),
                CorrelationData=f"{self.source} {sequence}".encode(),
            )
        topic = topic_of(self._site, Topic.REPORTS)
        held.sent, held.sent_s = self._client.publish(topic, body, qos=1, properties=properties), now

    def _done(self, sequence: int, refused: str = "", accepted: int = 0) -> None:
        with self._news:
            if self._waiting.pop(sequence, None) is None:
                return
            if refused:
                _log.error("batch %d is refused: %s", sequence, refused)
            self.refused += bool(refused)
            self.acknowledged += not refused
            self.accepted += accepted

    def _came(
        self, client: mqtt.Client, userdata: object, flags: mqtt.ConnectFlags, code: ReasonCode, properties: object
    ) -> None:
        del userdata, flags, properties
        if code.is_failure:
            with self._news:
                self._refusal = code.getName()
                self._news.notify_all()
            _log.warning("%s refuses the connection: %s", self._broker, code.getName())
            return
        client.subscribe([(topic_of(self._site, topic), 1) for topic in (Topic.PLAN, Topic.COMMAND, Topic.ANSWERS)])
        with self._news:
            self._connected, self._refusal = True, ""

    def _went(self, client: mqtt.Client, userdata: object, flags: object, code: ReasonCode, properties: object) -> None:
        del client, userdata, flags, properties
        with self._news:
            self._connected = False
        if code.is_failure:
            _log.warning("%s is gone (%s); trying again", self._broker, code.getName())

    def _heard(self, client: mqtt.Client, userdata: object, message: mqtt.MQTTMessage) -> None:
        del client, userdata
        try:
            self._understand(message)
        except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
            _log.warning("a message on %s cannot be read: %s", message.topic, error)

    def _understand(self, message: mqtt.MQTTMessage) -> None:
        if message.topic == topic_of(self._site, Topic.ANSWERS):
            self._answered(message)
            return
        with self._news:
            if message.topic == topic_of(self._site, Topic.PLAN):
                self._plan = _plan.decode(message.payload)
            else:
                self._command = _command.decode(message.payload)
            self._news.notify_all()

    def _answered(self, message: mqtt.MQTTMessage) -> None:
        """An answer to a batch of this source, or of another that speaks for the same site."""
        correlation: bytes = getattr(message.properties, "CorrelationData", b"")
        source, _, sequence = correlation.decode().partition(" ")
        if source != self.source:
            return
        answer = _answer.decode(message.payload)
        self._answered_s = self._tick()
        if answer.get("refused"):
            _log.warning("%d rows are refused, the first: %s", answer["refused"], answer.get("reason"))
        self._done(int(sequence), answer.get("error", ""), answer.get("accepted", 0))


def _has_left(held: _Held) -> bool:
    """Whether the broker has taken it; a way out that failed counts as none."""
    if held.sent is None:
        return False
    try:
        return held.sent.is_published()
    except (RuntimeError, ValueError):
        held.sent = None
        return False
