"""Both services under generated requests: no fault of the server, nothing that the standard's files do not describe.

The files are taken as they are, but requests are drawn from what is read here: known events, times around now, people
who are there or not, short lists. Stateful tests do not end on these files and are left out, and so are two checks:
that whatever has the right form is accepted (much of it is refused for what it says), and that whatever has not is
refused (parts that are passed over are not looked at).
"""

import copy
from collections import Counter
from typing import Any

import pytest
import schemathesis
from nwdaf_world import EVENTS, INFO, NOW_S, SUBSCRIPTIONS, World, bundle, rfc3339
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import from_schema

from twinloop.service.analytics import models

NINE = [
    "SERVICE_EXPERIENCE",
    "UE_MOBILITY",
    "UE_COMMUNICATION",
    "LOAD_LEVEL_INFORMATION",
    "NSI_LOAD_LEVEL",
    "QOS_SUSTAINABILITY",
    "NETWORK_PERFORMANCE",
    "DN_PERFORMANCE",
    "USER_DATA_CONGESTION",
]
FORMS = {
    "EventFilter": models.EventFilter,
    "EventSubscription": models.EventSubscription,
    "NnwdafEventsSubscription": models.EventsSubscription,
    "EventReportingRequirement": models.Requirement,
    "TargetUeInformation": models.TargetUe,
    "ReportingInformation": models.ReportingInformation,
    "QosRequirement": models.QosRequirement,
    "NetworkAreaInfo": models.NetworkAreaInfo,
    "RatFreqInformation": models.RatFreqInformation,
    "DnPerformanceReq": models.DnPerformanceReq,
    "Tai": models.Tai,
    "Ncgi": models.Ncgi,
}
BEGIN = [rfc3339(NOW_S + off_s) for off_s in (-600, 60, -60)]
END = [rfc3339(NOW_S + off_s) for off_s in (-60, 300, -600)]
PEOPLE = ["nai-ann@twinloop.invalid", "imsi-001010000000003", "nai-nobody@twinloop.invalid"]
DRAWN = {
    "EventReportingRequirement": {"startTs": {"enum": BEGIN}, "endTs": {"enum": END}},
    "TargetUeInformation": {"supis": {"type": "array", "minItems": 1, "maxItems": 3, "items": {"enum": PEOPLE}}},
    "ReportingInformation": {"monDur": {"enum": END[1:]}},
    "NnwdafEventsSubscription": {"notificationURI": {"enum": ["https://consumer.example/inbox", "http://10.0.0.1/x"]}},
}
WANTED = {"eventSubscriptions": [{"event": "NETWORK_PERFORMANCE"}], "notificationURI": "https://consumer.example/inbox"}
ANSWERED = {"eventNotifications", "failEventReports"}


def lean(name: str, service: str, path: str, known_id: str) -> dict[str, Any]:
    """A file of the standard with the operations at a path, its requests drawn from what is read here."""
    raw = copy.deepcopy(bundle(name))
    raw["servers"] = [{"url": service}]
    raw["paths"] = {path: raw["paths"][path]}
    for operation in raw["paths"][path].values():
        for parameter in operation.get("parameters", []):
            if parameter["name"] == "subscriptionId":
                parameter["schema"]["enum"] = [known_id, "0"]
    schemas = raw["components"]["schemas"]
    for place, schema in schemas.items():
        known = FORMS.get(place.rpartition("__")[2])
        if known is not None:
            named = {str(field.validation_alias or field.alias) for field in known.model_fields.values()} - ANSWERED
            parts = {part: schema["properties"][part] for part in schema["properties"] if part in named}
            schema["properties"] = parts | DRAWN.get(place.rpartition("__")[2], {})
            schema["additionalProperties"] = place == "NnwdafEventsSubscription"
            for part in schema["properties"].values():
                part |= {"maxItems": 2} if part.get("type") == "array" else {}
        if place.endswith(("EventId", "NwdafEvent")):
            schemas[place] = {"type": "string", "enum": [*NINE, "SLICE_LOAD_LEVEL", "NF_LOAD"]}
        if place == "EventSubscription":
            del schema["properties"]["anySlice"]
        if place == "NnwdafEventsSubscription":
            schema["required"] = ["eventSubscriptions", "notificationURI"]
    return raw


@pytest.mark.parametrize(
    ("name", "service", "path", "coverage"),
    [
        (INFO, "/nnwdaf-analyticsinfo/v1", "/analytics", True),
        (EVENTS, "/nnwdaf-eventssubscription/v1", "/subscriptions", True),
        (EVENTS, "/nnwdaf-eventssubscription/v1", "/subscriptions/{subscriptionId}", False),
    ],
)
def test_generated_requests_find_no_fault(name, service, path, coverage):
    config = {
        "seed": 1,
        "suppress-health-check": ["all"],
        "generation": {
            "max-examples": 10,
            "deterministic": True,
            "no-shrink": True,
            "database": "none",
            "mode": "positive",
        },
        "phases": {"stateful": {"enabled": False}, "coverage": {"enabled": coverage}},
        "checks": {check: {"enabled": False} for check in ("positive_data_acceptance", "negative_data_rejection")},
    }
    world = World()
    world.foretell_slices()
    world.forbidden_urls = {"http://10.0.0.1/x"}
    known = world.call("POST", SUBSCRIPTIONS, json=WANTED).headers["location"].rpartition("/")[2]
    raw = lean(name, service, path, known)
    schema = schemathesis.openapi.from_dict(raw, config=SchemathesisConfig.from_dict(config))
    schema.app = world.app
    faults: list[str] = []
    seen: Counter[int] = Counter()
    for event in from_schema(schema).execute():
        if "Error" in type(event).__name__:
            faults.append(str(event))
        if type(event).__name__ != "ScenarioFinished":
            continue
        for case, checks in event.recorder.checks.items():
            answer = event.recorder.interactions[case]
            seen[answer.response.status_code] += 1
            faults += [
                f"{answer.request.method} {answer.request.uri}: {check.failure_info.failure}"
                for check in checks
                if check.failure_info is not None
            ]
    assert not faults, "\n".join(faults[:3])
    assert seen[200] + seen[201], seen
    assert seen[400], seen
