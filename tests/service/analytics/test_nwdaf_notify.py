"""Notifications: periodic and on thresholds, valid, delivered with patience, counted, and ended when they should."""

import asyncio
from collections.abc import Callable

import pytest
from nwdaf_world import EVENTS, NOW_S, SUBSCRIPTIONS, Anybody, World, rfc3339, valid

from twinloop.service.analytics import (
    AnalyticsSettings,
    Notifier,
    NotifySettings,
    Subscriptions,
    notify,
    notify_forever,
)

URL = "https://consumer.example/inbox"
EVERY = [
    {"event": "SERVICE_EXPERIENCE"},
    {"event": "UE_MOBILITY", "tgtUe": {"anyUe": True}},
    {"event": "UE_COMMUNICATION", "tgtUe": {"anyUe": True}},
    {"event": "SLICE_LOAD_LEVEL"},
    {"event": "NSI_LOAD_LEVEL", "snssaia": [{"sst": 1}]},
    {"event": "QOS_SUSTAINABILITY", "qosRequ": {"5qi": 9}},
    {"event": "NETWORK_PERFORMANCE"},
    {"event": "DN_PERFORMANCE"},
    {"event": "USER_DATA_CONGESTION"},
]


class Town:
    """A world with a consumer: `inbox` of what arrived, `answer` to each attempt, `slept_s` between attempts."""

    def __init__(self, settings: AnalyticsSettings | None = None) -> None:
        self.world = World(settings)
        self.inbox: list[tuple[float, list[dict]]] = []
        self.answer: Callable[[int], int] = lambda attempt: 204
        self.attempts = 0
        self.slept_s: list[float] = []
        self.known = True
        self.notifier = self.notifier_over(self.world.subscriptions)

    def notifier_over(self, subscriptions: Subscriptions) -> Notifier:
        """A notifier, as after a start."""
        return Notifier(self.world.analytics, subscriptions, self.who, self.post, self.sleep)

    def who(self, subject: str) -> Anybody | None:
        return Anybody(subject) if self.known else None

    async def post(self, url: str, content: list[dict]) -> int:
        self.attempts += 1
        status = self.answer(self.attempts)
        if 200 <= status < 300:
            assert url == URL
            self.inbox.append((self.world.now_s - NOW_S, content))
        return status

    async def sleep(self, seconds: float) -> None:
        self.slept_s.append(seconds)

    def subscribe(self, *events: dict, **parts: object) -> str:
        body = {"eventSubscriptions": list(events), "notificationURI": URL, **parts}
        response = self.world.call("POST", SUBSCRIPTIONS, json=body)
        assert response.status_code == 201, response.text
        return response.headers["location"].rpartition("/")[2]

    def live(self, seconds: int, each: Callable[[float], None] = lambda _: None) -> None:
        """Lets time pass, a look each second; every delivery is awaited before the next second."""

        async def passing() -> None:
            for _ in range(seconds):
                self.world.now_s += 1.0
                each(self.world.now_s - NOW_S)
                async with asyncio.TaskGroup() as group:
                    await self.notifier.tick(group)

        asyncio.run(passing())

    def times(self) -> list[float]:
        """When something arrived."""
        return [at_s for at_s, _ in self.inbox]


@pytest.fixture
def town() -> Town:
    return Town()


def test_every_event_is_notified_in_the_standards_form(town):
    name = town.subscribe(*EVERY, notifCorrId="mine", evtReq={"notifMethod": "PERIODIC", "repPeriod": 10})
    town.live(10)
    ((_, content),) = town.inbox
    (notification,) = content
    valid(EVENTS, "NnwdafEventsSubscriptionNotification", notification)
    assert (notification["subscriptionId"], notification["notifCorrId"]) == (name, "mine")
    events = [item["event"] for item in notification["eventNotifications"]]
    assert sorted(set(events)) == sorted(event["event"] for event in EVERY)
    assert events.count("SLICE_LOAD_LEVEL") == 2
    assert all("fail" not in key for item in notification["eventNotifications"] for key in item)


def test_predictions_are_notified_with_an_offset(town):
    town.world.foretell_slices()
    ahead = [{**event, "extraReportReq": {"offsetPeriod": 60}} for event in EVERY]
    town.subscribe(*ahead, evtReq={"repPeriod": 5})
    town.live(5)
    ((_, (notification,)),) = town.inbox
    valid(EVENTS, "NnwdafEventsSubscriptionNotification", notification)
    for item in notification["eventNotifications"]:
        assert (item["start"], item["expiry"]) == ("2030-03-17T17:46:45Z", "2030-03-17T17:47:45Z")


def test_reports_come_in_their_period(town):
    town.subscribe({"event": "NETWORK_PERFORMANCE", "repetitionPeriod": 7, "notificationMethod": "PERIODIC"})
    town.live(30)
    assert town.times() == [7, 14, 21, 28]


def test_who_names_neither_period_nor_threshold_is_told_every_minute(town):
    town.subscribe({"event": "NETWORK_PERFORMANCE"})
    town.live(125)
    assert town.times() == [60, 120]


def test_events_of_one_subscription_keep_their_own_periods(town):
    town.subscribe(
        {"event": "NETWORK_PERFORMANCE", "repetitionPeriod": 4}, {"event": "DN_PERFORMANCE", "repetitionPeriod": 6}
    )
    town.live(12)
    told = [(at_s, [item["event"] for item in content[0]["eventNotifications"]]) for at_s, content in town.inbox]
    one, other = "NETWORK_PERFORMANCE", "DN_PERFORMANCE"
    assert told == [(4, [one]), (6, [other]), (8, [one]), (12, [one, other])]


def test_a_threshold_is_told_when_it_is_crossed(town):
    town.subscribe({"event": "USER_DATA_CONGESTION", "congThresholds": [{"congLevel": 90}], "matchingDir": "ASCENDING"})
    loads = {5.0: 0.95, 8.0: 0.97, 12.0: 0.3, 20.0: 0.92}

    def change(at_s: float) -> None:
        if at_s in loads:
            town.world.report("cell", "load", [0.5, loads[at_s], 0.2])

    town.live(30, change)
    assert town.times() == [5, 20]
    (item,) = town.inbox[0][1][0]["eventNotifications"][0]["userDataCongInfos"]
    assert item["congestionInfo"]["nsi"]["congLevel"] == 95
    valid(EVENTS, "NnwdafEventsSubscriptionNotification", town.inbox[1][1][0])


def test_throughput_that_falls_and_recovers_is_told_as_it_is_asked_for(town):
    asked = {"event": "QOS_SUSTAINABILITY", "qosRequ": {"5qi": 9}, "ranUeThrouThds": ["4 Mbps"]}
    town.subscribe({**asked, "matchingDir": "CROSSED"})
    carried = {3.0: [2e6, 4e6, 9e6], 6.0: [12e6, 4e6, 9e6]}
    town.live(10, lambda at_s: at_s in carried and town.world.report("cell", "throughput_bps", carried[at_s]))
    items = [content[0]["eventNotifications"][0]["qosSustainInfos"] for _, content in town.inbox]
    assert town.times() == [3, 6]
    assert [[item["areaInfo"]["ncgis"][0]["nrCellId"] for item in told] for told in items] == [["000001000"]] * 2
    assert {item["ranUeThrouThd"] for told in items for item in told} == {"4 Mbps"}


def test_a_side_is_remembered_over_a_restart(town):
    town.subscribe({"event": "NSI_LOAD_LEVEL", "nsiLevelThrds": [80], "matchingDir": "ASCENDING"})
    town.live(3)
    assert town.times() == [1]
    town.notifier = town.notifier_over(Subscriptions(town.world.analytics, town.world.shelf))
    town.live(3)
    assert town.times() == [1]


def test_looks_without_news_write_nothing(town):
    town.subscribe({"event": "NSI_LOAD_LEVEL", "nsiLevelThrds": [99]})
    town.live(1)
    written = town.world.shelf.puts
    town.live(20)
    assert town.world.shelf.puts == written
    assert not town.inbox


def test_reports_end_with_their_number(town):
    town.subscribe({"event": "NETWORK_PERFORMANCE"}, evtReq={"repPeriod": 2, "maxReportNbr": 3})
    town.live(20)
    assert town.times() == [2, 4, 6]
    assert not town.world.subscriptions.all()
    assert not town.world.shelf.sheets


def test_one_time_is_once(town):
    town.subscribe({"event": "NETWORK_PERFORMANCE"}, evtReq={"repPeriod": 2, "notifMethod": "ONE_TIME"})
    town.live(20)
    assert town.times() == [2]


def test_reports_end_with_their_time(town):
    town.subscribe({"event": "NETWORK_PERFORMANCE"}, evtReq={"repPeriod": 2, "monDur": rfc3339(NOW_S + 5)})
    town.live(20)
    assert town.times() == [2, 4]
    assert not town.world.subscriptions.all()


def test_a_subscription_ends_with_its_owner(town):
    town.subscribe({"event": "NETWORK_PERFORMANCE", "repetitionPeriod": 2})
    town.live(3)
    town.known = False
    town.live(10)
    assert town.times() == [2]
    assert not town.world.subscriptions.all()


def test_a_muted_subscription_is_silent(town):
    town.subscribe({"event": "NETWORK_PERFORMANCE"}, evtReq={"repPeriod": 2, "notifFlag": "DEACTIVATE"})
    town.live(10)
    assert not town.inbox
    assert town.world.subscriptions.all()


def test_missing_data_is_notified_by_its_code(town):
    town.subscribe({"event": "SLICE_LOAD_LEVEL", "extraReportReq": {"offsetPeriod": 60}, "repetitionPeriod": 3})
    town.live(3)
    ((_, (notification,)),) = town.inbox
    valid(EVENTS, "NnwdafEventsSubscriptionNotification", notification)
    assert notification["eventNotifications"] == [{"event": "SLICE_LOAD_LEVEL", "failNotifyCode": "UNAVAILABLE_DATA"}]


def test_delivery_is_tried_again_with_growing_patience(town):
    town.answer = lambda attempt: 503 if attempt < 4 else 204
    town.subscribe({"event": "NETWORK_PERFORMANCE", "repetitionPeriod": 5})
    town.live(5)
    assert town.slept_s == [1.0, 2.0, 4.0]
    counts = town.notifier.counts
    assert (counts.delivered, counts.failed, counts.retries) == (1, 0, 3)


@pytest.mark.parametrize(("status", "attempts"), [(500, 4), (302, 4), (404, 1), (410, 1)])
def test_a_notification_is_given_up_and_counted(town, status, attempts):
    town.answer = lambda attempt: status
    town.subscribe({"event": "NETWORK_PERFORMANCE", "repetitionPeriod": 5}, evtReq={"maxReportNbr": 1})
    town.live(5)
    assert (town.attempts, town.notifier.counts.failed, town.notifier.counts.delivered) == (attempts, 1, 0)
    assert town.world.subscriptions.all()[0].sent == 0


def test_a_consumer_that_breaks_the_line_hurts_nobody_else(town):
    def broken(attempt: int) -> int:
        raise ConnectionError("gone")

    town.answer = broken
    town.subscribe({"event": "NETWORK_PERFORMANCE", "repetitionPeriod": 5})
    town.live(5)
    town.answer = lambda attempt: 204
    town.live(5)
    assert (town.notifier.counts.failed, town.notifier.counts.delivered) == (1, 1)


def test_an_event_that_fails_inside_leaves_the_others(town, caplog):
    def broken(*arguments: object) -> None:
        raise RuntimeError("a fault of ours")

    town.subscribe(
        {"event": "NETWORK_PERFORMANCE", "extraReportReq": {"offsetPeriod": 60}, "repetitionPeriod": 5},
        {"event": "DN_PERFORMANCE", "repetitionPeriod": 5},
    )
    town.world.future.foretell = broken
    town.live(5)
    ((_, (notification,)),) = town.inbox
    assert [item["event"] for item in notification["eventNotifications"]] == ["DN_PERFORMANCE"]
    assert "NETWORK_PERFORMANCE" in caplog.text


def test_a_slow_consumer_is_not_called_twice_at_once():
    town = Town(AnalyticsSettings(notify=NotifySettings(check_s=1.0)))
    town.subscribe({"event": "NETWORK_PERFORMANCE", "repetitionPeriod": 1})
    town.subscribe({"event": "DN_PERFORMANCE", "repetitionPeriod": 1})

    async def lives() -> None:
        open_door = asyncio.Event()
        arrived: list[str] = []

        async def slow(url: str, content: list[dict]) -> int:
            event = content[0]["eventNotifications"][0]["event"]
            arrived.append(event)
            if event == "NETWORK_PERFORMANCE":
                await open_door.wait()
            return 204

        town.notifier = Notifier(town.world.analytics, town.world.subscriptions, town.who, slow, town.sleep)

        async def second(_: float) -> None:
            town.world.now_s += 1.0
            await asyncio.sleep(0.01)
            if arrived.count("DN_PERFORMANCE") >= 2 and town.notifier.counts.skipped:
                raise asyncio.CancelledError

        await asyncio.wait_for(asyncio.gather(notify_forever(town.notifier, 1.0, second), return_exceptions=True), 60)
        assert arrived.count("NETWORK_PERFORMANCE") == 1

    asyncio.run(lives())


def test_an_owner_whose_consumers_do_not_answer_holds_up_nobody_else(monkeypatch):
    monkeypatch.setattr(notify, "MOST_OF_ONE", 1)
    town = Town(AnalyticsSettings(notify=NotifySettings(check_s=1.0, most_deliveries=2)))
    for _ in range(3):
        town.subscribe({"event": "NETWORK_PERFORMANCE", "repetitionPeriod": 1})
    town.subscribe({"event": "DN_PERFORMANCE", "repetitionPeriod": 1})
    kept = town.world.subscriptions.all()
    other = next(one for one in kept if one.body.event_subscriptions[0].event == "DN_PERFORMANCE")
    town.world.subscriptions.note(other, other.model_copy(update={"owner": "somebody else"}))
    arrived: list[str] = []

    async def dead(url: str, content: list[dict]) -> int:
        arrived.append(content[0]["eventNotifications"][0]["event"])
        if arrived[-1] == "NETWORK_PERFORMANCE":
            await asyncio.Event().wait()
        return 204

    town.notifier = Notifier(town.world.analytics, town.world.subscriptions, town.who, dead, town.sleep)

    async def second(_: float) -> None:
        town.world.now_s += 1.0
        await asyncio.sleep(0.01)
        if arrived.count("DN_PERFORMANCE") >= 3:
            raise asyncio.CancelledError

    async def lives() -> None:
        await asyncio.wait_for(asyncio.gather(notify_forever(town.notifier, 1.0, second), return_exceptions=True), 60)

    asyncio.run(lives())
    assert arrived.count("NETWORK_PERFORMANCE") == 1 and arrived.count("DN_PERFORMANCE") >= 3


def test_what_changes_while_it_is_looked_at_is_not_undone(world):
    response = world.call(
        "POST",
        SUBSCRIPTIONS,
        json={"eventSubscriptions": [{"event": "NETWORK_PERFORMANCE"}], "notificationURI": URL},
    )
    (before,) = world.subscriptions.all()
    world.call("DELETE", response.headers["location"].removeprefix("http://twins.example"))
    assert not world.subscriptions.note(before, before)
    assert not world.subscriptions.all()
