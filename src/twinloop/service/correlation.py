"""What belongs together in a log: every line of one request, or of one slot, carries the same correlation."""

import logging
import re
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from contextvars import ContextVar
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

HEADER = b"x-correlation-id"
_GIVEN = re.compile(rb"[0-9A-Za-z._-]{8,64}")
_TRACE = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")

correlation: ContextVar[str] = ContextVar("correlation", default="")
"""The request or slot that is worked on here; empty outside of both."""


class Correlated:
    """An ASGI application whose requests each have a correlation, told in the answer's `X-Correlation-Id`.

    It is the caller's, where a usable `X-Correlation-Id` or a `traceparent` (W3C Trace Context) came with the request.
    """

    def __init__(self, application: Application) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if scope["type"] not in ("http", "websocket"):
            await self._application(scope, receive, send)
            return
        number = _given(dict(scope["headers"])) or secrets.token_hex(8)

        async def told(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.accept"):
                message["headers"] = [*message.get("headers", ()), (HEADER, number.encode())]
            await send(message)

        before = correlation.set(number)
        try:
            await self._application(scope, receive, told)
        finally:
            correlation.reset(before)


class CorrelationFilter:
    """Writes the correlation into log records, for `Handler.addFilter`."""

    def filter(self, record: logging.LogRecord) -> bool:
        """True: every record passes."""
        number = correlation.get()
        if number and not hasattr(record, "correlation"):
            record.correlation = number
        return True


def _given(headers: dict[bytes, bytes]) -> str:
    own = _GIVEN.fullmatch(headers.get(HEADER, b""))
    traced = _TRACE.fullmatch(headers.get(b"traceparent", b""))
    return own[0].decode() if own else traced[1].decode() if traced else ""
