"""How routes say what they need, and the check that every one of them does: what declares nothing is not served."""

from collections.abc import Awaitable, Callable, Collection, Iterator, MutableMapping, Sequence
from typing import Any

from fastapi.dependencies.models import Dependant
from fastapi.routing import iter_route_contexts
from starlette.requests import HTTPConnection
from starlette.routing import BaseRoute

from twinloop.service.security.access.guard import Guard
from twinloop.service.security.access.permissions import Identity, Permission
from twinloop.service.security.errors import SecuritySettingsError

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class Requires:
    """A dependency of FastAPI that gives the caller's identity, who has `permission`.

    The guard is the application's: `app.state.guard`. For HTTP and WebSocket alike.
    """

    def __init__(self, permission: Permission) -> None:
        self.permission = permission

    async def __call__(self, connection: HTTPConnection) -> Identity:
        """Who asks. Raises AuthError, Forbidden, TooManyRequests."""
        guard: Guard = connection.app.state.guard
        return await permitted(guard, self.permission, connection.scope)


class Guarded:
    """An ASGI application behind a permission; it finds the identity in `scope["identity"]`."""

    def __init__(self, guard: Guard, permission: Permission, application: Application) -> None:
        self.permission = permission
        self._guard = guard
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request. Raises AuthError, Forbidden, TooManyRequests before the application is reached."""
        scope["identity"] = await permitted(self._guard, self.permission, scope)
        await self._application(scope, receive, send)


async def permitted(guard: Guard, permission: Permission, scope: MutableMapping[str, Any]) -> Identity:
    """Who asks, with the permission. Raises AuthError, Forbidden, TooManyRequests."""
    identity = await guard.identify(scope)
    identity.require(permission)
    return identity


def check_routes(routes: Sequence[BaseRoute], public: Collection[str]) -> dict[str, frozenset[Permission]]:
    """Permissions of every route, by `GET /path`, `WS /path`, or `ANY /path` for what is mounted.

    A route needs a `Requires` among its dependencies, an application with a `permission` (`Guarded`, or one that asks
    `permitted` itself), or to stand in `public`; a mounted application that is public stands there once, for all of its
    routes. Raises SecuritySettingsError for any other, for a public one that has a permission, and for names in
    `public` that no route has.
    """
    found: dict[str, frozenset[Permission]] = {}
    open_to_all: set[str] = set()
    for name, permissions in _declared(routes, "", frozenset(public)):
        if bool(permissions) == (name in public):
            why = "is public and has a permission" if permissions else "declares no permission and is not public"
            raise SecuritySettingsError(f"the route {name} {why}")
        if not permissions:
            open_to_all.add(name)
        found[name] = found.get(name, frozenset()) | permissions
    absent = sorted(set(public) - open_to_all)
    if absent:
        raise SecuritySettingsError(f"no route is called {', '.join(absent)}; remove it from the public ones")
    return found


def _declared(
    routes: Sequence[BaseRoute], prefix: str, public: frozenset[str]
) -> Iterator[tuple[str, frozenset[Permission]]]:
    """Every route with the permissions that it declares; mounted applications are entered unless they are public."""
    for route in iter_route_contexts(routes):
        path = prefix + str(getattr(route, "path", ""))
        application = getattr(route, "app", None)
        inner = getattr(application, "routes", None) if getattr(route, "endpoint", None) is None else None
        if inner is not None and f"ANY {path or '/'}" not in public:
            yield from _declared(inner, path, public)
            continue
        permissions = _permissions(getattr(route, "dependant", None))
        endpoints = (application, getattr(route, "endpoint", None))
        asked = {getattr(endpoint, "permission", None) for endpoint in endpoints}
        permissions |= {permission for permission in asked if isinstance(permission, Permission)}
        for method in _methods(route):
            yield f"{method} {path or '/'}", permissions


def _methods(route: Any) -> list[str]:
    """Methods of a route; HEAD goes with GET."""
    methods = getattr(route, "methods", None)
    if methods:
        return sorted(set(methods) - {"HEAD"}) or ["HEAD"]
    return ["WS" if getattr(route, "endpoint", None) is not None else "ANY"]


def _permissions(dependant: Dependant | None) -> frozenset[Permission]:
    """Permissions that a route's dependencies ask for."""
    if dependant is None:
        return frozenset()
    own = frozenset({dependant.call.permission} if isinstance(dependant.call, Requires) else ())
    return own.union(*(_permissions(inner) for inner in dependant.dependencies))
