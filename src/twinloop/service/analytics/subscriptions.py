"""Subscriptions to analytics: accepted, kept in the records, changed, ended (TS 29.520, 4.2)."""

import secrets
import threading
from typing import Generic

from pydantic import BaseModel, ConfigDict

from twinloop.service.analytics.envelopes import LOAD_LEVEL, SLICE_LOAD_LEVEL, notifications
from twinloop.service.analytics.models import (
    EventNotification,
    EventsSubscription,
    EventSubscription,
    FailureEventInfo,
    Requirement,
)
from twinloop.service.analytics.nwdaf import Analytics, Who, Wish
from twinloop.service.analytics.problems import RefusalError
from twinloop.service.analytics.thresholds import pause_s
from twinloop.service.security import RecordsPort

COLLECTION = "nnwdaf-subscriptions"
FEATURES = "A1AF"
"""Features of Nnwdaf_EventsSubscription that are served, a bit each by its number in table 5.1.8-1: 1 to 4, 6, 8, 9, 14
and 16."""

_CODES = {"UNAVAILABLE_DATA", "BOTH_STAT_PRED_NOT_ALLOWED"}


class Kept(BaseModel):
    """A subscription as it is kept: of whom, what, how many notifications arrived, when each event is due next [epoch
    s], and on which side of its thresholds it stood.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    owner: str
    body: EventsSubscription
    sent: int = 0
    due_s: tuple[float, ...]
    sides: dict[str, bool] = {}


class Subscriptions(Generic[Who]):
    """The subscriptions of everybody. Safe to use from several threads."""

    def __init__(self, analytics: Analytics[Who], records: RecordsPort) -> None:
        self._analytics = analytics
        self._settings = analytics.settings.notify
        self._records = records
        self._lock = threading.Lock()
        kept = (Kept.model_validate_json(document.body) for document in records.list(COLLECTION))
        self._kept = {one.name: one for one in kept}

    def all(self) -> tuple[Kept, ...]:
        """Every subscription as it stands."""
        with self._lock:
            return tuple(self._kept.values())

    def create(self, body: EventsSubscription, identity: Who) -> tuple[str, EventsSubscription]:
        """A new subscription: its name and what is answered.

        Raises RefusalError where nothing of it can be served, or there are too many already.
        """
        accepted, answered = self._accepted(body, identity)
        name = secrets.token_hex(16)
        with self._lock:
            mine = sum(kept.owner == identity.subject for kept in self._kept.values())
            if len(self._kept) >= self._settings.most_subscriptions or mine >= self._settings.most_of_one_owner:
                raise RefusalError(
                    429,
                    "INSUFFICIENT_RESOURCES",
                    f"you have {mine} subscriptions of at most {self._settings.most_of_one_owner}, and of everybody's"
                    f" there are at most {self._settings.most_subscriptions}",
                    hint="end one that is not needed",
                )
            self._keep(self._begun(name, identity.subject, accepted))
        return name, answered

    def replace(self, name: str, body: EventsSubscription, identity: Who) -> EventsSubscription:
        """The subscription with another content, which begins anew. Raises RefusalError, 404 where there is none."""
        self._of(name, identity)
        accepted, answered = self._accepted(body, identity)
        with self._lock:
            self._keep(self._begun(name, identity.subject, accepted))
        return answered

    def end(self, name: str, identity: Who) -> None:
        """Ends a subscription. Raises RefusalError, 404 where there is none of this identity."""
        self._of(name, identity)
        self.forget(name)

    def forget(self, name: str) -> None:
        """Ends a subscription that has run out."""
        with self._lock:
            self._kept.pop(name, None)
            self._records.delete(COLLECTION, name)

    def note(self, before: Kept, after: Kept) -> bool:
        """Notes how a subscription stands, unless it was changed or ended meanwhile: then False. When it is due next is
        not written down: after a restart it is due.
        """
        with self._lock:
            if self._kept.get(before.name) is not before:
                return False
            self._kept[after.name] = after
            if after.sides != before.sides:
                self._keep(after)
            return True

    def count(self, name: str) -> None:
        """Counts a notification that arrived."""
        with self._lock:
            kept = self._kept.get(name)
            if kept is not None:
                self._keep(kept.model_copy(update={"sent": kept.sent + 1}))

    def _keep(self, kept: Kept) -> None:
        self._records.put(COLLECTION, kept.name, kept.model_dump_json(by_alias=True, exclude_none=True))
        self._kept[kept.name] = kept

    def _begun(self, name: str, owner: str, body: EventsSubscription) -> Kept:
        now_s = self._analytics.now()
        return Kept(
            name=name,
            owner=owner,
            body=body,
            due_s=tuple(now_s + pause_s(event, body.evt_req, self._settings) for event in body.event_subscriptions),
        )

    def _of(self, name: str, identity: Who) -> Kept:
        kept = self._kept.get(name)
        if kept is None or kept.owner != identity.subject:
            raise RefusalError(404, "SUBSCRIPTION_NOT_FOUND", f"there is no subscription {name!r}")
        return kept

    def _accepted(self, body: EventsSubscription, identity: Who) -> tuple[EventsSubscription, EventsSubscription]:
        """What of a subscription is served, and what is answered: with failures, and with a report where asked for."""
        if body.notification_uri is None:
            raise wrong("notificationURI", "it is needed to send notifications to", missing=True)
        if len(body.event_subscriptions) > self._settings.most_events:
            raise wrong("eventSubscriptions", f"at most {self._settings.most_events} events in a subscription")
        reporting = body.evt_req
        ends = None if reporting is None else reporting.mon_dur
        if ends is not None and ends.timestamp() <= self._analytics.now():
            raise wrong("evtReq.monDur", "the subscription would have ended already")
        served, failed, refusals = self._sorted_out(body)
        if not served:
            first = refusals[0]
            cause = first.cause if first.cause in _CODES else "MANDATORY_IE_INCORRECT"
            params = (("eventSubscriptions", str(first)),)
            raise RefusalError(400, cause, f"no event can be served: {first}", hint=first.hint, params=params)
        features = None if body.supported_features is None else common_features(body.supported_features)
        accepted = body.model_copy(
            update={
                "event_subscriptions": served,
                "supported_features": features,
                "event_notifications": None,
                "fail_event_reports": None,
            }
        )
        answered = accepted.model_copy(update={"fail_event_reports": failed or None})
        if reporting is not None and reporting.imm_rep:
            answered = answered.model_copy(update={"event_notifications": self._at_once(served, identity) or None})
        return accepted, answered

    def _sorted_out(
        self, body: EventsSubscription
    ) -> tuple[list[EventSubscription], list[FailureEventInfo], list[RefusalError]]:
        """Events that are served, those that are not, and why not. Data that is not there yet may come."""
        served: list[EventSubscription] = []
        failed: list[FailureEventInfo] = []
        refusals: list[RefusalError] = []
        for event in body.event_subscriptions:
            try:
                self._analytics.check(wish_of(event))
            except RefusalError as refusal:
                if refusal.cause == "UNAVAILABLE_DATA":
                    served.append(event)
                    continue
                failed.append(FailureEventInfo(event=event.event, failure_code=code_of(refusal)))
                refusals.append(refusal)
            else:
                served.append(event)
        return served, failed, refusals

    def _at_once(self, served: list[EventSubscription], identity: Who) -> list[EventNotification]:
        """The immediate report: of every event what is known now."""
        found: list[EventNotification] = []
        for event in served:
            wish = wish_of(event)
            try:
                answer = self._analytics.ask(wish, identity)
            except RefusalError:
                continue
            found.extend(notifications(wish.event, answer, answer.told))
        return found


def wish_of(event: EventSubscription) -> Wish:
    """A subscribed event as it would be asked for once."""
    levels = event.nsi_level_thrds
    return Wish(
        event=LOAD_LEVEL if event.event == SLICE_LOAD_LEVEL else event.event,
        narrowed=event.filter(),
        target=event.tgt_ue,
        requirement=event.extra_report_req or Requirement(),
        throughputs=tuple(event.ran_ue_throu_thds or ()),
        load_percent=None if levels is None else float(min(levels)),
    )


def code_of(refusal: RefusalError) -> str:
    """The standard's failure code of a refusal."""
    return refusal.cause if refusal.cause in _CODES else "OTHER"


def common_features(asked: str) -> str:
    """Features that both sides support, in hexadecimal digits."""
    return f"{int(asked or '0', 16) & int(FEATURES, 16):X}"


def wrong(param: str, reason: str, *, missing: bool = False) -> RefusalError:
    """A refusal of one part of a subscription."""
    cause = "MANDATORY_IE_MISSING" if missing else "OPTIONAL_IE_INCORRECT"
    return RefusalError(400, cause, f"{param}: {reason}", params=((param, reason),))
