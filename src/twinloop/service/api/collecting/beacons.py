"""`/cmcd`: players report of themselves, from pages of other origins, with a reporter's token in the address."""

from types import MappingProxyType

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from twinloop.errors import FormatError
from twinloop.service.api.problems import ProblemError, respond
from twinloop.service.intake import MOST_BYTES, Players, reports_of
from twinloop.service.security import Guard, Permission, address_of, permitted

_ANY_ORIGIN = MappingProxyType({"Access-Control-Allow-Origin": "*"})
"""Who asks is told by the token in the address, never by cookies, so any page may."""

_ALLOWED = MappingProxyType(
    {
        **_ANY_ORIGIN,
        "Access-Control-Allow-Methods": "GET, POST",
        "Access-Control-Allow-Headers": "CMCD-Object, CMCD-Request, CMCD-Session, CMCD-Status, Content-Type",
        "Access-Control-Max-Age": "86400",
    }
)


class Preflight:
    """`OPTIONS /cmcd`: what browsers ask before they send a beacon to another origin."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        await Response(status_code=204, headers=dict(_ALLOWED))(scope, receive, send)


class Beacons:
    """`GET` and `POST /cmcd`: 204 once what the player says is durable, or where it says nothing of a user."""

    permission = Permission.REPORT

    def __init__(self, players: Players, guard: Guard) -> None:
        self._players = players
        self._guard = guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        try:
            await self._take(scope, receive)
            response = Response(status_code=204)
        except ClientDisconnect:
            return
        except Exception as error:
            response = respond(error, scope["path"])
        response.headers.update(_ANY_ORIGIN)
        await response(scope, receive, send)

    async def _take(self, scope: Scope, receive: Receive) -> None:
        identity = await permitted(self._guard, self.permission, scope)
        identity.require_source(self._players.source)
        request = Request(scope, receive)
        body = await _body(request)
        query = scope.get("query_string", b"").decode("latin-1")
        try:
            said = reports_of(query, request.headers.items(), request.headers.get("content-type", ""), body)
        except FormatError as error:
            await self._players.refuse(_shown(request.headers, query, body), str(error))
            raise
        in_slice, group = request.query_params.get("slice"), request.query_params.get("group")
        refused = await self._players.take(address_of(scope), said, in_slice, group)
        if refused:
            raise ProblemError(422, refused[0], f"see /ingest/errors?source={self._players.source}")


async def _body(request: Request) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        parts.append(part)
        size += len(part)
        if size > MOST_BYTES:
            raise ProblemError(413, f"a beacon has at most {MOST_BYTES} bytes", "send reports in parts")
    return b"".join(parts)


def _shown(headers: Headers, query: str, body: bytes) -> str:
    """What was said, as far as it is CMCD: the rest of an address holds the token."""
    if body.strip():
        return body.decode("utf-8", "replace")
    arguments = [argument for argument in query.split("&") if argument.startswith("CMCD=")]
    return "&".join(arguments) or "; ".join(f"{name}: {value}" for name, value in headers.items() if "cmcd" in name)
