"""twinloop agent: the reporter and actuator of one site, or of several."""

import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from twinloop.cli.live.asking.client import SERVER, secret_of
from twinloop.cli.live.ending import leave_at_once, told_to_end
from twinloop.cli.live.logs import begin_logging
from twinloop.cli.live.mapping import MappingOption, mapping_of

if TYPE_CHECKING:
    from twinloop.scenario import Scenario
    from twinloop.service.agent import CmcdLogAgent, LinkPort, Recording, ReplayAgent, SimulatedAgent

NETWORKS = ("simulated", "replay", "cmcd-log")
_REPLAY, _LOG = "Of replay", "Of cmcd-log"

_Scenario = Annotated[str, typer.Argument(help="Of simulated: the scenario whose network is lived.")]
_Server = Annotated[str, typer.Option(envvar="TWINLOOP_SERVER", help="Address of the server.")]
_Token = Annotated[str, typer.Option(envvar="TWINLOOP_TOKEN", help="A reporter's token.", show_default=False)]
_TokenFile = Annotated[Path | None, typer.Option(help="Read the token from there.")]
_Broker = Annotated[
    str | None,
    typer.Option(
        envvar="TWINLOOP_BROKER",
        help="Go through this MQTT broker instead: mqtt://USER:PASSWORD@HOST:PORT, mqtts:// for TLS.",
        show_default=False,
    ),
]
_BrokerCa = Annotated[Path | None, typer.Option(help="Authority of the broker's certificate (PEM).")]
_Network = Annotated[str, typer.Option(help="What stands behind it: simulated, replay, cmcd-log.")]
_Site = Annotated[
    list[str] | None,
    typer.Option(help="Site to live, or whose plan to follow; again for more of them. Without it: the whole scenario."),
]
_Source = Annotated[str, typer.Option(help="Of replay and cmcd-log: name to report under; the site's if not given.")]
_Seed = Annotated[int, typer.Option(min=0, help="Of simulated: seed of its people and air.")]
_Recording = Annotated[
    str,
    typer.Option(
        help="A file of rows, a run directory with traces, or a data set's name.",
        rich_help_panel=_REPLAY,
        show_default=False,
    ),
]
_Data = Annotated[Path, typer.Option(help="Where data sets lie (twinloop data).", rich_help_panel=_REPLAY)]
_Only = Annotated[str, typer.Option(help="Entities to replay, as in file names: *, ?.", rich_help_panel=_REPLAY)]
_Rename = Annotated[
    list[str] | None,
    typer.Option(help="OLD=NEW: replay OLD under the name NEW; again for more.", rich_help_panel=_REPLAY),
]
_InSlice = Annotated[str | None, typer.Option("--slice", help="Of replay and cmcd-log: slice of users that name none.")]
_Speed = Annotated[
    float, typer.Option(min=0.001, max=10_000, help="How much faster than recorded.", rich_help_panel=_REPLAY)
]
_KeepTimes = Annotated[bool, typer.Option(help="Report the recorded times, not the present.", rich_help_panel=_REPLAY)]
_Log = Annotated[Path | None, typer.Option(help="The web server's access log to follow.", rich_help_panel=_LOG)]
_FromStart = Annotated[bool, typer.Option(help="Read what is in the log already.", rich_help_panel=_LOG)]
_Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Log everything, not only what matters.")]


def agent(
    scenario: _Scenario = "three-sites",
    server: _Server = SERVER,
    token: _Token = "",
    token_file: _TokenFile = None,
    broker: _Broker = None,
    broker_ca: _BrokerCa = None,
    network: _Network = "simulated",
    site: _Site = None,
    source: _Source = "",
    seed: _Seed = 1001,
    recording: _Recording = "",
    data: _Data = Path("data"),
    mapping: MappingOption = None,
    only: _Only = "*",
    rename: _Rename = None,
    in_slice: _InSlice = None,
    speed: _Speed = 1.0,
    keep_times: _KeepTimes = False,
    log: _Log = None,
    from_start: _FromStart = False,
    verbose: _Verbose = False,
) -> None:
    """Run the agent of a site: it reports what it is asked for, does as commanded, and says what became of it.

    A simulated site lives a slot a second with parameters of its own, which the server's twins do not know. A replay
    reports again what was measured; a cmcd-log agent reports what players tell a web server. Both have nothing to
    command.
    """
    leave_at_once()
    from twinloop import scenario as scenarios
    from twinloop.errors import TwinloopError
    from twinloop.service.agent import CmcdLogAgent, ReplayAgent

    if network not in NETWORKS:
        raise TwinloopError(f"--network {network!r} is not known; give {', '.join(NETWORKS)}")
    sites = list(site or [])
    if network != "simulated" and len(sites) > 1:
        raise TwinloopError(f"--site is given {len(sites)} times; an agent of {network} follows the plan of one")
    if source and network == "simulated":
        raise TwinloopError("--source is of replay and cmcd-log; a simulated site reports under its own name")
    lines = _Lines(server, token, token_file, broker, broker_ca)
    told = Console(stderr=True, highlight=False)
    begin_logging(verbose)
    if network == "simulated":
        _simulate(told, scenarios.load(scenario), sites, lines, seed)
        return
    only_site = sites[0] if sites else None
    if only_site is not None:
        lines.try_out(source or only_site, only_site)
    name = source or only_site or network
    if network == "replay":
        found = _recorded(recording, data, mapping, only, _pairs(rename or []), in_slice)
        told.print(f"replaying {found.rows:,} rows of {recording} as {name}; Ctrl-C ends it")
        if found.refused:
            told.print(f"{found.refused:,} rows cannot be used, the first: {found.why}", soft_wrap=True)
        line = lines.open(name)
        _last(told, ReplayAgent(found, line, only_site, speed=speed, shift=not keep_times), line)
        return
    if log is None or not log.is_file():
        raise TwinloopError(f"--log {log or ''} is no file; give the access log of the web server")
    told.print(f"following {log} as {name}; Ctrl-C ends it")
    line = lines.open(name)
    _last(told, CmcdLogAgent(log, line, only_site, from_start=from_start, in_slice=in_slice), line)


class _Lines:
    """Opens lines to the server, over HTTP or through a broker."""

    def __init__(
        self, server: str, token: str, token_file: Path | None, broker: str | None, broker_ca: Path | None
    ) -> None:
        self._server, self._broker, self._ca = server, broker, broker_ca
        self._secret = secret_of(token, token_file) if broker is None else ""

    def open(self, source: str) -> "LinkPort":
        from twinloop.service.agent import BrokerLink, Link, broker_of

        if self._broker is None:
            return Link(self._server, self._secret, source)
        return BrokerLink(broker_of(self._broker, self._ca), source)

    def try_out(self, source: str, site: str) -> None:
        """Raises LinkError at once where the server refuses the token or does not know the site."""
        if self._broker is None:
            line = self.open(source)
            line.plan(site, -1)
            line.close()

    def shared(self, source: str) -> "tuple[LinkPort, LinkPort]":
        """Two lines of one source: for reports, and for commands that are waited for. A broker serves both by one."""
        first = self.open(source)
        return first, first if self._broker is not None else self.open(source)


def _simulate(told: Console, scenario: "Scenario", sites: Sequence[str], lines: _Lines, seed: int) -> None:
    from twinloop.service.agent import SimulatedAgent, run_agents

    names: list[str | None] = [*sites] if sites else [None]
    for name in names:
        lines.try_out(name or "all", name or "all")
    told.print(f"preparing {len(names)} simulated site(s) of {scenario.name}; the first compiles for some seconds")
    agents = [
        SimulatedAgent(scenario, name, *lines.shared(name or "all"), seed + number) for number, name in enumerate(names)
    ]
    threads = run_agents(agents)
    told.print("reporting; Ctrl-C ends it")
    _until_told(threads)
    _end(agents, threads)


def _recorded(
    recording: str, data: Path, mapping: Path | None, only: str, names: dict[str, str], in_slice: str | None
) -> "Recording":
    from twinloop.errors import TwinloopError
    from twinloop.service.agent import DATA_SETS, recorded_file, recorded_set

    if not recording:
        raise TwinloopError(
            f"--recording is missing; give a file of rows, a run directory, or a data set: {', '.join(DATA_SETS)}"
        )
    if recording in DATA_SETS:
        found = recorded_set(recording, data)
    else:
        found = recorded_file(Path(recording), mapping_of(mapping))
    return found.only(only).renamed(names, in_slice)


def _pairs(given: Sequence[str]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in given:
        old, sign, new = text.partition("=")
        if not (old and sign and new):
            raise typer.BadParameter(f"--rename {text!r} is no pair; give OLD=NEW")
        pairs[old] = new
    return pairs


def _last(told: Console, agent: "ReplayAgent | CmcdLogAgent", line: "LinkPort") -> None:
    """Runs an agent to its end, or until Ctrl-C. Raises LinkError where the server refused it."""
    from twinloop.service.agent import LinkError

    thread = threading.Thread(target=agent.run, name="agent", daemon=True)
    thread.start()
    _until_told([thread])
    _end([agent], [thread])
    told.print(f"the server took {line.accepted:,} of {agent.sent:,} rows that were sent")
    if agent.refusal:
        raise LinkError(agent.refusal, lasting=True)


def _until_told(threads: list[threading.Thread]) -> None:
    told = told_to_end()
    while any(thread.is_alive() for thread in threads) and not told.wait(0.2):
        pass


def _end(agents: "Sequence[SimulatedAgent | ReplayAgent | CmcdLogAgent]", threads: list[threading.Thread]) -> None:
    for each in agents:
        each.stop()
    for thread in threads:
        thread.join(timeout=5.0)
    if any(thread.is_alive() for thread in threads):
        os._exit(0)
