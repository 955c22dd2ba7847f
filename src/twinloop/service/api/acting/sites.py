"""Sites: whether they do what is wanted, whether they are believed, and where their commands are delivered."""

import re
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request

from twinloop.service.acting import WebhookOrder
from twinloop.service.api.context import platform_of
from twinloop.service.api.problems import not_found, responses
from twinloop.service.live_platform import Platform
from twinloop.service.security import Audit, Identity, Permission, Requires

router = APIRouter(prefix="/sites", tags=["sites"])


@router.get("")
def sites(
    request: Request, identity: Annotated[Identity, Depends(Requires(Permission.READ_DECISIONS))]
) -> dict[str, Any]:
    """Every site: following, asked, failing, aside (not waited for), away or distrusted; and its webhook, of which who
    could not set it sees the host alone.
    """
    acting = platform_of(request).acting
    hooks = {one["site"]: one for one in acting.webhooks.list()}
    if Permission.MODE not in identity.permissions:
        hooks = {site: one | {"url": _place(one["url"])} for site, one in hooks.items()}
    return {"sites": [told | {"webhook": hooks.get(told["site"])} for told in acting.dispatcher.told()]}


@router.put("/{site}/webhook", responses=responses(404))
def set_webhook(
    site: str,
    order: WebhookOrder,
    request: Request,
    identity: Annotated[Identity, Depends(Requires(Permission.MODE))],
) -> dict[str, Any]:
    """Has commands delivered to an address, signed with the secret, in place of being asked for. The answer's body may
    be the receipt. Where the address is not allowed, 422.
    """
    platform = _known(request, site)
    audit: Audit = request.app.state.audit
    with audit.act(identity, "site.webhook", site, place=_place(order.url)):
        hook = platform.acting.webhooks.register(site, order)
    return asdict(hook)


@router.delete("/{site}/webhook", responses=responses(404))
def remove_webhook(
    site: str, request: Request, identity: Annotated[Identity, Depends(Requires(Permission.MODE))]
) -> dict[str, Any]:
    """Delivers no commands there any more: the site asks for them."""
    platform = _known(request, site)
    audit: Audit = request.app.state.audit
    with audit.act(identity, "site.webhook", site) as act:
        platform.acting.webhooks.remove(site)
        act.outcome = "removed"
    return {"site": site, "webhook": None}


@router.put("/{site}/trust", responses=responses(404))
def trust(
    site: str, request: Request, identity: Annotated[Identity, Depends(Requires(Permission.MODE))]
) -> dict[str, Any]:
    """Believes the receipts of a site again that was distrusted because the effect of its decisions was not seen."""
    platform = _known(request, site)
    audit: Audit = request.app.state.audit
    with audit.act(identity, "site.trust", site):
        platform.acting.trust(site)
    return next(told for told in platform.dispatcher.told() if told["site"] == site)


def _place(url: str) -> str:
    """Scheme and host of an address: its path may be what authorizes a caller."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{re.split('[/?#]', rest, maxsplit=1)[0].rpartition('@')[2]}"


def _known(request: Request, site: str) -> Platform:
    platform = platform_of(request)
    if site not in platform.dispatcher.sites:
        raise not_found(f"there is no site {site!r}", f"sites: {', '.join(platform.dispatcher.sites)}")
    return platform
