"""A client that acknowledges a message when it is told to, not when it has read it."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import aiomqtt
from paho.mqtt.client import MQTTMessage
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from twinloop.service.mqtt.address import Broker
from twinloop.service.mqtt.topics import MOST_BYTES

RECEIVE_MAXIMUM = 256
"""Messages that a broker may send ahead of their acknowledgement (MQTT 5, 3.1.2.11.3); they are kept in groups."""

SESSION_S = 86_400
"""How long a broker keeps what arrives while nobody is connected."""

KEEPALIVE_S = 30
TIMEOUT_S = 10.0


class AcknowledgingClient(aiomqtt.Client):
    """A connection with a session of its own name that the broker keeps. `take` gets every message as it comes in.

    What is not acknowledged comes again in the next connection of that name. aiomqtt acknowledges what its queue takes
    and has no way to wait, so this speaks to the paho client below it.
    """

    def __init__(
        self, broker: Broker, name: str, version: aiomqtt.ProtocolVersion, take: Callable[[MQTTMessage], None]
    ) -> None:
        kept: dict[str, Any] = {"clean_session": False}
        if version is aiomqtt.ProtocolVersion.V5:
            kept = {"clean_start": False, "properties": _session()}
        super().__init__(
            broker.host,
            broker.port,
            username=broker.user or None,
            password=broker.password or None,
            identifier=name,
            protocol=version,
            tls_context=broker.tls_context(),
            keepalive=KEEPALIVE_S,
            timeout=TIMEOUT_S,
            socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
            **kept,
        )
        self._take = take
        self.pending_calls_threshold = RECEIVE_MAXIMUM
        self._client.manual_ack_set(True)

    def acknowledge(self, message: MQTTMessage) -> None:
        """Tells the broker that the message is kept here. Messages are acknowledged in the order of their arrival."""
        self._client.ack(message.mid, message.qos)

    async def ended(self) -> None:
        """Waits for the end of the connection. Raises MqttError where nobody here wanted it to end."""
        await asyncio.shield(self._disconnected)

    def _on_message(self, client: object, userdata: object, message: MQTTMessage) -> None:
        del client, userdata
        self._take(message)


def heed_cancellation() -> None:
    """Raises CancelledError where this task was cancelled and `asyncio.wait_for` kept it to itself, as it can when what
    it waits for ends in the same moment (until Python 3.12).
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def property_of(message: MQTTMessage, name: str) -> Any:
    """A property of a message, None where it has none of that name (MQTT 3.1.1 has none at all)."""
    return getattr(message.properties, name, None) if message.properties is not None else None


def publish_properties(**given: object) -> Properties:
    """Properties of a message to be sent, by their names in MQTT 5."""
    properties = Properties(PacketTypes.PUBLISH)
    for name, value in given.items():
        setattr(properties, name, value)
    return properties


def _session() -> Properties:
    properties = Properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = SESSION_S
    properties.ReceiveMaximum = RECEIVE_MAXIMUM
    properties.MaximumPacketSize = MOST_BYTES
    return properties
