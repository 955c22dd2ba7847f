"""Whatever nonsense is sent to whichever route: a problem of one line with a hint, never a fault of the server."""

import json
from collections import Counter
from urllib.parse import quote

import pytest
from generated_requests import ENDLESS, Asked, described, drawn, route_of
from service.twin_stage import Stage

from twinloop.network.formats import MAX_BODY_BYTES

NUMBERS = ("9" * 40, "-1", "nan", "1e999", "-inf", "0x10", "1_0", "", "%00", "1;drop", "٣")
TEXTS = (
    "%00",
    "%ff",
    "x" * 3_000,
    "..%2f..%2fetc%2fpasswd",
    "%f0%9f%92%a9",
    "%0d%0aSet-Cookie:%20a=b",
    "%ed%a0%80",
    " ",
)
DEEP = 60_000
BODIES = {
    "nothing": b"",
    "half": b'{"name": ',
    "null": b"null",
    "list": b"[]",
    "text": b'"premium"',
    "not UTF-8": b'{"name": "\xff\xfe"}',
    "half a pair": b'{"name": "\\ud800", "comment": "\\ud800", "attribute": "\\ud800", "tenant": "\\ud800"}',
    "zero": b'{"name": "a\\u0000b", "comment": "\\u0000", "tenant": "\\u0000", "role": "viewer"}',
    "deep list": b"[" * DEEP + b"]" * DEEP,
    "deep object": b'{"slices":' * DEEP + b"1" + b"}" * DEEP,
    "huge number": b'{"horizon_s": ' + b"9" * 400 + b', "target_bps": ' + b"9" * 400 + b', "epsilon": 1e-320}',
    "endless number": b'{"seed": ' + b"9" * 5_000 + b"}",
    "no numbers": b'{"horizon_s": NaN, "target_bps": Infinity, "epsilon": -Infinity, "lasts_s": NaN}',
    "true": b'{"name": true, "target_bps": [true], "attributes": {}, "mode": {}, "role": 3}',
    "twice": b'{"name": "premium", "name": 7, "mode": "act", "mode": null}',
}
REPORTS = {
    "msgpack": (b"\xc1", "application/msgpack"),
    "msgpack that ends": (b"\x83\xa6source", "application/msgpack"),
    "deep msgpack": (b"\x91" * DEEP, "application/msgpack"),
    "msgpack of many": (b"\xdd\xff\xff\xff\xff", "application/msgpack"),
    "NDJSON": (b'{"sequence": 1}\n{"kind"', "application/x-ndjson"),
    "a number for a name": (b'{"source": 1, "sequence": "x", "rows": 3}', "application/json"),
    "a huge sequence": (b'{"source": "a", "sequence": 99999999999999999999999, "rows": []}', "application/json"),
    "times without end": (b'{"source": "a", "sequence": 1, "sent_s": 1e308, "rows": []}', "application/json"),
    "rows of nothing": (b'{"source": "a", "sequence": 1, "rows": [{}, 3, null, []]}', "application/json"),
    "no type": (b'{"source": "a", "sequence": 1, "rows": []}', ""),
    "another type": (b"<rows/>", "image/png"),
    "squeezed": (b"\x1f\x8b\x08", "application/json"),
    "too much": (b"x" * (MAX_BODY_BYTES + 1), "application/json"),
}
PAGES = ("/audit", "/ingest", "/decisions", "/orders", "/nnwdaf-analyticsinfo")
EMPTY = {"GET", "DELETE", "HEAD"}


@pytest.fixture(scope="module")
def stage(new_stage) -> Stage:
    made = new_stage()
    made.live(10)
    made.secrets["tenant"] = made.token("tenant", tenant="acme")
    return made


@pytest.fixture(scope="module")
def operations(stage) -> list:
    return described(stage.app)


def send(stage: Stage, request: Asked, who: str | None = "admin"):
    path = request.path + (f"?{request.query}" if request.query else "")
    return stage.call(request.method, path, who, headers=dict(request.headers), content=request.body)


def fault_of(answer) -> str:
    """What is wrong with an answer as such, "" for nothing."""
    if answer.status_code < 400:
        return ""
    if answer.status_code >= 500 and not (answer.status_code == 503 and "retry-after" in answer.headers):
        return f"it answers {answer.status_code}: {answer.text[:500]}"
    if answer.headers.get("content-type") != "application/problem+json":
        return f"{answer.status_code} is no problem+json: {answer.text[:500]}"
    told = answer.json()
    lines = [told.get(part, "") for part in ("title", "detail", "hint")]
    if not all(lines) or told["status"] != answer.status_code or any("\n" in line for line in lines):
        return f"{answer.status_code} lacks a line: {told}"
    return "a traceback" if "Traceback" in answer.text or "site-packages" in answer.text else ""


def all_answered(stage: Stage, requests: list[Asked], who: str | None = "admin") -> Counter[int]:
    """Sends requests; fails with everything that was answered badly. Gives how often each status came."""
    statuses: Counter[int] = Counter()
    faults: list[str] = []
    for request in requests:
        answer = send(stage, request, who)
        statuses[answer.status_code] += 1
        fault = fault_of(answer)
        faults += [f"{request}: {fault}"] if fault else []
    assert not faults, f"{len(faults)} faults\n" + "\n".join(fault[:900] for fault in faults[:30])
    return statuses


def path_of(operation, text: str = "nobody") -> str:
    path = operation.path
    for one in operation.path_parameters:
        path = path.replace(f"{{{one.name}}}", text)
    return path


def test_arguments(stage, operations):
    requests = []
    for operation in operations:
        route, method = route_of(operation), operation.method.upper()
        requests += [Asked(route, method, path_of(operation, text)) for text in TEXTS if len(operation.path_parameters)]
        needed = "&".join(f"{one.name}=1" for one in operation.query if one.is_required)
        for one in operation.query:
            requests += [Asked(route, method, path_of(operation), f"{needed}&{one.name}={text}") for text in NUMBERS]
    told = all_answered(stage, requests)
    assert told[422] > 100 and told[404] > 50, told


def test_arguments_of_what_there_is(stage, operations):
    """The same where it is read further: a twin that is there, pages of what is kept, analytics of somebody."""
    known = {"attribute": "buffer_s", "event-id": "UE_MOBILITY"}
    requests = []
    for operation in operations:
        if operation.method.upper() != "GET" or not operation.path.startswith(("/twins", *PAGES)):
            continue
        path = operation.path.replace("{kind}", "user").replace("{name}", "ann")
        needed = "&".join(f"{one.name}={known[one.name]}" for one in operation.query if one.is_required)
        texts = [quote(body[:3_000]) for body in BODIES.values()] if "analytics" in path else NUMBERS
        requests += [Asked("", "GET", path, f"{needed}&{one.name}={text}") for one in operation.query for text in texts]
    told = all_answered(stage, requests)
    assert told[200] > 50 and told[422] > 100, told


def test_bodies(stage, operations):
    requests = []
    for operation in operations:
        if operation.method.upper() in EMPTY:
            continue
        for name, body in BODIES.items():
            kinds = ("application/json", "text/plain") if name in ("nothing", "list", "half") else ("application/json",)
            for kind in kinds:
                headers = {"content-type": kind}
                route = route_of(operation)
                requests.append(Asked(route, operation.method.upper(), path_of(operation), "", headers, body))
    told = all_answered(stage, requests)
    assert told[422] + told[400] > 100, told


def test_bodies_of_what_is_drawn(stage, operations):
    requests = [one for operation in operations for one in drawn(operation, 2, wrong=True)]
    all_answered(stage, [one for one in requests if one.route not in ENDLESS])


@pytest.mark.parametrize("name", REPORTS)
@pytest.mark.parametrize("path", ["/reports", "/cmcd"])
def test_reports(stage, name, path):
    body, kind = REPORTS[name]
    answer = send(stage, Asked("", "POST", path, "", {"content-type": kind} if kind else {}, body))
    assert not fault_of(answer), fault_of(answer)


@pytest.mark.parametrize("path", ["/reports", "/cmcd"])
def test_reports_of_any_body(stage, path):
    for kind in ("application/json", "application/x-ndjson", "application/msgpack"):
        requests = [Asked("", "POST", path, "", {"content-type": kind}, body) for body in BODIES.values()]
        all_answered(stage, requests)


def test_bodies_that_are_too_large_are_not_read(stage, operations):
    """Whoever asks: nobody fills the memory of the server, least of all who has no token."""
    large = b'{"comment": "' + b"x" * (2 * 2**20) + b'"}'
    for operation in operations:
        if operation.method.upper() in EMPTY:
            continue
        request = Asked(
            "", operation.method.upper(), path_of(operation), "", {"content-type": "application/json"}, large
        )
        for who in ("admin", None):
            answer = send(stage, request, who)
            assert answer.status_code == 413 and not fault_of(answer), f"{request}: {answer.text}"


def test_who_asks(stage):
    secret = stage.secrets["admin"]
    for value in (
        "",
        "Bearer",
        "Basic YTpi",
        f"Bearer {secret} {secret}",
        f"Bearer {secret}x",
        "Bearer tl_",
        "Bearer " + "a" * 9_000,
    ):
        answer = stage.call("GET", "/whoami", None, headers={"Authorization": value})
        assert answer.status_code == 401 and not fault_of(answer), fault_of(answer)
        assert "www-authenticate" in answer.headers
    for query in (
        "ticket=",
        "ticket=x",
        "access_token=",
        f"access_token={secret}",
        "&".join(["a=1"] * 300 + ["ticket=x"]),
    ):
        answer = stage.get(f"/whoami?{query}", who=None)
        assert answer.status_code == 401 and not fault_of(answer), fault_of(answer)


def test_what_there_is_not(stage):
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"):
        for path in ("/nothing", "/twins", "/twins/user/ann/history/more", "/healthz", "/whoami", "/slices/premium"):
            answer = stage.call(method, path)
            assert not fault_of(answer), f"{method} {path}: {fault_of(answer)}"
    assert json.loads(stage.get("/nothing").text)["hint"]
