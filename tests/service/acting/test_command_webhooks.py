"""Commands that are delivered: signed, tried again, never for what is overtaken, and only where that is allowed."""

import hashlib
import hmac
import json
import queue
import threading

import httpx
import pytest
from service.acting.conftest import make_action, moved

from twinloop.service.acting import WebhookOrder, Webhooks, signature
from twinloop.service.acting.webhooks import Pace
from twinloop.service.security import Reply, TargetRefused, WebhookSettings, WebhookTargets

SECRET = "a-secret-of-the-site"
URL = "https://orchestrator.example.net/commands"
ACCEPTED = Reply(202, b"")


class Orchestrator:
    """Whoever is called: answers what is scripted for each call, then 202; and notes what came."""

    def __init__(self) -> None:
        self.script: list = []
        self.calls: queue.Queue = queue.Queue()
        self.answered = threading.Semaphore(0)

    async def check(self, url):
        if "intern" in url:
            raise TargetRefused("the host is not a public address")
        return url

    async def send(self, url, body, headers):
        self.calls.put((url, body, headers))
        answer = self.script.pop(0) if self.script else ACCEPTED
        if isinstance(answer, Exception):
            raise answer
        return answer(json.loads(body)) if callable(answer) else answer

    def call(self) -> tuple[str, dict, dict]:
        url, body, headers = self.calls.get(timeout=10.0)
        return url, json.loads(body), headers


def receipt_of(result: str):
    return lambda command: Reply(200, json.dumps({"revision": command["revision"], "result": result}).encode())


@pytest.fixture
def orchestrator() -> Orchestrator:
    return Orchestrator()


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
def webhooks(dispatcher, records, clock, orchestrator, pauses):
    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    made = Webhooks(dispatcher, records, orchestrator, clock, Pace(tries=3, first_s=2.0), sleep)
    made.start()
    yield made
    made.stop()


def order(url: str = URL) -> WebhookOrder:
    return WebhookOrder.model_validate({"url": url, "secret": SECRET})


def settled(webhooks, network, condition) -> bool:
    """Whether something is so once the webhooks' thread has done all that it was given."""
    done = threading.Event()
    for _ in range(200):
        done.clear()
        webhooks._loop.call_soon_threadsafe(done.set)
        done.wait(10.0)
        if condition():
            return True
    return False


def test_a_command_is_posted_with_a_signature_that_can_be_checked(webhooks, orchestrator, network):
    network.answers["west"] = "gone"
    network.slot()
    webhooks.register("west", order())
    url, command, headers = orchestrator.call()
    assert (url, command["site"], headers["Twinloop-Revision"]) == (URL, "west", "1")
    moment, mac = (part.partition("=")[2] for part in headers["Twinloop-Signature"].split(","))
    assert int(moment) == int(network.clock())
    body = json.dumps(command, separators=(",", ":")).encode()
    expected = hmac.new(SECRET.encode(), moment.encode() + b"." + body, hashlib.sha256).hexdigest()
    assert mac == expected
    assert signature(b"other", network.clock(), body) != headers["Twinloop-Signature"]


def test_an_answer_that_is_a_receipt_confirms_and_one_without_waits_for_reports(webhooks, orchestrator, network):
    network.answers["west"] = "gone"
    network.slot()
    orchestrator.script = [receipt_of("applied")]
    webhooks.register("west", order())
    orchestrator.call()
    assert settled(webhooks, network, lambda: network.told("west")["state"] == "following")
    network.action = make_action(moved())
    revision = network.slot()
    orchestrator.call()
    assert settled(webhooks, network, lambda: webhooks.told["west"].delivered == 2)
    assert network.dispatcher.fate(revision).why == "no receipt of west yet"
    network.clock.now_s += 3600.0
    assert network.told("west")["state"] == "asked", "a site that commands reach is there without asking for any"


def test_failures_are_tried_again_with_growing_pauses_and_then_told(webhooks, orchestrator, network, pauses):
    network.answers["west"] = "gone"
    network.slot()
    orchestrator.script = [httpx.ConnectError("refused"), Reply(503, b""), httpx.ReadTimeout("slow")]
    webhooks.register("west", order())
    for _ in range(3):
        orchestrator.call()
    assert settled(webhooks, network, lambda: network.told("west")["result"] == "failed")
    assert pauses == [2.0, 4.0]
    assert network.told("west")["detail"] == "not delivered: no answer in time"
    assert (webhooks.told["west"].state, webhooks.told["west"].failed) == ("failing", 1)


def test_a_command_that_is_overtaken_while_it_fails_is_not_sent_again(
    dispatcher, records, clock, orchestrator, network
):
    network.answers["west"] = "gone"
    network.slot()

    async def sleep(seconds: float) -> None:
        network.action = make_action(moved())
        network.slot()

    hooks = Webhooks(dispatcher, records, orchestrator, clock, Pace(tries=3), sleep)
    hooks.start()
    orchestrator.script = [Reply(500, b"")]
    hooks.register("west", order())
    assert [orchestrator.call()[1]["revision"] for _ in range(2)] == [1, 2]
    hooks.stop()
    assert orchestrator.calls.empty()


def test_an_answer_that_is_no_receipt_is_told_and_does_no_harm(webhooks, orchestrator, network):
    network.answers["west"] = "gone"
    network.slot()
    orchestrator.script = [Reply(200, b"<html>thanks</html>")]
    webhooks.register("west", order())
    orchestrator.call()
    assert settled(webhooks, network, lambda: "no receipt" in webhooks.told["west"].detail)
    assert webhooks.told["west"].state == "reached"


def test_halted_nothing_is_delivered(webhooks, orchestrator, network):
    network.answers["west"] = "gone"
    network.slot()
    network.dispatcher.halt()
    webhooks.register("west", order())
    network.slot()
    assert settled(webhooks, network, lambda: True) and orchestrator.calls.empty()
    network.dispatcher.release()
    assert orchestrator.call()[1]["revision"] == 1


def test_where_it_may_not_go_is_refused_before_anything_is_kept(webhooks, orchestrator, records, network):
    network.slot()
    with pytest.raises(TargetRefused):
        webhooks.register("west", order("https://intern.example.net/"))
    assert webhooks.list() == [] and list(records.list("webhooks")) == []


def test_the_safe_client_refuses_our_own_machine(dispatcher, records, clock):
    hooks = Webhooks(dispatcher, records, WebhookTargets(WebhookSettings()), clock)
    hooks.start()
    with pytest.raises(TargetRefused):
        hooks.register("west", order("https://127.0.0.1:8443/"))
    hooks.stop()


def test_a_webhook_outlives_a_restart_until_it_is_removed(webhooks, dispatcher, records, clock, orchestrator, network):
    network.answers["west"] = "gone"
    network.slot()
    webhooks.register("west", order())
    orchestrator.call()
    webhooks.stop()
    again = Webhooks(dispatcher, records, orchestrator, clock)
    again.start()
    assert orchestrator.call()[1]["site"] == "west"
    assert "secret" not in str(again.list()).lower()
    again.remove("west")
    network.action = make_action(moved())
    network.slot()
    assert settled(again, network, lambda: True) and orchestrator.calls.empty()
    again.stop()
    assert list(records.list("webhooks")) == []


def test_a_secret_is_not_shown():
    assert SECRET not in repr(order()) and SECRET not in order().model_dump_json()
