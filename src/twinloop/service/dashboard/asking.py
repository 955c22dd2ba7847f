"""The public API as a page asks it: in process, with the visitor's own token, and once for all who look at the same."""

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import quote
from weakref import WeakValueDictionary

import httpx
import msgspec

_log = logging.getLogger("twinloop.dashboard")
PATIENCE_S = 10.0
UNANSWERED = 0

Listener = Callable[["Answer"], None]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API said: `status` of HTTP (0: none within 10 s), the `body`, JSON or plain text, and of a problem its
    `detail` and `hint`.
    """

    status: int
    body: Any = None
    detail: str = ""
    hint: str = ""
    retry_s: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether what was asked for is there."""
        return self.status == 200

    def get(self, name: str, otherwise: Any = None) -> Any:
        """A member of the body, `otherwise` where it has none."""
        return self.body.get(name, otherwise) if self.ok and isinstance(self.body, dict) else otherwise


def path_of(*parts: str, **asked: object) -> str:
    """An address of the API; arguments that are None are left out."""
    query = "&".join(f"{name}={quote(str(value), safe='')}" for name, value in asked.items() if value is not None)
    path = "/" + "/".join(quote(part, safe="") for part in parts)
    return f"{path}?{query}" if query else path


class Api:
    """The API of an ASGI application for whoever has `token`; `address` is the visitor's, for what is counted by it."""

    def __init__(self, application: Any, token: str, address: str = "") -> None:
        transport = httpx.ASGITransport(application, raise_app_exceptions=False, client=(address or "dashboard", 0))
        self._client = httpx.AsyncClient(
            transport=transport,
            base_url="http://dashboard",
            headers={"Authorization": f"Bearer {token}", "Accept": "application/json"},
            trust_env=False,
        )

    async def get(self, path: str) -> Answer:
        """Asks for what is at an address."""
        return await self.send("GET", path)

    async def send(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Answer:
        """Sends a request; whatever becomes of it is an answer."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                response = await self._client.request(method, path, json=body)
        except TimeoutError:
            return Answer(UNANSWERED, detail=f"the server gave no answer within {PATIENCE_S:.0f} s")
        except httpx.HTTPError as error:
            return Answer(UNANSWERED, detail=f"the server gave no answer: {error}")
        return _read(response)


def _read(response: httpx.Response) -> Answer:
    body = _body(response)
    told: dict[str, Any] = body if isinstance(body, dict) else {}
    if response.status_code < 300:
        return Answer(200 if body is not None else response.status_code, body)
    wait = response.headers.get("retry-after", "")
    return Answer(
        response.status_code,
        body,
        str(told.get("detail") or response.reason_phrase),
        str(told.get("hint", "")),
        float(wait) if wait.isdecimal() else 0.0,
    )


def _body(response: httpx.Response) -> Any:
    if response.headers.get("content-type", "").startswith("text/plain"):
        return response.text
    try:
        return msgspec.json.decode(response.content) if response.content else None
    except msgspec.MsgspecError:
        return None


class Feed:
    """One address, asked every `period_s` while somebody listens."""

    def __init__(self, api: Api, path: str, period_s: float) -> None:
        self.latest: Answer | None = None
        self._api = api
        self._path = path
        self._period_s = period_s
        self._listeners: list[Listener] = []
        self._task: asyncio.Task[None] | None = None

    def join(self, listener: Listener) -> None:
        """Tells `listener` every answer from now on."""
        self._listeners.append(listener)
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"feed {self._path}")

    def leave(self, listener: Listener) -> bool:
        """Tells it no more. True where nobody listens any longer: then the feed has ended."""
        self._listeners.remove(listener)
        if self._listeners:
            return False
        if self._task is not None:
            self._task.cancel()
        return True

    async def _run(self) -> None:
        due_s = time.monotonic()
        while self._listeners:
            self.latest = await self._api.get(self._path)
            for listener in list(self._listeners):
                try:
                    listener(self.latest)
                except Exception:
                    _log.exception("a page could not show %s", self._path)
                await asyncio.sleep(0)
            due_s = max(due_s + self._period_s, time.monotonic())
            await asyncio.sleep(max(due_s - time.monotonic(), self.latest.retry_s, self._period_s / 10))


class Feeds:
    """The feeds of one token: every address is asked for once, however many pages look at it."""

    _shared: ClassVar[WeakValueDictionary[tuple[int, bytes], "Feeds"]] = WeakValueDictionary()

    def __init__(self, api: Api) -> None:
        self._api = api
        self._feeds: dict[tuple[str, float], Feed] = {}

    @classmethod
    def of(cls, application: Any, token: str) -> "Feeds":
        """The feeds of a token at an application, shared by all who signed in with it."""
        key = (id(application), hashlib.sha256(token.encode()).digest())
        found = cls._shared.get(key)
        if found is None:
            found = cls._shared[key] = Feeds(Api(application, token))
        return found

    def join(self, path: str, period_s: float, listener: Listener) -> Feed:
        """Tells `listener` every answer of an address."""
        feed = self._feeds.get((path, period_s))
        if feed is None:
            feed = self._feeds[path, period_s] = Feed(self._api, path, period_s)
        feed.join(listener)
        return feed

    def leave(self, path: str, period_s: float, listener: Listener) -> None:
        """Tells it no more; an address that nobody looks at is not asked for any longer."""
        if self._feeds[path, period_s].leave(listener):
            del self._feeds[path, period_s]
