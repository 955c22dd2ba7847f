"""twinloop decision: what the loop decided and why, and consent to what waits."""

from typing import Annotated, Any
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
    moment,
    plain,
    printed,
    table,
)

app = typer.Typer(
    name="decision",
    help="Decisions of the live loop: list, show with evidence and effect, approve, reject.",
    no_args_is_help=True,
)
IdArgument = Annotated[str, typer.Argument(metavar="ID", help="The decision, as twinloop decision list names it.")]
CommentOption = Annotated[str, typer.Option("--comment", "-m", help="Why; it is kept with the decision.")]


@app.command("list")
def list_decisions(
    state: Annotated[
        str | None, typer.Option("--state", help="Only these: waiting, adopted, confirmed, rolled_back, kept, ...")
    ] = None,
    kind: Annotated[str | None, typer.Option("--kind", help="reservation (of a window) or slice (an order).")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=500, help="At most so many.")] = 20,
    after: Annotated[str | None, typer.Option("--after", help="Go on after this one, to older ones.")] = None,
    server: ServerOption = SERVER,
    token: TokenOption = "",
    token_file: TokenFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show decisions, newest first."""
    query = {"state": state, "kind": kind, "limit": limit, "after": after}
    told = ApiClient(server, token, token_file).ask("GET", "/decisions", query=query)
    if as_json:
        printed(told)
        return
    columns = ("decision", "made", "kind", "state", "by", "#moves", "#before", "#after", "effect", "why")
    table(columns, [_row(one) for one in told["decisions"]], "no such decisions")
    waiting = sum(one["state"] == "waiting" for one in told["decisions"])
    console = Console(highlight=False)
    if waiting:
        console.print(f"{waiting} wait for a person: twinloop decision approve ID, or reject")
    if told["next"] is not None:
        console.print(f"older ones: twinloop decision list --after {plain(told['next'])}")


@app.command()
def show(
    name: IdArgument,
    form: Annotated[
        str, typer.Option("--format", help="text, json, rrm (RRMPolicyRatio of TS 28.541), or a1 (policies of O-RAN).")
    ] = "text",
    server: ServerOption = SERVER,
    token: TokenOption = "",
    token_file: TokenFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one decision: what it moves, the verdict, who consented, and what later reports show of it."""
    if form not in ("text", "json", "rrm", "a1"):
        raise typer.BadParameter(f"--format {form!r} is not known; give text, json, rrm or a1")
    query = {"format": form} if form in ("rrm", "a1") else {}
    told = ApiClient(server, token, token_file).ask("GET", f"/decisions/{quote(name, safe='')}", query=query)
    if as_json or form != "text":
        printed(told)
        return
    _told(told)


@app.command()
def approve(
    name: IdArgument,
    comment: CommentOption = "",
    server: ServerOption = SERVER,
    token: TokenOption = "",
    token_file: TokenFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Consent to a decision that waits. It is asked of the network if the twins still find it safe."""
    _decide(ApiClient(server, token, token_file), name, "approve", comment, as_json)


@app.command()
def reject(
    name: IdArgument,
    comment: CommentOption = "",
    server: ServerOption = SERVER,
    token: TokenOption = "",
    token_file: TokenFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Refuse a decision that waits."""
    _decide(ApiClient(server, token, token_file), name, "reject", comment, as_json)


def _decide(client: ApiClient, name: str, verb: str, comment: str, as_json: bool) -> None:
    told = client.ask("POST", f"/decisions/{quote(name, safe='')}/{verb}", body={"comment": comment})
    if as_json:
        printed(told)
        return
    why = f": {told['why']}" if told["state"] == "refused" else ""
    Console(highlight=False).print(f"{plain(told['id'])} is {plain(told['state'])}{plain(why) if why else ''}")
    if told["state"] == "refused":
        raise typer.Exit(1)


def _row(one: dict[str, Any]) -> tuple[object, ...]:
    says = [told["says"] for told in one["effect"].values()]
    effect = next((word for word in ("not seen", "seen", "cannot be told") if word in says), None)
    return (
        one["id"],
        moment(one["made_s"]),
        one["kind"],
        one["state"],
        one["by"],
        f"{one['largest_change']:.0%}" if one["kind"] == "reservation" else None,
        one["satisfaction_before"],
        one["satisfaction_after"],
        effect,
        one["why"] or one["verdict"],
    )


def _told(one: dict[str, Any]) -> None:
    console = Console(highlight=False)
    console.print(
        f"[bold]{plain(one['id'])}[/bold]: {plain(one['state'])} ({plain(one['kind'])}, {plain(one['mode'])})"
    )
    console.print(f"made {moment(one['made_s'])}, slot {one['slot']}; verdict: {plain(one['verdict'])}", soft_wrap=True)
    for name in ("why", "comment"):
        if one[name]:
            console.print(f"{name}: {plain(one[name])}", soft_wrap=True)
    if one["proposal"]:
        table(("cell or server", "slice", "#holds", "#shall hold"), _moves(one), "nothing moves")
    if one["proposals"]:
        told = [(each["candidate"], each["score"], each["safety"]) for each in one["proposals"]]
        table(("candidate", "#score", "safety"), told, "")
    if one["slots_after"]:
        before = f"{plain(one['satisfaction_before'])} (mean of {one['slots_before']} slots)"
        console.print(f"satisfaction: {before} -> {plain(one['satisfaction_after'])} ({one['slots_after']} slots)")
    for site, effect in one["effect"].items():
        why = "; ".join(effect["why"][:3])
        console.print(f"effect at {plain(site)}: {plain(effect['says'])} ({plain(why)})", soft_wrap=True)
    for step in one["history"]:
        said = f": {plain(step['comment'])}" if step["comment"] else ""
        console.print(f"{moment(step['time_s'])} {plain(step['state'])} by {plain(step['by'])}{said}", soft_wrap=True)


def _moves(one: dict[str, Any]) -> list[tuple[object, ...]]:
    """Where a slice is to hold another share than it does."""
    return [
        (pool, name, f"{one['standing'].get(pool, {}).get(name, 0.0):.1%}", f"{share:.1%}")
        for pool, shares in one["proposal"].items()
        for name, share in shares.items()
        if abs(share - one["standing"].get(pool, {}).get(name, 0.0)) >= 5e-4
    ]
