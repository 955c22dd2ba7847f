"""Commands that serve, feed and admit: what is wrong is one line before anything is opened or begun."""

import httpx
import pytest

TOKEN = {
    "id": "abc",
    "name": "west",
    "role": "reporter",
    "tenant": "",
    "sources": ["west"],
    "expires_s": None,
    "last_used_s": None,
    "revoked_s": None,
}


@pytest.fixture
def server(monkeypatch):
    """Answers of a server by method and path; what was asked is in `asked`."""
    answers, asked, really = {}, [], httpx.HTTPTransport.handle_request

    def answer(transport, request: httpx.Request) -> httpx.Response:
        if request.url.port != 8080:
            return really(transport, request)
        request.read()
        asked.append(request)
        return answers[f"{request.method} {request.url.path}"]

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", answer)
    monkeypatch.setenv("TWINLOOP_TOKEN", "tl_secret")
    answers["asked"] = asked
    return answers


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("serve --mode foo", "mode: input should be"),
        ("serve --config none.toml", "none.toml: it cannot be read"),
        ("serve --config bad.toml", "porz: there is no such field"),
        ("serve --tls-key k.pem", "--tls-certificate and --tls-key go together"),
        ("serve --tls-key k.pem --tls-certificate c.pem", "tls.certificate c.pem cannot be read"),
        ("serve --broker tcp://x", "--broker is no address of a broker"),
        ("serve --telemetry collector", "telemetry.endpoint"),
        ("serve nosuch", "no scenario 'nosuch'"),
        ("serve --database postgresql://u:hidden@127.0.0.1:1/x", "Connection refused"),
        ("agent --network nope", "give simulated, replay, cmcd-log"),
        ("agent --network replay", "--recording is missing"),
        ("agent --network replay --recording none.csv", "none.csv"),
        ("agent --network replay --recording r.csv --mapping none.json", "none.json: it cannot be read"),
        ("agent --network replay --recording r.csv --mapping bad.toml", "it is no mapping"),
        ("agent --network replay --recording r.csv --rename ab", "--rename 'ab' is no pair"),
        ("agent --network replay --recording r.csv --only zz", "no entity has such a name"),
        ("agent --network replay --site a --site b", "an agent of replay follows the plan of one"),
        ("agent --network cmcd-log --log none.log", "--log none.log is no file"),
        ("agent --site a --source c", "--source is of replay and cmcd-log"),
        ("agent --broker x --network replay --recording r.csv", "--broker is no address"),
        (
            "agent --network replay --recording r.csv --speed nan",
            "'--speed': Input should be less than or equal to 10000",
        ),
        ("token create reporter a --hours 1e400", "'--hours': Input should be less than or equal to 87600"),
        ("ingest none.csv", "none.csv: No such file"),
        ("ingest r.md", "files .md cannot be read"),
        ("ingest empty.csv", "the file has no header"),
        ("ingest r.csv --mapping none.json", "none.json: it cannot be read"),
    ],
)
def test_what_is_wrong_is_one_line(server, twinloop, tmp_path, arguments, said):
    (tmp_path / "bad.toml").write_text("porz = 1")
    (tmp_path / "r.csv").write_text("id,time_s,RSRP\nue-1,5,-80\n")
    (tmp_path / "r.md").write_text("# no data")
    (tmp_path / "empty.csv").write_text("")
    status, out, err = twinloop(*arguments.split())
    last = err.splitlines()[-1]
    assert (status, out) == (2, "") and last.startswith("error: ") and said in last
    assert "Traceback" not in err and "hidden" not in err


def test_an_agent_ends_at_once_where_its_token_or_site_is_refused(server, twinloop):
    server["GET /agents/west/plan"] = httpx.Response(401, json={"detail": "the token is not known"})
    status, _, err = twinloop("agent", "three-sites", "--site", "west")
    assert status == 2 and err == "error: http://127.0.0.1:8080/agents/west/plan answers: the token is not known\n"


@pytest.mark.parametrize(
    "options",
    [
        "--network replay --recording r.csv",
        "--network replay --recording r.csv --site west",
        "--network cmcd-log --log access.log --from-start",
    ],
)
@pytest.mark.parametrize("status", [401, 403])
def test_an_agent_of_records_ends_where_its_token_is_refused(server, twinloop, tmp_path, options, status):
    (tmp_path / "r.csv").write_text("id,time_s,RSRP\nue-1,5,-80\nue-2,900,-80\n")
    query = "CMCD=bl%3D9000%2Cbr%3D3000%2Csid%3D%22ann%22"
    (tmp_path / "access.log").write_text(
        f'10.0.0.1 - - [14/Nov/2023:22:13:20 +0000] "GET /seg.m4s?{query} HTTP/1.1" 200 10 "-" "x"\n'
    )
    server["GET /agents/west/plan"] = httpx.Response(200, json={"revision": 1, "site": "west", "parts": []})
    server["POST /reports"] = httpx.Response(status, json={"detail": "the token is not known"})
    ended, _, err = twinloop("agent", *options.split())
    assert ended == 2 and "the server took 0 of 1 rows that were sent" in err
    assert err.splitlines()[-1] == "error: http://127.0.0.1:8080/reports answers: the token is not known"


def test_a_replay_counts_the_rows_that_the_server_took(server, twinloop, tmp_path):
    (tmp_path / "r.csv").write_text("id,time_s,RSRP\nue-1,5,-80\nue-2,5,-80\n")
    told = {"accepted": 1, "refused": 1, "duplicate": False, "reasons": [{"index": 1, "reason": "there is no room"}]}
    server["POST /reports"] = httpx.Response(200, json=told)
    status, _, err = twinloop("agent", "--network", "replay", "--recording", "r.csv")
    assert status == 0 and "the server took 1 of 2 rows that were sent" in err


def test_a_file_is_sent_and_what_is_refused_is_told(server, twinloop, tmp_path):
    (tmp_path / "r.csv").write_text("id,time_s,RSRP\nue-1,5,-80\nue-2,5,-300\n")
    reasons = [{"index": 1, "id": "ue-2", "reason": "too weak"}]
    server["POST /reports"] = httpx.Response(
        200, json={"accepted": 1, "refused": 1, "duplicate": False, "reasons": reasons}
    )
    status, out, err = twinloop("ingest", "r.csv", "--slice", "premium")
    assert status == 1 and out == "r.csv: 1 rows accepted, 1 refused\n"
    assert "refused: r.csv, line 3, ue-2: too weak" in err
    server["POST /reports"] = httpx.Response(200, json={"accepted": 2, "refused": 0, "duplicate": True})
    status, out, _ = twinloop("ingest", "r.csv")
    assert status == 0 and "1 of 1 batches were there before" in out


def test_tokens_are_made_listed_and_revoked(server, twinloop):
    server["POST /tokens"] = httpx.Response(201, json=TOKEN | {"secret": "tl_abc_secret"})
    status, out, err = twinloop("token", "create", "reporter", "west", "--source", "west", "--hours", "2")
    assert (status, out) == (0, "tl_abc_secret\n") and "shown this once" in err
    assert b'"lasts_s":7200.0' in server["asked"][-1].content
    server["GET /tokens"] = httpx.Response(200, json={"tokens": [TOKEN]})
    assert twinloop("token", "list")[1].splitlines()[1].split()[:4] == ["abc", "west", "reporter", "west"]
    server["DELETE /tokens/abc"] = httpx.Response(200, json=TOKEN)
    assert twinloop("token", "revoke", "abc")[1] == "token abc of west is revoked\n"


@pytest.mark.parametrize("path", ["nowhere/token", "file/token", "folder"])
def test_a_token_file_that_cannot_be_written_is_told_before_anything_begins(twinloop, tmp_path, path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    status, out, err = twinloop("serve", "--token-file", path)
    assert (status, out) == (2, "")
    assert err == (
        f"error: --token-file {path} cannot be written: it is a folder, or in none that is yours; give another\n"
    )
    assert not (tmp_path / "twinloop.db").exists()
