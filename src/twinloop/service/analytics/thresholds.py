"""Thresholds of a subscribed event: what is held against what, and whether it was crossed (TS 23.288, 6.1.3)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from twinloop.service.analytics.events import Finding, throughput_gauge
from twinloop.service.analytics.models import EventSubscription, ReportingInformation, ThresholdLevel
from twinloop.service.analytics.settings import NotifySettings
from twinloop.service.analytics.wire import bps_of

ASCENDING, DESCENDING, CROSSED = "ASCENDING", "DESCENDING", "CROSSED"

_LONGEST_S = 10**9


@dataclass(frozen=True)
class Threshold:
    """A level of a gauge. It is reached at the level and above."""

    gauge: str
    level: float


def thresholds_of(event: EventSubscription) -> tuple[Threshold, ...]:
    """Thresholds that a subscribed event names, of those that the twins have a gauge for."""
    match event.event:
        case "SLICE_LOAD_LEVEL" | "LOAD_LEVEL_INFORMATION":
            level = event.load_level_threshold
            return () if level is None else (Threshold("load", float(level)),)
        case "NSI_LOAD_LEVEL":
            return tuple(Threshold("load", float(level)) for level in event.nsi_level_thrds or ())
        case "QOS_SUSTAINABILITY":
            levels = [bps_of(text) for text in event.ran_ue_throu_thds or ()]
            return tuple(Threshold(throughput_gauge(level), level) for level in levels)
        case "NETWORK_PERFORMANCE":
            wanted = [(one, one.relative_ratio or one.absolute_num) for one in event.nw_perf_requs or ()]
            return tuple(Threshold(one.nw_perf_type, float(level)) for one, level in wanted if level is not None)
        case "DN_PERFORMANCE":
            levels = [level for one in event.dn_perf_reqs or () for level in one.report_thresholds or ()]
            return tuple(threshold for level in levels for threshold in _of_level(level))
        case "USER_DATA_CONGESTION":
            return tuple(threshold for level in event.cong_thresholds or () for threshold in _of_level(level))
        case "SERVICE_EXPERIENCE":
            levels = [one.svc_exp_threshold for one in event.rat_freqs or ()]
            return tuple(threshold for level in levels if level is not None for threshold in _of_level(level))
        case _:
            return ()


def waits_for_thresholds(event: EventSubscription, reporting: ReportingInformation | None) -> bool:
    """Whether an event is told when a threshold is crossed, rather than periodically: where it names thresholds, unless
    periodic reports are asked for, by the whole subscription first.
    """
    if not thresholds_of(event):
        return False
    if reporting is not None and reporting.notif_method is not None:
        return reporting.notif_method == "ON_EVENT_DETECTION"
    return event.notification_method != "PERIODIC"


def pause_s(event: EventSubscription, reporting: ReportingInformation | None, settings: NotifySettings) -> float:
    """Seconds between looks at an event: of thresholds as set, else its period, the subscription's own first."""
    if waits_for_thresholds(event, reporting):
        return settings.check_s
    asked = event.repetition_period
    if reporting is not None and reporting.rep_period is not None:
        asked = reporting.rep_period
    return (
        settings.default_period_s if asked is None else float(min(max(asked, settings.shortest_period_s), _LONGEST_S))
    )


def direction_of(event: EventSubscription) -> str:
    """Which crossing is told: as named; else that of a throughput that falls, and any crossing of everything else."""
    named = event.matching_dir
    if event.event == "SERVICE_EXPERIENCE" and named is None:
        named = next((one.matching_dir for one in event.rat_freqs or () if one.matching_dir is not None), None)
    if named in {ASCENDING, DESCENDING, CROSSED}:
        return named
    return DESCENDING if event.event == "QOS_SUSTAINABILITY" else CROSSED


def crossed(
    findings: Sequence[Finding], thresholds: Sequence[Threshold], direction: str, sides: Mapping[str, bool]
) -> tuple[list[Finding], dict[str, bool]]:
    """Findings that crossed a threshold since `sides` were noted, and the sides now (True: reached).

    Where a side was never noted, being beyond an ascending or descending threshold already counts as having crossed it;
    where any crossing is meant, it is only noted.
    """
    now = dict(sides)
    told: list[Finding] = []
    for finding in findings:
        news = False
        for threshold in thresholds:
            if threshold.gauge not in finding.gauges:
                continue
            place = f"{finding.key} {threshold.gauge} {threshold.level:g}"
            reached = finding.gauges[threshold.gauge] >= threshold.level
            now[place] = reached
            news = news or _is_news(sides.get(place), reached, direction)
        if news:
            told.append(finding)
    return told, now


def _is_news(before: bool | None, reached: bool, direction: str) -> bool:
    if direction == CROSSED:
        return before is not None and before != reached
    wanted = direction == ASCENDING
    return reached == wanted and before != wanted


def _of_level(level: ThresholdLevel) -> list[Threshold]:
    """A threshold for each level that is named."""
    named = {
        "congLevel": level.cong_level,
        "avgTrafficRate": None if level.avg_traffic_rate is None else bps_of(level.avg_traffic_rate),
        "maxTrafficRate": None if level.max_traffic_rate is None else bps_of(level.max_traffic_rate),
        "avgPacketDelay": level.avg_packet_delay,
        "maxPacketDelay": level.max_packet_delay,
        "avgPacketLossRate": level.avg_packet_loss_rate,
        "mos": level.svc_exp_level,
    }
    return [Threshold(gauge, float(value)) for gauge, value in named.items() if value is not None]
