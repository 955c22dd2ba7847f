"""The envelopes: analytics data, subscriptions and their notifications (3GPP TS 29.520)."""

from typing import Annotated

from pydantic import Field

from twinloop.service.analytics.models.form import DateTime, Form, Some
from twinloop.service.analytics.models.items import (
    DnPerfInfo,
    NetworkPerfInfo,
    NsiLoadLevelInfo,
    QosSustainabilityInfo,
    ServiceExperienceInfo,
    SliceLoadLevelInformation,
    UeCommunication,
    UeMobility,
    UserDataCongestionInfo,
)
from twinloop.service.analytics.models.requests import EventSubscription, ReportingInformation

Hex = Annotated[str, Field(pattern=r"^[A-Fa-f0-9]*$")]


class AnalyticsData(Form):
    """An answer. `start` and `expiry` bound the time it is about; a list that would be empty is absent."""

    start: DateTime
    expiry: DateTime
    time_stamp_gen: DateTime
    slice_load_level_infos: Some[SliceLoadLevelInformation] | None = None
    nsi_load_level_infos: Some[NsiLoadLevelInfo] | None = None
    nw_perfs: Some[NetworkPerfInfo] | None = None
    svc_exps: Some[ServiceExperienceInfo] | None = None
    qos_sustain_infos: Some[QosSustainabilityInfo] | None = None
    ue_mobs: Some[UeMobility] | None = None
    ue_comms: Some[UeCommunication] | None = None
    user_data_cong_infos: Some[UserDataCongestionInfo] | None = None
    dn_perf_infos: Some[DnPerfInfo] | None = None
    supp_feat: Hex | None = None


class EventNotification(Form):
    """News of one event. The load level of slices stands alone here, `slice_load_level_info`, where the answer to a
    request has a list.
    """

    event: str
    start: DateTime | None = None
    expiry: DateTime | None = None
    time_stamp_gen: DateTime | None = None
    fail_notify_code: str | None = None
    slice_load_level_info: SliceLoadLevelInformation | None = None
    nsi_load_level_infos: Some[NsiLoadLevelInfo] | None = None
    nw_perfs: Some[NetworkPerfInfo] | None = None
    svc_exps: Some[ServiceExperienceInfo] | None = None
    qos_sustain_infos: Some[QosSustainabilityInfo] | None = None
    ue_mobs: Some[UeMobility] | None = None
    ue_comms: Some[UeCommunication] | None = None
    user_data_cong_infos: Some[UserDataCongestionInfo] | None = None
    dn_perf_infos: Some[DnPerfInfo] | None = None


class FailureEventInfo(Form):
    """An event that is not served, and why."""

    event: str
    failure_code: str


class EventsSubscription(Form):
    """NnwdafEventsSubscription, as sent and as answered."""

    event_subscriptions: Some[EventSubscription]
    evt_req: ReportingInformation | None = None
    notification_uri: str | None = Field(
        default=None, validation_alias="notificationURI", serialization_alias="notificationURI"
    )
    notif_corr_id: str | None = None
    supported_features: Hex | None = None
    event_notifications: Some[EventNotification] | None = None
    fail_event_reports: Some[FailureEventInfo] | None = None


class SubscriptionNotification(Form):
    """NnwdafEventsSubscriptionNotification; sent in an array."""

    subscription_id: str
    event_notifications: Some[EventNotification]
    notif_corr_id: str | None = None
