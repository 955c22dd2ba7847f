"""QOS_SUSTAINABILITY, NETWORK_PERFORMANCE and USER_DATA_CONGESTION: how cells and edge servers bear what they carry."""

import numpy as np

from twinloop.service.analytics.events.estimates import (
    Estimate,
    by_row,
    confidence,
    level_confidence,
    mean_over,
    over_time,
    probability_between,
    ratio,
    sure_percent,
    total_over,
)
from twinloop.service.analytics.events.finding import Finding, Question
from twinloop.service.analytics.events.samples import Scene, even_sample, samples
from twinloop.service.analytics.identities import Identities
from twinloop.service.analytics.models import (
    CongestionInfo,
    NetworkPerfInfo,
    QosSustainabilityInfo,
    ThresholdLevel,
    TimeWindow,
    UserDataCongestionInfo,
)
from twinloop.service.analytics.wire import bit_rate, instant, percent, ratio_percent


def qos_sustainability(scene: Scene, question: Question, identities: Identities) -> list[Finding]:
    """One item for each cell in which a user gets less than a threshold, with that threshold.

    What a user gets is the cell's `throughput_bps` over its `users` (at least one). Confidence: the probability of the
    side that is told, that it is less (in notifications of a rise: that it is not).

    Left out: retainability of QoS flows, which the twins do not know; whether people wanted more than they got.
    """
    rows = even_sample(question.cells, scene.settings.most_twins)
    carried = over_time(samples(scene, "cell", rows, "throughput_bps"))
    people = over_time(samples(scene, "cell", rows, "users"))
    found: list[Finding] = []
    for place, row in enumerate(rows):
        there = by_row(people, place)
        least_one = Estimate(max(there.value, 1.0), there.std, there.coverage) if there.known else there
        each = ratio(by_row(carried, place), least_one)
        if not each.known:
            continue
        area = identities.area(np.asarray([row]), everywhere=False)
        for threshold_bps in question.throughputs_bps:
            below = each.value < threshold_bps
            likely = probability_between(each.value, each.std, -np.inf, threshold_bps)
            item = QosSustainabilityInfo(
                area_info=area,
                start_ts=instant(scene.window.from_s),
                end_ts=instant(scene.window.to_s),
                ran_ue_throu_thd=bit_rate(threshold_bps),
                confidence=sure_percent(scene, each.coverage, likely if below else 1.0 - likely),
            )
            key = f"{scene.picture.cells.ids[int(row)]} {threshold_bps:.0f}"
            found.append(Finding(key, item, {throughput_gauge(threshold_bps): each.value}, told=below))
    return found


def throughput_gauge(threshold_bps: float) -> str:
    """Name of the gauge that one threshold is held against: its items are about no other."""
    return f"throughput against {threshold_bps:.0f}"


def network_performance(scene: Scene, question: Question, identities: Identities) -> list[Finding]:
    """One item for each measure of the whole area.

    NUM_OF_UE: the sum of the `users` of the cells that are known; confidence: within `precision.relative` or
    `precision.people`, what is more. GNB_COMPUTING_USAGE: mean `utilisation` of the edge servers of its cells; within
    `precision.level_percent`. GNB_ACTIVE_RATIO: share of its cells whose `load` was heard of; not foretold, for nothing
    tells an outage ahead.

    Left out: memory, disks, successful sessions and handovers, which are not reported.
    """
    measures = {
        "NUM_OF_UE": _people,
        "GNB_COMPUTING_USAGE": _computing,
        "GNB_ACTIVE_RATIO": _active,
    }
    found: list[Finding] = []
    for name, measure in measures.items():
        if question.perf_types is not None and name not in question.perf_types:
            continue
        item = measure(scene, question, identities)
        if item is not None:
            level = item.absolute_num if item.absolute_num is not None else item.relative_ratio
            found.append(Finding(name, item, {name: float(level or 0)}))
    return found


def _people(scene: Scene, question: Question, identities: Identities) -> NetworkPerfInfo | None:
    number = total_over(over_time(samples(scene, "cell", question.cells, "users")))
    if not number.known:
        return None
    stated, precision = max(round(number.value), 0), scene.settings.precision
    return NetworkPerfInfo(
        network_area=identities.area(question.cells, everywhere=question.everywhere),
        nw_perf_type="NUM_OF_UE",
        absolute_num=stated,
        confidence=confidence(scene, number, float(stated), max(precision.relative * stated, precision.people)),
    )


def _computing(scene: Scene, question: Question, identities: Identities) -> NetworkPerfInfo | None:
    servers = np.unique(scene.picture.cell_server[question.cells]).astype(np.int64)
    usage = mean_over(over_time(samples(scene, "server", servers[servers >= 0], "utilisation")))
    if not usage.known:
        return None
    stated = ratio_percent(usage.value)
    return NetworkPerfInfo(
        network_area=identities.area(question.cells, everywhere=question.everywhere),
        nw_perf_type="GNB_COMPUTING_USAGE",
        relative_ratio=stated,
        confidence=level_confidence(scene, usage, stated),
    )


def _active(scene: Scene, question: Question, identities: Identities) -> NetworkPerfInfo | None:
    if scene.predicted:
        return None
    heard = over_time(samples(scene, "cell", question.cells, "load")).known
    if not heard.any():
        return None
    return NetworkPerfInfo(
        network_area=identities.area(question.cells, everywhere=question.everywhere),
        nw_perf_type="GNB_ACTIVE_RATIO",
        relative_ratio=ratio_percent(float(heard.mean())),
        confidence=100,
    )


def user_data_congestion(scene: Scene, question: Question, identities: Identities) -> list[Finding]:
    """One item for each cell, the fullest first: `load` in per cent as congestion level, and the mean rate carried.

    Confidence: the load is within `precision.level_percent` of what is stated. The user plane alone is known; where
    users are asked about, the cells are those that serve them now. Left out: the control plane, top applications.
    """
    rows = even_sample(question.cells, scene.settings.most_twins)
    load = over_time(samples(scene, "cell", rows, "load"))
    carried = over_time(samples(scene, "cell", rows, "throughput_bps"))
    window = TimeWindow(start_time=instant(scene.window.from_s), stop_time=instant(scene.window.to_s))
    found: list[Finding] = []
    for place in np.flatnonzero(load.known):
        one, rate = by_row(load, int(place)), by_row(carried, int(place))
        level = percent(one.value)
        info = CongestionInfo(
            cong_type="USER_PLANE",
            time_intev=window,
            nsi=ThresholdLevel(cong_level=level, avg_traffic_rate=bit_rate(rate.value) if rate.known else None),
            confidence=level_confidence(scene, one, level),
        )
        row = int(rows[place])
        item = UserDataCongestionInfo(
            network_area=identities.area(np.asarray([row]), everywhere=False), congestion_info=info
        )
        gauges = {"congLevel": float(level)} | ({"avgTrafficRate": rate.value} if rate.known else {})
        found.append(Finding(scene.picture.cells.ids[row], item, gauges))
    return sorted(found, key=lambda finding: -finding.gauges["congLevel"])
