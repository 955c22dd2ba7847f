"""Requests for analytics: every event in every tense under the standard's schema, refusals by the standard's cause."""

import json
from dataclasses import replace

import numpy as np
import pytest
from nwdaf_world import ANALYTICS, FUTURE, INFO, NOW_S, PAST, World, rfc3339, valid

from twinloop.service.analytics import AnalyticsSettings

LISTS = {
    "SERVICE_EXPERIENCE": "svcExps",
    "UE_MOBILITY": "ueMobs",
    "UE_COMMUNICATION": "ueComms",
    "LOAD_LEVEL_INFORMATION": "sliceLoadLevelInfos",
    "NSI_LOAD_LEVEL": "nsiLoadLevelInfos",
    "QOS_SUSTAINABILITY": "qosSustainInfos",
    "NETWORK_PERFORMANCE": "nwPerfs",
    "DN_PERFORMANCE": "dnPerfInfos",
    "USER_DATA_CONGESTION": "userDataCongInfos",
}
WINDOWS = {"now": {}, "past": PAST, "future": FUTURE}
ANY = {"anyUe": True}


def cause(response, status: int) -> str:
    """The cause of a refusal, which is a problem under the standard's schema."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    valid(INFO, "TS29571_CommonData__ProblemDetails", body)
    assert body["status"] == status
    assert body["detail"]
    assert "Traceback" not in response.text
    return body["cause"]


@pytest.mark.parametrize("tense", WINDOWS)
@pytest.mark.parametrize("event", LISTS)
@pytest.mark.parametrize("target", [ANY, {"supis": ["nai-ann@twinloop.invalid", "imsi-001010000000003"]}])
def test_every_event_in_every_tense_is_valid(world, event, tense, target):
    world.foretell_slices()
    response = world.get(event, ana_req=WINDOWS[tense], tgt_ue=target)
    assert response.status_code == 200, response.text
    body = response.json()
    assert body[LISTS[event]]
    assert not [name for name in LISTS.values() if name != LISTS[event] and name in body]
    valid(INFO, "AnalyticsData", body)


def test_a_window_says_what_it_is_about(world):
    body = world.get("USER_DATA_CONGESTION", ana_req=PAST).json()
    assert (body["start"], body["expiry"]) == ("2030-03-17T17:36:40Z", "2030-03-17T17:46:40Z")
    assert body["timeStampGen"] == "2030-03-17T17:46:40Z"


@pytest.mark.parametrize(
    ("requirement", "start_s", "end_s"),
    [
        ({"offsetPeriod": -60}, -60, 0),
        ({"offsetPeriod": 60}, 0, 60),
        ({"startTs": rfc3339(NOW_S - 100)}, -100, 0),
        ({"startTs": rfc3339(NOW_S + 100)}, 100, 300),
        ({"endTs": rfc3339(NOW_S - 100)}, -400, -100),
        ({"endTs": rfc3339(NOW_S + 100)}, 0, 100),
        ({"startTs": rfc3339(NOW_S), "endTs": rfc3339(NOW_S + 10_000)}, 0, 300),
        ({"offsetPeriod": 10**30}, 0, 300),
    ],
)
def test_windows_are_understood(world, requirement, start_s, end_s):
    body = world.get("USER_DATA_CONGESTION", ana_req=requirement).json()
    assert body["start"] == rfc3339(NOW_S + start_s)
    assert body["expiry"] == rfc3339(NOW_S + end_s)


def test_statistics_and_prediction_at_once_are_refused(world):
    request = {"startTs": rfc3339(NOW_S - 60), "endTs": rfc3339(NOW_S + 60)}
    assert cause(world.get("NSI_LOAD_LEVEL", ana_req=request), 400) == "BOTH_STAT_PRED_NOT_ALLOWED"


@pytest.mark.parametrize(
    "request_s", [(NOW_S - 5000, NOW_S - 4000), (NOW_S + 900, NOW_S + 1000), (NOW_S - 9e7, NOW_S - 8e7)]
)
@pytest.mark.parametrize("status", [404, 500])
def test_missing_data_is_said(request_s, status):
    world = World(AnalyticsSettings(unavailable_status=status))
    start_s, end_s = request_s
    request = {"startTs": rfc3339(start_s), "endTs": rfc3339(end_s)}
    assert cause(world.get("USER_DATA_CONGESTION", ana_req=request), status) == "UNAVAILABLE_DATA"


def test_slices_that_nobody_foretells_are_missing_data(world):
    assert cause(world.get("NSI_LOAD_LEVEL", ana_req=FUTURE), 404) == "UNAVAILABLE_DATA"


@pytest.mark.parametrize(
    ("query", "expected", "param"),
    [
        ({}, "MANDATORY_QUERY_PARAM_MISSING", "event-id"),
        ({"event-id": "NF_LOAD"}, "MANDATORY_QUERY_PARAM_INCORRECT", "event-id"),
        ({"event-id": "UE_MOBILITY"}, "MANDATORY_QUERY_PARAM_MISSING", "tgt-ue"),
        ({"event-id": "UE_COMMUNICATION", "tgt-ue": "{}"}, "MANDATORY_QUERY_PARAM_MISSING", "tgt-ue"),
        ({"event-id": "NSI_LOAD_LEVEL", "ana-req": "{oops"}, "OPTIONAL_QUERY_PARAM_INCORRECT", "ana-req"),
        ({"event-id": "NSI_LOAD_LEVEL", "ana-req": "[]"}, "OPTIONAL_QUERY_PARAM_INCORRECT", "ana-req"),
        (
            {"event-id": "NSI_LOAD_LEVEL", "ana-req": '{"startTs": 1}'},
            "OPTIONAL_QUERY_PARAM_INCORRECT",
            "ana-req.startTs",
        ),
        (
            {
                "event-id": "NSI_LOAD_LEVEL",
                "ana-req": '{"startTs": "2030-01-02T00:00:00Z", "endTs": "2030-01-01T00:00:00Z"}',
            },
            "OPTIONAL_QUERY_PARAM_INCORRECT",
            "ana-req",
        ),
        (
            {"event-id": "NSI_LOAD_LEVEL", "event-filter": '{"snssais": []}'},
            "OPTIONAL_QUERY_PARAM_INCORRECT",
            "event-filter.snssais",
        ),
        (
            {"event-id": "NSI_LOAD_LEVEL", "event-filter": '{"snssais": [{"sst": 1, "sd": "12345"}]}'},
            "OPTIONAL_QUERY_PARAM_INCORRECT",
            "event-filter.snssais.0.sd",
        ),
        (
            {"event-id": "NSI_LOAD_LEVEL", "event-filter": '{"anySlice": true, "snssais": [{"sst": 1}]}'},
            "OPTIONAL_QUERY_PARAM_INCORRECT",
            "event-filter",
        ),
        (
            {"event-id": "NSI_LOAD_LEVEL", "supported-features": "xyz"},
            "OPTIONAL_QUERY_PARAM_INCORRECT",
            "supported-features",
        ),
    ],
)
def test_what_is_wrong_is_named(world, query, expected, param):
    response = world.call("GET", ANALYTICS, params=query)
    assert cause(response, 400) == expected
    assert response.json()["invalidParams"][0]["param"] == param


def test_fields_that_are_not_ours_are_passed_over(world):
    response = world.get(
        "USER_DATA_CONGESTION",
        ana_req={"timeAnaNeeded": rfc3339(NOW_S), "anaMeta": ["NUM_OF_SAMPLES"], "vendor": {"a": 1}},
        event_filter={"ratFreqs": [{"allRat": True}], "visitedAreas": [{}], "x": 1},
        tgt_ue={"anyUe": True, "y": 2},
    )
    assert response.status_code == 200


@pytest.mark.parametrize(
    ("event", "parts"),
    [
        ("UE_MOBILITY", {"tgt_ue": {"supis": ["nai-nobody@twinloop.invalid"]}}),
        ("UE_MOBILITY", {"tgt_ue": {"supis": ["nai-ann@other.invalid"]}}),
        ("UE_MOBILITY", {"tgt_ue": {"gpsis": ["msisdn-4912345"]}}),
        ("NSI_LOAD_LEVEL", {"event_filter": {"snssais": [{"sst": 2}]}}),
        ("NSI_LOAD_LEVEL", {"event_filter": {"nsiIdInfos": [{"snssai": {"sst": 1}, "nsiIds": ["other"]}]}}),
        ("USER_DATA_CONGESTION", {"event_filter": {"networkArea": {"ecgis": [{"eutraCellId": "0000001"}]}}}),
        ("DN_PERFORMANCE", {"event_filter": {"dnns": ["ims"]}}),
        ("DN_PERFORMANCE", {"event_filter": {"appIds": ["chess"]}}),
        ("QOS_SUSTAINABILITY", {"event_filter": {"qosRequ": {"5qi": 9, "gfbrDl": "1 bps"}}}),
    ],
)
def test_nothing_to_tell_is_no_content(world, event, parts):
    response = world.get(event, **parts)
    assert (response.status_code, response.content) == (204, b"")


def test_before_the_first_slot_there_is_nothing(world):
    world.picture = None
    response = world.get("NSI_LOAD_LEVEL")
    assert cause(response, 503) == "NF_CONGESTION"
    assert response.headers["retry-after"]


def test_features_are_answered_where_they_were_asked_for(world):
    assert "suppFeat" not in world.get("NSI_LOAD_LEVEL").json()
    response = world.call("GET", ANALYTICS, params={"event-id": "NSI_LOAD_LEVEL", "supported-features": "FF"})
    assert response.json()["suppFeat"] == "0"


def test_an_answer_is_no_longer_than_asked_for(world):
    assert len(world.get("USER_DATA_CONGESTION", ana_req={"maxObjectNbr": 2}).json()["userDataCongInfos"]) == 2
    everybody = {"supis": ["nai-ann@twinloop.invalid", "nai-dan@twinloop.invalid"]}
    found = world.get("SERVICE_EXPERIENCE", tgt_ue=everybody, ana_req={"maxSupiNbr": 1}).json()["svcExps"]
    assert len(found) == 1


def test_a_share_of_people_is_looked_at_where_that_is_asked_for(world):
    world.get("DN_PERFORMANCE", ana_req=PAST | {"sampRatio": 34})
    assert len({name for kind, name, _ in world.past.asked if kind == "user"}) == 2


def test_slices_and_areas_narrow_an_answer(world):
    found = world.get("NSI_LOAD_LEVEL", event_filter={"snssais": [{"sst": 1, "sd": "0000A1"}]}).json()
    assert [item["nsiId"] for item in found["nsiLoadLevelInfos"]] == ["video"]
    any_sd = world.get("NSI_LOAD_LEVEL", event_filter={"snssais": [{"sst": 1}]}).json()
    assert [item["nsiId"] for item in any_sd["nsiLoadLevelInfos"]] == ["video"]
    every = world.get("NSI_LOAD_LEVEL", event_filter={"anySlice": True}).json()
    assert len(every["nsiLoadLevelInfos"]) == 2
    plmn = {"mcc": "001", "mnc": "01"}
    area = {"ncgis": [{"plmnId": plmn, "nrCellId": "000001001"}]}
    cells = world.get("USER_DATA_CONGESTION", event_filter={"networkArea": area}).json()["userDataCongInfos"]
    assert [item["networkArea"]["ncgis"][0]["nrCellId"] for item in cells] == ["000001001"]
    people = world.get("UE_COMMUNICATION", tgt_ue=ANY, event_filter={"networkArea": area}).json()["ueComms"]
    assert [item["trafChar"]["dlVol"] for item in people] == [round(1e6 * 30 / 8), round(3e6 * 30 / 8)]
    track = {"tais": [{"plmnId": plmn, "tac": "000001"}]}
    assert len(world.get("USER_DATA_CONGESTION", event_filter={"networkArea": track}).json()["userDataCongInfos"]) == 3


def test_congestion_of_users_is_that_of_their_cells(world):
    found = world.get("USER_DATA_CONGESTION", tgt_ue={"supis": ["nai-eve@twinloop.invalid"]}).json()
    cells = [item["networkArea"]["ncgis"][0]["nrCellId"] for item in found["userDataCongInfos"]]
    assert cells == ["000001002"]


@pytest.mark.parametrize("tense", ["past", "future"])
def test_what_is_not_shown_is_not_looked_up(world, tense):
    """A tenant sees the second slice, without the quality of its users."""

    def mine(picture):
        users, slices = picture.users, picture.slices
        own = picture.user_slice == 1
        quality = [attribute.name for attribute in users.attributes].index("quality")
        shown = np.where(own[:, None], users.slot, -1)
        shown[:, quality] = -1
        return replace(
            picture,
            users=replace(users, active=users.active & own, slot=shown),
            slices=replace(slices, active=np.asarray([False, True])),
            cells=replace(picture.cells, slot=np.full_like(picture.cells.slot, -1)),
        )

    world.identity.sees = mine
    window = WINDOWS[tense]
    found = world.get("DN_PERFORMANCE", ana_req=window).json()["dnPerfInfos"]
    assert [item["snssai"]["sst"] for item in found] == [3]
    assert cause(world.get("SERVICE_EXPERIENCE", ana_req=window), 404) == "UNAVAILABLE_DATA"
    assert cause(world.get("USER_DATA_CONGESTION", ana_req=window), 404) == "UNAVAILABLE_DATA"
    hidden = world.get("SERVICE_EXPERIENCE", ana_req=window, tgt_ue={"supis": ["nai-ann@twinloop.invalid"]})
    assert hidden.status_code == 204
    assert {name for kind, name, _ in world.past.asked if kind == "user"} <= {"dan", "eve", "fay"}
    assert "quality" not in {attribute for *_, attribute in [*world.past.asked, *world.future.asked]}
    assert "cell" not in {kind for kind, *_ in [*world.past.asked, *world.future.asked]}


def test_an_answer_has_no_empty_lists_and_no_nulls(world):
    text = world.get("SERVICE_EXPERIENCE", tgt_ue=ANY).text
    assert "[]" not in text
    assert "null" not in text
    assert json.loads(text)["svcExps"][0]["svcExprc"] == {"mos": 3.27, "upperRange": 5.0, "lowerRange": 1.0}
