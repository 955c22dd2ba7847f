"""Bodies of requests, bounded before anybody reads them: who asks is known only after that."""

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from twinloop.service.api.problems import ProblemError, respond

MOST_BYTES = 2**20
OWN_BOUNDS = frozenset({"/reports", "/cmcd"})
"""Paths that read no more than they take, and know who asks before they read."""

_LONGEST_NUMBER = 15
_TOO_LARGE = f"a request has a body of at most {MOST_BYTES} bytes"


class Bounded:
    """An application whose requests have bodies of at most `MOST_BYTES`; what is larger is answered 413, unread."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if scope["type"] != "http" or scope["path"] in OWN_BOUNDS:
            await self._app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "0")
        if declared.isdecimal() and (len(declared) > _LONGEST_NUMBER or int(declared) > MOST_BYTES):
            await respond(ProblemError(413, _TOO_LARGE), scope["path"])(scope, receive, send)
            return
        size = 0

        async def counted() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > MOST_BYTES:
                raise HTTPException(413, _TOO_LARGE)
            return message

        await self._app(scope, counted, send)
