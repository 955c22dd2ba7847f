"""What sites are to report and to do, published so that whoever connects later finds it: retained, at least once."""

import msgspec

from twinloop.service.mqtt.client import AcknowledgingClient, heed_cancellation
from twinloop.service.mqtt.served import Served
from twinloop.service.mqtt.topics import Topic, topic_of

_NOTHING = -1
_encode = msgspec.json.Encoder().encode


class Outward:
    """Plans and commands of every site, over one connection: whatever stands when it begins, then what changes."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self._published: dict[tuple[str, Topic], int] = {}

    async def publish(self, client: AcknowledgingClient) -> None:
        """Publishes for as long as the connection lasts. Raises MqttError."""
        number = -1
        while True:
            for site in self._served.sites:
                await self._site(client, site)
                heed_cancellation()
            number = await self._served.news(number)

    async def _site(self, client: AcknowledgingClient, site: str) -> None:
        for topic, given in ((Topic.PLAN, self._served.plan), (Topic.COMMAND, self._served.command)):
            document = given(site, self._published.get((site, topic), _NOTHING))
            if document is not None:
                await client.publish(topic_of(site, topic), _encode(document), qos=1, retain=True)
                self._published[site, topic] = document.revision
