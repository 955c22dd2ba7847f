"""Programs that others wrote use the server as its documents say: curl, mosquitto_pub, and a Prometheus server."""

import json
import subprocess
import urllib.parse
import urllib.request

import pytest
from servers import PATIENCE_S, free_port, program
from service.served_here import eventually

PROMETHEUS = """
global: {{scrape_interval: 500ms, scrape_timeout: 500ms}}
scrape_configs:
  - job_name: twinloop
    authorization: {{credentials_file: {token}}}
    static_configs: [{{targets: ['127.0.0.1:{port}']}}]
"""


def report(user: str, buffer_s: float, source: str, sequence: int) -> str:
    row = {"kind": "user", "id": user, "slice": "premium", "values": {"buffer_s": buffer_s}}
    return json.dumps({"source": source, "sequence": sequence, "rows": [row]})


def test_curl_reports_and_reads_the_twin(running):
    sent = running.curl(
        "--fail-with-body",
        "-H",
        "Content-Type: application/json",
        "--data-binary",
        report("ue-7", 3.5, "curl", 1),
        f"{running.url}/reports",
        who="reporter",
    )
    assert json.loads(sent) == {"accepted": 1, "refused": 0, "duplicate": False}
    slot = running.slot()
    twin = json.loads(running.curl(f"{running.url}/twins/user/ue-7"))
    assert (twin["slice"], twin["slot"]) == ("premium", slot)
    assert twin["reported"]["buffer_s"]["value"] == 3.5
    table = running.curl("-H", "Accept: text/csv", f"{running.url}/twins/user/ue-7?attributes=buffer_s")
    assert "reported,buffer_s,3.5,s" in table
    refused = running.curl("-w", "%{http_code} %{content_type}", "-o", "/dev/null", f"{running.url}/twins/user/nobody")
    assert refused == "404 application/problem+json"


def test_curl_hears_of_changes_as_they_happen(running):
    running.slot()
    words = [program("curl", "curl"), "-sS", "-N", f"{running.url}/twins/changes?kind=user"]
    command = [*words, "-H", f"Authorization: Bearer {running.secrets['viewer']}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as listener:
        try:
            lines = iter(listener.stdout.readline, "")
            assert "event: begin\n" in (next(lines), next(lines))
            running.curl("--json", report("ue-8", 4.5, "curl", 2), f"{running.url}/reports", who="reporter")
            number = running.slot()
            told = next(line for line in lines if line.startswith("data: ") and '"twins"' in line)
        finally:
            listener.terminate()
    change = json.loads(told.removeprefix("data: "))
    assert change["slot"] == number
    assert [(twin["id"], twin["reported"]["buffer_s"]["value"]) for twin in change["twins"]] == [("ue-8", 4.5)]


def test_mosquitto_pub_reports(running, mosquitto):
    running.join(mosquitto)
    try:
        payload = report("ue-9", 5.5, "all", 1)
        arguments = ["-h", "127.0.0.1", "-p", str(mosquitto.port), "-q", "1", "-t", "twinloop/all/reports"]
        running.run("mosquitto_pub", "mosquitto-clients", *arguments, "-m", payload)
        eventually(lambda: running.platform.runner.backlog)
        assert ("all", 1) in [(one.source, one.sequence) for one in running.storage.events.after(0, 100)]
        running.slot()
        twin = json.loads(running.curl(f"{running.url}/twins/user/ue-9"))
        assert twin["reported"]["buffer_s"]["value"] == 5.5
    finally:
        running.leave()


@pytest.fixture
def prometheus(running, tmp_path):
    """Address of a Prometheus server that scrapes the running one."""
    port, token, described = free_port(), tmp_path / "token", tmp_path / "prometheus.yml"
    token.write_text(running.secrets["viewer"])
    described.write_text(PROMETHEUS.format(token=token, port=running.port))
    arguments = [f"--config.file={described}", f"--storage.tsdb.path={tmp_path / 'data'}"]
    arguments.append(f"--web.listen-address=127.0.0.1:{port}")
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen([program("prometheus", "prometheus"), *arguments], stdout=log, stderr=log)
    yield f"http://127.0.0.1:{port}"
    server.terminate()
    server.wait(PATIENCE_S)


def test_prometheus_scrapes_with_a_token(running, prometheus):
    number = running.slot()
    found: dict[str, dict] = {}

    def scraped() -> bool:
        for query in ('up{job="twinloop"} == 1', f"twinloop_slot == {number}", 'twinloop_mode{mode="advise"} == 1'):
            address = f"{prometheus}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
            try:
                with urllib.request.urlopen(address, timeout=PATIENCE_S) as answer:
                    told = json.load(answer)["data"]["result"]
            except OSError:
                return False
            if not told:
                return False
            found[query] = told[0]
        return True

    eventually(scraped)
    assert found[f"twinloop_slot == {number}"]["metric"]["instance"] == f"127.0.0.1:{running.port}"
    listed = running.curl(f"{running.url}/metrics")
    assert f"\ntwinloop_slot {float(number)}\n" in listed
    assert running.curl("-w", "%{http_code}", "-o", "/dev/null", f"{running.url}/metrics", who="reporter") == "403"
