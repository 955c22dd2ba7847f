"""A server from its settings to its end: storage opened, loop prepared beside a server that already takes reports."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

import uvicorn

from twinloop.errors import TwinloopError
from twinloop.scenario import Scenario
from twinloop.service.api import build_app
from twinloop.service.platform import Platform, Settings, steady_clock
from twinloop.service.security import Audit, Guard, Limits, LimitSettings, Tokens
from twinloop.storage import open_storage

_log = logging.getLogger("twinloop.serve")
GRACE_S = 3


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
    first_token: Callable[[str], None],
    ready: Callable[[Platform], None] = lambda platform: None,
) -> None:
    """Serves until SIGINT or SIGTERM. `first_token` is given the admin's secret where there was none before.

    Raises TwinloopError where the database, the scenario or the address cannot be used.
    """
    clock = steady_clock()
    with open_storage(database, fsync=fsync) as storage:
        platform = Platform(scenario, storage, clock, settings)
        tokens = Tokens(platform.records, clock)
        guard = Guard(tokens, Limits(limits or LimitSettings(), clock), clock)
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
