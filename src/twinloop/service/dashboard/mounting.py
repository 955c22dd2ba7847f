"""The dashboard on an application: public shells whose every datum comes through the application's own API."""

import logging
import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable
from urllib.parse import quote

from fastapi import FastAPI
from nicegui import app as pages_application
from nicegui import ui
from starlette.datastructures import MutableHeaders
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from twinloop.service.dashboard.asking import Answer
from twinloop.service.dashboard.pages import PAGES, show_sign_in
from twinloop.service.dashboard.sessions import Sessions
from twinloop.service.dashboard.visits import Visit
from twinloop.service.security import Refused

AT = "/ui"
DASHBOARD_ROUTES = frozenset({"GET /", f"ANY {AT}"})
"""Public routes that `mount_dashboard` adds."""

_DESK = "twinloop.dashboard"
_COOKIE_S = 14 * 86_400
_RECONNECT_S = 8.0
_FOUND = 200
_PART_COST = 0.2
"""What a part of a page counts that was never found before: a page has dozens of them."""
_MOST_PARTS = 10_000
_TRY_LATER = 1013
_LASTING = "public, max-age=31536000, immutable"
"""For parts of pages, whose addresses hold the version or a hash of what they are."""
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; connect-src 'self'; "
    "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
_THEME = (
    "<script>document.documentElement.dataset.theme = localStorage.getItem('twinloop-theme') || 'auto';"
    "document.documentElement.lang = 'en';</script>"
)
_ICON = (
    '<svg viewBox="0 0 32 32" xmlns="http://www.w3.org/2000/svg"><rect width="32" height="32" rx="7" fill="#0b62a8"/>'
    '<path d="M6 16a6 6 0 0 1 10-4.5a6 6 0 1 1 0 9A6 6 0 0 1 6 16" fill="none" stroke="#fff" stroke-width="3"/></svg>'
)


@runtime_checkable
class Admission(Protocol):
    """Counts requests that show no credential, by their address."""

    def admit(self, scope: Scope, cost: float = 1.0) -> None:
        """Raises Refused where there are too many."""
        ...


class _Desk:
    """One application's dashboard: who is signed in there; pages find it in their request's scope."""

    def __init__(self, application: ASGIApp, admission: Admission) -> None:
        self.application = application
        self.sessions = Sessions()
        self._admission = admission
        self._pages = _pages()
        self._parts = set[str]()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves a page or one of its parts, with headers that keep pages to themselves."""

        place = scope["path"].removeprefix(scope.get("root_path", ""))
        lasting = place.startswith("/_nicegui/") and "/dynamic_resources/" not in place

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(_HEADERS)
                if lasting and message["status"] == _FOUND:
                    headers["Cache-Control"] = _LASTING
                    if len(self._parts) < _MOST_PARTS:
                        self._parts.add(place)
                if scope["scheme"] == "https":
                    message["headers"] = [_only_encrypted(*header) for header in message["headers"]]
            await send(message)

        try:
            self._admit(scope, place)
        except Refused:
            if scope["type"] == "http":
                raise
            await send({"type": "websocket.close", "code": _TRY_LATER})
            return
        scope[_DESK] = self
        await self._pages(scope, receive, guarded)

    def _admit(self, scope: Scope, place: str) -> None:
        """Counts what costs something: pages, new connections of pages, and parts that may not be there."""
        if scope["type"] not in ("http", "websocket") or place in self._parts:
            return
        if place.startswith("/_nicegui_ws/") and b"sid=" in scope["query_string"]:
            return
        self._admission.admit(scope, _PART_COST if place.startswith("/_nicegui/") else 1.0)


def _only_encrypted(name: bytes, value: bytes) -> tuple[bytes, bytes]:
    """A header; a cookie is not sent in the clear."""
    return (name, value + b"; secure") if name.lower() == b"set-cookie" else (name, value)


def mount_dashboard(application: FastAPI, admission: Admission) -> None:
    """Serves the dashboard below `/ui` and leads `/` there; see `DASHBOARD_ROUTES` for what becomes public."""
    inner = application.router.lifespan_context

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncGenerator[Any]:
        async with _running(), inner(app) as state:
            yield state

    application.router.lifespan_context = lifespan
    application.router.routes.append(Route("/", _lead, methods=["GET"]))
    application.router.routes.append(Mount(AT, _Desk(application, admission)))


async def _lead(request: Request) -> Response:
    return RedirectResponse(request.scope.get("root_path", "") + AT + "/", 307)


@asynccontextmanager
async def _running() -> AsyncGenerator[None]:
    """NiceGUI's pages live once in a process: a second application beside the first is served without them.

    Only NiceGUI's own part of the shell's lifespan is run. What `ui.run_with` adds to it looks for the server among all
    objects of the process, and CPython 3.11 breaks tuples that another thread is building meanwhile.
    """
    if pages_application.is_started:
        yield
        return
    async with pages_application.router.lifespan_context(pages_application):
        yield


@cache
def _pages() -> FastAPI:
    """The pages as an application of its own; NiceGUI knows one set of them in a process."""
    logging.getLogger("httpx").setLevel(logging.WARNING)
    style = (Path(__file__).parent / "widgets" / "style.css").read_text(encoding="utf-8")
    ui.add_head_html(f"{_THEME}<style>{style}</style>", shared=True)
    ui.page("/sign-in", favicon=_ICON)(_sign_in)
    for path, build in PAGES.items():
        _register(path, build)
    shell = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    ui.run_with(
        shell,
        title="twinloop",
        favicon=_ICON,
        dark=None,
        tailwind=False,
        binding_refresh_interval=None,
        reconnect_timeout=_RECONNECT_S,
        message_history_length=50,
        storage_secret=secrets.token_urlsafe(32),
        session_middleware_kwargs={"session_cookie": "twinloop", "same_site": "lax", "max_age": _COOKIE_S},
        show_welcome_message=False,
        gzip_middleware_factory=partial(GZipMiddleware, minimum_size=1_000, compresslevel=3),
    )
    return shell


def _register(path: str, build: Any) -> None:
    def page(request: Request) -> Response | None:
        desk: _Desk = request.scope[_DESK]
        number = request.session["id"]
        session = desk.sessions.find(number)
        if session is None:
            wanted = request.url.path.removeprefix(request.scope.get("root_path", ""))
            return RedirectResponse(f"{request.scope.get('root_path', '')}/sign-in?next={quote(wanted)}", 303)
        visit = Visit(
            ui.context.client,
            session,
            lambda: desk.sessions.is_open(number, session),
            lambda: desk.sessions.sign_out(number, session),
        )
        build(visit, request)
        visit.built()
        return None

    ui.page(path, favicon=_ICON)(page)


def _sign_in(request: Request) -> None:
    desk: _Desk = request.scope[_DESK]
    number = request.session["id"]
    address = request.client.host if request.client is not None else ""

    async def sign_in(token: str) -> Answer:
        return await desk.sessions.sign_in(number, desk.application, token, address)

    wanted = request.query_params.get("next", "/")
    onward = wanted if wanted.startswith("/") and not wanted.startswith("//") and "\\" not in wanted else "/"
    show_sign_in(sign_in, onward, request.query_params.get("why", "new"))
