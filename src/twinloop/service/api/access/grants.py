"""Grants: which tenant owns a slice, and what the tenant sees of the slice's users (paper 003, VL6)."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request
from pydantic import BaseModel, ConfigDict, Field

from twinloop.service.api.context import platform_of
from twinloop.service.api.problems import not_found, responses
from twinloop.service.security import DEFAULT_GRANT, Audit, Grant, Identity, Permission, Requires

router = APIRouter(prefix="/grants", tags=["access"])
Slice = Annotated[str, Path(max_length=128, description="name of the slice")]
Attributes = Annotated[
    list[Annotated[str, Field(max_length=64)]], Field(max_length=64, description="attributes of users that are seen")
]


class GrantOrder(BaseModel):
    """A slice for a tenant. With `identity` users keep their names, otherwise they have pseudonyms."""

    model_config = ConfigDict(extra="forbid")
    tenant: Annotated[str, Field(min_length=1, max_length=128)]
    attributes: Attributes = sorted(DEFAULT_GRANT)
    identity: bool = False


class GrantChange(BaseModel):
    """What is to be seen from now on; what is left out stays as it is."""

    model_config = ConfigDict(extra="forbid")
    attributes: Attributes | None = None
    identity: bool | None = None


@router.get("")
async def grants(request: Request, _: Annotated[Identity, Depends(Requires(Permission.GRANTS))]) -> dict[str, Any]:
    """Slices that belong to a tenant; others are nobody's, and no tenant sees them."""
    return {"grants": [_shown(grant) for grant in platform_of(request).grants.all()]}


@router.put("/{name}", responses=responses(404))
def assign(
    name: Slice,
    order: GrantOrder,
    request: Request,
    identity: Annotated[Identity, Depends(Requires(Permission.GRANTS))],
) -> dict[str, Any]:
    """Gives a slice that is nobody's to a tenant, who sees it from this moment on, and nothing from before."""
    platform = platform_of(request)
    known = [entry.name for entry in platform.scenario.slices]
    if name not in known:
        raise not_found(f"there is no slice {name!r}", f"slices: {', '.join(known)}")
    audit: Audit = request.app.state.audit
    with audit.act(identity, "grant.assign", name, order=order.model_dump()):
        grant = platform.grants.assign(name, order.tenant, attributes=order.attributes, identity=order.identity)
    return _shown(grant)


@router.patch("/{name}", responses=responses(404))
def change(
    name: Slice,
    wanted: GrantChange,
    request: Request,
    identity: Annotated[Identity, Depends(Requires(Permission.GRANTS))],
) -> dict[str, Any]:
    """Changes what a slice's tenant sees of its users, at once."""
    held = platform_of(request).grants
    if held.get(name) is None:
        raise not_found(f"the slice {name!r} belongs to no tenant", "PUT gives it to one")
    audit: Audit = request.app.state.audit
    with audit.act(identity, "grant.change", name, order=wanted.model_dump()):
        grant = held.allow(name, attributes=wanted.attributes, identity=wanted.identity)
    return _shown(grant)


@router.delete("/{name}", responses=responses(404))
def release(
    name: Slice, request: Request, identity: Annotated[Identity, Depends(Requires(Permission.GRANTS))]
) -> dict[str, Any]:
    """Takes a slice from its tenant, who sees nothing of it any more. The slice itself goes on."""
    held = platform_of(request).grants
    grant = held.get(name)
    if grant is None:
        raise not_found(f"the slice {name!r} belongs to no tenant", "see /grants")
    audit: Audit = request.app.state.audit
    with audit.act(identity, "grant.release", name, tenant=grant.tenant):
        held.release(name)
    return _shown(grant)


def _shown(grant: Grant) -> dict[str, Any]:
    return {
        "slice": grant.slice,
        "tenant": grant.tenant,
        "since_s": grant.since_s,
        "attributes": sorted(grant.attributes),
        "identity": grant.identity,
    }
