"""twinloop token: who may ask a server, and as what."""

from typing import Annotated

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
    printed,
    table,
)

app = typer.Typer(name="token", help="Tokens of a running server: make, list and revoke them.", no_args_is_help=True)
_HOUR_S = 3600.0
_MOST_HOURS = 10 * 365 * 24


@app.command("list")
def list_tokens(
    server: ServerOption = SERVER,
    token: TokenOption = "",
    token_file: TokenFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show all tokens, without their secrets."""
    told = ApiClient(server, token, token_file).ask("GET", "/tokens")
    if as_json:
        printed(told)
        return
    rows = [
        (
            one["id"],
            one["name"],
            one["role"],
            one["tenant"] or ", ".join(one["sources"]),
            moment(one["expires_s"]),
            moment(one["last_used_s"]),
            moment(one["revoked_s"]),
        )
        for one in told["tokens"]
    ]
    table(("id", "name", "role", "tenant or sources", "expires", "last used", "revoked"), rows, "no tokens")


@app.command()
def create(
    role: Annotated[str, typer.Argument(help="admin, operator, viewer, reporter or tenant.")],
    name: Annotated[str, typer.Argument(help="What people call it.")],
    tenant: Annotated[str, typer.Option(help="Of role tenant: whose slices it sees.")] = "",
    source: Annotated[
        list[str] | None, typer.Option(help="Of role reporter: a source or site it is bound to; again for more.")
    ] = None,
    scope: Annotated[
        list[str] | None, typer.Option(help="A permission that is left of the role's; again for more. Else: all.")
    ] = None,
    hours: Annotated[
        float | None,
        typer.Option(min=0.001, max=_MOST_HOURS, help="How long it holds; else without an end."),
    ] = None,
    server: ServerOption = SERVER,
    token: TokenOption = "",
    token_file: TokenFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a token. Its secret is printed now, and never again."""
    body = {
        "role": role,
        "name": name,
        "tenant": tenant,
        "sources": source or [],
        "scopes": scope or [],
        "lasts_s": None if hours is None else hours * _HOUR_S,
    }
    told = ApiClient(server, token, token_file).ask("POST", "/tokens", body=body)
    if as_json:
        printed(told)
        return
    Console(stderr=True, highlight=False).print(f"{told['role']} token {told['id']}, its secret is shown this once:")
    typer.echo(told["secret"])


@app.command()
def revoke(
    token_id: Annotated[str, typer.Argument(metavar="id", help="As twinloop token list shows it.")],
    server: ServerOption = SERVER,
    token: TokenOption = "",
    token_file: TokenFileOption = None,
) -> None:
    """End a token at once."""
    from urllib.parse import quote

    told = ApiClient(server, token, token_file).ask("DELETE", f"/tokens/{quote(token_id, safe='')}")
    Console(highlight=False).print(f"token {told['id']} of {told['name']} is revoked")
