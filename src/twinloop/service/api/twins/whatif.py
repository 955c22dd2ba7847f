"""What-ifs: what people would live through under other shares of slices, beside what stands, in a fork of the twins."""

import asyncio
import math
from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from twinloop.service.api.context import platform_of
from twinloop.service.api.problems import ProblemError, not_found, responses
from twinloop.service.api.twins.shapes import JSON, encode
from twinloop.service.live_platform import Platform
from twinloop.service.security import Identity, Permission, Requires
from twinloop.service.whatif import (
    LONGEST_S,
    MOST_SAMPLES,
    BusyTrialsError,
    EndedTrialError,
    LateTrialError,
    ProposalError,
    Trial,
    Wish,
)

router = APIRouter()
COST = 20.0
"""What a what-if takes of the caller's rate: as many requests as this."""
LONGEST_PATIENCE_S = 120.0
GRACE_S = 1.0
"""What-ifs end by themselves at their deadline; after so much more they are not waited for."""
Name = Annotated[str, Field(min_length=1, max_length=128)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class Proposal(BaseModel):
    """What to try: shares of cells' bandwidth and servers' cycles by slice, what is not named staying as it is; or the
    proposal of a decision by its id; or neither: what stands, as it would go on. The same `seed` meets the same worlds.
    """

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"horizon_s": 60, "samples": 8, "slices": {"west-macro": {"premium": 0.5}}}]},
    )
    slices: Annotated[dict[Name, Annotated[dict[Name, Share], Field(max_length=64)]], Field(max_length=2000)] | None = (
        None
    )
    decision: Annotated[str, Field(max_length=128)] | None = None
    horizon_s: Annotated[float, Field(ge=1, le=LONGEST_S, allow_inf_nan=False)] = 60.0
    samples: Annotated[int, Field(ge=2, le=MOST_SAMPLES)] = 8
    timeout_s: Annotated[float, Field(gt=0, le=LONGEST_PATIENCE_S, allow_inf_nan=False)] = 30.0
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0


@router.post("/whatif", response_model=None, responses={200: {"model": Trial}, **responses(404)})
async def whatif(
    proposal: Proposal, request: Request, identity: Annotated[Identity, Depends(Requires(Permission.WHATIF))]
) -> Response:
    """Lives a proposal and the standing decision through in a fork of the twins, on the same random numbers. Nothing
    of it reaches the loop or the network. 429 where too many wait, 503 where it takes longer than `timeout_s`: the
    first one after a start compiles, which may take a minute, and goes on when it is not waited for.
    """
    request.app.state.guard.charge(identity, COST)
    trial = await tried(platform_of(request), proposal)
    return Response(encode(asdict(trial)), media_type=JSON)


async def tried(platform: Platform, proposal: Proposal) -> Trial:
    """A what-if's outcome. Raises ProblemError where there is none."""
    wish = Wish(shares_of(platform, proposal), proposal.horizon_s, proposal.samples, proposal.timeout_s, proposal.seed)
    try:
        future = asyncio.wrap_future(platform.whatifs.ask(wish))
        return await asyncio.wait_for(future, proposal.timeout_s + GRACE_S)
    except BusyTrialsError as error:
        again = {"Retry-After": str(max(math.ceil(error.retry_after_s), 1))}
        raise ProblemError(429, str(error), "ask again later", again) from None
    except (LateTrialError, TimeoutError):
        raise ProblemError(
            503,
            f"the what-if was not ready within {proposal.timeout_s:g} s",
            "ask for fewer samples or a shorter horizon, or wait longer; the first one after a start takes a minute",
            {"Retry-After": "10"},
        ) from None
    except ProposalError as error:
        raise ProblemError(422, str(error)) from None
    except LookupError:
        raise ProblemError(503, "no slot has been lived yet", "ask again later", {"Retry-After": "2"}) from None
    except EndedTrialError as error:
        raise _ending(str(error)) from None
    except asyncio.CancelledError:
        if not platform.whatifs.ended:
            raise
        raise _ending("the server is ending") from None


def _ending(text: str) -> ProblemError:
    return ProblemError(503, text, "ask again once it is back", {"Retry-After": "10"})


def shares_of(platform: Platform, proposal: Proposal) -> dict[str, dict[str, float]]:
    """The shares that are proposed. Raises ProblemError for an unknown decision."""
    if proposal.decision is None:
        return proposal.slices or {}
    if proposal.slices is not None:
        raise ProblemError(422, "slices and decision: both are given", "give one")
    found = platform.decisions.recent.get(proposal.decision)
    if found is None:
        raise not_found(f"there is no decision {proposal.decision!r}", "see /decisions")
    return found.proposal
