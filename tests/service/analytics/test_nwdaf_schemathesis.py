"""Both services under generated requests: no fault of the server, nothing that the standard's files do not describe.

The files are taken as they are but for what would only cost time: events that nobody serves, and parts of requests that
are passed over here. Stateful tests do not end on these files and are left out, and so are two checks: that whatever has
the right form is accepted (much of it is refused for what it says), and that whatever has not is refused (parts that are
passed over are not looked at).
"""

import copy
import json

import pytest
import schemathesis
from nwdaf_world import EVENTS, INFO, NOW_S, World, bundle, rfc3339
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import from_schema

from twinloop.service.analytics import AnalyticsSettings, NotifySettings
from twinloop.service.analytics.models import (
    EventFilter,
    EventsSubscription,
    EventSubscription,
    ReportingInformation,
    Requirement,
    TargetUe,
)

FORMS = {
    "EventFilter": EventFilter,
    "EventSubscription": EventSubscription,
    "NnwdafEventsSubscription": EventsSubscription,
    "EventReportingRequirement": Requirement,
    "TargetUeInformation": TargetUe,
    "ReportingInformation": ReportingInformation,
}
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
OFF = ("positive_data_acceptance", "negative_data_rejection")


def lean(name: str, service: str, path: str) -> dict:
    """A bundle with the operations below a path, as this service reads their requests."""
    raw = copy.deepcopy(bundle(name))
    raw["servers"] = [{"url": service}]
    raw["paths"] = {place: item for place, item in raw["paths"].items() if place.startswith(path)}
    schemas = raw["components"]["schemas"]
    for schema, form in FORMS.items():
        known = {field.validation_alias or field.alias for field in form.model_fields.values()}
        for place in schemas:
            if place == schema or place.endswith(f"__{schema}"):
                parts = schemas[place]["properties"]
                schemas[place]["properties"] = {part: parts[part] for part in parts if part in known}
    events = {"type": "string", "enum": NINE}
    for place in schemas:
        if place.endswith("EventId") or place.endswith("NwdafEvent"):
            schemas[place] = events
    return raw
