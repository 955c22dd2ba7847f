"""MQTT, 5 and 3.1.1: reports in, plans and commands out, through a broker; see docs/live.md."""

from twinloop.service.mqtt.address import Broker, broker_of
from twinloop.service.mqtt.bridge import Bridge
from twinloop.service.mqtt.client import publish_properties
from twinloop.service.mqtt.served import Served
from twinloop.service.mqtt.topics import MOST_BYTES, Topic, topic_of

__all__ = ["MOST_BYTES", "Bridge", "Broker", "Served", "Topic", "broker_of", "publish_properties", "topic_of"]
