"""A server from its settings to its end: storage opened, loop prepared beside a server that already takes reports."""

import asyncio
import logging
import signal
import ssl
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType

import uvicorn
from starlette.concurrency import run_in_threadpool

from twinloop.errors import TwinloopError
from twinloop.network import Command, Plan
from twinloop.scenario import Scenario
from twinloop.service.api import build_app
from twinloop.service.configuration import Configuration
from twinloop.service.correlation import Application, Correlated, CorrelationFilter
from twinloop.service.live_platform import Platform, steady_clock
from twinloop.service.mqtt import Bridge, Broker, Served, broker_of
from twinloop.service.security import Audit, Guard, Limits, Oidc, SecretFilter, Tokens, tls_context
from twinloop.service.watching import Tracing
from twinloop.storage import open_storage

_log = logging.getLogger("twinloop.serve")
GRACE_S = 3
LONGEST_LOOK_S = 5.0
_TEND_EVERY_S = 60.0
_FORGET_TOKENS_S = 30 * 86_400.0


def serve(
    scenario: Scenario,
    configuration: Configuration,
    *,
    first_token: Callable[[str], None],
    ready: Callable[[Platform], None] = lambda platform: None,
) -> None:
    """Serves until SIGINT or SIGTERM. `first_token` is given the admin's secret where there was none before.

    Raises TwinloopError where the database, the scenario, an address, a certificate or another file cannot be used.
    """
    clean_logs()
    clock = steady_clock()
    broker = None if configuration.broker is None else broker_of(configuration.broker, configuration.broker_ca)
    tls = None if configuration.tls is None else tls_context(configuration.tls, clock)
    oidc = None if configuration.oidc is None else Oidc(configuration.oidc, clock)
    with open_storage(configuration.database, fsync=configuration.fsync) as storage:
        platform = Platform(scenario, storage, clock, configuration.settings, time.time)
        platform.intake.pause("what was kept is still being read")
        tokens = Tokens(platform.records, clock)
        guard = Guard(tokens, Limits(configuration.rates, clock), clock, oidc=oidc)
        platform.tasks.append(lambda: _tend(tokens))
        if broker is not None:
            _join(platform, broker)
        application: Application = build_app(platform, guard, tokens, Audit(platform.records))
        tracing = None
        if configuration.telemetry is not None:
            tracing = Tracing(configuration.telemetry, lambda: platform.runner.slot)
            platform.runner.timing.observers.append(tracing.observe)
            application = tracing.requests(application)
        server = uvicorn.Server(_listening(Correlated(application), configuration, tls))
        platform.tasks.append(lambda: _dismiss_listeners(server, platform))
        tokens.first_run(first_token)
        begin = threading.Thread(target=_begin, args=(platform, server, ready), name="begin", daemon=True)
        with _ended_by_signal(server):
            try:
                begin.start()
                _run(server, configuration)
            finally:
                server.should_exit = True
                begin.join()
                tokens.flush()
                platform.stop()
        if tracing is not None:
            tracing.close()
        if platform.failed is not None:
            raise platform.failed


def _run(server: uvicorn.Server, configuration: Configuration) -> None:
    try:
        server.run()
    except SystemExit:
        raise TwinloopError(
            f"port {configuration.port} of {configuration.host} cannot be listened on; give another --port"
        ) from None


async def _dismiss_listeners(server: uvicorn.Server, platform: Platform) -> None:
    """Once the server is to end: it waits for requests, and those of listeners and of what-ifs would not end."""
    while not server.should_exit:
        await asyncio.sleep(0.1)
    platform.changes.close()
    platform.whatifs.close()


@contextmanager
def _ended_by_signal(server: uvicorn.Server) -> Generator[None]:
    """Has signals end the server and not the process, which keeps a last snapshot; a second one changes nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(sig: int, frame: FrameType | None) -> None:
        server.should_exit = True

    server.handle_exit = end
    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def clean_logs() -> None:
    """Has every line that is logged from now on carry its correlation, and no secret."""
    for handler in logging.getLogger().handlers:
        handler.addFilter(CorrelationFilter())
        handler.addFilter(SecretFilter())


def _listening(application: Application, configuration: Configuration, tls: ssl.SSLContext | None) -> uvicorn.Config:
    return uvicorn.Config(
        application,
        host=configuration.host,
        port=configuration.port,
        loop="uvloop",
        http="httptools",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=GRACE_S,
        server_header=False,
        ssl_context_factory=None if tls is None else lambda config, default: tls,
    )


async def _tend(tokens: Tokens) -> None:
    """Keeps when tokens were used, and forgets those that ended long ago."""
    while True:
        await asyncio.sleep(_TEND_EVERY_S)
        try:
            await run_in_threadpool(tokens.flush)
            await run_in_threadpool(tokens.prune, _FORGET_TOKENS_S)
        except TwinloopError as error:
            _log.warning("tokens could not be kept: %s", error)


def _join(platform: Platform, broker: Broker) -> None:
    """Has the platform served through a broker as well."""
    broker.tls_context()
    dispatcher, changes = platform.dispatcher, platform.changes

    def plan(site: str, after: int) -> Plan | None:
        found = platform.plan(site)
        return None if found is None or found.revision == after else found

    def command(site: str, after: int) -> Command | None:
        found = dispatcher.awaited(site, after, _nothing)
        if found is None:
            # Whoever waits counts as there; that a command can be published says nothing of who reads it.
            dispatcher.leave(site, _nothing)
        return found

    async def news(number: int) -> int:
        await changes.wait(number, LONGEST_LOOK_S)
        return number if changes.latest is None else changes.latest.number

    bridge = Bridge(
        broker,
        Served(
            server=platform.server,
            clock=platform.clock,
            intake=platform.intake,
            storage=platform.storage,
            sites=tuple(dispatcher.sites),
            plan=plan,
            command=command,
            news=news,
        ),
    )
    platform.tasks.append(bridge.run)
    platform.links["broker"] = bridge.told


def _nothing() -> None:
    """Nobody has to be woken: what is new is looked for after every slot."""


def _begin(platform: Platform, server: uvicorn.Server, ready: Callable[[Platform], None]) -> None:
    """Prepares the loop while reports already come in; a loop that cannot be prepared ends the server."""
    try:
        platform.prepare()
        if server.should_exit:
            return
        platform.start()
        ready(platform)
    except Exception as error:
        _log.error("the loop cannot be prepared: %s", error, exc_info=not isinstance(error, TwinloopError))
        platform.failed = error if isinstance(error, TwinloopError) else TwinloopError(str(error))
        server.should_exit = True
