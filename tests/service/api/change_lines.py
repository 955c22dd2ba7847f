"""Listeners that speak ASGI themselves: clients of libraries wait for an answer's end, and changes have none."""

import asyncio
import json
from dataclasses import dataclass
from urllib.parse import urlencode

PATIENCE_S = 30.0


@dataclass
class Told:
    """One event as a listener gets it."""

    event: str
    number: int | None
    data: dict


class Line:
    """A listener to `/twins/changes` as a stream of events, or over a WebSocket."""

    path, kind = "/twins/changes", "http"

    def __init__(self, stage, who: str = "admin", **query) -> None:
        headers = [(b"authorization", b"Bearer " + stage.secrets[who].encode())]
        headers += [(name.encode(), str(query.pop(name)).encode()) for name in ("last-event-id",) if name in query]
        self.scope = {
            "type": self.kind,
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": self.path,
            "raw_path": self.path.encode(),
            "query_string": urlencode(query, doseq=True).encode(),
            "headers": headers,
            "client": ("127.0.0.1", 1),
            "server": ("twins.example", 80),
            "subprotocols": [],
        }
        self.sent: asyncio.Queue[dict] = asyncio.Queue()
        self.received: asyncio.Queue[dict] = asyncio.Queue()
        self.takes = asyncio.Event()
        self.takes.set()
        self._app = stage.app

    async def __aenter__(self):
        self.task = asyncio.create_task(self._app(self.scope, self.received.get, self._send))
        self.began = await self.raw()
        return self

    async def __aexit__(self, *_) -> None:
        await self.leave()

    async def leave(self) -> None:
        """Hangs up, and waits until the server has noticed."""
        self.received.put_nowait({"type": f"{self.kind}.disconnect", "code": 1000})
        await asyncio.wait_for(self.task, PATIENCE_S)

    async def raw(self) -> dict:
        """The next that was sent."""
        return await asyncio.wait_for(self.sent.get(), PATIENCE_S)

    async def next(self) -> Told:
        """The next event; heartbeats are passed over."""
        while True:
            lines = (await self.raw())["body"].decode().splitlines()
            fields = dict(line.split(": ", 1) for line in lines if line and not line.startswith(":"))
            if "event" in fields:
                number = int(fields["id"]) if "id" in fields else None
                return Told(fields["event"], number, json.loads(fields["data"]))

    async def _send(self, message: dict) -> None:
        await self.takes.wait()
        self.sent.put_nowait(message)


class Socket(Line):
    path, kind = "/twins/changes/ws", "websocket"

    async def __aenter__(self):
        self.received.put_nowait({"type": "websocket.connect"})
        return await super().__aenter__()

    async def next(self) -> Told:
        while True:
            message = await self.raw()
            if message["type"] == "websocket.close":
                return Told("close", message["code"], {"reason": message["reason"]})
            told = json.loads(message["text"])
            if told["event"] != "alive":
                return Told(told["event"], told["id"], told["data"])
