"""Telling subscribers: who is due, what is new, and delivery with patience (TS 29.520, 4.2.2.4)."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic
from weakref import WeakValueDictionary

from twinloop.service.analytics.envelopes import no_news, notifications
from twinloop.service.analytics.models import EventNotification, EventSubscription, SubscriptionNotification, written
from twinloop.service.analytics.nwdaf import Analytics, Who
from twinloop.service.analytics.problems import RefusalError
from twinloop.service.analytics.subscriptions import Kept, Subscriptions, code_of, wish_of
from twinloop.service.analytics.thresholds import crossed, direction_of, pause_s, thresholds_of, waits_for_thresholds

Post = Callable[[str, list[dict[str, Any]]], Awaitable[int]]
Sleep = Callable[[float], Awaitable[None]]

_LOG = logging.getLogger(__name__)
MOST_OF_ONE = 4
"""Deliveries to one owner's subscribers at once: who does not answer holds up nobody else."""
_FINAL = {400, 401, 403, 404, 405, 410, 413, 415}


@dataclass
class NotifyCounts:
    """Notifications since the start: `delivered`, `failed` (given up), `skipped` (the one before was still on its way),
    and `retries`.
    """

    delivered: int = 0
    failed: int = 0
    skipped: int = 0
    retries: int = 0


@dataclass(frozen=True)
class _News:
    """What is to be sent for a subscription, and how it stands once that is on its way."""

    kept: Kept
    items: list[EventNotification]


class Notifier(Generic[Who]):
    """Looks who is due and delivers, several at once, one at a time for each subscription.

    `identity_of` gives the owner of a subscription by its subject, None where it may not ask for analytics any more:
    then the subscription ends. `post` sends JSON and gives the status of the answer; it may raise anything.
    """

    def __init__(
        self,
        analytics: Analytics[Who],
        subscriptions: Subscriptions[Who],
        identity_of: Callable[[str], Who | None],
        post: Post,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self.counts = NotifyCounts()
        self._analytics = analytics
        self._subscriptions = subscriptions
        self._identity_of = identity_of
        self._post = post
        self._sleep = sleep
        self._settings = analytics.settings.notify
        self._room = asyncio.Semaphore(self._settings.most_deliveries)
        self._room_of = WeakValueDictionary[str, asyncio.Semaphore]()
        self._on_the_way: set[str] = set()

    async def tick(self, group: asyncio.TaskGroup) -> None:
        """Looks at every subscription once; deliveries run on in `group`."""
        for kept in self._subscriptions.all():
            if self._ended(kept):
                self._subscriptions.forget(kept.name)
                continue
            if not any(due_s <= self._analytics.now() for due_s in kept.due_s):
                continue
            if kept.name in self._on_the_way:
                self.counts.skipped += 1
                self._subscriptions.note(kept, self._moved_on(kept, kept.sides))
                continue
            news = await asyncio.to_thread(self._look, kept)
            if news is not None and news.items:
                self._on_the_way.add(kept.name)
                group.create_task(self._deliver(news))

    def _ended(self, kept: Kept) -> bool:
        reporting = kept.body.evt_req
        if self._identity_of(kept.owner) is None:
            return True
        if reporting is None:
            return False
        most = 1 if reporting.notif_method == "ONE_TIME" else reporting.max_report_nbr
        if most is not None and kept.sent >= most:
            return True
        return reporting.mon_dur is not None and reporting.mon_dur.timestamp() <= self._analytics.now()

    def _look(self, kept: Kept) -> _News | None:
        """What is new of a subscription; None where it was changed while that was found out."""
        identity = self._identity_of(kept.owner)
        if identity is None:
            return None
        now_s, sides = self._analytics.now(), dict(kept.sides)
        items: list[EventNotification] = []
        for place, event in enumerate(kept.body.event_subscriptions):
            if kept.due_s[place] <= now_s:
                found, sides = self._news_of(event, kept, identity, sides)
                items.extend(found)
        after = self._moved_on(kept, sides)
        reporting = kept.body.evt_req
        muted = reporting is not None and reporting.notif_flag == "DEACTIVATE"
        return _News(after, [] if muted else items) if self._subscriptions.note(kept, after) else None

    def _news_of(
        self, event: EventSubscription, kept: Kept, identity: Who, sides: dict[str, bool]
    ) -> tuple[list[EventNotification], dict[str, bool]]:
        """News of one event and the sides of its thresholds. Where a report is due and cannot be made, that is said."""
        wish = wish_of(event)
        thresholds = thresholds_of(event) if waits_for_thresholds(event, kept.body.evt_req) else ()
        try:
            answer = self._analytics.ask(wish, identity)
        except RefusalError as refusal:
            known = refusal.status < 500 or refusal.cause == "UNAVAILABLE_DATA"
            told = [no_news(wish.event, code_of(refusal))] if known and not thresholds else []
            return told, sides
        except Exception:
            _LOG.exception("analytics of %s for subscription %s failed", wish.event, kept.name)
            return [], sides
        if not thresholds:
            return notifications(wish.event, answer, answer.told), sides
        found, sides = crossed(answer.findings, thresholds, direction_of(event), sides)
        return notifications(wish.event, answer, found[: answer.most]), sides

    def _moved_on(self, kept: Kept, sides: dict[str, bool]) -> Kept:
        """The subscription with everything that was due moved on to its next time."""
        now_s = self._analytics.now()
        due_s = list(kept.due_s)
        for place, event in enumerate(kept.body.event_subscriptions):
            if due_s[place] <= now_s:
                due_s[place] = now_s + pause_s(event, kept.body.evt_req, self._settings)
        return kept.model_copy(update={"due_s": tuple(due_s), "sides": sides})

    async def _deliver(self, news: _News) -> None:
        name, body = news.kept.name, news.kept.body
        notification = SubscriptionNotification(
            subscription_id=name, event_notifications=news.items, notif_corr_id=body.notif_corr_id
        )
        own_room = self._room_of.setdefault(news.kept.owner, asyncio.Semaphore(MOST_OF_ONE))
        try:
            async with own_room, self._room:
                arrived = await self._arrived(body.notification_uri or "", [written(notification)])
            self.counts.delivered += arrived
            self.counts.failed += not arrived
            if arrived:
                await asyncio.to_thread(self._subscriptions.count, name)
            else:
                _LOG.warning("subscription %s: notification given up after %d tries", name, self._settings.attempts)
        finally:
            self._on_the_way.discard(name)

    async def _arrived(self, url: str, content: list[dict[str, Any]]) -> bool:
        """Whether the notification was taken; asks again after `backoff_s`, twice that, and so on."""
        for attempt in range(self._settings.attempts):
            if attempt:
                self.counts.retries += 1
                await self._sleep(self._settings.backoff_s * 2 ** (attempt - 1))
            try:
                status = await self._post(url, content)
            except Exception as error:
                _LOG.info("notification to a subscriber failed: %s", type(error).__name__)
                continue
            if 200 <= status < 300:
                return True
            if status in _FINAL:
                return False
        return False


async def notify_forever(notifier: Notifier[Who], check_s: float, sleep: Sleep = asyncio.sleep) -> None:
    """Tells subscribers until it is cancelled; deliveries on their way end with it."""
    async with asyncio.TaskGroup() as group:
        while True:
            await notifier.tick(group)
            await sleep(check_s)
