"""Why data did or did not reach the twins: refused rows with their reasons, and how each source is doing."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from starlette.concurrency import run_in_threadpool

from twinloop.service.api.context import MOST_NUMBER, platform_of
from twinloop.service.security import Identity, Permission, Requires

router = APIRouter(prefix="/ingest", tags=["ingest"])


@router.get("/errors")
async def errors(
    request: Request,
    identity: Annotated[Identity, Depends(Requires(Permission.READ_INGEST))],
    source: Annotated[str | None, Query(max_length=128)] = None,
    since_s: Annotated[float | None, Query(ge=0, description="epoch seconds")] = None,
    after: Annotated[int | None, Query(ge=0, le=MOST_NUMBER, description="`next` of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> dict[str, Any]:
    """Refused rows, newest first: the reason, and the row as it came."""
    if source is not None:
        identity.require_source(source)
    refusals = platform_of(request).storage.refusals
    found = await run_in_threadpool(refusals.newest, source=source, since_s=since_s, before_id=after, limit=limit)
    shown = [asdict(one) for one in found if identity.may_send_as(one.source)]
    return {"refused": shown, "next": found[-1].id if len(found) == limit else None}


@router.get("/sources")
async def sources(
    request: Request, identity: Annotated[Identity, Depends(Requires(Permission.READ_INGEST))]
) -> dict[str, Any]:
    """Every source: batches, rows, gaps, repetitions, and how far its clock is off."""
    told = platform_of(request).intake.ledger.told()
    return {"sources": [one for one in told if identity.may_send_as(one["source"])]}
