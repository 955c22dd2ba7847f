"""twinloop slice: what slices stand, and orders of more, less, or none of them."""

import json
from pathlib import Path
from typing import Annotated, Any, NoReturn
from urllib.parse import quote

import typer
from rich.console import Console

from twinloop.cli.live.asking.client import (
    SERVER,
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

app = typer.Typer(
    name="slice",
    help="Slices of the live network: list, create, adjust, end, or check whether an order would be admitted.",
    no_args_is_help=True,
)
NameArgument = Annotated[str, typer.Argument(help="Name of the slice's row in the scenario.")]
TargetOption = Annotated[
    float | None, typer.Option("--target-bps", callback=finite, help="Downlink rate of every user, bit/s.")
]
FloorOption = Annotated[
    float | None,
    typer.Option("--floor-share", callback=finite, help="Share of every cell and server that is its own, 0 to 1."),
]
WeightOption = Annotated[
    float | None,
    typer.Option("--weight", callback=finite, help="Worth of one satisfied user (who runs the network alone sets it)."),
]
ProfileOption = Annotated[
    Path | None, typer.Option("--profile", help="ServiceProfile in JSON (names of TS 28.541), in place of the rest.")
]
WaitOption = Annotated[
    float, typer.Option("--wait", min=0, max=60, help="Seconds to wait for the answer; the order goes on after that.")
]


@app.command("list")
def list_slices(
    server: ServerOption = SERVER,
    token: TokenOption = "",
    token_file: TokenFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show slices: what each is promised, holds, and lives. A tenant sees its own."""
    told = ApiClient(server, token, token_file).ask("GET", "/slices")
    if as_json:
        printed(told)
        return
    columns = ("slice", "S-NSSAI", "state", "#bit/s each", "#floor", "#held", "#users", "#satisfied", "tenant")
    table((*columns, "orders"), [_row(one) for one in told["slices"]], "no slices")


@app.command()
def create(
    name: Annotated[str | None, typer.Argument(help="Name of a free row of the scenario.")] = None,
    target_bps: TargetOption = None,
    floor_share: FloorOption = None,
    weight: WeightOption = None,
    profile: ProfileOption = None,
    tenant: Annotated[str, typer.Option("--tenant", help="For whom (who runs the network alone says so).")] = "",
    wait_s: WaitOption = 30.0,
    server: ServerOption = SERVER,
    token: TokenOption = "",
    token_file: TokenFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Order a slice. The twins judge whether every agreement holds with it, and it stands, or waits for consent.

    Refused, it says which slice would be let down, what is short, and the largest part that fits.

    Example: twinloop slice create multicast --target-bps 2e6 --floor-share 0.1
    """
    body = _body(name, profile, target_bps=target_bps, floor_share=floor_share, weight=weight)
    query = {"wait_s": wait_s, "tenant": tenant or None}
    told = ApiClient(server, token, token_file).ask("POST", "/slices", query=query, body=body)
    _show(told, as_json)


@app.command()
def check(
    name: Annotated[str | None, typer.Argument(help="Name of a row of the scenario, free or not.")] = None,
    target_bps: TargetOption = None,
    floor_share: FloorOption = None,
    profile: ProfileOption = None,
    wait_s: WaitOption = 30.0,
    server: ServerOption = SERVER,
    token: TokenOption = "",
    token_file: TokenFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask whether an order would be admitted; nothing changes. Exit status 1 where it would not.

    Of a slice that stands it is asked whether it may be adjusted so.
    """
    body = _body(name, profile, target_bps=target_bps, floor_share=floor_share)
    told = ApiClient(server, token, token_file).ask("POST", "/slices/check", query={"wait_s": wait_s}, body=body)
    _show(told, as_json)
    if told["state"] == "infeasible":
        raise typer.Exit(1)


@app.command()
def adjust(
    name: NameArgument,
    target_bps: TargetOption = None,
    floor_share: FloorOption = None,
    weight: WeightOption = None,
    wait_s: WaitOption = 30.0,
    server: ServerOption = SERVER,
    token: TokenOption = "",
    token_file: TokenFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change what a slice is promised. More than before is judged like a new order."""
    promises = {"target_bps": target_bps, "floor_share": floor_share, "weight": weight}
    body = {name: value for name, value in promises.items() if value is not None}
    path = f"/slices/{quote(name, safe='')}"
    _show(ApiClient(server, token, token_file).ask("PATCH", path, query={"wait_s": wait_s}, body=body), as_json)


@app.command()
def end(
    name: NameArgument,
    wait_s: WaitOption = 30.0,
    server: ServerOption = SERVER,
    token: TokenOption = "",
    token_file: TokenFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """End a slice: nobody in it is served any more, and its row is free for another order."""
    path = f"/slices/{quote(name, safe='')}"
    _show(ApiClient(server, token, token_file).ask("DELETE", path, query={"wait_s": wait_s}), as_json)


def _body(name: str | None, profile: Path | None, **promises: float | None) -> object:
    given = {promise: value for promise, value in promises.items() if value is not None}
    if profile is None:
        if name is None:
            raise typer.BadParameter("name a slice, or give --profile")
        return {"name": name, **given}
    if name is not None or given:
        raise typer.BadParameter("--profile says it all: leave out the name and the other promises")
    try:
        return json.loads(profile.read_text(encoding="utf-8"), parse_constant=_no_constant)
    except (OSError, ValueError, RecursionError) as error:
        raise typer.BadParameter(f"--profile {profile} is no JSON: {error}") from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON; give a finite one, or null")


def _row(one: dict[str, Any]) -> tuple[object, ...]:
    lived, held = one["lived"], list(one["reserved_share"].values())
    return (
        one["name"],
        f"{one['sst']}-{one['sd']}",
        one["state"],
        float(one["target_bps"]),
        f"{one['floor_share']:.0%}",
        f"{sum(held) / len(held):.0%}" if held else None,
        lived.get("users"),
        lived.get("satisfaction"),
        one["tenant"],
        ", ".join(one["orders"]),
    )


def _show(order: dict[str, Any], as_json: bool) -> None:
    if as_json:
        printed(order)
        return
    console = Console(highlight=False)
    console.print(f"{plain(order['change'])} {plain(order['slice'])}: [bold]{plain(order['state'])}[/bold]")
    if order["reason"]:
        console.print(plain(order["reason"]), soft_wrap=True)
    if order["not_covered"]:
        console.print(f"kept, but not promised: {plain(', '.join(order['not_covered']))}", soft_wrap=True)
    if order["state"] == "waiting":
        console.print(f"a person decides: twinloop decision show {plain(order['decision'])}", soft_wrap=True)
    if order["state"] == "judging":
        console.print(f"still being judged, since {moment(order['made_s'])}: GET /orders/{plain(order['id'])}")
