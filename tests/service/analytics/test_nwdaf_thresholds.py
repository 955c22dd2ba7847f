"""Thresholds: which are named, which way they are crossed, and how often a subscription is looked at."""

import pytest

from twinloop.service.analytics.events import Finding
from twinloop.service.analytics.models import (
    EventSubscription,
    ReportingInformation,
    SliceLoadLevelInformation,
    Snssai,
)
from twinloop.service.analytics.settings import NotifySettings
from twinloop.service.analytics.thresholds import (
    Threshold,
    crossed,
    direction_of,
    pause_s,
    thresholds_of,
    waits_for_thresholds,
)


def event(name: str, **parts: object) -> EventSubscription:
    """A subscribed event."""
    return EventSubscription.model_validate({"event": name, **parts})


@pytest.mark.parametrize(
    ("subscribed", "gauges"),
    [
        (event("SLICE_LOAD_LEVEL", loadLevelThreshold=70), {"load": 70.0}),
        (event("NSI_LOAD_LEVEL", nsiLevelThrds=[60]), {"load": 60.0}),
        (event("QOS_SUSTAINABILITY", ranUeThrouThds=["2 Mbps"]), {"throughput against 2000000": 2e6}),
        (
            event("NETWORK_PERFORMANCE", nwPerfRequs=[{"nwPerfType": "NUM_OF_UE", "absoluteNum": 5}]),
            {"NUM_OF_UE": 5.0},
        ),
        (
            event("NETWORK_PERFORMANCE", nwPerfRequs=[{"nwPerfType": "GNB_COMPUTING_USAGE", "relativeRatio": 80}]),
            {"GNB_COMPUTING_USAGE": 80.0},
        ),
        (
            event(
                "DN_PERFORMANCE",
                dnPerfReqs=[{"reportThresholds": [{"avgPacketDelay": 30, "avgTrafficRate": "1 Mbps"}]}],
            ),
            {"avgTrafficRate": 1e6, "avgPacketDelay": 30.0},
        ),
        (event("USER_DATA_CONGESTION", congThresholds=[{"congLevel": 75}]), {"congLevel": 75.0}),
        (event("SERVICE_EXPERIENCE", ratFreqs=[{"svcExpThreshold": {"svcExpLevel": 3.5}}]), {"mos": 3.5}),
        (event("UE_MOBILITY"), {}),
        (event("NSI_LOAD_LEVEL"), {}),
    ],
)
def test_thresholds_are_read(subscribed, gauges):
    assert {threshold.gauge: threshold.level for threshold in thresholds_of(subscribed)} == gauges


def found(level: float) -> Finding:
    """A slice with a load."""
    item = SliceLoadLevelInformation(load_level_information=int(level), snssais=[Snssai(sst=1)])
    return Finding("video", item, {"load": level})


@pytest.mark.parametrize(
    ("direction", "levels", "told"),
    [
        ("ASCENDING", [10, 90, 95, 20, 90], [False, True, False, False, True]),
        ("ASCENDING", [90, 90], [True, False]),
        ("DESCENDING", [90, 10, 5, 90, 10], [False, True, False, False, True]),
        ("DESCENDING", [10, 10], [True, False]),
        ("CROSSED", [10, 90, 95, 20], [False, True, False, True]),
        ("CROSSED", [90, 90], [False, False]),
        ("ASCENDING", [79, 80], [False, True]),
    ],
)
def test_crossings_are_told_once(direction, levels, told):
    sides: dict[str, bool] = {}
    for level, expected in zip(levels, told, strict=True):
        news, sides = crossed([found(float(level))], [Threshold("load", 80.0)], direction, sides)
        assert bool(news) == expected


def test_directions():
    assert direction_of(event("QOS_SUSTAINABILITY")) == "DESCENDING"
    assert direction_of(event("NSI_LOAD_LEVEL")) == "CROSSED"
    assert direction_of(event("NSI_LOAD_LEVEL", matchingDir="ASCENDING")) == "ASCENDING"
    assert direction_of(event("NSI_LOAD_LEVEL", matchingDir="SIDEWAYS")) == "CROSSED"
    rated = event("SERVICE_EXPERIENCE", ratFreqs=[{"matchingDir": "DESCENDING"}])
    assert direction_of(rated) == "DESCENDING"


def test_the_whole_subscription_says_first_how_and_how_often():
    settings = NotifySettings(check_s=1.0, default_period_s=60.0, shortest_period_s=5.0)
    bounded = event("NSI_LOAD_LEVEL", nsiLevelThrds=[80], repetitionPeriod=30)
    plain = event("NSI_LOAD_LEVEL", repetitionPeriod=30)
    periodic = ReportingInformation(notif_method="PERIODIC", rep_period=10)
    assert waits_for_thresholds(bounded, None)
    assert not waits_for_thresholds(bounded, periodic)
    assert not waits_for_thresholds(event("NSI_LOAD_LEVEL", nsiLevelThrds=[80], notificationMethod="PERIODIC"), None)
    assert not waits_for_thresholds(plain, ReportingInformation(notif_method="ON_EVENT_DETECTION"))
    assert pause_s(bounded, None, settings) == 1.0
    assert pause_s(bounded, periodic, settings) == 10.0
    assert pause_s(plain, None, settings) == 30.0
    assert pause_s(event("NSI_LOAD_LEVEL"), None, settings) == 60.0
    assert pause_s(event("NSI_LOAD_LEVEL", repetitionPeriod=-4), None, settings) == 5.0
    assert pause_s(event("NSI_LOAD_LEVEL", repetitionPeriod=10**40), None, settings) == 1e9
