"""A server from its settings to its end: storage opened, loop prepared beside a server that already takes reports."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

import uvicorn

from twinloop.errors import TwinloopError
from twinloop.network import Command, Plan
from twinloop.scenario import Scenario
from twinloop.service.api import build_app
from twinloop.service.live_platform import Platform, Settings, steady_clock
from twinloop.service.mqtt import Bridge, Broker, Served
from twinloop.service.security import Audit, Guard, Limits, LimitSettings, Tokens
from twinloop.storage import open_storage

_log = logging.getLogger("twinloop.serve")
GRACE_S = 3
LONGEST_LOOK_S = 5.0


@dataclass(frozen=True)
class Address:
    """Where a server listens."""

    host: str = "127.0.0.1"
    port: int = 8080


def serve(
    scenario: Scenario,
    database: str,
    address: Address,
    settings: Settings,
    *,
    fsync: bool = False,
    limits: LimitSettings | None = None,
    broker: Broker | None = None,
    first_token: Callable[[str], None],
    ready: Callable[[Platform], None] = lambda platform: None,
) -> None:
    """Serves until SIGINT or SIGTERM. `first_token` is given the admin's secret where there was none before. With
    `broker` reports, plans and commands go through that, too.

    Raises TwinloopError where the database, the scenario or an address cannot be used.
    """
    clock = steady_clock()
    with open_storage(database, fsync=fsync) as storage:
        platform = Platform(scenario, storage, clock, settings)
        tokens = Tokens(platform.records, clock)
        guard = Guard(tokens, Limits(limits or LimitSettings(), clock), clock)
        if broker is not None:
            _join(platform, broker)
        app = build_app(platform, guard, tokens, Audit(platform.records))
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                host=address.host,
                port=address.port,
                loop="uvloop",
                http="httptools",
                log_config=None,
                access_log=False,
                timeout_graceful_shutdown=GRACE_S,
                server_header=False,
            )
        )
        made = tokens.first_run()
        if made is not None:
            first_token(made[1])
        begin = threading.Thread(target=_begin, args=(platform, server, ready), name="begin", daemon=True)
        begin.start()
        try:
            server.run()
        except SystemExit:
            raise TwinloopError(
                f"port {address.port} of {address.host} cannot be listened on; give another --port"
            ) from None
        finally:
            tokens.flush()
            platform.stop()
        if platform.failed is not None:
            raise platform.failed


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
        platform.start()
        ready(platform)
    except Exception as error:
        _log.error("the loop cannot be prepared: %s", error, exc_info=not isinstance(error, TwinloopError))
        platform.failed = error if isinstance(error, TwinloopError) else TwinloopError(str(error))
        server.should_exit = True
