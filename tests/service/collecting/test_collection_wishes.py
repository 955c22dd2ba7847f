"""What operators want of an attribute is in every plan, outlives the server, and is seen beside what came."""

import pytest

from twinloop.entities import CELL_ATTRIBUTES, SERVER_ATTRIBUTES
from twinloop.network import default_request, request_of
from twinloop.service.collecting import Collecting, Wishes

SITE = "all"


def counts(platform) -> dict:
    return {
        "users": len(platform.runner.members.users.names),
        "cells": len(platform.scenario.network.cells),
        "servers": len(platform.scenario.network.servers),
    }


def live(stage) -> None:
    """Some slots later, plans are made anew: collection asks what the attribute table says."""
    stage.slot += 20
    picture = stage.live(stage.slot, serving_cell=[0, 0, 0, 0])
    stage.platform.collecting.lived(picture, default_request(counts(stage.platform)))


def asked(stage, attribute: str, kind: str = "user"):
    plan = stage.platform.plan(SITE)
    return [part.attributes.get(attribute) for part in plan.parts if part.kind == kind]


@pytest.fixture(scope="module")
def server(new_stage):
    made = new_stage()
    made.slot = 0
    made.secrets["operator"] = made.token("operator")
    return made


@pytest.fixture
def operator(server):
    """One server for all, of which nobody wants anything yet."""
    collecting = server.platform.collecting
    for wish in collecting.wishes.of(SITE):
        collecting.leave(SITE, wish.kind, wish.attribute)
    return server


def want(stage, attribute: str, who: str = "operator", query: str = "", **wanted):
    return stage.call("PUT", f"/collection/{SITE}/{attribute}{query}", who, json=wanted)


def test_a_wish_is_in_the_next_plan_and_gone_when_it_is_taken_back(operator):
    stage = operator
    live(stage)
    (before,) = asked(stage, "buffer_s")
    assert (before.period_s, before.bits) == (1.0, 10)
    answer = want(stage, "buffer_s", period_s=4.0, bits=6)
    assert answer.status_code == 200, answer.text
    assert [(wish["attribute"], wish["period_s"], wish["by"]) for wish in answer.json()["wishes"]] == [
        ("buffer_s", 4.0, "a operator")
    ]
    live(stage)
    (after,) = asked(stage, "buffer_s")
    assert (after.period_s, after.bits, after.delta) == (4.0, 6, -1.0)
    assert stage.platform.plan(SITE).revision > 0
    assert stage.call("DELETE", f"/collection/{SITE}/buffer_s", "operator").status_code == 204
    live(stage)
    assert asked(stage, "buffer_s") == [before]
    assert stage.call("DELETE", f"/collection/{SITE}/buffer_s", "operator").status_code == 404


def test_a_silenced_attribute_is_not_in_the_plan_and_agents_stop(operator):
    stage = operator
    want(stage, "buffer_s", enabled=False)
    live(stage)
    assert asked(stage, "buffer_s") == [None]
    platform = stage.platform
    ids = {"users": [name for name, _ in stage.users] + [""] * 8, "cells": [], "servers": []}
    request = request_of(platform.plan(SITE), ids, default_request({"users": 12, "cells": 0, "servers": 0}))
    assert [bool(request.users.enabled[at]) for at in (10, 11)] == [False, True]


def test_a_wish_of_a_cell_names_its_kind(operator):
    live(operator)
    assert want(operator, "load", query="?kind=cell", period_s=30).status_code == 200
    live(operator)
    (cells,) = asked(operator, "load", "cell")
    assert cells.period_s == 30.0


def test_only_precision_leaves_the_rest_to_the_loop(operator):
    want(operator, "swipes", bits=4)
    live(operator)
    (found,) = asked(operator, "swipes")
    assert (found.bits, found.delta, found.period_s) == (4, 0.0, 1.0)


def test_wishes_outlive_the_server(operator):
    want(operator, "buffer_s", period_s=4.0)
    (kept,) = Wishes(operator.platform.records).of(SITE)
    assert (kept.attribute, kept.period_s) == ("buffer_s", 4.0)
    again = Collecting(operator.platform.scenario, {SITE: ()}, operator.platform.records, operator.clock, 10.0)
    again.leave(SITE, "user", "buffer_s")
    assert Wishes(operator.platform.records).of(SITE) == []


def test_a_plan_is_numbered_on_only_where_it_changes(operator):
    live(operator)
    first = operator.platform.plan(SITE).revision
    live(operator)
    assert operator.platform.plan(SITE).revision == first
    want(operator, "buffer_s", bits=3)
    live(operator)
    assert operator.platform.plan(SITE).revision == first + 1


@pytest.mark.parametrize(
    ("attribute", "wanted", "status", "said"),
    [
        ("buffer_s", {}, 422, "nothing is wanted"),
        ("buffer_s", {"period_s": 0}, 422, "period_s"),
        ("buffer_s", {"period_s": "NaN"}, 422, "period_s"),
        ("buffer_s", {"bits": 25}, 422, "bits"),
        ("buffer_s", {"bites": 2}, 422, "bites"),
        ("shoe_size", {"bits": 2}, 404, "a user has no attribute 'shoe_size'"),
        ("load", {"bits": 2}, 404, "a user has no attribute 'load'"),
    ],
)
def test_a_wish_that_cannot_be_is_a_problem_to_read(attribute, wanted, status, said, operator):
    answer = want(operator, attribute, **wanted)
    assert answer.status_code == status
    assert said in answer.json()["detail"]


def test_who_may_look_and_who_may_want(operator):
    operator.secrets["east"] = operator.token("reporter", sources=("east",))
    operator.secrets[SITE] = operator.token("reporter", sources=(SITE,))
    assert want(operator, "buffer_s", "viewer", bits=2).status_code == 403
    assert operator.get("/collection/north").status_code == 404
    assert operator.get(f"/collection/{SITE}", "east").status_code == 403
    assert operator.known("/collection", "east")["sites"] == []
    assert [one["site"] for one in operator.known("/collection", SITE)["sites"]] == [SITE]


def test_observance_is_told_by_site_and_attribute(operator):
    live(operator)
    (site,) = operator.known("/collection")["sites"]
    assert site["asked_per_s"] > 0
    told = operator.known(f"/collection/{SITE}")
    (found,) = [one for one in told["attributes"] if one["attribute"] == "buffer_s"]
    assert (found["kind"], found["entities"], found["unit"], found["known"]) == ("user", 4, "s", True)
    assert told["wishes"] == []


def test_how_long_a_site_may_be_quiet_is_what_its_plan_says_wishes_included(operator):
    stage, collecting = operator, operator.platform.collecting
    live(stage)
    assert collecting.quiet_s(SITE) == 1.0, "everything is asked for every second"
    every = [("cell", entry.name) for entry in CELL_ATTRIBUTES] + [
        ("server", entry.name) for entry in SERVER_ATTRIBUTES
    ]
    for kind, name in every:
        assert want(stage, name, query=f"?kind={kind}", period_s=60.0).status_code == 200
    live(stage)
    assert collecting.quiet_s(SITE) == 60.0
    for kind, name in every:
        want(stage, name, query=f"?kind={kind}", enabled=False)
    live(stage)
    assert collecting.quiet_s(SITE) == float("inf"), "nothing is asked of its cells and servers"
