"""Slices: what stands, and orders to create, adjust and end it, judged by the twins before anything changes."""

import asyncio
import json
from contextlib import nullcontext, suppress
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Depends, Path, Query, Request
from fastapi.concurrency import contextmanager_in_threadpool
from fastapi.responses import JSONResponse

from twinloop.service.acting import AnyOrder, NoSliceError, Order, Orderer, Promises, ServiceProfile, ShortOrder, asked
from twinloop.service.api.context import platform_of, seen
from twinloop.service.api.problems import ProblemError, not_found, respond, responses
from twinloop.service.security import Act, Audit, Identity, Permission, Requires

router = APIRouter(tags=["slices"])
COST = 20.0
"""What an order takes of the caller's rate: as many requests as this."""
Wait = Annotated[float, Query(ge=0, le=60, description="how long to wait for the answer; it goes on after that")]
Name = Annotated[str, Path(min_length=1, max_length=128)]
For = Annotated[str, Query(max_length=128, description="the tenant for whom the order is (operators)")]
_STATUS = {"applied": 200, "feasible": 200, "infeasible": 200, "judging": 202, "waiting": 202, "failed": 503}
_LATER: dict[int | str, dict[str, Any]] = {202: {"description": "still being judged, or it waits for consent"}}
_ORDERED = _LATER | responses(404, 409, 503)


@router.get("/slices", responses=responses(503))
def slices(
    request: Request, identity: Annotated[Identity, Depends(Requires(Permission.READ_SLICES))]
) -> dict[str, Any]:
    """Slices: what each is promised, holds and lives. A tenant sees its own."""
    book = platform_of(request).acting.slices
    return {"slices": book.seen(seen(request, identity).picture, identity.tenant)}


@router.get("/slices/{name}", responses=responses(404, 503))
def one_slice(
    name: str, request: Request, identity: Annotated[Identity, Depends(Requires(Permission.READ_SLICES))]
) -> dict[str, Any]:
    """One slice."""
    rows = platform_of(request).acting.slices.seen(seen(request, identity).picture, identity.tenant)
    found = next((one for one in rows if one["name"] == name), None)
    if found is None:
        raise not_found(f"there is no slice {name!r}", f"slices: {', '.join(one['name'] for one in rows) or 'none'}")
    return found


@router.post("/slices", status_code=201, responses=_ORDERED)
async def create(
    request: Request,
    identity: Annotated[Identity, Depends(Requires(Permission.ORDER_SLICES))],
    order: Annotated[AnyOrder, Body()],
    tenant: For = "",
    wait_s: Wait = 30.0,
) -> JSONResponse:
    """Orders a slice: a ServiceProfile with the names of TS 28.541, or our short form. It takes a free row of the
    scenario by its name or S-NSSAI. 201 once it stands, 202 while it is judged or waits for consent, 409 with the
    reason and the largest offer that fits where the twins refuse.
    """
    return await _ordered(request, identity, "create", order, tenant, wait_s)


@router.post("/slices/check", responses=_ORDERED)
async def check(
    request: Request,
    identity: Annotated[Identity, Depends(Requires(Permission.ORDER_SLICES))],
    order: Annotated[AnyOrder, Body()],
    wait_s: Wait = 30.0,
) -> JSONResponse:
    """Whether an order would be admitted (FeasibilityCheckAndReservationJob of TS 28.541, without the reservation):
    of a new slice, or, for the name of one that stands, of what it would be adjusted to. Nothing changes.
    """
    book = platform_of(request).acting.slices
    stands = isinstance(order, ShortOrder) and book.may("adjust", order.name or "", identity.tenant)
    return await _ordered(request, identity, "adjust" if stands else "create", order, "", wait_s, check=True)


@router.patch("/slices/{name}", responses=_ORDERED)
async def adjust(
    name: Name,
    request: Request,
    identity: Annotated[Identity, Depends(Requires(Permission.ORDER_SLICES))],
    promises: Promises,
    wait_s: Wait = 30.0,
) -> JSONResponse:
    """Changes what a slice is promised; more than before is judged like a new order."""
    given = ShortOrder(name=name, **promises.model_dump())
    return await _ordered(request, identity, "adjust", given, "", wait_s)


@router.delete("/slices/{name}", responses=_ORDERED)
async def end(
    name: Name,
    request: Request,
    identity: Annotated[Identity, Depends(Requires(Permission.ORDER_SLICES))],
    wait_s: Wait = 30.0,
) -> JSONResponse:
    """Ends a slice: nobody in it is served any more, and its row is free."""
    return await _ordered(request, identity, "end", ShortOrder(name=name), "", wait_s)


@router.get("/orders")
def orders(
    request: Request,
    identity: Annotated[Identity, Depends(Requires(Permission.READ_SLICES))],
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> dict[str, Any]:
    """Orders of slices, newest first; a tenant's own."""
    found = platform_of(request).acting.slices.orders_of(identity.tenant)[:limit]
    return {"orders": [one.told(identity.tenant) for one in found]}


@router.get("/orders/{name}", responses=responses(404))
def one_order(
    name: str, request: Request, identity: Annotated[Identity, Depends(Requires(Permission.READ_SLICES))]
) -> dict[str, Any]:
    """One order and its answer."""
    orders = platform_of(request).acting.slices.orders_of(identity.tenant)
    found = next((one for one in orders if one.id == name), None)
    if found is None:
        raise not_found(f"there is no order {name!r}", "see /orders")
    return found.told(identity.tenant)


async def _ordered(
    request: Request,
    identity: Identity,
    change: Literal["create", "adjust", "end"],
    order: ShortOrder | ServiceProfile,
    tenant: str,
    wait_s: float,
    *,
    check: bool = False,
) -> JSONResponse:
    acting = platform_of(request).acting
    request.app.state.guard.charge(identity, COST)
    wanted = asked(order, acting.capacity_bps())
    wanted = wanted.model_copy(update={"tenant": wanted.tenant or tenant})
    if wanted.tenant:
        identity.require_tenant(wanted.tenant)
    audit: Audit = request.app.state.audit
    kept = nullcontext(Act("")) if check else audit.act(identity, f"slice.{change}", wanted.name or "")
    async with contextmanager_in_threadpool(kept) as act:
        try:
            taken, answered = acting.slices.submit(change, wanted, Orderer(identity.name, identity.tenant), check=check)
        except NoSliceError as error:
            raise not_found(str(error)) from None
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(answered)), wait_s)
        act.target, act.outcome = taken.slice, taken.state
        act.detail |= {"order": taken.id, "promises": taken.promises}
    return _answer(taken, identity.tenant, request.url.path)


def _answer(order: Order, tenant: str, path: str) -> JSONResponse:
    """What became of an order: a refusal is a problem, with the order beside its detail."""
    told = order.told(tenant)
    headers = {"Location": f"/orders/{order.id}"}
    if order.state in ("refused", "rejected"):
        offer = f"{order.part:.0%} of it would fit: target_bps {order.offer_bps:.0f}" if order.part > 0 else ""
        offer += f", floor_share {order.offer_floor_share:g}" if order.part > 0 else ""
        problem = respond(ProblemError(409, told["reason"], offer, headers), path)
        body = json.loads(bytes(problem.body)) | {"order": told}
        return JSONResponse(body, 409, headers, "application/problem+json")
    status = 201 if (order.state, order.change) == ("applied", "create") else _STATUS[order.state]
    if status == 503:
        raise ProblemError(503, told["reason"], "order again", {"Retry-After": "10"})
    return JSONResponse(told, status, headers)
