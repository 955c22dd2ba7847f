"""twinloop agent: the reporter and actuator of one site, or of several."""

import os
import threading
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from twinloop.cli.live.logs import begin_logging


def agent(
    scenario: Annotated[str, typer.Argument(help="The scenario whose network is lived.")] = "three-sites",
    server: Annotated[
        str, typer.Option(envvar="TWINLOOP_SERVER", help="Address of the server.")
    ] = "http://127.0.0.1:8080",
    token: Annotated[str, typer.Option(envvar="TWINLOOP_TOKEN", help="A reporter's token.", show_default=False)] = "",
    token_file: Annotated[Path | None, typer.Option(help="Read the token from there.")] = None,
    network: Annotated[str, typer.Option(help="What stands behind the agent: simulated.")] = "simulated",
    site: Annotated[
        list[str] | None, typer.Option(help="Site to live; again for more of them. Without it: the whole scenario.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the simulated people and air.")] = 1001,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log everything, not only what matters.")] = False,
) -> None:
    """Run the agent of a site: it reports what it is asked for, does as commanded, and says what became of it.

    A simulated site lives a slot a second with parameters of its own, which the server's twins do not know.
    """
    from twinloop import scenario as scenarios
    from twinloop.errors import TwinloopError
    from twinloop.service.agent import Link, SimulatedAgent, run_agents

    if network != "simulated":
        raise TwinloopError(f"--network {network!r} is not known; give simulated")
    secret = token or (token_file.read_text(encoding="utf-8").strip() if token_file is not None else "")
    if not secret:
        raise TwinloopError("a token is needed: --token, --token-file, or TWINLOOP_TOKEN; an admin makes one")
    begin_logging(verbose)
    told = Console(stderr=True, highlight=False)
    loaded = scenarios.load(scenario)
    sites: list[str | None] = list(site or [None])
    told.print(f"preparing {len(sites)} simulated site(s) of {loaded.name}; the first compiles for some seconds")
    agents = [
        SimulatedAgent(loaded, name, lambda name=name: Link(server, secret, name or "all"), seed + number)
        for number, name in enumerate(sites)
    ]
    threads = run_agents(agents)
    told.print(f"reporting to {server}; Ctrl-C ends it")
    _until_interrupted(threads)
    for each in agents:
        each.stop()
    os._exit(0) if any(thread.is_alive() for thread in threads) else None


def _until_interrupted(threads: list[threading.Thread]) -> None:
    try:
        while any(thread.is_alive() for thread in threads):
            threads[0].join(timeout=0.5)
    except KeyboardInterrupt:
        return
