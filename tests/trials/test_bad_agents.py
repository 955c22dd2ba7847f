"""Agents that lie, flood and fall silent: what is impossible is refused and answerable, twins stay finite, nothing
unsafe is asked of the network, and everybody else is served.
"""

import json
import time
from typing import Any

import msgspec
import pytest
from trials.live_server import LiveServer, Promises, reporting, wait_until

from twinloop.entities import CELL_ATTRIBUTES, SERVER_ATTRIBUTES, USER_ATTRIBUTES

pytestmark = pytest.mark.trial
NAN, INFINITE = float("nan"), float("inf")
IMPOSSIBLE = [
    *({"buffer_s": value} for value in (-5.0, NAN, INFINITE, -INFINITE, 1e300)),
    *({"swipes": value} for value in (-1.0, 0.5, 1e30)),
    {"rate_bps": 1e300},
    {"no_such_thing": 1.0},
]
MISPLACED: list[dict[str, Any]] = [
    {"kind": "alien", "id": "et"},
    {"kind": "cell", "id": "nowhere"},
    {"kind": "server", "id": "nothing"},
    *({"kind": "user", "id": name, "slice": "standard"} for name in ("", "a/b", "a b", "x" * 200, "line\nline")),
    {"kind": "user", "id": "liar", "slice": "nobody"},
    {"kind": "user", "id": "liar", "slice": "standard", "group": "none"},
    *({"kind": "user", "id": "liar", "slice": "standard", "time_s": at} for at in (NAN, INFINITE, -1.0, 1e15)),
]
FLOOD = 200


def not_finite(word: str) -> float:
    raise AssertionError(f"a twin holds {word}")


def require_finite(server: LiveServer) -> None:
    """Every number that twins are told to hold is one."""
    with server.client() as client:
        for kind in ("user", "cell", "server", "slice"):
            answer = client.get(f"/twins/{kind}", params={"limit": 500})
            assert answer.status_code == 200, answer.text
            for twin in json.loads(answer.text, parse_constant=not_finite)["twins"]:
                parts = ("reported", "emulated") if kind != "slice" else ("reported",)
                told = [(part, *entry) for part in parts for entry in twin[part].items()]
                unknown = [(part, name) for part, name, one in told if one["value"] is None]
                assert unknown == [], f"{kind} {twin['id']} holds no number for {unknown}"


def site_told(server: LiveServer) -> dict[str, Any]:
    return server.get("/sites")["sites"][0]


def test_what_is_impossible_is_refused_and_answerable(served, served_site, note):
    about = {"kind": "user", "id": "liar", "slice": "standard", "time_s": time.time()}
    rows = [{**about, "values": values} for values in IMPOSSIBLE]
    rows += [{"values": {"buffer_s": 1.0, "load": 0.5}, **row} for row in MISPLACED]
    body = msgspec.msgpack.encode({"source": "liar", "sequence": 1, "rows": rows})
    with served.client(served.reporter) as client:
        answer = client.post("/reports", content=body, headers={"Content-Type": "application/msgpack"})
        assert answer.status_code == 200, answer.text
        told = answer.json()
        for broken in (
            b"",
            b"\xff",
            b"[]",
            b'{"source": "liar"',
            b'{"source": "liar", "sequence": -1}',
            b"[" * 100_000,
        ):
            refused = client.post("/reports", content=broken, headers={"Content-Type": "application/json"})
            assert refused.status_code in (400, 415), refused.text
            assert refused.json()["detail"]
    wait_until(
        lambda: len(served.get("/ingest/errors?source=liar&limit=1000")["refused"]) >= told["refused"], "told why"
    )
    refused = served.get("/ingest/errors?source=liar&limit=1000")["refused"]
    assert {one["index"] for one in refused} == set(range(len(rows))), "every row is answered for"
    assert all(one["reason"] for one in refused)
    assert told["accepted"] == 0 and told["refused"] == len(rows)
    require_finite(served)
    note(refused=len(rows))


def extremes(table: Any, bound: str) -> dict[str, float]:
    return {attribute.name: getattr(attribute, bound) for attribute in table}


def test_who_lies_within_what_is_possible_harms_nobody(served, served_site, site, extent, note):
    network, honest = site.network, Promises("honest")
    with reporting(served, honest, 0.01), served.client(served.reporter) as client:
        for number in range(6 * extent.lies):
            bound = ("low", "high")[number % 2]
            about = {"time_s": time.time() + (-1) ** number * 1e6, "values": extremes(USER_ATTRIBUTES, bound)}
            rows = [{"kind": "user", "id": f"liar{who}", "slice": "premium", **about} for who in range(8)]
            rows += [
                {"kind": kind, "id": one.name, "values": extremes(table, bound)}
                for kind, table, parts in (
                    ("cell", CELL_ATTRIBUTES, network.cells),
                    ("server", SERVER_ATTRIBUTES, network.servers),
                )
                for one in parts
            ]
            answer = client.post("/reports", json={"source": "liars", "sequence": number, "rows": rows})
            assert answer.status_code == 200, answer.text
            time.sleep(0.5)
            require_finite(served)
    assert served.get("/system")["held"] == "", "slots are whole ones"
    honest.require_kept(served)
    note(rounds=6 * extent.lies, honest=len(honest.acknowledged))


def test_receipts_that_contradict_each_other_or_are_of_nothing(served, served_site):
    wait_until(lambda: site_told(served)["follows"], "the site follows")
    given = site_told(served)["fetched_revision"]
    with served.client(served.reporter) as client:
        stranger = client.post(
            "/reports", json={"source": "liar", "sequence": 2, "receipts": [{"revision": given, "result": "failed"}]}
        )
        assert stranger.status_code == 200 and site_told(served)["follows"], "receipts of a stranger say nothing"
        of_nothing = [{"revision": 2**62, "result": "applied"}, {"revision": 2**62, "result": "refused"}]
        assert served_site.say(client, receipts=of_nothing).status_code == 200
        assert site_told(served)["receipt_revision"] <= site_told(served)["fetched_revision"]
        results = ("refused", "applied", "failed", "applied", "refused")
        told = [{"revision": given, "result": result, "detail": "so or so"} for result in results]
        assert served_site.say(client, receipts=told).status_code == 200
        for wrong in (
            {"revision": -1, "result": "applied"},
            {"revision": given, "result": "perhaps"},
            {"revision": 1e400},
        ):
            assert (
                client.post(
                    "/reports", content=json.dumps({"source": "all", "sequence": 1, "receipts": [wrong]})
                ).status_code
                == 400
            )
    system = served.get("/system")
    assert system["confirmed_revision"] <= system["requested_revision"] < 2**31
    served_site.answered = -1
    wait_until(lambda: site_told(served)["follows"], "the site is believed again")


def test_a_flood_of_one_is_refused_and_others_are_served(served, served_site, note):
    """Ten times as much as its rate allows comes at once from somebody who may ask five times a second."""
    with served.client() as client:
        token = client.post("/tokens", json={"role": "viewer", "name": "flood"}).json()["secret"]
    honest = Promises("calm")
    with reporting(served, honest, 0.02), served.client(token) as client:
        answers = [client.get("/twins/user") for _ in range(FLOOD)]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert {answer.status_code for answer in answers} == {200, 429}
    assert all("Retry-After" in answer.headers for answer in refused)
    assert set(honest.statuses) == {200}
    honest.require_kept(served)
    note(flood=FLOOD, refused=len(refused), honest=len(honest.acknowledged))


def reserved(server: LiveServer) -> Any:
    return [cell["reserved_hz"] for cell in server.get("/network/cells")]


def test_a_site_that_never_answers_is_asked_again_then_rolled_back(served, served_site, note):
    wait_until(lambda: site_told(served)["follows"], "the site follows")

    def waiting() -> list[dict[str, Any]]:
        return [one for one in served.get("/decisions")["decisions"] if one["state"] == "waiting"]

    wait_until(lambda: bool(waiting()), "a decision waits for a person")
    before, slot = reserved(served), served.slot
    served_site.answers, asked = False, set[int]()
    with served.client() as client:
        approved = client.post(f"/decisions/{waiting()[0]['id']}/approve", json={"comment": "do it"})
    assert approved.status_code == 200, approved.text
    name = approved.json()["id"]

    def decision() -> dict[str, Any]:
        return served.get(f"/decisions/{name}")

    assert decision()["state"] == "adopted", decision()

    def given_up() -> bool:
        asked.add(site_told(served)["wanted_revision"])
        return decision()["state"] != "adopted"

    took_s = wait_until(given_up, "it is not waited for without end")
    assert decision()["state"] == "rolled_back" and "said nothing" in decision()["why"], decision()
    assert "said nothing" in site_told(served)["fault"]
    wait_until(lambda: reserved(served) == before, "what stood before stands again")
    assert len(asked) >= 2, "it was asked again"
    served_site.answers = True
    wait_until(lambda: site_told(served)["follows"] and not site_told(served)["fault"], "it counts once it answers")
    assert served.slot > slot
    note(rolled_back_after_s=round(took_s, 1))
