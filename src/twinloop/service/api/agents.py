"""What agents ask for: the plan of what to report, and commands, waited for by a long poll."""

import asyncio
from contextlib import suppress
from typing import Annotated

import msgspec
from fastapi import APIRouter, Depends, Query, Request, Response

from twinloop.network import Command
from twinloop.service.api.context import platform_of
from twinloop.service.api.problems import not_found
from twinloop.service.live_platform import Platform
from twinloop.service.security import Identity, Permission, Requires

router = APIRouter(prefix="/agents/{site}", tags=["agents"])
_json = msgspec.json.Encoder()
LONGEST_WAIT_S = 30.0
_LOOK_S = 1.0


@router.get("/plan", response_class=Response, responses={200: {"content": {"application/json": {}}}, 204: {}})
async def plan(
    site: str,
    request: Request,
    identity: Annotated[Identity, Depends(Requires(Permission.READ_COLLECTION))],
    after: Annotated[int, Query(description="revision of the plan that the agent has")] = -1,
) -> Response:
    """What the site is asked to report; 204 where that is what the agent has."""
    identity.require_source(site)
    found = platform_of(request).plan(_known(platform_of(request), site))
    if found is None or found.revision == after:
        return Response(status_code=204)
    return Response(_json.encode(found), media_type="application/json")


@router.get("/command", response_class=Response, responses={200: {"content": {"application/json": {}}}, 204: {}})
async def command(
    site: str,
    request: Request,
    identity: Annotated[Identity, Depends(Requires(Permission.COMMANDS))],
    after: Annotated[int, Query(description="revision of the command that the agent has")] = -1,
    wait_s: Annotated[float, Query(ge=0, le=LONGEST_WAIT_S)] = 0.0,
) -> Response:
    """The command of the site once it is another than number `after`; 204 where there is none within `wait_s`."""
    identity.require_source(site)
    dispatcher = platform_of(request).dispatcher
    found = dispatcher.fetch(_known(platform_of(request), site), after)
    if found is None and wait_s > 0:
        found = await _awaited(platform_of(request), site, after, wait_s)
    if found is None:
        return Response(status_code=204)
    return Response(_json.encode(found), media_type="application/json")


async def _awaited(platform: Platform, site: str, after: int, wait_s: float) -> Command | None:
    """Waits for a command, at most until the server ends."""
    loop, news, dispatcher = asyncio.get_running_loop(), asyncio.Event(), platform.dispatcher
    until = loop.time() + wait_s

    def wake() -> None:
        loop.call_soon_threadsafe(news.set)

    found = dispatcher.fetch(site, after, wake)
    if found is not None:
        return found
    while not (news.is_set() or platform.changes.closed or loop.time() >= until):
        with suppress(TimeoutError):
            await asyncio.wait_for(news.wait(), min(until - loop.time(), _LOOK_S))
    if not news.is_set():
        dispatcher.leave(site, wake)
    return dispatcher.fetch(site, after)


def _known(platform: Platform, site: str) -> str:
    if site not in platform.dispatcher.sites:
        raise not_found(f"there is no site {site!r}", f"sites: {', '.join(platform.dispatcher.sites)}")
    return site
