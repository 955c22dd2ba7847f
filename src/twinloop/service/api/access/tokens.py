"""Tokens and the audit log: who may ask, and who did what."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from twinloop.service.api.context import MOST_NUMBER, platform_of
from twinloop.service.api.problems import not_found, responses
from twinloop.service.security import TICKET_S, Audit, Identity, Permission, Requires, Role, Token, Tokens

router = APIRouter(tags=["access"])


class TokenOrder(BaseModel):
    """A token to be made. `tenant` goes with role tenant, `sources` with role reporter; `scopes` narrow the role."""

    model_config = ConfigDict(extra="forbid")
    role: Role
    name: Annotated[str, Field(min_length=1, max_length=64)]
    tenant: Annotated[str, Field(max_length=128)] = ""
    sources: Annotated[list[str], Field(max_length=100)] = []
    scopes: Annotated[list[Permission], Field(max_length=100)] = []
    lasts_s: Annotated[float | None, Field(gt=0, le=10 * 365 * 86_400)] = None


@router.get("/whoami")
async def whoami(identity: Annotated[Identity, Depends(Requires(Permission.READ_SLICES))]) -> dict[str, Any]:
    """Who asks, and what that may do."""
    return {
        "name": identity.name,
        "role": identity.role,
        "tenant": identity.tenant,
        "permissions": sorted(identity.permissions),
        "expires_s": identity.expires_s,
    }


@router.post("/tickets", status_code=201)
async def create_ticket(
    request: Request, identity: Annotated[Identity, Depends(Requires(Permission.READ_SLICES))]
) -> dict[str, Any]:
    """A pass for one connection within `lasts_s`, as `?ticket=`: browsers open streams without headers."""
    return {"ticket": request.app.state.guard.ticket(identity), "lasts_s": TICKET_S}


@router.get("/tokens")
async def tokens(
    request: Request, _: Annotated[Identity, Depends(Requires(Permission.MANAGE_TOKENS))]
) -> dict[str, Any]:
    """All tokens, without their secrets."""
    return {"tokens": [shown(token) for token in _tokens(request).all()]}


@router.post("/tokens", status_code=201)
def create_token(
    order: TokenOrder, request: Request, identity: Annotated[Identity, Depends(Requires(Permission.MANAGE_TOKENS))]
) -> dict[str, Any]:
    """Makes a token. Its secret is in this answer and nowhere else."""
    expires_s = None if order.lasts_s is None else platform_of(request).clock() + order.lasts_s
    audit: Audit = request.app.state.audit
    with audit.act(identity, "token.create", "", role=order.role, name=order.name) as act:
        token, secret = _tokens(request).create(
            order.role,
            order.name,
            tenant=order.tenant,
            sources=order.sources,
            scopes=order.scopes,
            expires_s=expires_s,
            by=identity,
        )
        act.target = token.id
    return shown(token) | {"secret": secret}


@router.delete("/tokens/{token_id}", responses=responses(404))
def revoke_token(
    token_id: str, request: Request, identity: Annotated[Identity, Depends(Requires(Permission.MANAGE_TOKENS))]
) -> dict[str, Any]:
    """Ends a token at once."""
    held = _tokens(request)
    if token_id not in {token.id for token in held.all()}:
        raise not_found(f"there is no token {token_id!r}", "see /tokens")
    audit: Audit = request.app.state.audit
    with audit.act(identity, "token.revoke", token_id):
        token = held.revoke(token_id)
    return shown(token)


@router.get("/audit")
async def audit(
    request: Request,
    _: Annotated[Identity, Depends(Requires(Permission.AUDIT))],
    before: Annotated[int | None, Query(ge=0, le=MOST_NUMBER, description="`next` of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> dict[str, Any]:
    """Who did what, newest first."""
    log = platform_of(request).storage.log
    lines = await run_in_threadpool(log.newest, before_id=before, limit=limit)
    return {"log": [asdict(line) for line in lines], "next": lines[-1].id if len(lines) == limit else None}


def shown(token: Token) -> dict[str, Any]:
    """A token for people."""
    return {
        name: list(value) if isinstance(value, tuple | frozenset) else value for name, value in asdict(token).items()
    }


def _tokens(request: Request) -> Tokens:
    return request.app.state.tokens
