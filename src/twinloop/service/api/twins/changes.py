"""Changes of twins as they happen: server-sent events, and the same messages over a WebSocket."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Generator
from contextlib import aclosing, contextmanager, suppress
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request, Response, WebSocket
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from twinloop.service.api.context import platform_of, seen
from twinloop.service.api.problems import ProblemError, responses
from twinloop.service.api.twins.choosing import Reader, row_of, table_of
from twinloop.service.api.twins.following import Follower, Interest, Message
from twinloop.service.api.twins.shapes import encode
from twinloop.service.changes import CrowdError
from twinloop.service.live import KIND_OF
from twinloop.service.live_platform import Platform
from twinloop.service.security import AuthError, Identity

router = APIRouter()
HEARTBEAT_S = 15.0
CONFIRM_S = 2.0
"""How often it is asked whether the caller's token still holds."""
PATIENCE_S = 20.0
"""A listener that takes nothing for so long is dropped."""
POLICY, OVERLOADED = 1008, 1013
_log = logging.getLogger("twinloop.api.changes")
_EVENTS: dict[int | str, dict[str, Any]] = {
    200: {"description": "events, without end", "content": {"text/event-stream": {"schema": {"type": "string"}}}}
}


def interest_of(
    kind: Annotated[list[str] | None, Query(max_length=4, description="kinds; all without it")] = None,
    id: Annotated[list[str] | None, Query(max_length=200, description="ids; all without it")] = None,
    slice: Annotated[str | None, Query(max_length=128, description="users of one slice, and its twin")] = None,
    attributes: Annotated[str, Query(max_length=2000, description="attributes, by commas; all without it")] = "",
) -> tuple[list[str], list[str], str | None, str]:
    """What is followed, out of the query."""
    return list(dict.fromkeys(kind or KIND_OF)), id or [], slice, attributes


Wanted = Annotated[tuple[list[str], list[str], str | None, str], Depends(interest_of)]
After = Annotated[
    int | None, Query(ge=0, le=2**31 - 1, description="the slot after which to go on: the last event's id")
]


@router.get("/changes", response_model=None, responses=_EVENTS | responses(404))
async def changes(
    request: Request,
    identity: Reader,
    wanted: Wanted,
    after: After = None,
    last_event_id: Annotated[str | None, Header(max_length=20, description="as `after`")] = None,
) -> Response:
    """Changes as server-sent events: `begin` (from here on), `change` (twins with what was heard anew, and who is
    gone), `reset` (what is missing is not known: read the twins anew), `end` (with the reason). An event's id is its
    slot. Who is slow is told what is newest, not everything in between.
    """
    start = int(last_event_id) if last_event_id is not None and last_event_id.isdecimal() else after
    follower = _follower(request, identity, wanted, -1 if start is None else min(start, 2**31 - 1))
    return _Stream(platform_of(request), _Feed(request, identity, follower), identity.subject)


@router.websocket("/changes/ws")
async def changes_socket(socket: WebSocket, identity: Reader, wanted: Wanted, after: After = None) -> None:
    """The messages of `/twins/changes` as JSON: `{"event", "id", "data"}`. What a client sends is ignored."""
    follower = _follower(socket, identity, wanted, -1 if after is None else after)
    platform = platform_of(socket)
    with _seat(platform, identity.subject):
        await socket.accept()
        listening = asyncio.create_task(_listen(socket))
        sending = asyncio.create_task(_send_all(socket, _Feed(socket, identity, follower), platform))
        await asyncio.wait({listening, sending}, return_when=asyncio.FIRST_COMPLETED)
        ended = sending.result() if sending.done() else None
        await _cancelled(listening, sending)
        if ended is not None:
            with suppress(RuntimeError, TimeoutError):
                await asyncio.wait_for(socket.close(*ended), PATIENCE_S)


class _Feed:
    """What one listener is to be sent, as it comes. It ends where the caller's token does."""

    def __init__(self, connection: HTTPConnection, identity: Identity, follower: Follower) -> None:
        self._platform = platform_of(connection)
        self._guard = connection.app.state.guard
        self._identity = identity
        self._follower = follower

    async def messages(self) -> AsyncGenerator[Message]:
        """Messages; after silence a heartbeat, which has no event."""
        clock = asyncio.get_running_loop().time
        told_s = clock()
        while not (why := self._ended()):
            for message in await run_in_threadpool(self._news):
                yield message
                told_s = clock()
            if clock() - told_s >= HEARTBEAT_S:
                yield Message("", b"", self._follower.after)
                told_s = clock()
            await self._platform.changes.wait(self._follower.after, CONFIRM_S)
        yield Message("end", encode({"reason": why}), None)

    def _news(self) -> list[Message]:
        change = self._platform.changes.latest
        own = self._platform.grants.of(self._identity.tenant)
        return [] if change is None else list(self._follower.news(change, own))

    def _ended(self) -> str:
        if self._platform.changes.closed:
            return "the server ends; come again"
        try:
            self._guard.confirm(self._identity)
        except AuthError as error:
            return error.detail
        return ""


class _Stream(Response):
    """A feed as server-sent events, until the caller leaves, may no longer hear, or takes nothing."""

    def __init__(self, platform: Platform, feed: _Feed, caller: str) -> None:
        super().__init__(
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"}, media_type="text/event-stream"
        )
        del self.headers["content-length"]
        self._platform = platform
        self._feed = feed
        self._caller = caller

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one listener."""
        with _seat(self._platform, self._caller):
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            leaving = asyncio.create_task(_left(receive))
            sending = asyncio.create_task(self._send_all(send))
            await asyncio.wait({leaving, sending}, return_when=asyncio.FIRST_COMPLETED)
            await _cancelled(leaving, sending)

    async def _send_all(self, send: Send) -> None:
        async with aclosing(self._feed.messages()) as messages:
            async for message in messages:
                body = {"type": "http.response.body", "body": _event(message), "more_body": True}
                if not await _taken(send(body), self._platform):
                    return
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _event(message: Message) -> bytes:
    """A message as a server-sent event; a heartbeat moves the id of the last event on."""
    number = b"" if message.number is None else b"id: %d\n" % message.number
    if not message.event:
        return b": alive\n" + number + b"\n"
    return number + b"event: " + message.event.encode() + b"\ndata: " + message.data + b"\n\n"


async def _send_all(socket: WebSocket, feed: _Feed, platform: Platform) -> tuple[int, str]:
    """Sends a feed; gives the code and the reason to close with."""
    reason = b"{}"
    async with aclosing(feed.messages()) as messages:
        async for message in messages:
            number = b"null" if message.number is None else b"%d" % message.number
            event = (message.event or "alive").encode()
            text = b'{"event":"%b","id":%b,"data":%b}' % (event, number, message.data or b"null")
            if not await _taken(socket.send_text(text.decode()), platform):
                return OVERLOADED, "messages are not taken"
            reason = message.data
    return POLICY, reason.decode()[:120]


async def _taken(sending: Awaitable[None], platform: Platform) -> bool:
    try:
        await asyncio.wait_for(sending, PATIENCE_S)
    except TimeoutError:
        platform.changes.dropped += 1
        _log.warning("a listener took nothing for %g s and is dropped", PATIENCE_S)
        return False
    return True


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _listen(socket: WebSocket) -> None:
    with suppress(WebSocketDisconnect):
        while (await socket.receive())["type"] != "websocket.disconnect":
            pass


async def _cancelled(*tasks: "asyncio.Task[Any]") -> None:
    for task in tasks:
        task.cancel()
    for ended in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(ended, Exception) and not isinstance(ended, WebSocketDisconnect | OSError):
            _log.error("a stream of changes failed", exc_info=ended)


@contextmanager
def _seat(platform: Platform, caller: str) -> Generator[None]:
    try:
        with platform.changes.seat(caller):
            yield
    except CrowdError as error:
        raise ProblemError(503, str(error), "ask again later", {"Retry-After": "10"}) from None


def _follower(
    connection: HTTPConnection, identity: Identity, wanted: tuple[list[str], list[str], str | None, str], after: int
) -> Follower:
    """Raises ProblemError for what there is not, or may not be followed."""
    kinds, ids, of_slice, attributes = wanted
    view = seen(connection, identity)
    names = [name.strip() for name in attributes.split(",") if name.strip()]
    columns: dict[str, tuple[int, ...]] = {}
    for kind in kinds:
        table = [attribute.name for attribute in table_of(view, kind).attributes]
        columns[kind] = (
            tuple(table.index(name) for name in names if name in table) if names else tuple(range(len(table)))
        )
    known = {attribute.name for kind in kinds for attribute in table_of(view, kind).attributes}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ProblemError(422, f"attributes: there is no {unknown[0][:60]!r}", f"there are {', '.join(sorted(known))}")
    if of_slice is not None:
        row_of(view, "slice", of_slice)
    platform = platform_of(connection)
    interest = Interest(tuple(kinds), frozenset(ids), of_slice, columns)
    return Follower(platform.sight, identity, interest, after, platform.grants.of(identity.tenant))
