"""The database and the broker stopped and started again under load: nothing acknowledged is lost, and a server finds
back to both by itself.
"""

import json
import threading
import time

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from servers import Mosquitto, Postgres, start_mosquitto, start_postgres
from trials.live_server import LiveServer, Promises, reporting, running, wait_until
from trials.watched_site import watched

pytestmark = pytest.mark.trial
OUTAGE_S = 3.0


@pytest.fixture(scope="module")
def postgres():
    cluster = start_postgres()
    cluster.execute("CREATE DATABASE trial")
    yield cluster
    cluster.close()


@pytest.fixture(scope="module")
def mosquitto():
    broker = start_mosquitto()
    yield broker
    broker.close()


@pytest.fixture(scope="module")
def connected(site_file, postgres, mosquitto, tmp_path_factory):
    """A server on PostgreSQL, with a broker."""
    options = ("--broker", mosquitto.url)
    with running(site_file, tmp_path_factory.mktemp("connected"), postgres.url("trial"), options) as server:
        server.wait_for_life()
        yield server


class Publisher:
    """Reports through the broker, each sent again until the server has answered that it is kept."""

    def __init__(self, port: int, promises: Promises) -> None:
        self.promises, self.over = promises, threading.Event()
        self._open: dict[int, dict] = {}
        self._lock = threading.Lock()
        self._client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, "trial", protocol=mqtt.MQTTv5)
        self._client.on_connect = lambda client, *_: client.subscribe("twinloop/trial/answers", qos=1)
        self._client.on_message = self._answered
        self._client.reconnect_delay_set(1, 1)
        self._client.connect("127.0.0.1", port)
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Publisher":
        self._client.loop_start()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self._thread.join()
        self._client.disconnect()
        self._client.loop_stop()

    def _answered(self, client: object, userdata: object, message: mqtt.MQTTMessage) -> None:
        sequence, answer = int(message.properties.CorrelationData), json.loads(message.payload)
        with self._lock:
            batch = self._open.pop(sequence, None)
        if batch is not None and "error" not in answer:
            self.promises.keep(batch)

    def _run(self) -> None:
        while not self.over.wait(0.02):
            if not self._client.is_connected():
                continue
            with self._lock:
                again = [batch for batch in self._open.values() if time.time() - batch["rows"][0]["time_s"] > 2.0][:5]
                batch = self.promises.batch()
                self._open[batch["sequence"]] = batch
            for each in [*again, batch]:
                self._publish(each)

    def _publish(self, batch: dict) -> None:
        properties = Properties(PacketTypes.PUBLISH)
        properties.ResponseTopic = "twinloop/trial/answers"
        properties.CorrelationData = str(batch["sequence"]).encode()
        self._client.publish("twinloop/trial/reports", json.dumps(batch), qos=1, properties=properties)


def database_gone(server: LiveServer, postgres: Postgres, promises: Promises, mode: str) -> float:
    """Stops the database for a while; seconds until reports are kept again, once it is back."""
    kept, slot, refused = len(promises.acknowledged), server.slot, promises.statuses[503]
    wait_until(lambda: len(promises.acknowledged) > kept + 20, "reports are kept")
    postgres.stop(mode)
    time.sleep(OUTAGE_S)
    wait_until(lambda: promises.statuses[503] > refused + 3, "reports are refused while nothing can be kept")
    assert server.answers("/healthz") and server.answers("/twins/user")
    kept = len(promises.acknowledged)
    postgres.start()
    recovered_s = wait_until(lambda: len(promises.acknowledged) > kept + 5, "reports are kept again")
    assert server.slot > slot, "slots stood still"
    return recovered_s


def test_postgresql_stopped_under_load(connected, postgres, site, extent, note):
    promises = Promises("pg")
    with watched(connected, site), reporting(connected, promises):
        modes = ["immediate" if number % 2 == 0 else "fast" for number in range(extent.outages)]
        recovery_s = [database_gone(connected, postgres, promises, mode) for mode in modes]
    promises.require_kept(connected)
    assert set(promises.statuses) == {200, 503} and promises.impatient == 0, promises.statuses
    note(
        acknowledged=len(promises.acknowledged),
        statuses=dict(promises.statuses),
        recovery_s=[round(seconds, 2) for seconds in recovery_s],
    )


def broker_gone(server: LiveServer, mosquitto: Mosquitto, heard: Promises, beside: Promises) -> float:
    """Stops the broker for a while; seconds until reports come through it again, once it is back."""

    def link() -> str:
        return server.get("/system")["links"]["broker"]["state"]

    told, slot, kept = len(heard.acknowledged), server.slot, len(beside.acknowledged)
    wait_until(lambda: len(heard.acknowledged) > told + 20, "reports come through the broker")
    mosquitto.stop()
    wait_until(lambda: link() == "waiting", "the server notices that the broker is gone")
    time.sleep(OUTAGE_S)
    told = len(heard.acknowledged)
    mosquitto.start()
    recovered_s = wait_until(lambda: len(heard.acknowledged) > told + 5, "the server finds the broker again")
    assert link() == "connected"
    assert server.slot > slot and len(beside.acknowledged) > kept
    return recovered_s


def test_a_broker_stopped_under_load(connected, mosquitto, site, extent, note):
    heard, beside = Promises("trial"), Promises("beside")
    with watched(connected, site), reporting(connected, beside, 0.02), Publisher(mosquitto.port, heard):
        recovery_s = [broker_gone(connected, mosquitto, heard, beside) for _ in range(extent.outages)]
    heard.require_kept(connected)
    beside.require_kept(connected)
    assert set(beside.statuses) == {200}, "what does not go through the broker goes on without it"
    note(acknowledged=len(heard.acknowledged), recovery_s=[round(seconds, 2) for seconds in recovery_s])
