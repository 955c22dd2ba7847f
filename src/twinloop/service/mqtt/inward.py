"""Reports that come through a broker: kept or refused first, acknowledged then, in the order in which they came."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import aiomqtt
import msgspec
from paho.mqtt.client import MQTTMessage

from twinloop.errors import FormatError, StorageError
from twinloop.network.formats import decode
from twinloop.service.intake import Ack, BusyError, Intake
from twinloop.service.mqtt.client import AcknowledgingClient, property_of, publish_properties
from twinloop.service.mqtt.topics import MOST_BYTES, Topic, may_speak, media_type_of, site_of, topic_of
from twinloop.storage import RefusedRow, Storage

MOST_AHEAD = 1_000
"""Messages that may wait here; only a broker without MQTT 5 can send more than the receive maximum ahead."""

MOST_AHEAD_BYTES = 64 * 2**20
"""Of those messages together."""

RETRY_S = 1.0
_ROW_CHARACTERS = 2_000
_SOURCE_CHARACTERS = 128
_log = logging.getLogger("twinloop.mqtt")
_encode = msgspec.json.Encoder().encode
Result = TypeVar("Result")


@dataclass
class Counts:
    """Messages since the start. `stalled` is why the oldest cannot be kept now, "" where nothing is in the way."""

    received: int = 0
    kept: int = 0
    repeated: int = 0
    refused: int = 0
    stalled: str = ""


@dataclass
class _Coming:
    message: MQTTMessage
    task: asyncio.Task[None] = field(init=False)


class Inward:
    """The reports of one connection. Where the disk does not keep up nothing is acknowledged, so the broker waits."""

    def __init__(self, intake: Intake, storage: Storage, clock: Callable[[], float], counts: Counts) -> None:
        self._intake = intake
        self._storage = storage
        self._clock = clock
        self._counts = counts
        self._coming: deque[_Coming] = deque()
        self._news = asyncio.Event()
        self._order = asyncio.Lock()
        self._bytes = 0
        self._overrun = False

    @property
    def waiting(self) -> int:
        """Messages that are not acknowledged."""
        return len(self._coming)

    def take(self, message: MQTTMessage, client: AcknowledgingClient) -> None:
        """Begins to keep a message."""
        size = len(message.payload)
        full = len(self._coming) >= MOST_AHEAD or self._bytes + size > MOST_AHEAD_BYTES
        self._overrun = self._overrun or bool(self._coming and full)
        if self._overrun:
            return
        self._bytes += size
        self._counts.received += 1
        coming = _Coming(message)
        coming.task = asyncio.create_task(self._keep(message, client))
        self._coming.append(coming)
        self._news.set()

    async def acknowledge(self, client: AcknowledgingClient) -> None:
        """Acknowledges what is kept, for as long as the connection lasts. Raises MqttError where too much comes."""
        while True:
            await self._news.wait()
            self._news.clear()
            while self._coming:
                # Shielded: what a task that is cancelled keeps to itself must not keep this one from ending.
                await asyncio.shield(self._coming[0].task)
                message = self._coming.popleft().message
                self._bytes -= len(message.payload)
                client.acknowledge(message)
            if self._overrun:
                raise aiomqtt.MqttError(
                    f"the broker sends more than {MOST_AHEAD:,} messages, or {MOST_AHEAD_BYTES:,} bytes, before they "
                    "are acknowledged; bound its messages in flight"
                )

    def drop(self) -> None:
        """Forgets what is not acknowledged: it comes again."""
        for coming in self._coming:
            coming.task.cancel()

    async def _keep(self, message: MQTTMessage, client: AcknowledgingClient) -> None:
        """Has a message kept or refused, whatever it takes, and answers where an answer is wanted."""
        topic, payload = _topic_of(message), bytes(message.payload)
        site = site_of(topic)
        try:
            most = min(MOST_BYTES, self._intake.most_bytes)
            if len(payload) > most:
                raise FormatError(
                    f"the message has {len(payload):,} bytes; at most {most:,} are taken, send smaller ones"
                )
            async with self._order:
                await self._until_kept(lambda: self._admitted(len(payload)))
            batch = decode(
                payload, media_type_of(payload, property_of(message, "ContentType") or ""), source=site or None
            )
            if not may_speak(site, batch.source):
                raise FormatError(f"source is {batch.source!r}; on {topic} allowed are {site} and {site}:...")
            ack = await self._until_kept(lambda: self._intake.submit(batch, len(payload), site))
        except FormatError as error:
            await self._refuse(topic, payload, str(error))
            answer: dict[str, Any] = {"error": str(error)}
        except Exception as error:
            # A message that is never acknowledged would come again for ever, and hold up all behind it.
            _log.exception("a report on %s could not be taken in", topic)
            await self._refuse(topic, payload, f"it could not be taken in ({type(error).__name__}); see the log")
            answer = {"error": "it could not be taken in"}
        else:
            self._counts.kept += 1
            self._counts.repeated += ack.duplicate
            answer = _told(ack)
        if property_of(message, "ResponseTopic") == topic_of(site, Topic.ANSWERS):
            await self._answer(client, site, answer, property_of(message, "CorrelationData"))

    async def _admitted(self, size_bytes: int) -> None:
        self._intake.admit(size_bytes)

    async def _refuse(self, topic: str, payload: bytes, reason: str) -> None:
        self._counts.refused += 1
        source = site_of(topic)[:_SOURCE_CHARACTERS] or "mqtt"
        text = payload[: 4 * _ROW_CHARACTERS].decode("utf-8", "replace").replace("\0", " ")[:_ROW_CHARACTERS]
        refused = RefusedRow(self._clock(), source, None, 0, f"{topic[:256]}: {reason}", text)
        await self._until_kept(lambda: asyncio.wrap_future(self._storage.refusals.add([refused])))

    async def _until_kept(self, attempt: Callable[[], Awaitable[Result]]) -> Result:
        """What an attempt gives once it succeeds; between attempts nothing is acknowledged. Raises FormatError."""
        while True:
            try:
                result = await attempt()
            except BusyError as error:
                self._counts.stalled = str(error)
                await asyncio.sleep(error.retry_after_s)
            except StorageError as error:
                if not self._counts.stalled:
                    _log.error("reports from the broker wait: %s", error)
                self._counts.stalled = str(error)
                await asyncio.sleep(RETRY_S)
            else:
                self._counts.stalled = ""
                return result

    async def _answer(
        self, client: AcknowledgingClient, site: str, answer: dict[str, Any], correlation: object
    ) -> None:
        given = {"ContentType": "application/json"} | (
            {} if correlation is None else {"CorrelationData": correlation}
        )  # fmt: skip
        try:
            await client.publish(topic_of(site, Topic.ANSWERS), _encode(answer), properties=publish_properties(**given))
        except aiomqtt.MqttError:
            _log.debug("an answer to %s got lost; it asks again", site)


def _told(ack: Ack) -> dict[str, Any]:
    answer: dict[str, Any] = {"accepted": ack.accepted, "refused": len(ack.refused), "duplicate": ack.duplicate}
    if ack.refused:
        answer["reason"] = ack.refused[0].reason
    return answer


def _topic_of(message: MQTTMessage) -> str:
    try:
        return message.topic
    except UnicodeDecodeError:
        return ""
