"""Health and what a person asks first: is it alive, is it ready, what is it doing."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse

from twinloop import __version__
from twinloop.errors import TwinloopError
from twinloop.service.api.context import platform_of
from twinloop.service.live_platform import Platform
from twinloop.service.security import Identity, Permission, Requires
from twinloop.service.watching import CONTENT_TYPE

router = APIRouter(tags=["system"])
_ANSWERS_S = 2.0


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """Alive: the process answers."""
    return {"status": "alive"}


@router.get("/readyz", responses={503: {}})
async def readyz(request: Request) -> Response:
    """Ready: reports are kept and slots are lived. 503 with the reason where not."""
    request.app.state.guard.admit(request.scope)
    platform = platform_of(request)
    picture = platform.picture
    late_s = float("inf") if picture is None else platform.clock() - picture.time_s(picture.slot + 1)
    faults = [] if late_s < 10.0 else ["no slot was lived in the last 10 s"]
    waiting, _ = platform.intake.waiting
    if waiting >= platform.settings.bounds.waiting_events:
        faults.append("the disk does not keep up")
    if platform.runner.broken:
        faults.append(platform.runner.broken)
    if not await _is_kept(platform):
        faults.append("the database does not answer")
    return JSONResponse({"ready": not faults, "faults": faults}, 503 if faults else 200)


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics(request: Request, _: Annotated[Identity, Depends(Requires(Permission.METRICS))]) -> Response:
    """Metrics in Prometheus' text format."""
    return Response(request.app.state.metrics.written(), media_type=CONTENT_TYPE)


@router.get("/system")
async def system(request: Request, _: Annotated[Identity, Depends(Requires(Permission.METRICS))]) -> dict[str, Any]:
    """What the server does now: slots, why it holds if it does, sites, intake, how long parts of a slot take."""
    platform = platform_of(request)
    runner, picture = platform.runner, platform.picture
    waiting, size = platform.intake.waiting
    backlog, backlog_bytes = platform.intake.backlog.waiting
    return {
        "version": __version__,
        "scenario": platform.scenario.name,
        "mode": platform.decisions.mode,
        "mode_said": platform.acting.authority.said,
        "since_s": platform.started_s,
        "now_s": platform.clock(),
        "machine_ahead_s": platform.wall() - platform.clock(),
        "slot": runner.slot,
        "slot_s": runner.scenario_slot_s,
        "deadline_s": runner.pace.deadline_s,
        "deciding": runner.deciding is not None,
        "held": next(iter(platform.held_since), ""),
        "window_fault": runner.window_fault,
        "held_since_s": next(iter(platform.held_since.values()), None),
        "slots_held": platform.slots_held,
        "users": len(runner.members.users),
        "capacity": len(runner.members.users.names),
        "confirmed_revision": None if picture is None else picture.confirmed_revision,
        "requested_revision": None if picture is None else picture.requested_revision,
        "intake": {
            "waiting_events": waiting,
            "waiting_bytes": size,
            "backlog_events": backlog,
            "backlog_bytes": backlog_bytes,
            "refused_busy": platform.intake.refused_busy,
            "bounds": platform.intake.bounds.model_dump(),
        },
        "links": {name: told() for name, told in platform.links.items()},
        "timing_s": dict(runner.timing.last_s),
        "sites": platform.dispatcher.told(),
    }


async def _is_kept(platform: Platform) -> bool:
    """Whether the database answers, behind all that waits for it."""
    try:
        await asyncio.wait_for(asyncio.wrap_future(platform.storage.check()), _ANSWERS_S)
    except (TimeoutError, TwinloopError):
        return False
    return True
