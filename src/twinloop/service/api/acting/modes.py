"""What may be done without asking anybody: the mode, the limits of what is automatic, and the kill switch."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict
from starlette.concurrency import run_in_threadpool

from twinloop.errors import TwinloopError
from twinloop.service.acting import Authority, Chosen, Limits
from twinloop.service.api.context import platform_of
from twinloop.service.api.problems import ProblemError, responses
from twinloop.service.security import Audit, Identity, Permission, Requires

router = APIRouter(tags=["decisions"])


class ModeOrder(BaseModel):
    """How decisions are taken from now on."""

    model_config = ConfigDict(extra="forbid")
    mode: Chosen


@router.get("/mode")
async def mode(
    request: Request, _: Annotated[Identity, Depends(Requires(Permission.READ_DECISIONS))]
) -> dict[str, Any]:
    """How decisions are taken, the limits of what is automatic, and why the server fell back to advise, if it did."""
    return _told(_authority(request))


@router.put("/mode", responses=responses(409))
def set_mode(
    order: ModeOrder, request: Request, identity: Annotated[Identity, Depends(Requires(Permission.MODE))]
) -> dict[str, Any]:
    """Advise: a person decides. Act: automatic inside limits. Does not release the kill switch."""
    audit: Audit = request.app.state.audit
    with audit.act(identity, "mode", order.mode):
        _authority(request).set_mode(order.mode)
    return _told(_authority(request))


@router.get("/limits")
async def limits(
    request: Request, _: Annotated[Identity, Depends(Requires(Permission.READ_DECISIONS))]
) -> dict[str, Any]:
    """Limits of what is automatic in mode act."""
    return _authority(request).limits.told()


@router.put("/limits")
def set_limits(
    order: Limits, request: Request, identity: Annotated[Identity, Depends(Requires(Permission.MODE))]
) -> dict[str, Any]:
    """Changes the limits, all of them: what is left out gets its default."""
    try:
        order.require_known([entry.name for entry in platform_of(request).scenario.slices])
    except TwinloopError as error:
        raise ProblemError(422, str(error)) from None
    audit: Audit = request.app.state.audit
    with audit.act(identity, "limits", "network", limits=order.told()):
        _authority(request).set_limits(order)
    return _authority(request).limits.told()


@router.put("/kill", responses=responses(422))
async def kill(request: Request, identity: Annotated[Identity, Depends(Requires(Permission.KILL))]) -> dict[str, Any]:
    """The kill switch: from now on nothing new is sent to anybody; sites keep what they do. It outlives a restart."""
    if await request.body():
        raise ProblemError(422, "the kill switch takes no body: PUT /kill halts", hint="DELETE /kill releases it")
    _authority(request).halt()
    unkept = await run_in_threadpool(_authority(request).keep_halt)
    await run_in_threadpool(request.app.state.audit.record, identity, "kill", "network", "halted")
    return {"mode": "halted", "kept": not unkept}


@router.delete("/kill", responses=responses(409))
def release(request: Request, identity: Annotated[Identity, Depends(Requires(Permission.KILL))]) -> dict[str, Any]:
    """Releases the kill switch; a person decides from then on."""
    audit: Audit = request.app.state.audit
    with audit.act(identity, "kill", "network") as act:
        _authority(request).release()
        act.outcome = "released"
    return {"mode": _authority(request).mode}


def _authority(request: Request) -> Authority:
    return platform_of(request).acting.authority


def _told(authority: Authority) -> dict[str, Any]:
    return {"mode": authority.mode, "limits": authority.limits.told(), "said": authority.said}
