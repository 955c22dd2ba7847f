"""Reports over HTTP: the hot path, without a framework's validation around the one that all reports pass."""

from collections.abc import Callable
from typing import Any

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from twinloop.network.formats import decode
from twinloop.service.api.problems import ProblemError, respond
from twinloop.service.intake import Ack
from twinloop.service.live_platform import Platform
from twinloop.service.security import Guard, Permission, permitted

_MOST_REFUSALS_TOLD = 20
_encode = msgspec.json.Encoder().encode


class Reports:
    """`POST /reports`: 200 once the batch is durable, with what of it was refused; 503 with Retry-After when busy."""

    permission = Permission.REPORT

    def __init__(self, platform: Platform, guard: Guard) -> None:
        self._platform = platform
        self._guard = guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        try:
            response = await self._take(scope, receive)
        except ClientDisconnect:
            return
        except Exception as error:
            response = respond(error, scope["path"])
        await response(scope, receive, send)

    async def _take(self, scope: Scope, receive: Receive) -> Response:
        if scope["method"] != "POST":
            raise ProblemError(
                405, f"{scope['method']} is not allowed here", "POST a batch of reports", {"Allow": "POST"}
            )
        identity = await permitted(self._guard, self.permission, scope)
        request, intake = Request(scope, receive), self._platform.intake
        declared = _declared(request, intake.most_bytes)
        with intake.coming(declared) as charge:
            body = await _body(request, declared, intake.most_bytes, charge)
            batch = decode(body, request.headers.get("content-type", "application/json"))
            identity.require_source(batch.source)
            if batch.receipts:
                identity.require(Permission.COMMANDS)
            site = batch.source.partition(":")[0] if identity.sources else ""
            ack = await intake.submit(batch, len(body), site)
        return Response(_encode(told(ack)), media_type="application/json")


def told(ack: Ack) -> dict[str, Any]:
    """What a source is told of its batch."""
    answer: dict[str, Any] = {"accepted": ack.accepted, "refused": len(ack.refused), "duplicate": ack.duplicate}
    if ack.refused:
        first = ack.refused[:_MOST_REFUSALS_TOLD]
        answer["reasons"] = [{"index": one.index, "id": one.id, "reason": one.reason} for one in first]
        answer["see"] = f"/ingest/errors?source={ack.source}"
    return answer


def _declared(request: Request, most_bytes: int) -> int:
    """Bytes that are to come; 0 of who does not say, and is charged as they come."""
    declared = request.headers.get("content-length", "")
    size = int(declared) if declared.isdecimal() else 0
    if size > most_bytes:
        raise _too_large(most_bytes)
    return size


async def _body(request: Request, charged: int, most_bytes: int, charge: Callable[[int], None]) -> bytes:
    """The body, refused as soon as it is known to be too large, or more than may come at once."""
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > most_bytes:
            raise _too_large(most_bytes)
        if size > charged:
            charge(size - charged)
            charged = size
        parts.append(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _too_large(most_bytes: int) -> ProblemError:
    return ProblemError(413, f"a batch has at most {most_bytes} bytes", "send it in parts, each with its own sequence")
