"""Reports per second into a live server, durable and acknowledged, from a load generator in its own process.

    python benchmarks/ingest.py [--json FILE] [--quick] [--postgres URL]

A server is started as a person would (`twinloop serve`, without limits of rate; twins of 2,100 users, a slot a second
beside the load), on SQLite without and with --fsync, and on PostgreSQL where a URL is given; reports come over HTTP
and, where Mosquitto is installed, over MQTT 5 too (QoS 1, answered by the server). Rows carry ten attributes of one
user. `rows/s` is what was acknowledged over the time it took; p50 and p99 are of a request until its acknowledgement,
which comes after the commit.

The peer is a web service as one would first write it, on the same SQLite settings and machine: FastAPI, a pydantic
model of the same rows, one transaction a request. Quoted, not measured: Eclipse Ditto's own benchmark (blog of
2023-10-09) gives about 800 modifications a second with one instance, 3,200 scaled out.
"""

import asyncio
import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx
import msgspec
import numpy as np
import paho.mqtt.client as mqtt
import yaml
from paho.mqtt.enums import CallbackAPIVersion
from table import Row, arguments, present

from twinloop import scenario
from twinloop.service.mqtt import Topic, publish_properties, topic_of

USERS = 2_100
CONNECTIONS = 64
DRAWN = 50
ATTRIBUTES = (
    "position_x_m",
    "position_y_m",
    "rsrp_dbm",
    "sinr_db",
    "serving_cell",
    "rate_bps",
    "delay_s",
    "buffer_s",
    "version",
    "quality",
)
GOAL_ROWS, GOAL_REQUESTS = 100_000, 3_200
READY_S = 240.0


@dataclass(frozen=True)
class Load:
    """What is sent: batches of `rows`, in which form, for how long."""

    rows: int
    form: str
    seconds: float


def main() -> None:
    parser = arguments("Durable, acknowledged reports a second.")
    parser.add_argument(
        "--postgres", default=os.environ.get("TWINLOOP_BENCH_POSTGRES", ""), help="URL of an empty database"
    )
    parser.add_argument("--load", help="(for the load generator's own process)")
    options = parser.parse_args()
    if options.load:
        print(json.dumps(generate(json.loads(options.load))))
        return
    present("Reports into a live server, acknowledged when durable", list(measured(options)), options.json)


def measured(options) -> Iterator[Row]:
    seconds = 3.0 if options.quick else 10.0
    loads = [Load(1, "json", seconds), Load(100, "msgpack", seconds), Load(1000, "msgpack", seconds)]
    broker = shutil.which("mosquitto", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"]))
    with peer() as address:
        reference = run_load(address, "", Load(1, "peer", seconds))
    databases = [("SQLite", "", []), ("SQLite --fsync", "", ["--fsync"])]
    databases += [("PostgreSQL", options.postgres, [])] if options.postgres else []
    for name, url, extra in databases:
        with server(url, extra) as (address, token):
            for load in loads:
                found, single = run_load(address, token, load), load.rows == 1
                yield Row(
                    f"{name}, batches of {load.rows} ({load.form}), rows/s; goal {goal(load):,}",
                    f"{found['rows_per_s']:,.0f} ({latency(found)})",
                    f"{reference['rows_per_s']:,.0f} ({latency(reference)})" if single else "",
                    found["rows_per_s"] / reference["rows_per_s"] if single else "",
                )
            for what, path in (("one twin", "/twins/user/u0"), ("100 twins", "/twins/user?limit=100")):
                found = run_load(address, token, Load(1, path, seconds))
                yield Row(f"{name}, reading {what}, requests/s", f"{found['rows_per_s']:,.0f} ({latency(found)})")
    if broker is not None:
        with mosquitto(broker) as url, server("", ["--broker", url]):
            for load in loads:
                found = run_load(url, "", load)
                yield Row(
                    f"SQLite, MQTT, batches of {load.rows} ({load.form}), rows/s; goal {goal(load):,}",
                    f"{found['rows_per_s']:,.0f} ({latency(found)})",
                )


def goal(load: Load) -> int:
    return GOAL_REQUESTS if load.rows == 1 else GOAL_ROWS


def latency(found: dict[str, float]) -> str:
    return f"p50 {1e3 * found['p50_s']:.1f} ms, p99 {1e3 * found['p99_s']:.1f} ms, {found['failed']:.0f} failed"


@contextmanager
def server(url: str, extra: list[str]) -> Iterator[tuple[str, str]]:
    """A server with its twins up, and an admin's token for it."""
    with tempfile.TemporaryDirectory() as folder:
        token_file, port = Path(folder, "token"), free_port()
        described = yaml.safe_load(scenario.source_text("three-sites"))
        for population in described["users"]:
            population["count"] = -(-USERS // len(described["users"]))
        path = Path(folder, "many.yaml")
        path.write_text(yaml.safe_dump(described), encoding="utf-8")
        command = [sys.executable, "-m", "twinloop", "serve", str(path), "--database", url or str(Path(folder, "t.db"))]
        settings = Path(folder, "server.toml")
        settings.write_text("[rates.roles.admin]\nper_s = 1e9\nburst = 1e9\n", encoding="utf-8")
        command += ["--port", str(port), "--token-file", str(token_file), "--config", str(settings), *extra]
        with Path(folder, "log").open("wb") as log, ended(subprocess.Popen(command, stdout=log, stderr=log)):
            address, until = f"http://127.0.0.1:{port}", time.monotonic() + READY_S
            while not decides(address, token_file):
                if time.monotonic() > until:
                    sys.exit(Path(folder, "log").read_text(encoding="utf-8"))
                time.sleep(0.5)
            yield address, token_file.read_text(encoding="utf-8").strip()


def decides(address: str, token_file: Path) -> bool:
    """Whether the server lives whole slots, or would if anything were reported."""
    if not token_file.is_file():
        return False
    token = token_file.read_text(encoding="utf-8").strip()
    try:
        told = httpx.get(f"{address}/system", headers={"Authorization": f"Bearer {token}"}, trust_env=False)
    except httpx.TransportError:
        return False
    return told.status_code == 200 and told.json()["deciding"]


@contextmanager
def mosquitto(program: str) -> Iterator[str]:
    """Address of a broker of its own."""
    with tempfile.TemporaryDirectory() as folder:
        port, settings = free_port(), Path(folder, "mosquitto.conf")
        settings.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n", encoding="utf-8")
        with ended(subprocess.Popen([program, "-c", str(settings)], stderr=subprocess.DEVNULL)):
            yield f"mqtt://127.0.0.1:{port}"


@contextmanager
def peer() -> Iterator[str]:
    """The service as one would first write it."""
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        command = [
            sys.executable,
            str(Path(__file__).with_name("ingest_peer.py")),
            str(Path(folder, "p.db")),
            str(port),
        ]
        with ended(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)):
            until = time.monotonic() + 30.0
            while time.monotonic() < until:
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.1)
            yield f"http://127.0.0.1:{port}"


@contextmanager
def ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    try:
        yield
    finally:
        process.terminate()
        process.wait(120)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Batches:
    """Bodies for one load. Their rows are drawn and encoded once, so that what is measured is the server."""

    def __init__(self, rows: int, form: str) -> None:
        rng = np.random.default_rng(0)
        self._codec = msgspec.msgpack if form == "msgpack" else msgspec.json
        self._part = "columns" if form == "msgpack" else "rows"
        self.media_type = "application/msgpack" if form == "msgpack" else "application/json"
        draw = _columns if form == "msgpack" else _rows
        self._drawn = [msgspec.Raw(self._codec.encode(draw(rows, rng))) for _ in range(DRAWN)]

    def body(self, source: str, sequence: int) -> bytes:
        """One batch."""
        head = {"source": source, "sequence": sequence, "sent_s": time.time()}
        return self._codec.encode(head | {self._part: self._drawn[sequence % DRAWN]})


def _columns(rows: int, rng: np.random.Generator) -> list[dict]:
    who, value = _drawn(rows, rng)
    block = {"kind": "user", "attributes": ATTRIBUTES, "ids": who, "values": value, "slices": ["standard"] * rows}
    return [block]


def _rows(rows: int, rng: np.random.Generator) -> list[dict]:
    return [
        {"kind": "user", "id": name, "slice": "standard", "values": dict(zip(ATTRIBUTES, line, strict=True))}
        for name, line in zip(*_drawn(rows, rng), strict=True)
    ]


def _drawn(rows: int, rng: np.random.Generator) -> tuple[list[str], list[list[float]]]:
    value = np.round(rng.uniform(0.0, 1.0, (rows, len(ATTRIBUTES))), 3)
    value[:, [ATTRIBUTES.index("serving_cell"), ATTRIBUTES.index("version")]] = 1.0
    value[:, ATTRIBUTES.index("rsrp_dbm")] = -80.0
    return [f"u{row}" for row in rng.integers(0, USERS, rows)], value.tolist()


def run_load(address: str, token: str, load: Load) -> dict[str, float]:
    """The generator's figures, from a process of its own."""
    given = json.dumps({"address": address, "token": token, **asdict(load)})
    done = subprocess.run([sys.executable, __file__, "--load", given], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def generate(given: dict) -> dict[str, float]:
    """Sends over 64 connections until the time is over."""
    import uvloop

    taken: list[float] = []
    failed = [0]
    batches = None if given["form"].startswith("/") else Batches(given["rows"], given["form"])
    began = time.perf_counter()
    if given["address"].startswith("mqtt"):
        _publish(given, batches, taken, failed)
    else:
        uvloop.run(_generate(given, batches, taken, failed))
    lasted = time.perf_counter() - began
    spread = np.quantile(taken, [0.5, 0.99]) if taken else (float("nan"),) * 2
    rows = given["rows"] * len(taken)
    return {"rows_per_s": rows / lasted, "p50_s": float(spread[0]), "p99_s": float(spread[1]), "failed": failed[0]}


async def _generate(given: dict, batches: Batches | None, taken: list[float], failed: list[int]) -> None:
    host, port = given["address"].removeprefix("http://").split(":")
    loop, until = asyncio.get_running_loop(), time.perf_counter() + given["seconds"]

    def connection(number: int) -> Connection:
        requests = (_request(given, host, batches, number, sequence) for sequence in itertools.count())
        return Connection(requests, until, taken, failed, loop.create_future())

    there = [await loop.create_connection(lambda n=n: connection(n), host, int(port)) for n in range(CONNECTIONS)]
    await asyncio.gather(*(protocol.ended for _, protocol in there))


class Connection(asyncio.Protocol):
    """Sends one request after the answer to the one before, without what a client library costs."""

    def __init__(
        self,
        requests: Iterator[bytes],
        until: float,
        taken: list[float],
        failed: list[int],
        ended: asyncio.Future[None],
    ) -> None:
        self.ended = ended
        self._requests, self._until, self._taken, self._failed = requests, until, taken, failed
        self._head, self._left = b"", 0

    def connection_made(self, transport) -> None:
        self._transport = transport
        self._next()

    def data_received(self, data: bytes) -> None:
        if not self._left:
            self._head, ends, data = (self._head + data).partition(b"\r\n\r\n")
            if not ends:
                return
            self._left = int(self._head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        self._left -= len(data)
        if self._left:
            return
        taken, self._head = self._head.startswith(b"HTTP/1.1 200"), b""
        if taken:
            self._taken.append(time.perf_counter() - self._begun)
            self._next()
        else:
            self._failed[0] += 1
            asyncio.get_running_loop().call_later(0.01, self._next)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.ended.done():
            self._failed[0] += 1
            self.ended.set_result(None)

    def _next(self) -> None:
        if time.perf_counter() >= self._until or self._transport.is_closing():
            if not self.ended.done():
                self.ended.set_result(None)
            self._transport.close()
            return
        request = next(self._requests)
        self._begun = time.perf_counter()
        self._transport.write(request)


def _publish(given: dict, batches: Batches, taken: list[float], failed: list[int]) -> None:
    """Publishes as many messages ahead as there are connections over HTTP, until the time is over."""
    host, port = given["address"].removeprefix("mqtt://").split(":")
    site, room, connected = f"load{os.getpid()}", threading.Semaphore(CONNECTIONS), threading.Event()
    answers, reports = topic_of(site, Topic.ANSWERS), topic_of(site, Topic.REPORTS)
    sent: dict[bytes, float] = {}

    def answered(client, userdata, message) -> None:
        begun = sent.pop(message.properties.CorrelationData, None)
        if begun is not None and json.loads(message.payload).get("accepted") == given["rows"]:
            taken.append(time.perf_counter() - begun)
        elif begun is not None:
            failed[0] += 1
        if begun is not None:
            room.release()

    client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    client.on_message, client.on_subscribe = answered, lambda *told: connected.set()
    client.connect(host, int(port))
    client.subscribe(answers, qos=1)
    client.loop_start()
    connected.wait(30)
    until, sequence = time.perf_counter() + given["seconds"], 0
    while time.perf_counter() < until:
        if room.acquire(timeout=1.0):
            number = sequence.to_bytes(8, "big")
            properties = publish_properties(CorrelationData=number, ResponseTopic=answers)
            sent[number] = time.perf_counter()
            client.publish(reports, batches.body(site, sequence), qos=1, properties=properties)
            sequence += 1
    client.disconnect()
    client.loop_stop()


def _request(given: dict, host: str, batches: Batches | None, number: int, sequence: int) -> bytes:
    """One request, head and body."""
    sent_as = f"Host: {host}\r\nAuthorization: Bearer {given['token']}\r\n"
    if batches is None:
        return f"GET {given['form']} HTTP/1.1\r\n{sent_as}\r\n".encode()
    body = batches.body(f"load-{os.getpid()}-{number}", sequence)
    told = f"Content-Type: {batches.media_type}\r\nContent-Length: {len(body)}\r\n"
    return f"POST /reports HTTP/1.1\r\n{sent_as}{told}\r\n".encode() + body


if __name__ == "__main__":
    main()
