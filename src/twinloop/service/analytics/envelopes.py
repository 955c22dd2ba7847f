"""Findings in the standard's envelopes: the answer to a request, and news of a subscription."""

from collections.abc import Sequence
from typing import Any, Final

from twinloop.service.analytics.events import Finding
from twinloop.service.analytics.models import AnalyticsData, EventNotification
from twinloop.service.analytics.nwdaf import Answer
from twinloop.service.analytics.wire import instant

FIELDS: Final = {
    "SERVICE_EXPERIENCE": "svc_exps",
    "UE_MOBILITY": "ue_mobs",
    "UE_COMMUNICATION": "ue_comms",
    "LOAD_LEVEL_INFORMATION": "slice_load_level_infos",
    "NSI_LOAD_LEVEL": "nsi_load_level_infos",
    "QOS_SUSTAINABILITY": "qos_sustain_infos",
    "NETWORK_PERFORMANCE": "nw_perfs",
    "DN_PERFORMANCE": "dn_perf_infos",
    "USER_DATA_CONGESTION": "user_data_cong_infos",
}
"""Where items of an event stand."""

LOAD_LEVEL = "LOAD_LEVEL_INFORMATION"
SLICE_LOAD_LEVEL = "SLICE_LOAD_LEVEL"


def analytics_data(event: str, answer: Answer, *, features: str | None) -> AnalyticsData:
    """The answer to a request; `features` are those agreed on, where the request named any."""
    items = [finding.item for finding in answer.told]
    return AnalyticsData.model_validate(_times(answer) | {FIELDS[event]: items, "supp_feat": features})


def notifications(event: str, answer: Answer, findings: Sequence[Finding]) -> list[EventNotification]:
    """News of an event, by its name in requests: one, but one for each slice of load levels. None without findings."""
    if not findings:
        return []
    if event == LOAD_LEVEL:
        alone = [{"slice_load_level_info": finding.item} for finding in findings]
        return [_news(SLICE_LOAD_LEVEL, answer, content) for content in alone]
    return [_news(event, answer, {FIELDS[event]: [finding.item for finding in findings]})]


def no_news(event: str, code: str) -> EventNotification:
    """That there is none, and the standard's code why."""
    return EventNotification(event=SLICE_LOAD_LEVEL if event == LOAD_LEVEL else event, fail_notify_code=code)


def _news(event: str, answer: Answer, content: dict[str, Any]) -> EventNotification:
    return EventNotification.model_validate(_times(answer) | content | {"event": event})


def _times(answer: Answer) -> dict[str, Any]:
    window = answer.window
    return {
        "start": instant(window.from_s),
        "expiry": instant(window.to_s),
        "time_stamp_gen": instant(answer.made_s),
    }
