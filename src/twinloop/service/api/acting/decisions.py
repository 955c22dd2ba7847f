"""Decisions: what was proposed, why, who consented, and what became of it."""

from dataclasses import asdict, replace
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from twinloop.service.acting import Decision, DecisionError
from twinloop.service.analytics import AnalyticsSettings, Identities, written
from twinloop.service.api.context import platform_of, present
from twinloop.service.api.problems import ProblemError, not_found, responses
from twinloop.service.security import Audit, Identity, Permission, Requires
from twinloop.service.standards import rrm_policy_ratios, sla_policies

router = APIRouter(tags=["decisions"])


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
    """Decisions, newest first, as far back as the database reaches; `next` goes on, null at the end. Of a kind or state
    that is rare a page may have few, or none, before the end.
    """
    decided = platform_of(request).decisions
    try:
        page, following = decided.page(limit, state=state, kind=kind, after=after)
    except DecisionError as error:
        raise ProblemError(422, str(error)) from None
    return {"decisions": [asdict(one) for one in page], "next": following, "mode": decided.mode}


@router.get("/decisions/{name}", responses=responses(404, 503))
def decision(
    name: str,
    request: Request,
    _: Annotated[Identity, Depends(Requires(Permission.READ_DECISIONS))],
    form: Annotated[
        Literal["json", "rrm", "a1"],
        Query(alias="format", description="rrm: RRMPolicyRatio of TS 28.541; a1: A1 slice SLA policies of O-RAN"),
    ] = "json",
) -> dict[str, Any]:
    """One decision with its proposals, verdict, evidence, consent, and what became of it; or what it asks for in the
    words of a standard.
    """
    found = platform_of(request).decisions.get(name)
    if found is None:
        raise not_found(f"there is no decision {name!r}", "see /decisions")
    return asdict(found) if form == "json" else _in_standard(request, found, form)


def _in_standard(request: Request, found: Decision, form: str) -> dict[str, Any]:
    """What a decision about reservations asks for, as policies of today's network."""
    if found.kind != "reservation":
        raise ProblemError(422, f"decision {found.id} is about an order of a slice; it reserves nothing", "see /orders")
    now = present(platform_of(request))
    stands = [bool(found.slices.get(name, {}).get("active")) for name in now.slices.ids]
    picture = replace(now, slice_active=np.asarray(stands))
    identities: Identities = getattr(request.app.state, "identities", None) or Identities(AnalyticsSettings())
    if form == "a1":
        policies = {one.policy_id: one.body for one in sla_policies(picture, identities)}
        return {"decision": found.id, "policies": policies}
    shares = [[found.proposal.get(cell, {}).get(name, 0.0) for name in now.slices.ids] for cell in now.cells.ids]
    reserved_hz = np.asarray(shares, np.float32) * now.cell_bandwidth_hz[:, None]
    return {
        "decision": found.id,
        "policies": [written(one) for one in rrm_policy_ratios(reserved_hz, picture, identities)],
    }


@router.post("/decisions/{name}/approve", responses=responses(404, 409))
def approve(
    name: str,
    request: Request,
    identity: Annotated[Identity, Depends(Requires(Permission.DECIDE))],
    given: Comment | None = None,
) -> dict[str, Any]:
    """Consents to a decision that waits; it is asked of the network if it is still safe."""
    _require(request, name)
    comment = "" if given is None else given.comment
    audit: Audit = request.app.state.audit
    with audit.act(identity, "decision.approve", name, comment=comment) as act:
        done = platform_of(request).decisions.approve(name, identity.name, comment)
        act.outcome = done.state
    return asdict(done)


@router.post("/decisions/{name}/reject", responses=responses(404, 409))
def reject(
    name: str,
    request: Request,
    identity: Annotated[Identity, Depends(Requires(Permission.DECIDE))],
    given: Comment | None = None,
) -> dict[str, Any]:
    """Refuses a decision that waits."""
    _require(request, name)
    comment = "" if given is None else given.comment
    audit: Audit = request.app.state.audit
    with audit.act(identity, "decision.reject", name, comment=comment) as act:
        done = platform_of(request).decisions.reject(name, identity.name, comment)
        act.outcome = done.state
    return asdict(done)


def _require(request: Request, name: str) -> None:
    if platform_of(request).decisions.get(name) is None:
        raise not_found(f"there is no decision {name!r}", "see /decisions")
