"""What sites are asked to report, how far they do, and what operators want of them."""

from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from twinloop.service.api.context import platform_of
from twinloop.service.api.problems import ProblemError, not_found
from twinloop.service.collecting import TABLES, WINDOW_S, Wish
from twinloop.service.security import Audit, Identity, Permission, Requires

router = APIRouter(prefix="/collection", tags=["collection"])
Kind = Literal["user", "cell", "server"]


class Wanted(BaseModel):
    """How an attribute is to be reported; what is left out stays as the loop asks."""

    model_config = ConfigDict(extra="forbid")
    period_s: Annotated[float | None, Field(ge=1.0, le=3600.0, description="seconds between two values")] = None
    bits: Annotated[int | None, Field(ge=1, le=24, description="precision")] = None
    enabled: bool = True


@router.get("")
async def collection(
    request: Request, identity: Annotated[Identity, Depends(Requires(Permission.READ_COLLECTION))]
) -> dict[str, Any]:
    """Of every site: values a second that were asked for and that came, their ratio, bits, and what never came."""
    platform = platform_of(request)
    observance = platform.collecting.observance
    sites = [observance.told(site) for site in platform.dispatcher.sites if identity.may_send_as(site)]
    return {"window_s": WINDOW_S, "sites": sites, "elsewhere": observance.elsewhere()}


@router.get("/{site}")
async def collection_of(
    site: str, request: Request, identity: Annotated[Identity, Depends(Requires(Permission.READ_COLLECTION))]
) -> dict[str, Any]:
    """The same of one site, attribute by attribute, and what operators want of it."""
    _check(request, site)
    identity.require_source(site)
    return _told(request, site)


@router.put("/{site}/{attribute}")
def want(
    site: str,
    attribute: str,
    wanted: Wanted,
    request: Request,
    identity: Annotated[Identity, Depends(Requires(Permission.COLLECTION))],
    kind: Annotated[Kind, Query(description="whose attribute it is")] = "user",
) -> dict[str, Any]:
    """Lays an operator's wish over the plan of a site, from the next slot on, until it is taken back."""
    _check(request, site)
    _check_attribute(kind, attribute)
    if wanted.enabled and wanted.period_s is None and wanted.bits is None:
        raise ProblemError(422, "nothing is wanted", "give period_s, bits, or enabled: false")
    platform = platform_of(request)
    wish = Wish(
        site=site,
        kind=kind,
        attribute=attribute,
        period_s=wanted.period_s,
        bits=wanted.bits,
        enabled=wanted.enabled,
        by=identity.name,
        since_s=platform.clock(),
    )
    audit: Audit = request.app.state.audit
    told = wanted.model_dump_json(exclude_none=True)
    with audit.act(identity, "collection.want", f"{site} {kind} {attribute}", wanted=told):
        platform.collecting.want(wish)
    return _told(request, site)


@router.delete("/{site}/{attribute}", status_code=204)
def leave(
    site: str,
    attribute: str,
    request: Request,
    identity: Annotated[Identity, Depends(Requires(Permission.COLLECTION))],
    kind: Annotated[Kind, Query(description="whose attribute it is")] = "user",
) -> Response:
    """Takes an operator's wish back: the loop alone asks for the attribute again."""
    _check(request, site)
    _check_attribute(kind, attribute)
    audit: Audit = request.app.state.audit
    with audit.act(identity, "collection.leave", f"{site} {kind} {attribute}"):
        if not platform_of(request).collecting.leave(site, kind, attribute):
            raise not_found(f"nothing is wanted of {kind} {attribute} at {site}", f"see /collection/{site}")
    return Response(status_code=204)


def _told(request: Request, site: str) -> dict[str, Any]:
    collecting = platform_of(request).collecting
    return {
        "window_s": WINDOW_S,
        **collecting.observance.told(site),
        "attributes": collecting.observance.attributes(site),
        "wishes": [msgspec.to_builtins(wish) for wish in collecting.wishes.of(site)],
    }


def _check(request: Request, site: str) -> None:
    sites = platform_of(request).dispatcher.sites
    if site not in sites:
        raise not_found(f"there is no site {site!r}", f"sites: {', '.join(sites)}")


def _check_attribute(kind: Kind, attribute: str) -> None:
    names = [entry.name for entry in TABLES[kind]]
    if attribute not in names:
        raise not_found(f"a {kind} has no attribute {attribute!r}", f"attributes: {', '.join(names)}")
