"""What is answered: one item of each analytics event (3GPP TS 29.520, TS 29.517)."""

from twinloop.service.analytics.models.form import (
    BitRate,
    Count,
    DateTime,
    Delay,
    Form,
    Level,
    Loss,
    NetworkAreaInfo,
    Ratio,
    Snssai,
    Some,
    Supi,
    ThresholdLevel,
    TimeWindow,
    UserLocation,
)


class LocationInfo(Form):
    """A place, the share of people who are there, and how sure that is."""

    loc: UserLocation
    ratio: Ratio | None = None
    confidence: Level | None = None


class SvcExperience(Form):
    """A mean opinion score on a scale from `lower_range` to `upper_range`."""

    mos: float
    upper_range: float
    lower_range: float


class ServiceExperienceInfo(Form):
    """The experience of a user or of the users of a slice."""

    svc_exprc: SvcExperience
    svc_exprc_variance: float | None = None
    supis: Some[Supi] | None = None
    snssai: Snssai | None = None
    app_id: str | None = None
    dnn: str | None = None
    srv_expc_type: str | None = None
    ue_locs: Some[LocationInfo] | None = None
    ratio: Ratio | None = None
    confidence: Level | None = None


class UeMobility(Form):
    """Where people are for `duration` seconds from `ts`."""

    ts: DateTime
    duration: int
    loc_infos: Some[LocationInfo]


class TrafficCharacterization(Form):
    """What was carried downlink for one user [bytes] and its variance over users [bytes^2]."""

    dl_vol: Count
    dl_vol_variance: float | None = None
    dnn: str | None = None
    snssai: Snssai | None = None
    app_id: str | None = None


class UeCommunication(Form):
    """How long [s] people communicated from `ts`, and what was carried for each."""

    ts: DateTime
    comm_dur: int
    traf_char: TrafficCharacterization
    ratio: Ratio | None = None
    confidence: Level | None = None


class SliceLoadLevelInformation(Form):
    """Load of slices in per cent."""

    load_level_information: Level
    snssais: Some[Snssai]


class ResourceUsage(Form):
    """Computing in use in per cent."""

    cpu_usage: Count | None = None


class NumberAverage(Form):
    """A mean number and its variance."""

    number: float
    variance: float


class NsiLoadLevelInfo(Form):
    """Load of a slice instance in per cent."""

    load_level_information: Level
    snssai: Snssai
    nsi_id: str | None = None
    res_usage: ResourceUsage | None = None
    num_of_ues: NumberAverage | None = None
    exceed_load_level_thr_ind: bool | None = None
    time_period: TimeWindow | None = None
    confidence: Level | None = None


class QosSustainabilityInfo(Form):
    """Where and when the throughput of users crosses a threshold."""

    area_info: NetworkAreaInfo
    start_ts: DateTime
    end_ts: DateTime
    ran_ue_throu_thd: BitRate
    confidence: Level | None = None


class NetworkPerfInfo(Form):
    """One measure of an area's performance: a share in per cent or a number."""

    network_area: NetworkAreaInfo
    nw_perf_type: str
    relative_ratio: Ratio | None = None
    absolute_num: Count | None = None
    confidence: Level | None = None


class PerfData(Form):
    """Performance towards a data network. The average delay is spelled `avePacketDelay` here."""

    avg_traffic_rate: BitRate | None = None
    max_traffic_rate: BitRate | None = None
    ave_packet_delay: Delay | None = None
    max_packet_delay: Delay | None = None
    avg_packet_loss_rate: Loss | None = None


class DnPerf(Form):
    """Performance, and the time it is true of."""

    perf_data: PerfData
    temporal_valid_con: TimeWindow | None = None


class DnPerfInfo(Form):
    """Performance that users of a slice get towards a data network."""

    dn_perf: Some[DnPerf]
    dnn: str | None = None
    snssai: Snssai | None = None
    app_id: str | None = None
    confidence: Level | None = None


class CongestionInfo(Form):
    """Congestion in a time, its levels under `nsi` (network status indication)."""

    cong_type: str
    time_intev: TimeWindow
    nsi: ThresholdLevel
    confidence: Level | None = None


class UserDataCongestionInfo(Form):
    """Congestion of an area."""

    network_area: NetworkAreaInfo
    congestion_info: CongestionInfo
