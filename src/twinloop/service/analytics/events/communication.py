"""UE_COMMUNICATION and DN_PERFORMANCE: what users of a slice are carried, how fast, how late, how completely."""

import numpy as np
from scipy.special import ndtr

from twinloop.service.analytics.events.estimates import ByRow, confidence, mean_over, over_time
from twinloop.service.analytics.events.finding import Finding, Question
from twinloop.service.analytics.events.samples import Rows, Samples, Scene, even_sample, samples
from twinloop.service.analytics.identities import Identities
from twinloop.service.analytics.models import (
    DnPerf,
    DnPerfInfo,
    PerfData,
    TimeWindow,
    TrafficCharacterization,
    UeCommunication,
)
from twinloop.service.analytics.wire import (
    bit_rate,
    delay_ms,
    instant,
    loss_tenths,
    percent,
    ratio_percent,
    volume_bytes,
)
from twinloop.units import bits_from_bytes


def ue_communication(scene: Scene, question: Question, identities: Identities) -> list[Finding]:
    """One item for the users of each slice: how long one of them communicates, and what is carried for one.

    Volume = mean `rate_bps` x length of the window; time = that in which the rate is `active_bps` or more; `ratio` is
    the share of people who communicate at all. Unseen time counts as seen time did. Confidence: the volume is within
    `precision.relative` of what is stated.

    Left out: uplink, which is not reported; recurring and periodic communication.
    """
    rows = even_sample(question.users, scene.settings.most_twins)
    rate = samples(scene, "user", rows, "rate_bps")
    bytes_a_bit = 1.0 / bits_from_bytes(1.0)
    length_s = max(scene.window.length_s, rate.step_s)
    busy = over_time(_busy(rate, scene.settings.active_bps))
    found: list[Finding] = []
    for row, mine in _by_slice(scene, question, rows):
        volume = _part(over_time(rate), mine)
        one = mean_over(volume)
        if not one.known:
            continue
        active = _part(busy, mine)
        stated = volume_bytes(one.value * length_s)
        bytes_each = one.scaled(length_s * bytes_a_bit)
        spread = float(np.var(volume.value[volume.known])) + float(np.mean(volume.std[volume.known] ** 2))
        share = float(np.mean(active.value[active.known] > 0.5 / len(rate.time_s)))
        item = UeCommunication(
            ts=instant(scene.window.from_s),
            comm_dur=round(mean_over(active).value * length_s),
            traf_char=TrafficCharacterization(
                dl_vol=stated,
                dl_vol_variance=round(spread * (length_s * bytes_a_bit) ** 2, 1),
                dnn=scene.settings.dnn,
                snssai=identities.snssai(scene.picture, row),
                app_id=scene.settings.app_id,
            ),
            ratio=ratio_percent(share) if percent(share) else None,
            confidence=confidence(
                scene, bytes_each, float(stated), max(stated * scene.settings.precision.relative, 1.0)
            ),
        )
        found.append(Finding(scene.picture.slices.ids[row], item))
    return found


def dn_performance(scene: Scene, question: Question, identities: Identities) -> list[Finding]:
    """One item for the users of each slice: rate, delay and loss towards the data network `dnn`.

    From `rate_bps`, `delay_s` and `loss_ratio`; the highest rate and delay are those of a user in a step of the window
    (foretold: of their means). Confidence: the mean rate is within `precision.relative` of what is stated.

    Left out: application servers and UPFs, which the twins do not tell apart.
    """
    rows = even_sample(question.users, scene.settings.most_twins)
    rate, delay, loss = (samples(scene, "user", rows, name) for name in ("rate_bps", "delay_s", "loss_ratio"))
    found: list[Finding] = []
    for row, mine in _by_slice(scene, question, rows):
        one = mean_over(_part(over_time(rate), mine))
        if not one.known:
            continue
        late, lost = (mean_over(_part(over_time(part), mine)) for part in (delay, loss))
        fastest, latest = float(np.nanmax(rate.mean[:, mine])), _most(delay, mine)
        gauges = {
            "avgTrafficRate": one.value,
            "maxTrafficRate": fastest,
        }
        if late.known:
            gauges |= {"avgPacketDelay": float(delay_ms(late.value)), "maxPacketDelay": float(delay_ms(latest))}
        if lost.known:
            gauges["avgPacketLossRate"] = float(loss_tenths(lost.value))
        data = PerfData(
            avg_traffic_rate=bit_rate(one.value) if question.wants("AVG_TRAFFIC_RATE") else None,
            max_traffic_rate=bit_rate(fastest) if question.wants("MAX_TRAFFIC_RATE") else None,
            ave_packet_delay=delay_ms(late.value) if late.known and question.wants("AVG_PACKET_DELAY") else None,
            max_packet_delay=delay_ms(latest) if late.known and question.wants("MAX_PACKET_DELAY") else None,
            avg_packet_loss_rate=(
                loss_tenths(lost.value) if lost.known and question.wants("AVG_PACKET_LOSS_RATE") else None
            ),
        )
        if data == PerfData():
            continue
        window = TimeWindow(start_time=instant(scene.window.from_s), stop_time=instant(scene.window.to_s))
        item = DnPerfInfo(
            dn_perf=[DnPerf(perf_data=data, temporal_valid_con=window)],
            dnn=scene.settings.dnn,
            snssai=identities.snssai(scene.picture, row),
            app_id=scene.settings.app_id,
            confidence=confidence(scene, one, one.value, max(one.value * scene.settings.precision.relative, 1.0)),
        )
        found.append(Finding(scene.picture.slices.ids[row], item, gauges))
    return found


def _busy(rate: Samples, active_bps: float) -> Samples:
    """Probability of communicating in each step."""
    spread = np.where(rate.std > 0, rate.std, 1.0)
    likely = np.where(rate.std > 0, ndtr((rate.mean - active_bps) / spread), rate.mean >= active_bps)
    mean = np.where(np.isfinite(rate.mean), likely, np.nan)
    return Samples(rate.time_s, mean, np.zeros_like(mean), rate.step_s)


def _by_slice(scene: Scene, question: Question, rows: Rows) -> list[tuple[int, Rows]]:
    """Each slice that is asked about with the places of its users in `rows`, empty ones left out."""
    of_user = scene.picture.user_slice[rows]
    parts = [(int(row), np.flatnonzero(of_user == row)) for row in question.slices]
    return [(row, mine) for row, mine in parts if len(mine)]


def _part(rows: ByRow, mine: Rows) -> ByRow:
    return ByRow(rows.value[mine], rows.std[mine], rows.coverage[mine])


def _most(one: Samples, mine: Rows) -> float:
    known = one.mean[:, mine]
    known = known[np.isfinite(known)]
    return float(known.max()) if len(known) else float("nan")
