"""Decisions, the mode in which they are taken, and the kill switch."""

from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from twinloop.service.api.context import platform_of
from twinloop.service.api.problems import ProblemError, not_found
from twinloop.service.security import Identity, Permission, Requires

router = APIRouter(tags=["decisions"])


class Comment(BaseModel):
    """Why somebody decided so."""

    model_config = ConfigDict(extra="forbid")
    comment: Annotated[str, Field(max_length=2000)] = ""


class ModeOrder(BaseModel):
    """How decisions are taken from now on."""

    model_config = ConfigDict(extra="forbid")
    mode: Literal["advise", "act"]


@router.get("/decisions")
async def decisions(
    request: Request,
    _: Annotated[Identity, Depends(Requires(Permission.READ_DECISIONS))],
    state: Annotated[str | None, Query(max_length=32)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> dict[str, Any]:
    """Decisions, newest first."""
    found = reversed(platform_of(request).decisions.recent.values())
    chosen = [asdict(one) for one in found if state is None or one.state == state]
    return {"decisions": chosen[:limit], "mode": platform_of(request).decisions.mode}


@router.get("/decisions/{name}")
async def decision(
    name: str, request: Request, _: Annotated[Identity, Depends(Requires(Permission.READ_DECISIONS))]
) -> dict[str, Any]:
    """One decision with its proposal, verdict, evidence, consent, and what became of it."""
    found = platform_of(request).decisions.recent.get(name)
    if found is None:
        raise not_found(f"there is no decision {name!r}", "see /decisions")
    return asdict(found)


@router.post("/decisions/{name}/approve")
async def approve(
    name: str,
    request: Request,
    identity: Annotated[Identity, Depends(Requires(Permission.DECIDE))],
    given: Comment | None = None,
) -> dict[str, Any]:
    """Consents to a decision that waits; it is asked of the network if it is still safe."""
    platform, comment = platform_of(request), "" if given is None else given.comment
    done = await run_in_threadpool(platform.decisions.approve, name, identity.name, comment)
    request.app.state.audit.record(identity, "decision.approve", name, done.state, comment=comment)
    return asdict(done)


@router.post("/decisions/{name}/reject")
async def reject(
    name: str,
    request: Request,
    identity: Annotated[Identity, Depends(Requires(Permission.DECIDE))],
    given: Comment | None = None,
) -> dict[str, Any]:
    """Refuses a decision that waits."""
    platform, comment = platform_of(request), "" if given is None else given.comment
    done = await run_in_threadpool(platform.decisions.reject, name, identity.name, comment)
    request.app.state.audit.record(identity, "decision.reject", name, done.state, comment=comment)
    return asdict(done)


@router.get("/mode")
async def mode(
    request: Request, _: Annotated[Identity, Depends(Requires(Permission.READ_DECISIONS))]
) -> dict[str, Any]:
    """How decisions are taken, and the limits of what is automatic."""
    decided = platform_of(request).decisions
    return {"mode": decided.mode, "limits": asdict(decided.limits)}


@router.put("/mode")
async def set_mode(
    order: ModeOrder, request: Request, identity: Annotated[Identity, Depends(Requires(Permission.MODE))]
) -> dict[str, Any]:
    """Advise: a person decides. Act: automatic inside limits. Does not release the kill switch."""
    decided = platform_of(request).decisions
    if decided.mode == "halted":
        raise ProblemError(409, "the kill switch is on", "release it with DELETE /kill")
    decided.mode = order.mode
    request.app.state.audit.record(identity, "mode", order.mode, "done")
    return {"mode": decided.mode, "limits": asdict(decided.limits)}


@router.put("/kill")
async def kill(request: Request, identity: Annotated[Identity, Depends(Requires(Permission.KILL))]) -> dict[str, Any]:
    """The kill switch: from now on nothing new is sent to anybody; sites keep what they do."""
    platform_of(request).decisions.mode = "halted"
    request.app.state.audit.record(identity, "kill", "network", "halted")
    return {"mode": "halted"}


@router.delete("/kill")
async def release(
    request: Request, identity: Annotated[Identity, Depends(Requires(Permission.KILL))]
) -> dict[str, Any]:
    """Releases the kill switch; a person decides from then on."""
    decided = platform_of(request).decisions
    if decided.mode == "halted":
        decided.mode = "advise"
    request.app.state.audit.record(identity, "kill", "network", "released")
    return {"mode": decided.mode}
