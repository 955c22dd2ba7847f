"""The server's line to a broker: connected, or on its way there; what it carries comes back after every break."""

import asyncio
import logging
import random
from typing import Any

import aiomqtt

from twinloop.errors import TwinloopError
from twinloop.service.mqtt.address import Broker
from twinloop.service.mqtt.client import AcknowledgingClient, heed_cancellation
from twinloop.service.mqtt.inward import Counts, Inward
from twinloop.service.mqtt.outward import Outward
from twinloop.service.mqtt.served import Served
from twinloop.service.mqtt.topics import SHARED_REPORTS

FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 30.0
_REFUSED = 128
_V5, _V311 = aiomqtt.ProtocolVersion.V5, aiomqtt.ProtocolVersion.V311
_log = logging.getLogger("twinloop.mqtt")


class Bridge:
    """Reports from a broker into a server, plans and commands of the server to the broker.

    MQTT 5, or 3.1.1 where the broker speaks no other. `run` is for the event loop in which the server takes reports.
    """

    def __init__(self, broker: Broker, served: Served) -> None:
        self.counts = Counts()
        self._broker = broker
        self._served = served
        self._version = _V5
        self._state, self._fault, self._since_s = "connecting", "", served.clock()
        self._inward: Inward | None = None
        self._wait_s = FIRST_WAIT_S

    def told(self) -> dict[str, Any]:
        """How the line stands: for whoever asks how the server is."""
        counts = self.counts
        return {
            "address": str(self._broker),
            "state": self._state,
            "protocol": "5" if self._version is _V5 else "3.1.1",
            "since_s": self._since_s,
            "fault": self._fault,
            "received": counts.received,
            "kept": counts.kept,
            "repeated": counts.repeated,
            "refused": counts.refused,
            "waiting": 0 if self._inward is None else self._inward.waiting,
            "stalled": counts.stalled,
        }

    async def run(self) -> None:
        """Stays connected until it is cancelled; after a break it waits, ever longer, and tries again."""
        while True:
            try:
                # A task of its own: a task that held a failed group counts as cancelled from then on (Python 3.11).
                await asyncio.create_task(self._connection())
            except* (aiomqtt.MqttError, TwinloopError) as faults:
                self._broke(faults.exceptions[0])
            except* Exception as faults:
                _log.error("the line to %s failed", self._broker, exc_info=faults.exceptions[0])
                self._broke(faults.exceptions[0])
            heed_cancellation()
            self._inward = None
            await asyncio.sleep(self._wait_s * random.uniform(0.75, 1.0))
            self._wait_s = min(2.0 * self._wait_s, LONGEST_WAIT_S)

    async def _connection(self) -> None:
        served = self._served
        inward = Inward(served.intake, served.storage, served.clock, self.counts)
        client = AcknowledgingClient(
            self._broker, f"twinloop-{served.server}", self._version, lambda message: inward.take(message, client)
        )
        self._inward = inward
        try:
            async with client:
                codes = await client.subscribe(SHARED_REPORTS, qos=1)
                heed_cancellation()
                if any((code if isinstance(code, int) else code.value) >= _REFUSED for code in codes):
                    raise aiomqtt.MqttError(f"the broker does not allow to read {SHARED_REPORTS}")
                self._turn("connected")
                self._wait_s = FIRST_WAIT_S
                async with asyncio.TaskGroup() as together:
                    together.create_task(inward.acknowledge(client))
                    together.create_task(Outward(served).publish(client))
                    together.create_task(_until_it_ends(client))
        finally:
            inward.drop()

    def _broke(self, fault: BaseException) -> None:
        """Notes why there is no connection; a broker that does not know MQTT 5 is asked in 3.1.1 from then on."""
        told = str(fault) or type(fault).__name__
        if self._version is _V5 and "Unsupported protocol version" in told:
            self._version = _V311
            _log.warning("%s does not speak MQTT 5; going on in 3.1.1", self._broker)
        elif told != self._fault or self._state == "connected":
            _log.warning("no connection to %s (%s); trying again", self._broker, told)
        self._fault = told
        self._turn("waiting")

    def _turn(self, state: str) -> None:
        if state == "connected":
            _log.info("connected to %s", self._broker)
            self._fault = ""
        if state != self._state:
            self._state, self._since_s = state, self._served.clock()


async def _until_it_ends(client: AcknowledgingClient) -> None:
    await client.ended()
    raise aiomqtt.MqttError("the broker ended the connection")
