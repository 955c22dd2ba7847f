"""The application: routes mounted, guarded and checked once, so that none is served that declares no permission."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from twinloop import __version__
from twinloop.service.api import agents, describing, ingest, network, system, twins
from twinloop.service.api.access import ROUTERS as ACCESS
from twinloop.service.api.acting import ROUTERS as ACTING
from twinloop.service.api.bodies import Bounded
from twinloop.service.api.collecting import Beacons, Preflight
from twinloop.service.api.collecting import router as collection
from twinloop.service.api.context import present
from twinloop.service.api.describing import ASSETS, DESCRIBING
from twinloop.service.api.problems import add_problems, describe
from twinloop.service.api.reports import Reports
from twinloop.service.api.standards import add_standards
from twinloop.service.dashboard import DASHBOARD_ROUTES, mount_dashboard
from twinloop.service.live_platform import Platform
from twinloop.service.security import Aggregates, Audit, Guard, Ledger, Tokens, check_routes
from twinloop.service.watching import Metrics

PUBLIC = DESCRIBING | {"GET /healthz", "GET /readyz", "OPTIONS /cmcd"}

_DESCRIPTION = """\
A network digital twin that closes the loop, live. Reports go in at `/reports`; twins, their past and their future are
under `/twins`; what was decided and why under `/decisions`. `/network` is the live network. Every request but health
needs a bearer token."""


def build_app(platform: Platform, guard: Guard, tokens: Tokens, audit: Audit) -> FastAPI:
    """The application over a platform. Raises SecuritySettingsError for a route without a declared permission."""
    app = FastAPI(
        title="twinloop",
        version=__version__,
        description=_DESCRIPTION,
        openapi_url=None,
        lifespan=_beside,
    )
    app.state.platform, app.state.guard, app.state.tokens, app.state.audit = platform, guard, tokens, audit
    ledger = Ledger(platform.records, platform.settings.privacy, platform.clock)
    app.state.aggregates = Aggregates(lambda: present(platform), platform.grants, ledger)
    app.state.metrics = Metrics(platform)
    app.add_middleware(Bounded)
    add_problems(app)
    reports = Route("/reports", Reports(platform, guard), methods=["POST"])
    app.add_middleware(Ahead, route=reports)
    app.router.routes += [
        reports,
        Route("/cmcd", Beacons(platform.players, guard), methods=["GET", "POST"]),
        Route("/cmcd", Preflight(), methods=["OPTIONS"]),
        ASSETS,
    ]
    for router in (
        *(part.router for part in (describing, system, agents, twins, network, ingest)),
        collection,
        *ACCESS,
        *ACTING,
    ):
        app.include_router(router)
    add_standards(app, platform, guard)
    describe(app, PUBLIC)
    mount_dashboard(app, guard)
    check_routes(app.routes, PUBLIC | DASHBOARD_ROUTES)
    return app


class Ahead:
    """An application in which requests for the path of one of its routes go straight to what answers them."""

    def __init__(self, app: ASGIApp, route: Route) -> None:
        self._app = app
        self._route = route

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if scope["type"] == "http" and scope["path"] == self._route.path:
            scope["route"] = self._route
            await self._route.app(scope, receive, send)
        else:
            await self._app(scope, receive, send)


@asynccontextmanager
async def _beside(app: FastAPI) -> AsyncGenerator[None]:
    """While the application serves, what runs beside it in its event loop."""
    running = [asyncio.ensure_future(task()) for task in app.state.platform.tasks]
    yield
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
