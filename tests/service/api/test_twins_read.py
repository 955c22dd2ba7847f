"""Twins over HTTP as they are: filters, pages, parts, media types, tags, and what a tenant gets of it."""

import csv
import io
import json
from xml.etree import ElementTree

import pytest

ALL = ["ann", "bob", "cy", "dee"]


def ids(answer) -> list[str]:
    return [twin["id"] for twin in answer["twins"]]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, ALL),
        ({"slice": "premium"}, ["ann", "cy"]),
        ({"cell": "south"}, ["bob", "cy"]),
        ({"where": "buffer_s<1.2"}, ["ann", "bob"]),
        ({"where": ["buffer_s>=1.1", "buffer_s != 2.1"]}, ["bob", "dee"]),
        ({"slice": "premium", "where": "buffer_s>1"}, ["cy"]),
        ({"prefix": "c"}, ["cy"]),
        ({"prefix": "zz"}, []),
        ({"active": False}, []),
    ],
)
def test_lists_are_narrowed(shown, query, found):
    answer = shown.known("/twins/user", **query)
    assert ids(answer) == found
    assert answer["matching"] == len(found)
    assert answer["next"] is None


def test_pages_go_on_where_they_ended_though_twins_come_and_go(stage):
    stage.live(10)
    first = stage.known("/twins/user", limit=2)
    assert ids(first) == ["ann", "bob"] and first["next"] == "bob" and first["matching"] == 4
    stage.users = [("abe", 0), ("cy", 0), ("dee", 0), ("bea", 1), ("bob", 1)]
    stage.live(11)
    second = stage.known("/twins/user", limit=2, after=first["next"])
    assert ids(second) == ["cy", "dee"] and second["next"] is None


def test_parts_and_attributes_are_chosen(shown):
    (twin,) = shown.known("/twins/user", prefix="bob", fields="reported", attributes="buffer_s,rate_bps")["twins"]
    assert "emulated" not in twin and "desired" not in twin
    assert twin["slice"] == "standard"
    buffer = {"value": 1.1, "unit": "s", "measured_s": shown.epoch_s + 10, "age_s": 0.0, "fidelity": 0.875}
    assert twin["reported"]["buffer_s"] == buffer
    assert sorted(twin["reported"]) == ["buffer_s", "rate_bps"]


def test_reported_emulated_and_desired_are_kept_apart(stage):
    picture = stage.changed(stage.live(10), "slice", 0, rate_bps=7.0)
    stage.show(picture)
    twin = stage.known("/twins/slice/premium")
    assert twin["reported"]["rate_bps"]["value"] == 7.0
    assert twin["reported"]["users"]["age_s"] == 1.0
    assert twin["emulated"]["rate_bps"] == {"value": 0.57, "std": 0.25, "unit": "bit/s"}
    assert twin["desired"]["bandwidth_hz"] == {"north": 2e6, "south": 2e6}
    assert (twin["desired"]["requested_revision"], twin["desired"]["confirmed_revision"]) == (4, 3)
    assert stage.known("/twins/server/edge")["desired"]["cycles_per_s"]["standard"] == 3e9


def test_what_was_never_reported_is_absent(stage):
    picture = stage.picture(10)
    picture.users.slot[0, 10] = -1
    stage.show(picture)
    twin = stage.known("/twins/user/ann")
    assert "buffer_s" not in twin["reported"] and "buffer_s" not in twin["emulated"]
    assert "ann" not in ids(stage.known("/twins/user", where="buffer_s<1"))


def test_one_twin_in_every_media_type_says_the_same(shown):
    told = shown.known("/twins/user/bob")
    rows = list(csv.DictReader(io.StringIO(shown.get("/twins/user/bob", accept="text/csv").text)))
    root = ElementTree.fromstring(shown.get("/twins/user/bob", accept="text/xml, application/json;q=0.5").content)
    assert root.get("id") == "bob" and root.get("slice") == "standard"
    for part in ("reported", "emulated"):
        value = {name: one["value"] for name, one in told[part].items()}
        assert {row["name"]: float(row["value"]) for row in rows if row["part"] == part} == value
        assert {one.get("name"): float(one.get("value")) for one in root.iter(part)} == value
    assert shown.get("/twins/user/bob", accept="image/png").status_code == 406
    assert "application/xml" in shown.refused("/twins/user/bob", 406, accept="text/html")["hint"]


def test_who_has_the_revision_is_told_so(stage):
    picture = stage.live(10)
    tag = stage.get("/twins/user/bob").headers["etag"]
    again = stage.call("GET", "/twins/user/bob", headers={"If-None-Match": f'"other", {tag}'})
    assert again.status_code == 304 and again.content == b"" and again.headers["etag"] == tag
    stage.show(stage.changed(picture, "user", 1, buffer_s=3.0))
    after = stage.call("GET", "/twins/user/bob", headers={"If-None-Match": tag})
    assert after.status_code == 200 and after.headers["etag"] != tag


def test_a_value_corrected_in_its_slot_has_another_tag(stage):
    picture = stage.picture(10)
    stage.show(picture)
    tag = stage.get("/twins/user/bob").headers["etag"]
    picture.users.value[1] += 1.0
    stage.show(picture)
    after = stage.call("GET", "/twins/user/bob", headers={"If-None-Match": tag})
    assert after.status_code == 200 and after.headers["etag"] != tag


@pytest.mark.parametrize(
    ("path", "query", "status", "words"),
    [
        ("/twins/phone", {}, 404, "user, cell, server, slice"),
        ("/twins/user/eve", {}, 404, "/twins/user"),
        ("/twins/user", {"where": "buffer_s"}, 422, "buffer_s<1"),
        ("/twins/user", {"where": "colour<1"}, 404, "/twins/user"),
        ("/twins/user", {"fields": "gossip"}, 422, "reported, emulated, desired"),
        ("/twins/user", {"attributes": "colour"}, 422, "buffer_s"),
        ("/twins/user", {"slice": "gold"}, 404, "/twins/slice"),
        ("/twins/cell", {"slice": "premium"}, 422, "leave slice out"),
        ("/twins/user", {"limit": 0}, 422, ""),
    ],
)
def test_what_cannot_be_asked_is_refused_with_what_can(shown, path, query, status, words):
    problem = shown.refused(path, status, **query)
    assert words in problem.get("hint", "") + problem["detail"]


def test_before_the_first_slot_it_is_said_so(stage):
    assert stage.refused("/twins/user", 503)["detail"] == "no slot has been lived yet"
    assert stage.refused("/network", 503)["status"] == 503
    stage.live(1)
    stage.refused("/twins/user", 401, who=None)


def test_everything_is_exported_at_once(shown):
    whole = json.loads(shown.get("/twins/export").text)
    assert [(twin["kind"], twin["id"]) for twin in whole["twins"]][:4] == [("user", name) for name in ALL]
    assert len(whole["twins"]) == 4 + 2 + 1 + 3 and whole["slot"] == 10
    lines = shown.get("/twins/export", accept="application/x-ndjson", kind="cell").text.splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["north", "south"]
    table = list(csv.DictReader(io.StringIO(shown.get("/twins/export", accept="text/csv", kind="user").text)))
    assert [(row["id"], row["slice"], float(row["buffer_s"])) for row in table][3] == ("dee", "multicast", 3.1)
    root = ElementTree.fromstring(shown.get("/twins/export", accept="application/xml", fields="reported").content)
    assert len(root) == 10 and root[0].get("id") == "ann"
    shown.refused("/twins/export", 422, accept="text/csv")


def test_a_tenant_gets_its_own_and_nothing_more(stage):
    acme = stage.tenant("acme", "premium")
    stage.live(10)
    answer = stage.known("/twins/user", acme)
    assert answer["matching"] == 2 and all(twin["slice"] == "premium" for twin in answer["twins"])
    assert not set(ids(answer)) & set(ALL)
    granted = {"rate_bps", "delay_s", "buffer_s", "quality", "rebuffer_s"}
    for twin in answer["twins"]:
        assert set(twin["reported"]) == set(twin["emulated"]) == granted and twin["desired"] == {}
    assert ids(stage.known("/twins/slice", acme)) == ["premium"]
    assert stage.known("/twins/cell/north", acme)["reported"] == {}
    for name in ("ann", "bob"):
        stage.refused(f"/twins/user/{name}", 404, acme)
    stage.refused("/twins/user", 403, acme, where="position_x_m<500")
    stage.refused("/twins/user", 404, acme, slice="standard")
    stage.refused("/network/cells", 403, acme)
    exported = json.loads(stage.get("/twins/export", acme).text)["twins"]
    assert len([twin for twin in exported if twin["kind"] == "user"]) == 2
    assert not any("bob" in str(twin) or "standard" in str(twin) for twin in exported)
