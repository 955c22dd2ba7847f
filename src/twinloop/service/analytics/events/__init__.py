"""The nine analytics events: each a function of a scene (what is known), a question and the identities in use."""

from collections.abc import Callable
from typing import Final

from twinloop.service.analytics.events.communication import dn_performance, ue_communication
from twinloop.service.analytics.events.experience import LOSS_PER_STALLED_S, opinion, service_experience
from twinloop.service.analytics.events.finding import Finding, Item, Question
from twinloop.service.analytics.events.infrastructure import (
    network_performance,
    qos_sustainability,
    throughput_gauge,
    user_data_congestion,
)
from twinloop.service.analytics.events.mobility import ue_mobility
from twinloop.service.analytics.events.samples import Rows, Scene, View, Window, current
from twinloop.service.analytics.events.slices import nsi_load, slice_load
from twinloop.service.analytics.identities import Identities

Event = Callable[[Scene, Question, Identities], list[Finding]]

EVENTS: Final[dict[str, Event]] = {
    "SERVICE_EXPERIENCE": service_experience,
    "UE_MOBILITY": ue_mobility,
    "UE_COMMUNICATION": ue_communication,
    "LOAD_LEVEL_INFORMATION": slice_load,
    "NSI_LOAD_LEVEL": nsi_load,
    "QOS_SUSTAINABILITY": qos_sustainability,
    "NETWORK_PERFORMANCE": network_performance,
    "DN_PERFORMANCE": dn_performance,
    "USER_DATA_CONGESTION": user_data_congestion,
}
"""Events by their name in requests; subscriptions call LOAD_LEVEL_INFORMATION SLICE_LOAD_LEVEL."""

__all__ = [
    "EVENTS",
    "LOSS_PER_STALLED_S",
    "Event",
    "Finding",
    "Item",
    "Question",
    "Rows",
    "Scene",
    "View",
    "Window",
    "current",
    "opinion",
    "throughput_gauge",
]
