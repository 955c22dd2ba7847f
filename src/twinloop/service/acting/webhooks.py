"""Commands delivered to sites that would rather be called than ask: signed, tried again a few times, never waited for.

All calls are made on a thread of its own, and only to where the operator allows (see service/security).
"""

import asyncio
import contextlib
import hashlib
import hmac
import json
import logging
import threading
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal, Protocol, runtime_checkable

import httpx
import msgspec
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from twinloop.errors import FormatError, TwinloopError
from twinloop.network import Command
from twinloop.network.formats import Receipt
from twinloop.service.acting.dispatch import Dispatcher
from twinloop.service.security import RecordsPort, Reply, TargetRefused

_log = logging.getLogger("twinloop.webhooks")
COLLECTION = "webhooks"
SIGNATURE = "Twinloop-Signature"
_HALTED = "the kill switch was pressed"
_json = msgspec.json.Encoder()
_receipt = msgspec.json.Decoder(Receipt)


class WebhookOrder(BaseModel):
    """Where the commands of a site are sent, and the secret that signs them."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    url: Annotated[str, Field(min_length=1, max_length=2048)]
    secret: Annotated[SecretStr, Field(min_length=16, max_length=256)]


@dataclass
class Webhook:
    """One site's webhook and how it is doing. `state`: idle, reached, or failing, with the reason in `detail`."""

    site: str
    url: str
    since_s: float
    state: Literal["idle", "reached", "failing"] = "idle"
    detail: str = ""
    delivered: int = 0
    failed: int = 0
    revision: int = -1


@dataclass(frozen=True)
class Pace:
    """After a failure a command is tried again, `tries` times in all, `first_s` later and twice as long each time."""

    tries: int = 4
    first_s: float = 1.0


@runtime_checkable
class TargetsPort(Protocol):
    """What calls addresses that others gave; see `security.WebhookTargets`."""

    async def check(self, url: str) -> object:
        """Raises TargetRefused where an address must not be called."""
        ...

    async def send(self, url: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        """Posts. Raises TargetRefused, httpx.HTTPError where nobody answers, TimeoutError where it takes too long."""
        ...


class Webhooks:
    """Delivers commands to sites that have a webhook.

    A call that is answered with 2xx has reached the site; its body may already be the receipt, else that comes with
    later reports. What cannot be delivered is told to the dispatcher as failed, and the next command is tried anew.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        records: RecordsPort,
        targets: TargetsPort,
        clock: Callable[[], float],
        pace: Pace | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.told: dict[str, Webhook] = {}
        self._dispatcher = dispatcher
        self._records = records
        self._targets = targets
        self._clock = clock
        self._pace = pace or Pace()
        self._sleep = sleep
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._calls: set[asyncio.Task[Reply]] = set()

    def start(self) -> None:
        """Begins to deliver what was registered before."""
        self._loop = asyncio.new_event_loop()
        self._dispatcher.halting = self._break_off
        self._thread = threading.Thread(target=self._loop.run_forever, name="webhooks", daemon=True)
        self._thread.start()
        for record in self._records.list(COLLECTION):
            if record.key in self._dispatcher.sites:
                kept = json.loads(record.body)
                self._serve(record.key, kept["url"], kept["secret"], kept["since_s"])

    def stop(self) -> None:
        """Ends; a call under way is let go."""
        if self._loop is None or self._thread is None:
            return
        asyncio.run_coroutine_threadsafe(self._end_all(), self._loop).result()
        served, self._loop = self._loop, None
        served.call_soon_threadsafe(served.stop)
        self._thread.join()
        served.close()

    def register(self, site: str, order: WebhookOrder) -> Webhook:
        """From now on commands of the site are sent there. Raises TargetRefused where that may not be called,
        StorageError where it could not be kept.
        """
        self._ask(self._targets.check(order.url))
        secret, since_s = order.secret.get_secret_value(), self._clock()
        self._records.put(COLLECTION, site, json.dumps({"url": order.url, "secret": secret, "since_s": since_s}))
        self._serve(site, order.url, secret, since_s)
        return self.told[site]

    def remove(self, site: str) -> None:
        """Sends nothing there any more; nothing where there is no webhook."""
        self._records.delete(COLLECTION, site)
        self.told.pop(site, None)
        if self._loop is not None:
            self._ask(self._end(site))

    def list(self) -> list[dict[str, Any]]:
        """All webhooks, without their secrets."""
        return [asdict(one) for one in list(self.told.values())]

    def _serve(self, site: str, url: str, secret: str, since_s: float) -> None:
        self.told[site] = Webhook(site, url, since_s)
        if self._loop is not None:
            self._ask(self._begin(self.told[site], secret.encode()))

    def _ask(self, work: Any) -> Any:
        if self._loop is None:
            work.close()
            raise TwinloopError("webhooks are not served yet; ask again in a few seconds")
        done: Future[Any] = asyncio.run_coroutine_threadsafe(work, self._loop)
        return done.result()

    async def _begin(self, hook: Webhook, secret: bytes) -> None:
        await self._end(hook.site)
        self._tasks[hook.site] = asyncio.get_running_loop().create_task(self._deliver_all(hook, secret))

    async def _end(self, site: str) -> None:
        task = self._tasks.pop(site, None)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            self._dispatcher.reached(site, False)

    async def _end_all(self) -> None:
        for site in list(self._tasks):
            await self._end(site)

    async def _deliver_all(self, hook: Webhook, secret: bytes) -> None:
        after = -1
        while not _is_ending():
            command = await self._next(hook.site, after)
            done = True
            try:
                done = await self._deliver(hook, secret, command)
            except Exception:
                _log.exception("the webhook of site %s failed", hook.site)
            after = command.revision if done else after

    async def _next(self, site: str, after: int) -> Command:
        loop = asyncio.get_running_loop()
        while True:
            news = asyncio.Event()

            def wake(event: asyncio.Event = news) -> None:
                loop.call_soon_threadsafe(event.set)

            command = self._dispatcher.awaited(site, after, wake)
            if command is not None:
                return command
            try:
                await news.wait()
            finally:
                self._dispatcher.leave(site, wake)

    async def _deliver(self, hook: Webhook, secret: bytes, command: Command) -> bool:
        """Tries until it has reached the site, or another command is wanted by then; False where it may not be sent
        any more, for the kill switch or because the site is silent.
        """
        body = _json.encode(command)
        why = ""
        for attempt in range(self._pace.tries):
            if attempt:
                await self._sleep(self._pace.first_s * 2 ** (attempt - 1))
                if self._overtaken(hook.site, command):
                    return True
                if self._dispatcher.sites[hook.site].withheld:
                    return False
            why = _HALTED if self._dispatcher.halted else await self._call(hook, secret, command, body)
            if why in ("", _HALTED):
                return not why
        hook.failed += 1
        hook.state, hook.detail = "failing", why
        self._dispatcher.reached(hook.site, False)
        undelivered = Receipt(revision=command.revision, result="failed", detail=f"not delivered: {why}"[:500])
        self._dispatcher.take(hook.site, [undelivered])
        _log.warning("command %d could not be delivered to site %s: %s", command.revision, hook.site, why)
        return True

    async def _call(self, hook: Webhook, secret: bytes, command: Command, body: bytes) -> str:
        """Why a call did not reach the site, "" where it did."""
        headers = {
            "Twinloop-Site": hook.site,
            "Twinloop-Revision": str(command.revision),
            SIGNATURE: signature(secret, self._clock(), body),
        }
        call = asyncio.ensure_future(self._targets.send(hook.url, body, headers))
        self._calls.add(call)
        try:
            answer = await call
        except asyncio.CancelledError:
            if _is_ending():
                raise
            return _HALTED
        except TargetRefused as error:
            return str(error)
        except (TimeoutError, httpx.TimeoutException):
            return "no answer in time"
        except httpx.HTTPError as error:
            return f"{type(error).__name__}: {error}"
        finally:
            self._calls.discard(call)
        if not 200 <= answer.status < 300:
            return f"answered {answer.status}"
        hook.delivered += 1
        hook.revision, hook.state, hook.detail = command.revision, "reached", ""
        self._dispatcher.reached(hook.site, True)
        if answer.body.strip():
            self._take(hook, answer.body)
        return ""

    def _break_off(self) -> None:
        """Ends the calls under way, on whatever thread; what they carried is delivered once that may be again."""
        served = self._loop
        if served is not None:
            with contextlib.suppress(RuntimeError):  # it ends in this moment
                served.call_soon_threadsafe(lambda: [call.cancel() for call in self._calls])

    def _take(self, hook: Webhook, content: bytes) -> None:
        try:
            self._dispatcher.take(hook.site, [_receipt.decode(content)])
        except (msgspec.MsgspecError, FormatError) as error:
            hook.detail = f"its answer is no receipt ({error}); one is expected in its reports"

    def _overtaken(self, site: str, command: Command) -> bool:
        wanted = self._dispatcher.sites[site].wanted
        return wanted is None or wanted.revision != command.revision


def _is_ending() -> bool:
    """Whether whoever delivers is itself to end."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def signature(secret: bytes, now_s: float, body: bytes) -> str:
    """`t=<epoch seconds>,v1=<hex>`: HMAC-SHA256 of the time, a full stop and the body. Whoever checks it refuses old
    times, so that nobody repeats a command.
    """
    moment = str(int(now_s))
    mac = hmac.new(secret, moment.encode() + b"." + body, hashlib.sha256).hexdigest()
    return f"t={moment},v1={mac}"
