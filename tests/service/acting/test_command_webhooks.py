"""Commands that are delivered: signed, tried again, never for what is overtaken, and only where that is allowed."""

import asyncio
import hashlib
import hmac
import json
import queue
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from service.acting.conftest import make_action, moved, reported

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


def test_a_try_that_is_due_is_not_made_once_the_site_is_silent(dispatcher, records, clock, orchestrator, network):
    network.answers["west"] = "gone"
    network.slot()

    async def sleep(seconds: float) -> None:
        reported(network, west=11.0)

    hooks = Webhooks(dispatcher, records, orchestrator, clock, Pace(tries=3), sleep)
    hooks.start()
    orchestrator.script = [Reply(500, b"")]
    hooks.register("west", order())
    assert orchestrator.call()[1]["revision"] == 1
    assert settled(hooks, network, lambda: network.told("west")["silent"])
    assert orchestrator.calls.empty() and hooks.told["west"].failed == 0
    reported(network)
    assert orchestrator.call()[1]["revision"] == 1, "it is not forgotten"
    hooks.stop()


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


class Receiver:
    """An HTTP server on loopback that notes what is posted to it; `statuses` are answered first, then 202."""

    def __init__(self) -> None:
        self.posted: queue.Queue = queue.Queue()
        self.statuses: list[int] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(receiver.statuses.pop(0) if receiver.statuses else 202)
                self.send_header("Content-Length", "0")
                self.end_headers()
                receiver.posted.put(json.loads(body))

            def log_message(self, *told) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://site.example:{self._server.server_address[1]}/commands"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class Resolver:
    """Says that every host is this machine, while `may` is set."""

    def __init__(self) -> None:
        self.may, self.asked = threading.Event(), threading.Semaphore(0)
        self.may.set()

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked.release()
        while not self.may.is_set():
            await asyncio.sleep(0.005)
        return ["127.0.0.1"]


@pytest.fixture
def receiver():
    made = Receiver()
    yield made
    made.close()


@pytest.fixture
def resolver() -> Resolver:
    return Resolver()


@pytest.fixture
def posting(dispatcher, records, clock, resolver):
    """Webhooks that really call; a second passes between tries."""
    settings = WebhookSettings(allow=("127.0.0.1",), https_only=False)
    made = Webhooks(dispatcher, records, WebhookTargets(settings, resolver), clock, Pace(tries=3, first_s=0.2))
    made.start()
    yield made
    made.stop()


LONG_S = 0.7
"""Longer than a try that was due would have taken."""


def test_after_the_kill_switch_nobody_is_called_neither_anew_nor_again(posting, receiver, network, dispatcher):
    network.answers["west"] = "gone"
    network.slot()
    receiver.statuses = [503]
    posting.register("west", order(receiver.url))
    assert receiver.posted.get(timeout=10.0)["revision"] == 1
    dispatcher.halt()
    network.action = make_action(moved())
    network.slot(3)
    time.sleep(LONG_S)
    assert receiver.posted.empty(), "the try that was due is not made, and what the loop asks now goes nowhere"
    dispatcher.release()
    network.slot()
    assert receiver.posted.get(timeout=10.0)["revision"] > 1
    assert settled(posting, network, lambda: posting.told["west"].state == "reached")


def test_a_call_on_its_way_is_broken_off_by_the_kill_switch_and_made_once_it_is_released(
    posting, receiver, resolver, network, dispatcher
):
    network.answers["west"] = "gone"
    network.slot()
    posting.register("west", order(receiver.url))
    assert receiver.posted.get(timeout=10.0)["revision"] == 1
    while resolver.asked.acquire(blocking=False):
        pass
    resolver.may.clear()
    network.action = make_action(moved())
    revision = network.slot()
    assert resolver.asked.acquire(timeout=10.0), "the call is under way"
    dispatcher.halt()
    resolver.may.set()
    time.sleep(LONG_S)
    assert receiver.posted.empty() and posting.told["west"].failed == 0
    dispatcher.release()
    assert receiver.posted.get(timeout=10.0)["revision"] == revision, "it is not forgotten"
