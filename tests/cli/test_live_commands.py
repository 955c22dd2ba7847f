"""Commands that ask a server, against one that is scripted: what they send and show, and say when they are refused."""

import json

import httpx
import pytest

ORDER = {
    "id": "20240101T000000-o1",
    "made_s": 1.7e9,
    "change": "create",
    "slice": "multicast",
    "state": "applied",
    "reason": "admitted: the twins expect every agreement to hold",
    "not_covered": [],
    "decision": None,
}
SLICE = {
    "name": "premium",
    "state": "standing",
    "sst": 1,
    "sd": "000001",
    "target_bps": 3e6,
    "floor_share": 0.15,
    "tenant": "acme",
    "lived": {"users": 12.0, "satisfaction": 0.875},
    "reserved_share": {"north": 0.5, "south": 0.3},
    "orders": ["o7"],
}
DECISION = {
    "id": "20240101T000000-60",
    "made_s": 1.7e9,
    "slot": 60,
    "state": "confirmed",
    "mode": "advise",
    "kind": "reservation",
    "verdict": "approved",
    "why": "",
    "comment": "fine [bold]by me",
    "by": "ann",
    "largest_change": 0.1,
    "proposal": {"north": {"premium": 0.4, "standard": 0.6}},
    "standing": {"north": {"premium": 0.5, "standard": 0.6}},
    "proposals": [{"candidate": "standing", "score": 0.5, "safety": "safe"}],
    "satisfaction_before": 0.5,
    "slots_before": 60,
    "satisfaction_after": 0.75,
    "slots_after": 58,
    "effect": {"west": {"says": "seen", "why": ["premium in north: takes less"]}},
    "history": [{"state": "adopted", "by": "ann", "comment": "fine", "time_s": 1.7e9}],
}
TWIN = {
    "kind": "user",
    "id": "u-1",
    "slice": "premium",
    "active": True,
    "revision": 7,
    "slot": 9,
    "reported": {
        "rate_bps": {"value": 2.5e6, "unit": "bit/s", "measured_s": 1.7e9, "age_s": 1.0, "fidelity": 0.9},
        "sinr_db": {"value": 12.5, "unit": "dB", "measured_s": 1.7e9, "age_s": 60.0, "fidelity": None},
    },
    "emulated": {"rate_bps": {"value": 2.4e6, "std": 1e5, "unit": "bit/s"}},
}


class Server:
    """Answers what is scripted by method and path, and keeps what was asked."""

    def __init__(self) -> None:
        self.script: dict[str, list] = {}
        self.asked: list[httpx.Request] = []

    def on(self, route: str, *answers) -> None:
        self.script[route] = list(answers)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        answers = self.script[f"{request.method} {request.url.path}"]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, httpx.Response):
            return answer
        return httpx.Response(200, json=answer)

    @property
    def body(self):
        return json.loads(self.asked[-1].content)


def problem(status: int, detail: str, hint: str = "", **more) -> httpx.Response:
    told = {"type": "about:blank", "title": "", "status": status, "detail": detail, "hint": hint} | more
    return httpx.Response(status, json=told)


@pytest.fixture
def server(monkeypatch) -> Server:
    made, client = Server(), httpx.Client
    monkeypatch.setattr(httpx, "Client", lambda **given: client(transport=httpx.MockTransport(made), **given))
    monkeypatch.setenv("TWINLOOP_TOKEN", "tl_secret")
    monkeypatch.setenv("TWINLOOP_SERVER", "http://twins.example:9")
    monkeypatch.setattr("twinloop.cli.live.asking.twins.RECONNECT_S", 0.0)
    return made


def test_slices_are_shown_in_a_table_and_for_programs(server, twinloop):
    server.on("GET /slices", {"slices": [SLICE]})
    status, out, _ = twinloop("slice", "list")
    assert status == 0
    assert out.splitlines()[1].split() == [
        *("premium", "1-000001", "standing", "3,000,000", "15%", "40%", "12", "0.875", "acme", "o7")
    ]
    assert str(server.asked[0].url) == "http://twins.example:9/slices"
    assert server.asked[0].headers["Authorization"] == "Bearer tl_secret"
    assert json.loads(twinloop("slice", "list", "--json")[1]) == {"slices": [SLICE]}
    server.on("GET /slices", {"slices": []})
    assert twinloop("slice", "list")[1] == "no slices\n"


def test_a_slice_is_ordered_by_name_or_by_profile(server, twinloop, tmp_path):
    server.on("POST /slices", httpx.Response(201, json=ORDER | {"not_covered": ["dLLatency"]}))
    status, out, _ = twinloop("slice", "create", "multicast", "--target-bps", "2e6", "--tenant", "acme")
    assert status == 0 and out.startswith("create multicast: applied\nadmitted")
    assert "kept, but not promised: dLLatency" in out
    assert server.body == {"name": "multicast", "target_bps": 2e6}
    assert dict(server.asked[-1].url.params) == {"wait_s": "30.0", "tenant": "acme"}
    profile = {"serviceProfileId": "p", "plmnInfoList": [{"snssai": {"sst": 1}}]}
    (tmp_path / "p.json").write_text(json.dumps(profile))
    assert twinloop("slice", "create", "--profile", "p.json")[0] == 0 and server.body == profile
    server.on("POST /slices", httpx.Response(202, json=ORDER | {"state": "waiting", "decision": "d-9"}))
    assert "a person decides: twinloop decision show d-9" in twinloop("slice", "create", "multicast")[1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("create",), "name a slice, or give --profile"),
        (("create", "a", "--profile", "p.json"), "--profile says it all"),
        (("create", "--profile", "none.json"), "--profile none.json is no JSON"),
        (("adjust",), "Missing argument"),
        (("create", "a", "--wait", "61"), "less than or equal to 60"),
        (("check", "premium", "--target-bps", "nan"), "'--target-bps': nan is no finite number"),
        (("check", "premium", "--target-bps", "1e400"), "'--target-bps': inf is no finite number"),
        (("adjust", "premium", "--weight", "inf"), "'--weight': inf is no finite number"),
        (("create", "a", "--floor-share=-inf"), "'--floor-share': -inf is no finite number"),
        (("create", "a", "--wait", "nan"), "'--wait': Input should be less than or equal to 60"),
        (("create", "--profile", "nan.json"), "--profile nan.json is no JSON: NaN is no number of JSON"),
        (("create", "--profile", "huge.json"), "cannot be written as JSON"),
    ],
)
def test_wrong_arguments_are_one_line(server, twinloop, tmp_path, arguments, said):
    (tmp_path / "nan.json").write_text('{"a": NaN}')
    (tmp_path / "huge.json").write_text('{"a": 1e400}')
    status, out, err = twinloop("slice", *arguments)
    assert status == 2 and said in err and err.count("\n") == 1 and out == ""
    assert server.asked == []


def test_a_refusal_is_one_line_with_what_would_fit(server, twinloop):
    refused = problem(409, "refused: with it an agreement would break", "50% of it would fit", order=ORDER)
    server.on("PATCH /slices/premium", refused)
    status, out, err = twinloop("slice", "adjust", "premium", "--floor-share", "0.5")
    assert (status, out) == (2, "")
    assert err == "error: refused: with it an agreement would break; 50% of it would fit\n"
    assert server.body == {"floor_share": 0.5}


def test_a_check_tells_by_its_status(server, twinloop):
    server.on("POST /slices/check", ORDER | {"state": "feasible"}, ORDER | {"state": "infeasible"})
    assert [twinloop("slice", "check", "multicast")[0] for _ in range(2)] == [0, 1]


def test_a_name_goes_into_the_address_as_it_is(server, twinloop):
    server.on("DELETE /slices/a/../b?", ORDER | {"change": "end"})
    assert twinloop("slice", "end", "a/../b?")[0] == 0
    assert server.asked[0].url.raw_path.startswith(b"/slices/a%2F..%2Fb%3F?")


def test_decisions_are_listed_with_what_waits_and_where_to_go_on(server, twinloop):
    waits = DECISION | {"state": "waiting", "effect": {}, "why": "mode advise: a person decides"}
    server.on("GET /decisions", {"decisions": [waits, DECISION], "next": "older", "mode": "advise"})
    status, out, _ = twinloop("decision", "list", "--state", "waiting", "-n", "2")
    assert status == 0 and "1 wait for a person" in out and "decision list --after older" in out
    assert dict(server.asked[0].url.params) == {"state": "waiting", "limit": "2"}
    assert "0.5" in out and "0.75" in out and "seen" in out


def test_a_decision_is_shown_with_what_moves_and_what_became_of_it(server, twinloop):
    server.on(f"GET /decisions/{DECISION['id']}", DECISION)
    status, out, _ = twinloop("decision", "show", DECISION["id"])
    assert status == 0
    assert "comment: fine [bold]by me" in out, "what a person wrote is shown, not interpreted"
    assert "premium" in out and "50.0%" in out and "40.0%" in out and "standard" not in out.split("candidate")[0]
    assert "satisfaction: 0.5 (mean of 60 slots) -> 0.75 (58 slots)" in out
    assert "effect at west: seen (premium in north: takes less)" in out
    twinloop("decision", "show", DECISION["id"], "--format", "rrm")
    assert dict(server.asked[-1].url.params) == {"format": "rrm"}
    assert twinloop("decision", "show", "x", "--format", "xml")[0] == 2


def test_consent_and_refusal_carry_a_comment(server, twinloop):
    route = f"POST /decisions/{DECISION['id']}"
    server.on(f"{route}/approve", DECISION | {"state": "adopted"})
    server.on(f"{route}/reject", problem(409, "decision x does not wait for anybody: it is adopted"))
    assert twinloop("decision", "approve", DECISION["id"], "-m", "good")[1] == f"{DECISION['id']} is adopted\n"
    assert server.body == {"comment": "good"}
    status, _, err = twinloop("decision", "reject", DECISION["id"])
    assert status == 2 and err == "error: decision x does not wait for anybody: it is adopted\n"
    server.on(f"{route}/approve", DECISION | {"state": "refused", "why": "it reserves more than there is"})
    status, out, _ = twinloop("decision", "approve", DECISION["id"])
    assert (status, out) == (1, f"{DECISION['id']} is refused: it reserves more than there is\n")


def test_twins_are_listed_and_shown(server, twinloop):
    server.on("GET /twins/user", {"kind": "user", "matching": 9, "twins": [TWIN], "next": "u-1"})
    status, out, _ = twinloop("twin", "list", "user", "--where", "rate_bps>1", "-a", "rate_bps,sinr_db")
    assert status == 0 and out.splitlines()[1].split() == ["u-1", "premium", "2,500,000", "12.5*"]
    assert "9 in all; more: --after u-1" in out
    assert server.asked[0].url.params["where"] == "rate_bps>1"
    server.on("GET /twins/user/u-1", TWIN)
    status, out, _ = twinloop("twin", "get", "user", "u-1", "--at", "-15min")
    assert status == 0 and "user u-1 revision 7, slot 9" in out and "2,400,000" in out and "60 s" in out
    assert server.asked[-1].url.params["at"] == "-15min"


@pytest.mark.parametrize("command", [("get", "cell", "w/\u00e9"), ("history", "cell", "w/\u00e9", "load")])
def test_a_name_that_no_twin_has_is_told(server, twinloop, command):
    status, _, err = twinloop("twin", *command)
    assert status == 2 and "ID 'w/\u00e9' is the name of no twin, for no name has a '/'" in err
    assert server.asked == []


def test_history_is_shown_without_what_is_unknown(server, twinloop):
    told = {"unit": "bit/s", "time_s": [1.7e9, 1.7e9 + 1], "value": [2e6, None]}
    server.on("GET /twins/user/u-1/history", told, httpx.Response(200, content=b"time_s,rate_bps\n"))
    status, out, _ = twinloop("twin", "history", "user", "u-1", "rate_bps", "--from", "-1min", "--step", "1")
    assert status == 0 and "rate_bps [bit/s]" in out and out.count("2,000,000") == 1
    assert dict(server.asked[0].url.params) == {"attribute": "rate_bps", "from": "-1min", "to": "now", "step": "1.0"}
    assert twinloop("twin", "history", "user", "u-1", "rate_bps", "--format", "csv")[1] == "time_s,rate_bps\n"
    assert server.asked[-1].headers["Accept"] == "text/csv"


def test_an_export_is_whole_or_not_there(server, twinloop, tmp_path):
    def broken():
        yield b"half"
        raise httpx.ReadError("gone")

    server.on("GET /twins/export", httpx.Response(200, content=b"all of it"))
    assert twinloop("twin", "export", "--kind", "user", "--format", "csv", "-o", "twins.csv")[0] == 0
    assert (tmp_path / "twins.csv").read_bytes() == b"all of it"
    server.on("GET /twins/export", httpx.Response(200, content=broken()))
    status, _, err = twinloop("twin", "export", "-o", "other.json")
    assert status == 2 and "does not answer (gone)" in err
    assert [path.name for path in tmp_path.iterdir()] == ["twins.csv"]


def sse(*events: tuple[int | None, str, dict]) -> bytes:
    parts = [b"retry: 1\n\n"]
    for number, event, data in events:
        parts.append(b"" if number is None else b"id: %d\n" % number)
        parts.append(b"event: " + event.encode() + b"\ndata: " + json.dumps(data).encode() + b"\n\n")
    return b"".join(parts)


def test_watching_goes_on_where_the_line_broke(server, twinloop):
    def broken():
        yield sse((5, "begin", {"slot": 5, "time_s": 1.7e9})) + b": alive\n\n"
        yield sse((6, "change", {"slot": 6, "time_s": 1.7e9, "twins": [TWIN], "gone": {}}))
        raise httpx.ReadError("gone")

    last = (7, "change", {"slot": 7, "time_s": 1.7e9, "twins": [], "gone": {"user": ["u-2"]}})
    server.on("GET /twins/changes", httpx.Response(200, content=broken()), httpx.Response(200, content=sse(last)))
    status, out, err = twinloop("twin", "watch", "--kind", "user", "--most", "2")
    assert status == 0
    lines = [line.split(" ", 2)[2] for line in out.splitlines()]
    assert lines == ["begin", "user u-1: rate_bps 2,500,000, sinr_db 12.5", "gone: user u-2"]
    assert server.asked[1].headers["Last-Event-ID"] == "6" and "the line broke" in err
    server.on("GET /twins/changes", httpx.Response(200, content=sse((None, "end", {"reason": "the token ended"}))))
    status, _, err = twinloop("twin", "watch")
    assert status == 2 and "the server ended it: the token ended" in err


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (httpx.ConnectError("refused"), "does not answer (refused); is twinloop serve running there?"),
        (httpx.ReadTimeout("slow"), "does not answer (slow)"),
        (problem(401, "the token is unknown"), "the token is unknown; give a token: --token-file, or TWINLOOP_TOKEN"),
        (problem(403, "not yours", "ask an admin"), "error: not yours; ask an admin"),
        (httpx.Response(502, content=b"<html>"), "answers HTTP 502"),
        (httpx.Response(200, content=b"<html>"), "answers in no JSON; is a twinloop server there?"),
    ],
)
@pytest.mark.parametrize("command", [("slice", "list"), ("decision", "list"), ("twin", "list", "user")])
def test_whatever_goes_wrong_is_one_line(server, twinloop, command, answer, said):
    for route in ("GET /slices", "GET /decisions", "GET /twins/user"):
        server.on(route, answer)
    status, out, err = twinloop(*command)
    assert (status, out) == (2, "") and said in err and err.count("\n") == 1 and "Traceback" not in err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--token", "two words"), "odd characters"),
        (("--token-file", "none"), "--token-file none cannot be read"),
        (("--server", "ftp://x"), "is no address"),
        (("--server", "http://a:b"), "is no address"),
        (("--token", ""), "a token is needed"),
    ],
)
def test_who_and_where_must_be_known(server, twinloop, options, said):
    status, _, err = twinloop("slice", "list", *options)
    assert status == 2 and said in err and err.count("\n") == 1
    assert server.asked == []


def test_a_token_may_stand_in_a_file(server, twinloop, tmp_path):
    server.on("GET /slices", {"slices": []})
    (tmp_path / "token").write_text("tl_other\n")
    assert twinloop("slice", "list", "--token-file", "token")[0] == 0
    assert server.asked[0].headers["Authorization"] == "Bearer tl_other"


@pytest.mark.parametrize(
    "command",
    [
        *("slice", "slice list", "slice create", "slice adjust", "slice end", "slice check", "decision"),
        *("decision list", "decision show", "decision approve", "decision reject", "twin", "twin list", "twin get"),
        *("twin watch", "twin export", "twin history"),
    ],
)
def test_help_is_worth_reading(twinloop, command):
    status, out, _ = twinloop(*command.split(), "--help")
    assert status == 0 and len(out.split()) > 30 and "[" not in out.splitlines()[1][:1]
