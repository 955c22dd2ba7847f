"""twinloop twin: what twins know, knew, and come to know."""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer
from rich.console import Console

from twinloop.cli.live.asking.client import (
    SERVER,
    AnsweredError,
    ApiClient,
    JsonOption,
    ServerOption,
    TokenFileOption,
    TokenOption,
    finite,
    moment,
    plain,
    printed,
    table,
)
from twinloop.errors import OutputError, TwinloopError

app = typer.Typer(
    name="twin",
    help="Twins of the live network: list, get, watch, export, history.",
    no_args_is_help=True,
)
KindArgument = Annotated[str, typer.Argument(help="user, cell, server or slice.")]
IdArgument = Annotated[str, typer.Argument(metavar="ID", help="The twin, as twinloop twin list names it.")]
AttributesOption = Annotated[
    str | None, typer.Option("--attributes", "-a", help="Only these, by commas, such as rate_bps,buffer_s.")
]
FORMS = {
    "json": "application/json",
    "ndjson": "application/x-ndjson",
    "xml": "application/xml",
    "csv": "text/csv",
}
_COLUMNS = {
    "user": ("rate_bps", "sinr_db", "buffer_s", "quality", "rebuffer_s"),
    "cell": ("load", "used_bandwidth_hz", "throughput_bps", "users", "power_w"),
    "server": ("utilisation", "queue_cycles", "cache_hit_ratio", "power_w"),
    "slice": ("users", "satisfaction", "rate_bps", "demand_bps", "reserved_bandwidth_hz"),
}
"""What a list shows of each kind where nothing else is asked for."""
RECONNECT_S = 2.0


@app.command("list")
def list_twins(
    kind: KindArgument,
    of_slice: Annotated[str | None, typer.Option("--slice", help="Users of this slice.")] = None,
    cell: Annotated[str | None, typer.Option("--cell", help="Users that this cell serves.")] = None,
    where: Annotated[
        list[str] | None, typer.Option("--where", help="Such as 'buffer_s<1'; again for more of them.")
    ] = None,
    attributes: AttributesOption = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=2000, help="At most so many.")] = 50,
    after: Annotated[str | None, typer.Option("--after", help="Go on after this id.")] = None,
    server: ServerOption = SERVER,
    token: TokenOption = "",
    token_file: TokenFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show twins of a kind with what they last knew; a star marks what is older than ten seconds."""
    names = attributes or ",".join(_COLUMNS.get(kind, ()))
    query = {
        "slice": of_slice,
        "cell": cell,
        "where": where or None,
        "attributes": (attributes if as_json else names) or None,
        "limit": limit,
        "after": after,
    }
    told = ApiClient(server, token, token_file).ask("GET", f"/twins/{quote(kind, safe='')}", query=query)
    if as_json:
        printed(told)
        return
    wanted = [name for name in names.split(",") if name]
    rows = [(one["id"], one.get("slice"), *(_cell(one, name) for name in wanted)) for one in told["twins"]]
    table((kind, "slice", *(f"#{name}" for name in wanted)), rows, f"no {kind} twins")
    if told["next"] is not None:
        Console(highlight=False).print(f"{told['matching']} in all; more: --after {plain(told['next'])}")


@app.command()
def get(
    kind: KindArgument,
    name: IdArgument,
    at: Annotated[
        str | None, typer.Option("--at", help="As it was: epoch seconds, RFC 3339, or -15min.", show_default=False)
    ] = None,
    revision: Annotated[int | None, typer.Option("--revision", min=0, help="As it was under this revision.")] = None,
    form: Annotated[str, typer.Option("--format", help="text, json, xml or csv.")] = "text",
    server: ServerOption = SERVER,
    token: TokenOption = "",
    token_file: TokenFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one twin: reported, emulated and desired, with age and fidelity beside every value."""
    _require_form(form, ("text", "json", "xml", "csv"))
    path = _address(kind, name)
    client = ApiClient(server, token, token_file)
    query = {"at": at, "revision": revision}
    if form in ("xml", "csv"):
        _write(client.text(path, FORMS[form], query), None)
        return
    told = client.ask("GET", path, query=query)
    if as_json or form == "json":
        printed(told)
        return
    Console(highlight=False).print(
        f"[bold]{plain(told['kind'])} {plain(told['id'])}[/bold] revision {told['revision']}, slot {told['slot']}"
        + ("" if told["active"] else " (gone)")
    )
    emulated, reported = told.get("emulated") or {}, told.get("reported") or {}
    rows = [
        (
            name,
            one["value"],
            one["unit"],
            f"{one['age_s']:.0f} s",
            one["fidelity"],
            emulated.get(name, {}).get("value"),
            emulated.get(name, {}).get("std"),
        )
        for name, one in reported.items()
    ]
    columns = ("attribute", "#reported", "unit", "#age", "#fidelity", "#expected next", "#std")
    table(columns, rows, "nothing was reported of it")
    if told.get("desired"):
        Console(highlight=False).print("desired:", plain(json.dumps(told["desired"])), soft_wrap=True)


@app.command()
def watch(
    kind: Annotated[list[str] | None, typer.Option("--kind", help="Only this kind; again for more of them.")] = None,
    name: Annotated[list[str] | None, typer.Option("--id", help="Only this twin; again for more of them.")] = None,
    of_slice: Annotated[str | None, typer.Option("--slice", help="Users of one slice, and its twin.")] = None,
    attributes: AttributesOption = None,
    most: Annotated[int | None, typer.Option("--most", min=1, help="End after so many slots with changes.")] = None,
    server: ServerOption = SERVER,
    token: TokenOption = "",
    token_file: TokenFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Follow changes of twins as they happen, until Ctrl-C. After a break it goes on where it was.

    With --json each change is a line, for programs.
    """
    client = ApiClient(server, token, token_file)
    query = {"kind": kind or None, "id": name or None, "slice": of_slice, "attributes": attributes}
    left = most
    for event, data in _followed(client, query):
        if as_json:
            typer.echo(json.dumps({"event": event, **data}))
        else:
            _changed(event, data)
        if event == "change" and left is not None:
            left -= 1
            if left == 0:
                return


@app.command()
def export(
    kind: Annotated[list[str] | None, typer.Option("--kind", help="Only this kind; again for more of them.")] = None,
    form: Annotated[str, typer.Option("--format", help="json, ndjson, xml, or csv (of one kind).")] = "json",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="File to write, in place of the terminal.", show_default=False)
    ] = None,
    server: ServerOption = SERVER,
    token: TokenOption = "",
    token_file: TokenFileOption = None,
) -> None:
    """Write all twins of one moment as JSON, NDJSON, XML or CSV."""
    _require_form(form, tuple(FORMS))
    _write(ApiClient(server, token, token_file).text("/twins/export", FORMS[form], {"kind": kind or None}), out)


@app.command()
def history(
    kind: KindArgument,
    name: IdArgument,
    attribute: Annotated[str, typer.Argument(help="Such as rate_bps.")],
    begin: Annotated[str, typer.Option("--from", help="Epoch seconds, RFC 3339, or -15min.")] = "-15min",
    end: Annotated[str, typer.Option("--to", help="As --from; this moment if not given.")] = "now",
    step_s: Annotated[
        float | None,
        typer.Option("--step", min=0.001, callback=finite, help="Seconds that each value is a mean over, at least."),
    ] = None,
    form: Annotated[str, typer.Option("--format", help="text, json or csv.")] = "text",
    server: ServerOption = SERVER,
    token: TokenOption = "",
    token_file: TokenFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what one attribute of a twin was, as means over steps; what is not known is left out."""
    _require_form(form, ("text", "json", "csv"))
    base = _address(kind, name)
    client = ApiClient(server, token, token_file)
    query = {"attribute": attribute, "from": begin, "to": end, "step": step_s}
    if form == "csv":
        _write(client.text(f"{base}/history", FORMS["csv"], query), None)
        return
    told = client.ask("GET", f"{base}/history", query=query)
    if as_json or form == "json":
        printed(told)
        return
    values = zip(told["time_s"], told["value"], strict=True)
    rows = [(moment(time_s), value) for time_s, value in values if value is not None]
    table(("from", f"#{attribute} [{told['unit']}]"), rows, "nothing is known of that time")


def _address(kind: str, name: str) -> str:
    """Path of one twin. Raises BadParameter for what no twin is called."""
    if "/" in name:
        raise typer.BadParameter(f"ID {name!r} is the name of no twin, for no name has a '/'; see twinloop twin list")
    return f"/twins/{quote(kind, safe='')}/{quote(name, safe='')}"


def _followed(client: ApiClient, query: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Events for ever: where the line breaks, it goes on after the last one."""
    after, event = "", ""
    while True:
        try:
            for number, event, data in client.events("/twins/changes", query, after):
                after = number or after
                yield event, json.loads(data)
        except AnsweredError as error:
            if error.status < 500 or not after:
                raise
        except TwinloopError:
            if not after:
                raise
        if event == "end":
            return
        Console(stderr=True, highlight=False).print("the line broke; going on in a moment")
        time.sleep(RECONNECT_S)


def _changed(event: str, data: dict[str, Any]) -> None:
    console = Console(highlight=False)
    if event == "end":
        raise TwinloopError(f"the server ended it: {data.get('reason', '')}")
    if event != "change":
        said = f": {data['reason']}" if data.get("reason") else ""
        console.print(f"{moment(data['time_s'])} {plain(event)}{plain(said) if said else ''}", soft_wrap=True)
        return
    for one in data["twins"]:
        values = ", ".join(f"{name} {plain(told['value'])}" for name, told in one["reported"].items())
        if values:
            said = f"{moment(data['time_s'])} {one['kind']} {one['id']}: {values}"
            console.print(plain(said), soft_wrap=True)
    for kind, names in data["gone"].items():
        console.print(plain(f"{moment(data['time_s'])} gone: {kind} {', '.join(names)}"), soft_wrap=True)


def _cell(one: dict[str, Any], name: str) -> str | None:
    told = (one.get("reported") or {}).get(name)
    return None if told is None else plain(float(told["value"])) + ("*" if told["age_s"] > 10 else "")


def _require_form(form: str, known: tuple[str, ...]) -> None:
    if form not in known:
        raise typer.BadParameter(f"--format {form!r} is not known; give {', '.join(known[:-1])} or {known[-1]}")


def _write(parts: Iterator[bytes], out: Path | None) -> None:
    if out is None:
        for part in parts:
            sys.stdout.buffer.write(part)
        return
    beside = out.with_name(out.name + ".part")
    try:
        with beside.open("wb") as file:
            for part in parts:
                file.write(part)
        beside.replace(out)
    except OSError as error:
        raise OutputError(f"--out {out} cannot be written: {error.strerror}") from None
    finally:
        beside.unlink(missing_ok=True)
