"""Decisions: what was proposed, why, who consented, and what became of it."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from twinloop.service.acting import DecisionError
from twinloop.service.api.context import platform_of
from twinloop.service.api.problems import ProblemError, not_found
from twinloop.service.security import Identity, Permission, Requires

router = APIRouter(tags=["decisions"])
_Name = Annotated[str, Field(max_length=128)]


class Comment(BaseModel):
    """Why somebody decided so."""

    model_config = ConfigDict(extra="forbid")
    comment: Annotated[str, Field(max_length=2000)] = ""


@router.get("/decisions")
def decisions(
    request: Request,
    _: Annotated[Identity, Depends(Requires(Permission.READ_DECISIONS))],
    state: Annotated[str | None, Query(max_length=32, description="waiting, confirmed, rolled_back, ...")] = None,
    kind: Annotated[str | None, Query(max_length=32, description="reservation or slice")] = None,
    after: Annotated[str | None, Query(max_length=128, description="`next` of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> dict[str, Any]:
    """Decisions, newest first, as far back as the database reaches; `next` goes on, null at the end."""
    decided = platform_of(request).decisions
    try:
        page, following = decided.page(limit, state=state, kind=kind, after=after)
    except DecisionError as error:
        raise ProblemError(422, str(error)) from None
    return {"decisions": [asdict(one) for one in page], "next": following, "mode": decided.mode}


@router.get("/decisions/{name}")
def decision(
    name: str, request: Request, _: Annotated[Identity, Depends(Requires(Permission.READ_DECISIONS))]
) -> dict[str, Any]:
    """One decision with its proposals, verdict, evidence, consent, and what became of it."""
    found = platform_of(request).decisions.get(name)
    if found is None:
        raise not_found(f"there is no decision {name!r}", "see /decisions")
    return asdict(found)


@router.post("/decisions/{name}/approve")
def approve(
    name: str,
    request: Request,
    identity: Annotated[Identity, Depends(Requires(Permission.DECIDE))],
    given: Comment | None = None,
) -> dict[str, Any]:
    """Consents to a decision that waits; it is asked of the network if it is still safe."""
    _require(request, name)
    comment = "" if given is None else given.comment
    done = platform_of(request).decisions.approve(name, identity.name, comment)
    request.app.state.audit.record(identity, "decision.approve", name, done.state, comment=comment)
    return asdict(done)


@router.post("/decisions/{name}/reject")
def reject(
    name: str,
    request: Request,
    identity: Annotated[Identity, Depends(Requires(Permission.DECIDE))],
    given: Comment | None = None,
) -> dict[str, Any]:
    """Refuses a decision that waits."""
    _require(request, name)
    comment = "" if given is None else given.comment
    done = platform_of(request).decisions.reject(name, identity.name, comment)
    request.app.state.audit.record(identity, "decision.reject", name, done.state, comment=comment)
    return asdict(done)


def _require(request: Request, name: str) -> None:
    if platform_of(request).decisions.get(name) is None:
        raise not_found(f"there is no decision {name!r}", "see /decisions")
