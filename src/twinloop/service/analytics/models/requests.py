"""What a consumer of analytics asks with (3GPP TS 29.520, TS 29.523)."""

from typing import Annotated

from pydantic import Field, model_validator

from twinloop.service.analytics.models.form import (
    BitRate,
    Count,
    DateTime,
    Form,
    NetworkAreaInfo,
    Ratio,
    Snssai,
    Some,
    Supi,
    ThresholdLevel,
)


class Requirement(Form):
    """EventReportingRequirement: for which time, and how much of it."""

    start_ts: DateTime | None = None
    end_ts: DateTime | None = None
    offset_period: int | None = None
    samp_ratio: Ratio | None = None
    max_object_nbr: Count | None = None
    max_supi_nbr: Count | None = None
    accuracy: str | None = None


class TargetUe(Form):
    """TargetUeInformation: whose analytics. Other identities than SUPIs are unknown to the twins."""

    any_ue: bool | None = None
    supis: Some[Supi] | None = None
    gpsis: Some[str] | None = None
    int_group_ids: Some[str] | None = None


class NsiIdInfo(Form):
    """A slice and instances of it."""

    snssai: Snssai
    nsi_ids: Some[str] | None = None


class QosRequirement(Form):
    """The quality that is to be sustained; of it the guaranteed downlink rate is held against the network."""

    five_qi: Annotated[int, Field(ge=0, le=255)] | None = Field(
        default=None, validation_alias="5qi", serialization_alias="5qi"
    )
    res_type: str | None = None
    gfbr_dl: BitRate | None = None

    @model_validator(mode="after")
    def _one_of_two(self) -> "QosRequirement":
        if (self.five_qi is None) == (self.res_type is None):
            raise ValueError("name one of 5qi and resType")
        return self


class NetworkPerfRequirement(Form):
    """A kind of network performance and, in subscriptions, the level to be crossed."""

    nw_perf_type: str
    relative_ratio: Ratio | None = None
    absolute_num: Count | None = None


class DnPerformanceReq(Form):
    """Levels of the data network's performance."""

    report_thresholds: Some[ThresholdLevel] | None = None


class RatFreqInformation(Form):
    """The level of experience to be crossed; radio technologies and frequencies are passed over."""

    svc_exp_threshold: ThresholdLevel | None = None
    matching_dir: str | None = None


class EventFilter(Form):
    """What a request is narrowed to."""

    any_slice: bool | None = None
    snssais: Some[Snssai] | None = None
    app_ids: Some[str] | None = None
    dnns: Some[str] | None = None
    network_area: NetworkAreaInfo | None = None
    nsi_id_infos: Some[NsiIdInfo] | None = None
    qos_requ: QosRequirement | None = None
    nw_perf_types: Some[str] | None = None
    list_of_ana_subsets: Some[str] | None = None

    @model_validator(mode="after")
    def _any_or_named(self) -> "EventFilter":
        if self.any_slice is not None and self.snssais is not None:
            raise ValueError("anySlice excludes snssais")
        return self


class EventSubscription(Form):
    """One event of a subscription. The slices are called `snssaia` here: the standard's own spelling."""

    event: str
    any_slice: bool | None = None
    snssaia: Some[Snssai] | None = None
    app_ids: Some[str] | None = None
    dnns: Some[str] | None = None
    network_area: NetworkAreaInfo | None = None
    nsi_id_infos: Some[NsiIdInfo] | None = None
    qos_requ: QosRequirement | None = None
    list_of_ana_subsets: Some[str] | None = None
    tgt_ue: TargetUe | None = None
    extra_report_req: Requirement | None = None
    notification_method: str | None = None
    repetition_period: int | None = None
    matching_dir: str | None = None
    load_level_threshold: int | None = None
    nsi_level_thrds: Some[Count] | None = None
    ran_ue_throu_thds: Some[BitRate] | None = None
    cong_thresholds: Some[ThresholdLevel] | None = None
    nw_perf_requs: Some[NetworkPerfRequirement] | None = None
    dn_perf_reqs: Some[DnPerformanceReq] | None = None
    rat_freqs: Some[RatFreqInformation] | None = None

    @model_validator(mode="after")
    def _any_or_named(self) -> "EventSubscription":
        if self.any_slice is not None and self.snssaia is not None:
            raise ValueError("anySlice excludes snssaia")
        return self

    def filter(self) -> EventFilter:
        """The same as a filter of a single request."""
        wanted = self.nw_perf_requs
        return EventFilter(
            any_slice=self.any_slice,
            snssais=self.snssaia,
            app_ids=self.app_ids,
            dnns=self.dnns,
            network_area=self.network_area,
            nsi_id_infos=self.nsi_id_infos,
            qos_requ=self.qos_requ,
            nw_perf_types=None if wanted is None else [requirement.nw_perf_type for requirement in wanted],
            list_of_ana_subsets=self.list_of_ana_subsets,
        )


class ReportingInformation(Form):
    """How often, how many times, until when."""

    imm_rep: bool | None = None
    notif_method: str | None = None
    max_report_nbr: Count | None = None
    mon_dur: DateTime | None = None
    rep_period: int | None = None
    notif_flag: str | None = None
