"""Refusals of the standard interfaces: always application/problem+json, with the standard's `cause`.

3GPP TS 29.500, 5.2.7 (causes), TS 29.571 (ProblemDetails).
"""

import secrets
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from twinloop.errors import TwinloopError
from twinloop.service.correlation import correlation

TITLES = {
    400: "Bad request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not found",
    409: "Conflict",
    415: "Unsupported media type",
    429: "Too many requests",
    500: "Internal server error",
    503: "Service unavailable",
}

_MOST_FAULTS = 20
_HINT = "see /docs for what is asked for and taken here"


class RefusalError(TwinloopError):
    """A request that cannot be granted: HTTP `status`, the standard's `cause`, one line why, a `hint` what to do.

    `params` names what is wrong and why; `headers` go with the answer.
    """

    def __init__(
        self,
        status: int,
        cause: str,
        detail: str,
        *,
        hint: str = "",
        params: tuple[tuple[str, str], ...] = (),
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.cause = cause
        self.hint = hint
        self.params = params
        self.headers = headers


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Problems with these statuses, as a route describes its answers."""
    content: dict[str, Any] = {"application/problem+json": {"schema": {"type": "object"}}}
    return {status: {"description": TITLES[status], "content": content} for status in statuses}


def incorrect(param: str, reason: str, *, missing: bool = False) -> RefusalError:
    """A refusal of one query parameter, named as the standard names such causes."""
    needed = "MANDATORY" if missing or param == "event-id" else "OPTIONAL"
    cause = f"{needed}_QUERY_PARAM_{'MISSING' if missing else 'INCORRECT'}"
    return RefusalError(400, cause, f"{param}: {reason}", params=((param, reason),))


def refused_query(param: str, error: ValidationError) -> RefusalError:
    """A refusal of a query parameter whose JSON does not have the standard's form, with every place that is wrong."""
    faults = error.errors(include_url=False, include_input=False, include_context=False)[:_MOST_FAULTS]
    named = tuple((".".join((param, *map(str, fault["loc"]))), fault["msg"]) for fault in faults)
    return RefusalError(400, "OPTIONAL_QUERY_PARAM_INCORRECT", f"{named[0][0]}: {named[0][1]}", params=named)


def problem(request: Request, refusal: RefusalError) -> Response:
    """The refusal as application/problem+json."""
    content: dict[str, Any] = {
        "type": "about:blank",
        "title": TITLES.get(refusal.status, "Error"),
        "status": refusal.status,
        "detail": str(refusal),
        "instance": request.url.path,
        "hint": refusal.hint or _HINT,
        "cause": refusal.cause,
        "correlation": correlation.get() or secrets.token_hex(8),
    }
    if refusal.params:
        content["invalidParams"] = [{"param": name, "reason": reason} for name, reason in refusal.params]
    return JSONResponse(content, refusal.status, refusal.headers, media_type="application/problem+json")


def from_validation(error: RequestValidationError) -> RefusalError:
    """The refusal of a request that does not have the standard's form, with every place that is wrong (up to 20)."""
    faults = list(error.errors())[:_MOST_FAULTS]
    first = faults[0]
    place, kind = first["loc"][0], first["type"]
    if kind == "json_invalid" and place == "body":
        return RefusalError(400, "INVALID_MSG_FORMAT", "the body is not JSON", hint="send a JSON object")
    named = tuple((".".join(str(part) for part in fault["loc"][1:]) or "body", str(fault["msg"])) for fault in faults)
    param, missing = named[0][0], kind == "missing"
    mandatory = missing or param.partition(".")[0] in {"event-id", "eventSubscriptions", "body"}
    cause = "_".join(
        (
            "MANDATORY" if mandatory else "OPTIONAL",
            "IE" if place == "body" else "QUERY_PARAM",
            "MISSING" if missing else "INCORRECT",
        )
    )
    return RefusalError(400, cause, f"{param}: {named[0][1]}", params=named)


def from_http(error: HTTPException) -> RefusalError:
    """What a dependency refused with a bare HTTP status."""
    causes = {401: "UNAUTHORIZED", 403: "ACCESS_DENIED", 404: "RESOURCE_URI_STRUCTURE_NOT_FOUND"}
    headers = None if error.headers is None else dict(error.headers)
    cause = causes.get(error.status_code, "INVALID_MSG_FORMAT")
    return RefusalError(error.status_code, cause, str(error.detail), headers=headers)


class ProblemRoute(APIRoute):
    """A route whose every refusal is application/problem+json, those of its dependencies and forms included."""

    def _watched_route(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer = super().get_route_handler()

        async def watched(request: Request) -> Response:
            try:
                return await answer(request)
            except RefusalError as error:
                return problem(request, error)
            except RequestValidationError as error:
                return problem(request, from_validation(error))
            except HTTPException as error:
                return problem(request, from_http(error))

        return watched

    get_route_handler = _watched_route  # the name is FastAPI's
