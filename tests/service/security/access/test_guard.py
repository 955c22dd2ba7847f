import asyncio
from typing import Annotated

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import JSONResponse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route, WebSocketRoute

from twinloop.service.security import (
    AuthError,
    Forbidden,
    Guard,
    Guarded,
    Identity,
    Limits,
    LimitSettings,
    Permission,
    Rate,
    Refused,
    Requires,
    SecuritySettingsError,
    Tokens,
    TooManyRequests,
    check_routes,
)


@pytest.fixture
def tokens(memory, clock):
    return Tokens(memory, clock)


@pytest.fixture
def guard(tokens, clock):
    limits = LimitSettings(unknown=Rate(per_s=1, burst=5), failures=Rate(per_s=0.1, burst=3))
    return Guard(tokens, Limits(limits, clock), clock)


def scope(
    *authorizations: str | bytes, query: str = "", address: str = "192.0.2.1", path: str = "/cmcd"
) -> dict[str, object]:
    values = [value if isinstance(value, bytes) else value.encode("latin-1") for value in authorizations]
    headers = [(b"host", b"here"), *((b"Authorization", value) for value in values)]
    return {"type": "http", "path": path, "headers": headers, "query_string": query.encode(), "client": (address, 5)}


def ask(guard: Guard, asked: dict[str, object]) -> Identity:
    return asyncio.run(guard.identify(asked))


def test_a_bearer_token_names_its_holder(guard, tokens):
    token, secret = tokens.create("viewer", "screen")
    for scheme in ("Bearer", "bearer", "BEARER"):
        assert ask(guard, scope(f"{scheme} {secret}")).subject == f"tl_{token.id}"


def test_nobody_is_told_how_to_ask(guard):
    with pytest.raises(AuthError) as refused:
        ask(guard, scope())
    assert refused.value.status == 401
    assert refused.value.headers == {"WWW-Authenticate": 'Bearer realm="twinloop"'}


def test_odd_headers_are_refused_as_what_they_are(guard, tokens, clock):
    _, secret = tokens.create("viewer", "screen")
    odd = ["Bearer", "Bearer ", f"Basic {secret}", secret, f"Bearer {secret} {secret}", f"Bearer,{secret}", "Bearer  "]
    for header in [*odd, b"\xff\xfe", "Bearer " + "x" * 20_000, f"Token {secret}"]:
        clock.pass_s(100)
        with pytest.raises(AuthError) as refused:
            ask(guard, scope(header))
        assert 'error="invalid_request"' in refused.value.headers["WWW-Authenticate"]


def test_two_credentials_are_one_too_many(guard, tokens, clock):
    _, secret = tokens.create("reporter", "player")
    for asked in (
        scope(f"Bearer {secret}", f"Bearer {secret}"),
        scope(f"Bearer {secret}", query=f"access_token={secret}"),
        scope(query=f"access_token={secret}&access_token={secret}"),
        scope(query=f"access_token={secret}&ticket=x"),
    ):
        with pytest.raises(AuthError, match="more than one"):
            ask(guard, asked)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(header=st.binary(max_size=60), query=st.binary(max_size=60))
def test_nothing_but_a_secret_gets_in_and_nothing_breaks(guard, header, query):
    asked = scope(header) | {"query_string": query}
    with pytest.raises((AuthError, TooManyRequests)):
        ask(guard, asked)


def test_only_reporters_may_ask_by_address(guard, tokens):
    _, player = tokens.create("reporter", "player", sources=["web"])
    _, admin = tokens.create("admin", "root")
    assert ask(guard, scope(query=f"CMCD=bl%3D3&access_token={player}")).role == "reporter"
    with pytest.raises(AuthError, match="reporter"):
        ask(guard, scope(query=f"access_token={admin}"))
    for path in ("/reports", "/cmcd/"):
        with pytest.raises(AuthError, match="this address"):
            ask(guard, scope(query=f"access_token={player}", path=path))


def test_a_ticket_is_used_once_and_soon(guard, tokens, clock):
    _, secret = tokens.create("viewer", "screen")
    viewer = ask(guard, scope(f"Bearer {secret}"))
    ticket = guard.ticket(viewer)
    assert ask(guard, scope(query=f"ticket={ticket}")) == viewer
    with pytest.raises(AuthError, match="ticket"):
        ask(guard, scope(query=f"ticket={ticket}"))
    late = guard.ticket(viewer)
    clock.pass_s(31)
    with pytest.raises(AuthError, match="ticket"):
        ask(guard, scope(query=f"ticket={late}"))


def test_a_ticket_dies_with_its_token(guard, tokens):
    token, secret = tokens.create("viewer", "screen")
    ticket = guard.ticket(ask(guard, scope(f"Bearer {secret}")))
    tokens.revoke(token.id)
    with pytest.raises(AuthError, match="ended"):
        ask(guard, scope(query=f"ticket={ticket}"))


def test_an_open_connection_learns_that_its_token_ended(guard, tokens, clock):
    token, secret = tokens.create("viewer", "screen")
    _, brief = tokens.create("viewer", "guest", expires_s=clock() + 5)
    screen, guest = ask(guard, scope(f"Bearer {secret}")), ask(guard, scope(f"Bearer {brief}"))
    guard.confirm(screen)
    guard.confirm(guest)
    assert [guard.identity_of(one.subject) for one in (screen, guest)] == [screen, guest]
    clock.pass_s(5)
    tokens.revoke(token.id)
    for identity in (screen, guest):
        with pytest.raises(AuthError, match="ended"):
            guard.confirm(identity)
        assert guard.identity_of(identity.subject) is None
    assert guard.identity_of("") is None and guard.identity_of("oidc:x") is None


def test_failed_sign_ins_are_slowed_and_do_not_lock_others_out(guard, tokens):
    _, secret = tokens.create("viewer", "screen")
    wrong = scope("Bearer tl_nothing")
    for _ in range(3):
        with pytest.raises(AuthError):
            ask(guard, wrong)
    with pytest.raises(TooManyRequests) as refused:
        ask(guard, wrong)
    assert int(refused.value.headers["Retry-After"]) == 10
    with pytest.raises(AuthError):
        ask(guard, wrong | {"client": ("192.0.2.2", 5)})
    assert ask(guard, scope(f"Bearer {secret}")).name == "screen"


def test_addresses_without_a_credential_are_limited(guard):
    for _ in range(5):
        guard.admit(scope())
    with pytest.raises(TooManyRequests):
        ask(guard, scope())
    with pytest.raises(TooManyRequests):
        guard.admit(scope())


def test_what_is_expensive_counts_for_more(tokens, clock):
    _, secret = tokens.create("viewer", "screen")
    guard = Guard(tokens, Limits(LimitSettings(roles={"viewer": Rate(per_s=1, burst=10)}), clock), clock)
    viewer = ask(guard, scope(f"Bearer {secret}"))
    guard.charge(viewer, 9.0)
    with pytest.raises(TooManyRequests):
        ask(guard, scope(f"Bearer {secret}"))


async def told(request, error):
    return JSONResponse({"detail": error.detail}, error.status, error.headers)


def application(guard: Guard) -> FastAPI:
    """Routes of every sort: by dependency, by router, mounted, raw."""
    app = FastAPI(openapi_url=None, exception_handlers={Refused: told})
    app.state.guard = guard
    router = APIRouter(prefix="/slices", dependencies=[Depends(Requires(Permission.READ_SLICES))])

    @router.get("/all")
    async def slices() -> str:
        return "slices"

    @app.get("/me")
    async def me(identity: Annotated[Identity, Depends(Requires(Permission.READ_TWINS))]) -> str:
        return identity.name

    @app.get("/healthz")
    async def health() -> str:
        return "well"

    async def raw(scope, receive, send):
        await PlainTextResponse(scope["identity"].name)(scope, receive, send)

    app.include_router(router)
    app.router.routes.append(Route("/reports", Guarded(guard, Permission.REPORT, raw), methods=["POST"]))
    return app


PUBLIC = {"GET /healthz"}


def test_one_guard_serves_fastapi_and_raw_applications(guard, tokens):
    app = application(guard)
    secrets = {role: tokens.create(role, f"a {role}")[1] for role in ("viewer", "reporter")}

    async def statuses(role: str) -> list[int]:
        headers = {"Authorization": f"Bearer {secrets[role]}"} if role else {}
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://here", headers=headers) as client:
            asked = [("GET", "/me"), ("GET", "/slices/all"), ("POST", "/reports"), ("GET", "/healthz")]
            return [(await client.request(method, path)).status_code for method, path in asked]

    assert asyncio.run(statuses("viewer")) == [200, 200, 403, 200]
    assert asyncio.run(statuses("reporter")) == [403, 403, 200, 200]
    assert asyncio.run(statuses("")) == [401, 401, 401, 200]


def test_every_route_declares_what_it_needs(guard):
    assert check_routes(application(guard).routes, PUBLIC) == {
        "GET /me": {Permission.READ_TWINS},
        "GET /slices/all": {Permission.READ_SLICES},
        "POST /reports": {Permission.REPORT},
        "GET /healthz": frozenset(),
    }


async def nothing(request: Request) -> PlainTextResponse:
    return PlainTextResponse("open")


def forgotten_routes() -> list[tuple[str, object]]:
    bare = FastAPI(openapi_url=None)
    bare.add_api_route("/bare", nothing)
    included = FastAPI(openapi_url=None)
    inner = APIRouter()
    inner.add_api_route("/deep", nothing)
    middle = APIRouter(prefix="/middle")
    middle.include_router(inner)
    included.include_router(middle)
    documented = FastAPI()
    raw = Starlette(routes=[Route("/raw", nothing)])
    mounted = Starlette(routes=[Mount("/sub", routes=[Route("/x", nothing)])])
    opaque = Starlette(routes=[Mount("/files", app=PlainTextResponse("open"))])
    socket = Starlette(routes=[WebSocketRoute("/live", nothing)])
    nested = FastAPI(openapi_url=None)
    nested.mount("/inner", bare)
    return [
        ("GET /bare", bare),
        ("GET /middle/deep", included),
        ("GET /openapi.json", documented),
        ("GET /raw", raw),
        ("GET /sub/x", mounted),
        ("ANY /files", opaque),
        ("WS /live", socket),
        ("GET /inner/bare", nested),
    ]


@pytest.mark.parametrize(("name", "app"), forgotten_routes(), ids=lambda x: x if isinstance(x, str) else "")
def test_a_forgotten_route_is_found(name, app):
    with pytest.raises(SecuritySettingsError, match=name):
        check_routes(app.routes, set())


def test_what_is_mounted_may_be_public_as_a_whole():
    app = Starlette(routes=[Mount("/sub", routes=[Route("/x", nothing)]), Mount("/", app=Starlette())])
    assert check_routes(app.routes, {"ANY /sub", "ANY /"}) == {"ANY /sub": frozenset(), "ANY /": frozenset()}


def test_the_list_of_public_routes_holds_nothing_else(guard):
    with pytest.raises(SecuritySettingsError, match="GET /gone"):
        check_routes(application(guard).routes, PUBLIC | {"GET /gone"})
    with pytest.raises(SecuritySettingsError, match="is public and has a permission"):
        check_routes(application(guard).routes, PUBLIC | {"GET /me"})


def test_a_permission_that_is_lacking_is_forbidden_by_the_raw_guard(guard, tokens):
    _, secret = tokens.create("viewer", "screen")
    reached = []

    async def raw(scope, receive, send):
        reached.append(scope)

    with pytest.raises(Forbidden):
        asyncio.run(Guarded(guard, Permission.KILL, raw)(scope(f"Bearer {secret}"), None, None))
    assert not reached
