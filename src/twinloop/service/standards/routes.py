"""Management of the twin over HTTP, the addresses those of 3GPP TS 28.532: what it can do, jobs, reports, its loops."""

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Depends, Response
from fastapi.responses import JSONResponse

from twinloop.service.analytics import Form, ProblemRoute, RefusalError, documented, written
from twinloop.service.standards.closed_loop import Mode, closed_control_loops
from twinloop.service.standards.ndt import NdtJobs
from twinloop.service.standards.ndt_forms import NdtJob

ROOT = "/ProvMnS/v1/SubNetwork=1"
FUNCTION = f"{ROOT}/NDTFunction=1"


def management_router(jobs: NdtJobs, mode: Callable[[], Mode], identity: Callable[..., Any]) -> APIRouter:
    """The routes. `identity` is a FastAPI dependency that refuses who may not run what-ifs.

    Everything wrong here is application/problem+json.
    """
    router = APIRouter(
        route_class=ProblemRoute,
        tags=["Twin management"],
        dependencies=[Depends(identity)],
        responses=documented(400, 401, 403, 404, 429, 503),
    )

    @router.get(FUNCTION, response_model=None)
    async def read_function() -> Response:
        """The twin: what it can do and what it mirrors."""
        return _answered(jobs.function())

    @router.post(FUNCTION + "/NDTJob", status_code=201, response_model=None)
    async def create_job(job: NdtJob) -> Response:
        """A question to the twin."""
        created = jobs.create(job)
        return _answered(created, 201, {"Location": f"{FUNCTION}/NDTJob={created.id}"})

    @router.get(FUNCTION + "/NDTJob", response_model=None)
    async def read_jobs() -> Response:
        """All jobs, oldest first."""
        return JSONResponse([written(job) for job in jobs.jobs()])

    @router.get(FUNCTION + "/NDTJob={job_id}", response_model=None)
    async def read_job(job_id: str) -> Response:
        """A job and where it stands."""
        return _answered(jobs.job(job_id))

    @router.delete(FUNCTION + "/NDTJob={job_id}", status_code=204, response_model=None)
    async def end_job(job_id: str) -> Response:
        """Cancels a job; one that has ended is forgotten."""
        jobs.end(job_id)
        return Response(status_code=204)

    @router.get(FUNCTION + "/NDTReport={job_id}", response_model=None)
    async def read_report(job_id: str) -> Response:
        """What a job found."""
        return _answered(jobs.report(job_id))

    @router.get(ROOT + "/ClosedControlLoop={name}", response_model=None)
    async def read_loop(name: str) -> Response:
        """One of the two loops."""
        loops = {loop.id: loop for loop in closed_control_loops(mode())}
        if name not in loops:
            raise RefusalError(404, "DATA_NOT_FOUND", f"there is no loop {name!r}; there are {', '.join(loops)}")
        return _answered(loops[name])

    return router


def _answered(form: Form, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse(written(form), status, headers)
