"""An agent's line to the server: reports are sent until they are acknowledged, plans and commands fetched."""

import logging
import ssl
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import httpx
import msgspec

from twinloop.errors import TwinloopError
from twinloop.network import Command, Plan

_log = logging.getLogger("twinloop.agent")
MOST_WAITING = 3_600
"""Batches that an agent keeps for a server that is away."""

MOST_AHEAD = 100
"""Batches that may wait before an agent that can wait itself, as a log or a file can, stands still."""

_plan = msgspec.json.Decoder(Plan)
_command = msgspec.json.Decoder(Command)


class LinkError(TwinloopError):
    """The server cannot be used as asked: a wrong address, a token that it refuses.

    `lasting`: whoever asks is refused, and will be again until an admin changes that.
    """

    def __init__(self, text: str, *, lasting: bool = False) -> None:
        super().__init__(text)
        self.lasting = lasting


@runtime_checkable
class LinkPort(Protocol):
    """An agent's line to its server, whatever carries it."""

    @property
    def source(self) -> str:
        """Whose reports these are."""
        ...

    @property
    def acknowledged(self) -> int:
        """Batches that the server has."""
        ...

    @property
    def accepted(self) -> int:
        """Rows that the server has."""
        ...

    @property
    def refused(self) -> int:
        """Batches that it does not want."""
        ...

    @property
    def given_up(self) -> int:
        """Batches that had to make room for newer ones."""
        ...

    @property
    def waiting(self) -> int:
        """Batches that are not acknowledged."""
        ...

    def put(self, columns: list[dict[str, Any]], receipts: list[dict[str, Any]]) -> None:
        """Queues one batch."""
        ...

    def send(self) -> bool:
        """Sends what waits, as far as it goes; True where all is acknowledged. Raises LinkError."""
        ...

    def plan(self, site: str, after: int) -> Plan | None:
        """The plan of the site if there is another than revision `after`. Raises LinkError."""
        ...

    def command(self, site: str, after: int, wait_s: float = 0.0) -> Command | None:
        """The command of the site if there is another than number `after` within `wait_s`. Raises LinkError."""
        ...

    def close(self) -> None:
        """Hangs up."""
        ...


class Link:
    """Speaks to one server for one source. A batch that was not acknowledged is sent again, under its own sequence.

    While the server is away at most an hour of slots waits here; then the oldest batch is given up, and counted.
    """

    def __init__(self, server: str, token: str, source: str, wall: Callable[[], float] = time.time) -> None:
        self.source = source
        self.acknowledged = 0
        self.accepted = 0
        self.refused = 0
        self.given_up = 0
        self._wall = wall
        self._sequence = int(wall() * 1000)
        self._waiting: deque[tuple[int, dict[str, Any]]] = deque()
        self._client = client_of(server, token)

    @property
    def waiting(self) -> int:
        """Batches that are not acknowledged."""
        return len(self._waiting)

    def put(self, columns: list[dict[str, Any]], receipts: list[dict[str, Any]]) -> None:
        """Queues one batch."""
        self._sequence += 1
        self._waiting.append((self._sequence, {"columns": columns, "receipts": receipts}))
        while len(self._waiting) > MOST_WAITING:
            self._waiting.popleft()
            self.given_up += 1

    def send(self) -> bool:
        """Sends what waits, oldest first, until the server does not take any more; True where all is acknowledged.

        Raises LinkError where the token is refused.
        """
        while self._waiting:
            sequence, batch = self._waiting[0]
            body = {"source": self.source, "sequence": sequence, "sent_s": self._wall(), **batch}
            answer = self._ask("POST", "/reports", content=msgspec.msgpack.encode(body))
            if answer is None:
                return False
            if answer.status_code in (400, 413, 422):
                self.refused += 1
                _log.error("batch %d is refused: %s", sequence, detail_of(answer))
            elif answer.status_code != 200:
                return False
            else:
                self.acknowledged += 1
                told = answer.json()
                self.accepted += told["accepted"]
                if told["refused"]:
                    _log.warning("%d rows are refused, the first: %s", told["refused"], told["reasons"][0]["reason"])
            self._waiting.popleft()
        return True

    def plan(self, site: str, after: int) -> Plan | None:
        """The plan of the site if it is another than revision `after`."""
        answer = self._ask("GET", f"/agents/{site}/plan", params={"after": after})
        return _plan.decode(answer.content) if answer is not None and answer.status_code == 200 else None

    def command(self, site: str, after: int, wait_s: float = 0.0) -> Command | None:
        """The command of the site if it is another than number `after`."""
        answer = self._ask("GET", f"/agents/{site}/command", params={"after": after, "wait_s": wait_s})
        return _command.decode(answer.content) if answer is not None and answer.status_code == 200 else None

    def close(self) -> None:
        """Hangs up."""
        self._client.close()

    def _ask(self, method: str, path: str, **given: Any) -> httpx.Response | None:
        headers = {"Content-Type": "application/msgpack"} if method == "POST" else {}
        try:
            answer = self._client.request(method, path, headers=headers, **given)
        except httpx.TransportError as error:
            _log.warning("%s does not answer (%s); trying again", self._client.base_url, error)
            return None
        except httpx.HTTPError as error:
            raise LinkError(f"{self._client.base_url}: {error}") from None
        if answer.status_code in (401, 403, 404):
            text = f"{str(self._client.base_url).rstrip('/')}{path} answers: {detail_of(answer)}"
            raise LinkError(text, lasting=answer.status_code != 404)
        return answer


def client_of(server: str, token: str) -> httpx.Client:
    """A client of a server's API. Raises LinkError for what is no address, or a token that no header can hold."""
    try:
        client = httpx.Client(
            base_url=server,
            headers={"Authorization": f"Bearer {token}"},
            timeout=10.0,
            trust_env=False,
            verify=ssl.create_default_context() if server.startswith("https:") else True,
        )
    except (httpx.InvalidURL, UnicodeError):
        raise LinkError("--server or --token cannot be used; give for example --server http://127.0.0.1:8080") from None
    if client.base_url.scheme not in ("http", "https") or not client.base_url.host:
        raise LinkError(f"--server {server!r} is no address; give for example http://127.0.0.1:8080")
    return client


def detail_of(answer: httpx.Response) -> str:
    """What a server says is wrong, in one line."""
    try:
        told = answer.json()
    except ValueError:
        return f"HTTP {answer.status_code}"
    return "; ".join(str(told[name]) for name in ("detail", "hint") if told.get(name)) or f"HTTP {answer.status_code}"
