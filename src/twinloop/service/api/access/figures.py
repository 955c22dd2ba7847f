"""Figures of the users whom a tenant does not see, with noise, from its privacy budget of the day."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from twinloop.service.api.problems import not_found, responses
from twinloop.service.security import Aggregates, Estimate, Identity, Permission, Requires

router = APIRouter(prefix="/aggregates", tags=["access"])
Tenant = Annotated[Identity, Depends(Requires(Permission.AGGREGATES))]
Finite = Annotated[float, Field(allow_inf_nan=False)]
CellName = Annotated[str | None, Field(max_length=128)]
Epsilon = Annotated[Finite | None, Field(gt=0)]


class CountQuestion(BaseModel):
    """How many users other slices have, in `cell` or in all. `epsilon` of the budget pays for the answer."""

    model_config = ConfigDict(extra="forbid")
    cell: CellName = None
    epsilon: Epsilon = None


class MeanQuestion(BaseModel):
    """Mean of an attribute over users of other slices; `bounds` to which values are clamped: the narrower, the less
    noise.
    """

    model_config = ConfigDict(extra="forbid")
    cell: CellName = None
    epsilon: Epsilon = None
    attribute: Annotated[str, Field(max_length=64)]
    bounds: tuple[Finite, Finite] | None = None


@router.get("/budget")
async def budget(request: Request, identity: Tenant) -> dict[str, Any]:
    """What is left of the caller's privacy budget today."""
    return asdict(await run_in_threadpool(_aggregates(request).budget, identity))


@router.post("/count", responses=responses(404, 429))
async def count(question: CountQuestion, request: Request, identity: Tenant) -> dict[str, Any]:
    """How many users all other slices have, with noise that hides any one of them."""
    held = _aggregates(request)
    return await _answered(lambda: held.count(identity, cell=question.cell, epsilon=question.epsilon))


@router.post("/mean", responses=responses(404, 429))
async def mean(question: MeanQuestion, request: Request, identity: Tenant) -> dict[str, Any]:
    """Mean of an attribute over the users of all other slices, with noise that hides any one of them."""
    held = _aggregates(request)
    return await _answered(
        lambda: held.mean(
            identity, question.attribute, cell=question.cell, bounds=question.bounds, epsilon=question.epsilon
        )
    )


async def _answered(ask: Callable[[], Estimate]) -> dict[str, Any]:
    try:
        return asdict(await run_in_threadpool(ask))
    except KeyError as error:
        raise not_found(f"there is no cell or attribute {error.args[0]!r}", "see /twins/cell and docs/api.md") from None


def _aggregates(request: Request) -> Aggregates:
    return request.app.state.aggregates
