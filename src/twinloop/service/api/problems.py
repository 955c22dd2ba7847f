"""Every refusal as one problem (RFC 9457): what was wrong, what is allowed, what to do; never a traceback."""

import logging
import math
import secrets
from collections.abc import Collection, Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.routing import compile_path

from twinloop.errors import FormatError, StorageError, TwinloopError
from twinloop.service.acting import DecisionError
from twinloop.service.correlation import correlation
from twinloop.service.intake import BusyError
from twinloop.service.security import Refused
from twinloop.storage import Conflict, StorageFull, StorageUnavailable, Unstorable

_log = logging.getLogger("twinloop.api")
_TITLES = {
    400: "Bad request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not found",
    405: "Method not allowed",
    406: "Not acceptable",
    409: "Conflict",
    413: "Content too large",
    415: "Unsupported media type",
    422: "Unprocessable content",
    429: "Too many requests",
    500: "Internal server error",
    503: "Service unavailable",
    507: "Insufficient storage",
}
_HINTS = {
    400: "see /docs for the form of what is sent there",
    403: "ask an admin for a token that may",
    404: "see /docs for what there is",
    405: "see /docs for what there is",
    409: "look at what stands now, then ask anew",
    413: "send less at once",
    422: "see /docs for what is taken there",
    500: "tell whoever runs the server the correlation",
    503: "ask again later",
}
"""What to do, where an error does not say it better."""


class ProblemError(TwinloopError):
    """A request that cannot be served: HTTP `status`, `detail` in one line, `hint` what to do."""

    def __init__(self, status: int, detail: str, hint: str = "", headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.hint = hint
        self.headers = dict(headers or {})


class Problem(BaseModel):
    """A refusal, RFC 9457: `correlation` is its number in the server's log."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    hint: str
    correlation: str


PROBLEM = "application/problem+json"


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Refusals of a route for its description in OpenAPI; those that every guarded route has are added to it anyway."""
    content = {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": _TITLES[status], "content": content} for status in statuses}


def not_found(what: str, hint: str = "") -> ProblemError:
    """Something that is not there."""
    return ProblemError(404, what, hint)


def problem_of(error: Exception) -> ProblemError:
    """The problem that an exception means to whoever asked."""
    if isinstance(error, ProblemError):
        return error
    if isinstance(error, Refused):
        return ProblemError(error.status, error.detail, error.hint, error.headers)
    if isinstance(error, BusyError):
        return ProblemError(
            503, str(error), "send less, or later", {"Retry-After": str(math.ceil(error.retry_after_s))}
        )
    if isinstance(error, StorageFull):
        return ProblemError(507, str(error), "free space where the database lies", {"Retry-After": "30"})
    if isinstance(error, StorageUnavailable):
        return ProblemError(503, str(error), "", {"Retry-After": str(math.ceil(error.retry_after_s))})
    if isinstance(error, Conflict | DecisionError):
        return ProblemError(409, str(error))
    if isinstance(error, Unstorable):
        return ProblemError(422, f"it cannot be kept: {error.why}")
    if isinstance(error, StorageError):
        return ProblemError(500, "what was asked for could not be read or kept")
    if isinstance(error, FormatError):
        return ProblemError(400, str(error), "see docs/formats.md")
    if isinstance(error, TwinloopError):
        return ProblemError(422, str(error))
    return ProblemError(500, "something failed that should not have; the log of the server says what")


def respond(error: Exception, path: str) -> JSONResponse:
    """The answer to a request that ended in `error`; what is not a person's doing is logged under its number."""
    problem, number = problem_of(error), correlation.get() or secrets.token_hex(8)
    if problem.status >= 500 and not isinstance(error, ProblemError | BusyError):
        _log.error("%s failed: %s", path, error, extra={"correlation": number}, exc_info=error)
    body = {
        "type": "about:blank",
        "title": _TITLES.get(problem.status, "Refused"),
        "status": problem.status,
        "detail": problem.detail,
        "instance": path,
        "hint": problem.hint or _HINTS.get(problem.status, "see /docs"),
        "correlation": number,
    }
    return JSONResponse(body, problem.status, problem.headers, PROBLEM)


def add_problems(app: FastAPI) -> None:
    """Has every error of `app` answered as a problem."""

    async def known(request: Request, error: Exception) -> JSONResponse:
        return respond(error, request.url.path)

    async def invalid(request: Request, error: Exception) -> JSONResponse:
        faults = error.errors() if isinstance(error, RequestValidationError) else []
        return respond(ProblemError(422, "; ".join(_fault(fault) for fault in faults[:5])), request.url.path)

    async def http(request: Request, error: Exception) -> JSONResponse:
        status = error.status_code if isinstance(error, HTTPException) else 500
        detail = str(error.detail) if isinstance(error, HTTPException) else ""
        headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
        if status == 404 and detail == "Not Found":
            detail = f"nothing is at {request.url.path}"
        if status in (404, 405):
            try:
                app.state.guard.admit(request.scope)
            except Refused as refused:
                return respond(refused, request.url.path)
        if status == 405:
            headers["Allow"] = ", ".join(_methods(app, request.url.path)) or headers.get("Allow", "")
        return respond(ProblemError(status, detail, headers=headers), request.url.path)

    app.add_exception_handler(TwinloopError, known)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(Exception, known)


def _fault(fault: Mapping[str, Any]) -> str:
    place = ".".join(str(part) for part in fault.get("loc", ()))
    given = fault.get("input")
    hidden = given is None or isinstance(given, dict | list) or "secret" in place
    shown = "" if hidden else f", not {given!r:.60}"
    return f"{place}: {fault.get('msg', 'not valid')}{shown}"


def _methods(app: FastAPI, path: str) -> list[str]:
    """Methods that are described for a path; several routes may share it."""
    paths: dict[str, dict[str, Any]] = app.openapi()["paths"]
    told = paths.get(path)
    meant = [told] if told else [found for name, found in paths.items() if compile_path(name)[0].match(path)]
    return sorted({method.upper() for methods in meant for method in methods})


def describe(app: FastAPI, public: Collection[str]) -> None:
    """Has the OpenAPI description say what is true of all routes: how a caller names itself, and that whatever is
    refused is a problem. `public` routes (`GET /path`) need no caller.
    """
    made = app.openapi

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = made()
            parts = schema.setdefault("components", {})
            parts.setdefault("schemas", {})["Problem"] = Problem.model_json_schema()
            parts["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer"}}
            for path, methods in schema["paths"].items():
                for method, operation in methods.items():
                    possible = (404,) if "{" in path else ()
                    possible += () if method == "get" else (400, 409)
                    _describe(operation, possible, guarded=f"{method.upper()} {path}" not in public)
        return app.openapi_schema or {}

    app.openapi = described


def _describe(operation: dict[str, Any], possible: tuple[int, ...], *, guarded: bool) -> None:
    told = operation.setdefault("responses", {})
    if guarded:
        operation["security"] = [{"bearer": []}]
    wanted = (401, 403, 422, 429, 503, *possible) if guarded else ()
    for status, response in responses(*wanted).items():
        told.setdefault(str(status), response)
    for status, response in told.items():
        if status.isdecimal() and int(status) >= 400 and PROBLEM not in response.get("content", {}):
            response["content"] = responses(422)[422]["content"]
