"""Requests made from the application's description of itself: every operation, with values right, wrong or known.

A route that is added to the application is asked from then on, without a word here.
"""

import contextlib
import copy
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.core import NotSet

from twinloop.service.api.application import PUBLIC
from twinloop.service.api.describing import DESCRIBING
from twinloop.service.dashboard import DASHBOARD_ROUTES
from twinloop.service.security import Permission, check_routes

ENDLESS = {"GET /twins/changes", "WS /twins/changes/ws"}
"""Streams: they are listened to elsewhere."""

UNDESCRIBED = {"POST /reports", "GET /cmcd", "POST /cmcd", "OPTIONS /cmcd"} | DESCRIBING
"""Served beside the framework, and left out of the description; they are asked by hand."""


@dataclass(frozen=True)
class Asked:
    """One request. `route` is that of the application, as `check_routes` names it."""

    route: str
    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None

    def __str__(self) -> str:
        return f"{self.method} {self.path}?{self.query} {dict(self.headers)} {(self.body or b'')[:200]!r}"


def routes_of(app: FastAPI) -> dict[str, frozenset[Permission]]:
    """Every route of an application and the permissions that it asks for."""
    return check_routes(app.routes, PUBLIC | DASHBOARD_ROUTES)


def asked(method: str, path: str, body: Any = None, route: str = "", **query: Any) -> Asked:
    """A request written by hand; `body` is sent as JSON."""
    content = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {} if body is None or isinstance(body, bytes) else {"content-type": "application/json"}
    return Asked(route or f"{method} {path}", method, path, urlencode(query, doseq=True), headers, content)


def described(app: FastAPI) -> list[Any]:
    """The operations that the application describes, streams aside."""
    schema = schemathesis.openapi.from_dict(copy.deepcopy(app.openapi()))
    found = [result.ok() for result in schema.get_all_operations()]
    return [one for one in found if route_of(one) not in ENDLESS]


def route_of(operation: Any) -> str:
    return f"{operation.method.upper()} {operation.path}"


def sensible(
    operation: Any, known: Mapping[str, Sequence[str]], bodies: Sequence[Any], count: int, seed: int = 0
) -> list[Asked]:
    """Requests of an operation made of what is known: its path always, of its query what is needed and some more."""
    chance = random.Random(f"{seed} {route_of(operation)}")
    made: list[Asked] = []
    for number in range(count):
        path = operation.path
        for one in operation.path_parameters:
            path = path.replace(f"{{{one.name}}}", quote(chance.choice(known.get(one.name, ["nobody"])), safe=""))
        wanted = [one for one in operation.query if one.is_required or (one.name in known and chance.random() < 0.25)]
        query = {one.name: chance.choice(known.get(one.name, ["1"])) for one in wanted}
        headers = {"accept": chance.choice(known["accept"])} if chance.random() < 0.2 else {}
        body = json.dumps(bodies[number % len(bodies)]).encode() if bodies else None
        headers |= {"content-type": "application/json"} if bodies else {}
        made.append(Asked(route_of(operation), operation.method.upper(), path, urlencode(query), headers, body))
    return made


def drawn(operation: Any, count: int, *, wrong: bool = False) -> list[Asked]:
    """Requests of an operation drawn from its description, the same in every run; `wrong` ones break it somewhere."""
    made: list[Asked] = []

    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(operation.as_strategy(generation_mode=GenerationMode.NEGATIVE if wrong else GenerationMode.POSITIVE))
    def take(case: Any) -> None:
        made.append(_request(case))

    with contextlib.suppress(Unsatisfiable):  # nothing of it can be wrong
        take()
    return made[:count]


def _request(case: Any) -> Asked:
    path = case.operation.path
    for name, value in (case.path_parameters or {}).items():
        path = path.replace(f"{{{name}}}", str(value))
    headers = {
        name: value
        for name, value in (case.headers or {}).items()
        if name.lower() not in {"authorization", "content-type", "accept"} and _sendable(name, value)
    }
    body = None if isinstance(case.body, NotSet) else case.body
    if body is not None:
        headers["content-type"] = case.media_type or "application/json"
        body = body if isinstance(body, bytes) else json.dumps(body).encode("utf-8", "replace")
    text = urlencode(dict(case.query or {}), doseq=True, errors="replace")
    return Asked(route_of(case.operation), case.method.upper(), path or "/", text, headers, body)


def _sendable(name: object, value: object) -> bool:
    """Whether a header can be sent at all: printable ASCII."""
    return all(isinstance(part, str) and part.isascii() and part.isprintable() for part in (name, value)) and bool(name)
