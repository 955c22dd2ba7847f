"""Whatever a tenant asks of whichever route, it is answered as if there were nobody else."""

import json
from urllib.parse import quote

import numpy as np
import pytest
from generated_requests import ENDLESS, UNDESCRIBED, Asked, asked, described, drawn, route_of, routes_of, sensible
from tenant_worlds import INBOX, LAST, SLICE, SUBSCRIBED, SUBSCRIPTIONS, TENANT, World, plain

from twinloop.entities import USER_ATTRIBUTES
from twinloop.service.dashboard import DASHBOARD_ROUTES
from twinloop.service.security import PERMISSIONS, Permission

KINDS = ("user", "cell", "server", "slice")
ANALYTICS = "/nnwdaf-analyticsinfo/v1/analytics"
EVENTS = (
    "SERVICE_EXPERIENCE",
    "UE_MOBILITY",
    "UE_COMMUNICATION",
    "LOAD_LEVEL_INFORMATION",
    "NSI_LOAD_LEVEL",
    "QOS_SUSTAINABILITY",
    "NETWORK_PERFORMANCE",
    "DN_PERFORMANCE",
    "USER_DATA_CONGESTION",
)
OF_CELLS = {"QOS_SUSTAINABILITY", "NETWORK_PERFORMANCE", "USER_DATA_CONGESTION"}
"""Made of loads of cells, which no tenant sees."""
BODIES = {
    "POST /slices": [
        {"name": "premium"},
        {"name": "blue-qx"},
        {"name": "mauve-jw"},
        {"sst": 1},
        {"sst": 1, "sd": "c0ffee"},
    ],
    "POST /slices/check": [{"name": "premium", "target_bps": 2e5}, {"name": "blue-qx"}, {"sst": 3, "sd": "decade"}],
    "PATCH /slices/{name}": [{"target_bps": 1e5}, {"target_bps": 9e9}, {"floor_share": 0.9}, {"weight": 2.0}],
    "POST /aggregates/count": [{}, {"cell": "north"}, {"cell": "nowhere"}, {"epsilon": 0.01}],
    "POST /aggregates/mean": [{"attribute": "buffer_s", "epsilon": 0.01}, {"attribute": "colour"}],
    f"POST {SUBSCRIPTIONS}": [SUBSCRIBED],
    f"PUT {SUBSCRIPTIONS}/{{subscription_id}}": [SUBSCRIBED],
}
ENDING = "DELETE /slices/{name}"
"""Of acme's own slice it would end the story; see the last test."""
NOISY = {"POST /aggregates/count", "POST /aggregates/mean", "POST /tickets"}
"""Figures of others are their purpose: noise hides who they are of, and is drawn anew for every answer."""


@pytest.fixture(scope="module")
def known(worlds) -> dict[str, list[str]]:
    """What arguments are filled with: acme's own, others' of both worlds, and what nobody has."""
    own = [twin["id"] for twin in worlds[0].known("/twins/user", TENANT)["twins"]]
    foreign = worlds[0].foreign() + worlds[1].foreign()
    names = [*own, SLICE, "north", "edge", "ann", "nobody", *foreign]
    numbers = [str(number) for number in (LAST, LAST - 1, 7771 + LAST, 8884 + LAST)]
    times = [str(worlds[0].epoch_s + slot) for slot in (9, 11, LAST + 0.5)]
    return {
        "kind": [*KINDS, "phone"],
        "name": names,
        "token_id": names,
        "job_id": names,
        "subscription_id": ["@subscription", *names],
        "decision": names,
        "id": names,
        "slice": [SLICE, *foreign[:4]],
        "cell": ["north", "south", "nowhere"],
        "site": ["all", "west"],
        "part": ["cells", "servers", "slices", "sites"],
        "prefix": ["", "user-", "bob", "hal"],
        "after": ["", *names],
        "where": ["buffer_s>0", "buffer_s>7000", "position_x_m>0", "serving_cell=1"],
        "attribute": ["buffer_s", "rate_bps", "position_x_m", "load", "users", "satisfaction"],
        "attributes": ["", "buffer_s,position_x_m", "users,reserved_bandwidth_hz"],
        "fields": ["", "reported", "emulated,desired"],
        "at": times,
        "revision": numbers,
        "from": ["-1h", times[0]],
        "to": ["now", times[1]],
        "step": ["1", "10"],
        "horizon_s": ["5"],
        "wait_s": ["30"],
        "tenant": [TENANT, "zeta-qx", "yota-jw"],
        "event-id": list(EVENTS),
        "tgt-ue": ['{"anyUe": true}'],
        "event-filter": ['{"snssais": [{"sst": 1}]}', '{"snssais": [{"sst": 1, "sd": "c0ffee"}]}', "{}"],
        "ana-req": ["{}", '{"offsetPeriod": 20}', '{"offsetPeriod": -3}'],
        "accept": ["text/csv", "application/xml"],
    }


def alike(worlds: tuple[World, World], request: Asked, *, noisy: bool = False) -> int:
    """Asks both worlds; fails where acme could tell them apart, or reads what is not its own. Gives the status."""
    here, there = (world.ask(request) for world in worlds)
    if noisy and here.status_code in (200, 201):
        assert here.json().keys() == there.json().keys(), request
        return here.status_code
    assert plain(here) == plain(there), f"{request}: {here.text}\n{there.text}"
    said = f"{request.path} {request.query} {request.body!r}"
    for world, answer in zip(worlds, (here, there), strict=True):
        told = f"{answer.text} {dict(answer.headers)}"
        read = [canary for canary in world.others.canaries if canary in told and canary not in said]
        assert not read, f"{request} lets {read} be read: {told[:2000]}"
    return here.status_code


def test_every_route_is_asked_here(worlds):
    routes = set(routes_of(worlds[0].app))
    assert routes == {route_of(one) for one in described(worlds[0].app)} | ENDLESS | UNDESCRIBED | DASHBOARD_ROUTES


def test_generated_requests_are_answered_alike(worlds, known):
    permissions, statuses = routes_of(worlds[0].app), dict[str, set[int]]()
    for operation in described(worlds[0].app):
        route = route_of(operation)
        allowed = permissions[route] <= PERMISSIONS["tenant"]
        pool = known | ({"name": [name for name in known["name"] if name != SLICE]} if route == ENDING else {})
        pool |= {"name": [*["@order"] * 9, *known["name"]]} if route == "GET /orders/{name}" else {}
        pool |= {"name": [SLICE, *known["slice"]]} if "/slices/" in route and route != ENDING else {}
        requests = sensible(operation, pool, BODIES.get(route, ()), 20 if allowed else 2)
        requests += drawn(operation, 2) + drawn(operation, 2, wrong=True) if allowed and route not in BODIES else []
        for request in requests:
            status = alike(worlds, request, noisy=route in NOISY)
            statuses.setdefault(route, set()).add(status)
            assert allowed or status in (403, 422), f"{request}: {status}"
    tenants = [route for route, asked_for in permissions.items() if asked_for and asked_for <= PERMISSIONS["tenant"]]
    hard = "GET /twins/{kind}/{name}"  # names and attributes seldom fit by chance: they are asked for below
    empty = [
        route
        for route in tenants
        if route in statuses and not route.startswith(hard) and not statuses[route] & {200, 201, 204, 409}
    ]
    assert empty == [ENDING], f"nothing was ever seen of {empty}"


@pytest.mark.parametrize("view", ["", "?at={time}", "?revision={revision}", "/history?{of}&from=-1h", "/forecast?{of}"])
def test_every_twin_is_asked_for_by_every_name(worlds, known, view):
    found = set()
    for kind in KINDS:
        attribute = {"user": "buffer_s", "cell": "load", "server": "utilisation", "slice": "users"}[kind]
        for name in known["name"]:
            filled = view.format(time=worlds[0].epoch_s + LAST, revision=LAST - 1, of=f"attribute={attribute}")
            path, _, query = f"/twins/{kind}/{quote(name, safe='')}{filled}".partition("?")
            found.add(alike(worlds, Asked("", "GET", path, query)))
    assert {200, 404} <= found


@pytest.mark.parametrize("accept", ["application/json", "application/x-ndjson", "application/xml", "text/csv"])
def test_exports_hold_a_tenant_s_own(worlds, accept):
    for kind in KINDS:
        query = f"kind={kind}"
        assert alike(worlds, Asked("", "GET", "/twins/export", query, {"accept": accept})) == 200
    if accept == "application/json":
        whole = json.loads(worlds[0].get("/twins/export", TENANT).text)["twins"]
        assert [twin["kind"] for twin in whole].count("user") == 2
        for twin in whole:
            assert twin["kind"] != "user" or set(twin["reported"]) == {"rate_bps", "delay_s", "buffer_s", "quality"} | {
                "serving_cell"
            }


@pytest.mark.parametrize("event", EVENTS)
def test_analytics_are_of_a_tenant_s_own(worlds, known, event):
    supis = [f"nai-{name}@twinloop.invalid" for name in (*known["name"][:2], "ann", "bob-qx", "hal-jw", "nobody")]
    targets = [{"anyUe": True}, *({"supis": [supi]} for supi in supis)]
    filters = [
        {},
        *({"snssais": [{"sst": 1, "sd": sd}]} for sd in ("c0ffee", "facade")),
        {"nwPerfTypes": ["NUM_OF_UE"]},
    ]
    found = set()
    for window in ({}, {"offsetPeriod": 20}, {"offsetPeriod": -3}):
        for target in targets:
            for narrowed in filters if target.get("anyUe") else filters[:1]:
                query = {"event-id": event, "tgt-ue": json.dumps(target), "event-filter": json.dumps(narrowed)}
                found.add(alike(worlds, asked("GET", ANALYTICS, **query, **{"ana-req": json.dumps(window)})))
    assert (200 in found) == (event not in OF_CELLS), found


def test_who_subscribes_is_told_of_its_own(worlds):
    """Acme's notifications after the same time are the same, and of others' there are as many as others have."""
    for event in ("NSI_LOAD_LEVEL", "UE_COMMUNICATION", "NETWORK_PERFORMANCE"):
        wanted = {"event": event, "repetitionPeriod": 5, "tgtUe": {"anyUe": True}}
        body = {"eventSubscriptions": [wanted], "notificationURI": INBOX}
        assert alike(worlds, asked("POST", SUBSCRIPTIONS, body)) == 201
    told = [world.notified() for world in worlds]
    here, there = ([text for url, text in posts if url == INBOX] for posts in told)
    assert len(here) > 3 and sorted(here) == sorted(there)
    assert not [canary for world in worlds for canary in world.others.canaries if canary in str(here)]
    assert all(len(posts) > len(here) for posts in told), "others were told, too"


def test_what_nobody_in_particular_asks_is_of_nobody(worlds):
    for path in (
        "/",
        "/docs",
        "/openapi.json",
        "/healthz",
        "/readyz",
        "/ui/sign-in",
        "/ui/",
        "/metrics",
        "/twins/user",
    ):
        for world in worlds:
            answer = world.call("GET", path, None)
            told = f"{answer.text} {dict(answer.headers)}"
            assert not [canary for canary in world.others.canaries if canary in told], path


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("path", ["/reports", "/cmcd"])
def test_tenants_report_nothing(worlds, method, path):
    report = {"source": TENANT, "sequence": 1, "rows": [{"kind": "user", "id": "ann", "values": {"buffer_s": 1.0}}]}
    status = alike(worlds, asked(method, path, report if method == "POST" else None))
    assert status == (405 if (method, path) == ("GET", "/reports") else 403)


def test_grants_are_all_that_a_tenant_sees_of_users(worlds):
    granted = worlds[0].platform.grants.get(SLICE).attributes
    for attribute in USER_ATTRIBUTES:
        query = f"where={quote(f'{attribute.name}>=0')}"
        status = alike(worlds, Asked("", "GET", "/twins/user", query))
        assert status == (200 if attribute.name in granted else 403)
    assert Permission.READ_NETWORK not in PERMISSIONS["tenant"]
    assert np.isnan(worlds[0].platform.sight.of(worlds[0].identity(TENANT)).picture.cell_bandwidth_hz).all()


def test_a_slice_that_was_ended_is_out_of_sight_at_once(worlds):
    ended = alike(worlds, asked("DELETE", f"/slices/{SLICE}", wait_s=30))
    assert ended == 200
    for path in ("/slices", f"/slices/{SLICE}", "/twins/user", f"/twins/slice/{SLICE}", "/orders", "/twins/export"):
        alike(worlds, asked("GET", path))
    assert worlds[0].known("/twins/user", TENANT)["twins"] == []
