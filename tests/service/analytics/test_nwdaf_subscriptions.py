"""Subscriptions over HTTP: accepted, answered, kept, changed and ended as the standard has it; limits."""

import json

import pytest
from nwdaf_world import EVENTS, NOW_S, SUBSCRIPTIONS, Anybody, World, rfc3339, valid

from twinloop.service.analytics import AnalyticsSettings, NotifySettings, Subscriptions

URL = "https://consumer.example/inbox"
LOAD = {"event": "NSI_LOAD_LEVEL", "nsiLevelThrds": [80], "matchingDir": "ASCENDING"}


def wanted(*events: dict, **parts: object) -> dict:
    """A subscription."""
    return {"eventSubscriptions": list(events) or [LOAD], "notificationURI": URL, **parts}


def refused(response, status: int, expected: str, param: str = "") -> None:
    """Fails unless a request was refused with the cause, in a problem under the standard's schema."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    valid(EVENTS, "TS29571_CommonData__ProblemDetails", body)
    assert body["cause"] == expected
    if param:
        assert body["invalidParams"][0]["param"] == param


def create(world: World, body: dict):
    """A request for a subscription."""
    return world.call("POST", SUBSCRIPTIONS, json=body)


def test_a_subscription_is_created_with_its_location(world):
    body = wanted(
        LOAD, {"event": "UE_MOBILITY", "tgtUe": {"anyUe": True}}, notifCorrId="mine", supportedFeatures="FFFF"
    )
    response = create(world, body)
    assert response.status_code == 201, response.text
    place = response.headers["location"]
    assert place.startswith(f"http://twins.example{SUBSCRIPTIONS}/")
    answered = response.json()
    valid(EVENTS, "NnwdafEventsSubscription", answered)
    assert answered == {**body, "supportedFeatures": "A1AF"}
    (kept,) = world.subscriptions.all()
    assert place.endswith(kept.name)


def test_a_root_that_is_set_begins_the_location():
    world = World(AnalyticsSettings(api_root="https://nwdaf.example/root/"))
    place = create(world, wanted()).headers["location"]
    assert place.startswith("https://nwdaf.example/root/nnwdaf-eventssubscription/v1/subscriptions/")


def test_an_immediate_report_comes_with_the_answer(world):
    events = [{"event": "SLICE_LOAD_LEVEL", "loadLevelThreshold": 80}, {"event": "NETWORK_PERFORMANCE"}]
    answered = create(world, wanted(*events, evtReq={"immRep": True})).json()
    valid(EVENTS, "NnwdafEventsSubscription", answered)
    told = answered["eventNotifications"]
    assert [item["event"] for item in told] == ["SLICE_LOAD_LEVEL", "SLICE_LOAD_LEVEL", "NETWORK_PERFORMANCE"]
    assert [item["sliceLoadLevelInfo"]["loadLevelInformation"] for item in told[:2]] == [50, 90]


def test_events_that_cannot_be_served_are_named_and_the_others_are(world):
    straddling = {"startTs": rfc3339(NOW_S - 60), "endTs": rfc3339(NOW_S + 60)}
    events = [LOAD, {"event": "NF_LOAD"}, {"event": "DN_PERFORMANCE", "extraReportReq": straddling}]
    answered = create(world, wanted(*events)).json()
    valid(EVENTS, "NnwdafEventsSubscription", answered)
    assert answered["failEventReports"] == [
        {"event": "NF_LOAD", "failureCode": "OTHER"},
        {"event": "DN_PERFORMANCE", "failureCode": "BOTH_STAT_PRED_NOT_ALLOWED"},
    ]
    assert [event["event"] for event in answered["eventSubscriptions"]] == ["NSI_LOAD_LEVEL"]


def test_a_window_that_is_too_far_ahead_today_is_accepted(world):
    later = {"startTs": rfc3339(NOW_S + 7200), "endTs": rfc3339(NOW_S + 7260)}
    assert create(world, wanted({"event": "NETWORK_PERFORMANCE", "extraReportReq": later})).status_code == 201


@pytest.mark.parametrize(
    ("body", "expected", "param"),
    [
        ({"eventSubscriptions": [LOAD]}, "MANDATORY_IE_MISSING", "notificationURI"),
        ({"notificationURI": URL}, "MANDATORY_IE_MISSING", "eventSubscriptions"),
        (wanted() | {"eventSubscriptions": []}, "MANDATORY_IE_INCORRECT", "eventSubscriptions"),
        (wanted({"event": "NF_LOAD"}), "MANDATORY_IE_INCORRECT", "eventSubscriptions"),
        (wanted({"event": "UE_MOBILITY"}), "MANDATORY_IE_INCORRECT", "eventSubscriptions"),
        (
            wanted({"event": "NSI_LOAD_LEVEL", "anySlice": True, "snssaia": [{"sst": 1}]}),
            "MANDATORY_IE_INCORRECT",
            "eventSubscriptions.0",
        ),
        (wanted(evtReq={"monDur": rfc3339(NOW_S - 1)}), "OPTIONAL_IE_INCORRECT", "evtReq.monDur"),
        (wanted(evtReq={"maxReportNbr": -1}), "OPTIONAL_IE_INCORRECT", "evtReq.maxReportNbr"),
        (wanted(*[LOAD] * 17), "OPTIONAL_IE_INCORRECT", "eventSubscriptions"),
        (wanted() | {"notificationURI": "http://10.0.0.1/x"}, "OPTIONAL_IE_INCORRECT", "notificationURI"),
        (
            wanted(
                {
                    "event": "NSI_LOAD_LEVEL",
                    "extraReportReq": {"startTs": rfc3339(NOW_S - 60), "endTs": rfc3339(NOW_S + 60)},
                }
            ),
            "BOTH_STAT_PRED_NOT_ALLOWED",
            "eventSubscriptions",
        ),
    ],
)
def test_what_is_wrong_with_a_subscription_is_named(world, body, expected, param):
    world.forbidden_urls = {"http://10.0.0.1/x"}
    refused(create(world, body), 400, expected, param)
    assert not world.subscriptions.all()


def test_what_is_no_json_is_refused(world):
    head = {"content-type": "application/json"}
    refused(world.call("POST", SUBSCRIPTIONS, content=b"{oops", headers=head), 400, "INVALID_MSG_FORMAT")
    refused(world.call("POST", SUBSCRIPTIONS, content=b"a=1"), 415, "UNSUPPORTED_MEDIA_TYPE")


def test_a_subscription_is_replaced_and_begins_anew(world):
    create(world, wanted())
    (before,) = world.subscriptions.all()
    place = f"{SUBSCRIPTIONS}/{before.name}"
    response = world.call("PUT", place, json=wanted({"event": "NETWORK_PERFORMANCE"}))
    assert response.status_code == 200
    valid(EVENTS, "NnwdafEventsSubscription", response.json())
    (after,) = world.subscriptions.all()
    assert after.name == before.name
    assert after.body.event_subscriptions[0].event == "NETWORK_PERFORMANCE"
    refused(world.call("PUT", place, json={}), 400, "MANDATORY_IE_MISSING")
    assert world.subscriptions.all() == (after,)


def test_a_subscription_is_ended_once(world):
    create(world, wanted())
    place = f"{SUBSCRIPTIONS}/{world.subscriptions.all()[0].name}"
    assert world.call("DELETE", place).status_code == 204
    refused(world.call("DELETE", place), 404, "SUBSCRIPTION_NOT_FOUND")
    refused(world.call("PUT", place, json=wanted()), 404, "SUBSCRIPTION_NOT_FOUND")
    assert not world.shelf.sheets


def test_nobody_touches_the_subscription_of_another(world):
    create(world, wanted())
    place = f"{SUBSCRIPTIONS}/{world.subscriptions.all()[0].name}"
    world.identity = Anybody("stranger")
    refused(world.call("DELETE", place), 404, "SUBSCRIPTION_NOT_FOUND")
    refused(world.call("PUT", place, json=wanted()), 404, "SUBSCRIPTION_NOT_FOUND")
    assert len(world.subscriptions.all()) == 1


def test_there_is_an_end_to_subscriptions():
    world = World(AnalyticsSettings(notify=NotifySettings(most_subscriptions=3, most_of_one_owner=2)))
    assert [create(world, wanted()).status_code for _ in range(2)] == [201, 201]
    refused(create(world, wanted()), 429, "INSUFFICIENT_RESOURCES")
    world.identity = Anybody("second")
    assert create(world, wanted()).status_code == 201
    world.identity = Anybody("third")
    refused(create(world, wanted()), 429, "INSUFFICIENT_RESOURCES")


def test_subscriptions_outlast_the_server(world):
    create(world, wanted(LOAD, evtReq={"maxReportNbr": 3, "monDur": rfc3339(NOW_S + 3600)}, notifCorrId="c"))
    again = Subscriptions(world.analytics, world.shelf)
    assert again.all() == world.subscriptions.all()
    assert json.loads(world.shelf.list("nnwdaf-subscriptions")[0].body)["body"]["notificationURI"] == URL
