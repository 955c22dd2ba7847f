"""Questions to the twin as NDTJob and NDTReport (3GPP TS 28.561): run one after the other, bounded, cancellable."""

import asyncio
import logging
import math
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Final, Literal, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from twinloop.errors import TwinloopError
from twinloop.service.analytics import Identities, RefusalError
from twinloop.service.live import Picture
from twinloop.service.standards.ndt_forms import (
    JobState,
    NdtDataPoint,
    NdtFunction,
    NdtFunctionScope,
    NdtJob,
    NdtOutput,
    NdtReport,
    ScopeDefinition,
)
from twinloop.service.standards.rrm import SUBNETWORK, RrmPolicyRatio, cell_name, shares_of_ratios

FUNCTION = f"{SUBNETWORK},NDTFunction=1"

CAPABILITIES: Final = {
    "NETWORK_CONFIGURATIONS_VERIFICATION": "what-if: a proposal is lived through in a fork of the twins",
    "AUTOMATION_CONFIGURATION_VERIFICATION": "the check of a decision before it is enforced",
    "USER_EXPERIENCE_DATA_GENERATION": "synthetic users and what they experience",
    "ML_TRAINING_DATA_GENERATION": "training sets from simulated worlds",
}
"""Capabilities of the standard that have a counterpart here; a service has those that it is given engines for."""

State = Literal["WAITING", "RUNNING", "FINISHED", "FAILED", "CANCELLED"]

_LOG = logging.getLogger(__name__)
_POLICIES = TypeAdapter(list[RrmPolicyRatio])


@runtime_checkable
class WhatIfPort(Protocol):
    """What answers a question."""

    async def run(self, proposal: dict[str, Any], horizon_s: float) -> dict[str, Any]:
        """What the network would do for `horizon_s` under a proposal. Raises TwinloopError for one that cannot be."""
        ...


class NdtSettings(BaseModel):
    """Bounds of jobs: `horizon_s` and `longest_horizon_s` of a what-if, `runtime_s` at most, so many `most_waiting`
    jobs and `most_kept` that have ended.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    horizon_s: Annotated[float, Field(gt=0)] = 60.0
    longest_horizon_s: Annotated[float, Field(gt=0)] = 600.0
    runtime_s: Annotated[float, Field(gt=0)] = 120.0
    most_waiting: Annotated[int, Field(ge=1)] = 16
    most_kept: Annotated[int, Field(ge=1)] = 100


@dataclass(frozen=True)
class Kept:
    """A job as it stands: what was asked, since when, in which state, why it failed, what it found."""

    job: NdtJob
    asked_s: float
    state: State
    ended_s: float | None = None
    why: str = ""
    report: NdtReport | None = None


class NdtJobs:
    """The jobs of a server; they live as long as it does. `engines` answer questions by capability; of the standard's
    scenario they get the configuration data, radio policies turned into shares.

    To be used in one event loop. Raises ValueError for an unknown capability.
    """

    def __init__(
        self,
        engines: Mapping[str, WhatIfPort],
        pictures: Callable[[], Picture | None],
        identities: Identities,
        settings: NdtSettings,
        now: Callable[[], float],
    ) -> None:
        if not engines or set(engines) - set(CAPABILITIES):
            raise ValueError(f"engines of {sorted(engines)}; there can be {', '.join(CAPABILITIES)}, at least one")
        self._engines = dict(engines)
        self._pictures = pictures
        self._identities = identities
        self._settings = settings
        self._now = now
        self._jobs: dict[str, Kept] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._turn = asyncio.Lock()

    def function(self) -> NdtFunction:
        """The twin itself."""
        picture = self._pictures()
        cells = [] if picture is None else [cell_name(cell) for cell in picture.cells.ids if cell]
        return NdtFunction(
            id="1",
            object_instance=FUNCTION,
            capabilities=[name for name in CAPABILITIES if name in self._engines],
            scope=NdtFunctionScope(ran_scope=ScopeDefinition(managed_entities_scope=cells)),
        )

    def create(self, job: NdtJob) -> NdtJob:
        """A new job, which runs when those before it have ended.

        Raises RefusalError for a capability or proposal that cannot be, and where too many wait.
        """
        if job.capability not in self._engines:
            raise _wrong("nDTCapability", f"{job.capability!r} is not served; there are {', '.join(self._engines)}")
        if len(self._tasks) >= self._settings.most_waiting:
            detail = f"{len(self._tasks)} jobs wait already"
            again = {"Retry-After": "10"}
            raise RefusalError(429, "INSUFFICIENT_RESOURCES", detail, hint="wait for one to end", headers=again)
        proposal, horizon_s = self._proposal(job)
        name = secrets.token_hex(8)
        named = job.model_copy(
            update={"id": name, "object_instance": f"{FUNCTION},NDTJob={name}", "state": None, "report_names": None}
        )
        self._jobs[name] = Kept(named, self._now(), "WAITING")
        self._tasks[name] = asyncio.create_task(self._run(name, proposal, horizon_s))
        self._forget_oldest()
        return self.job(name)

    def job(self, name: str) -> NdtJob:
        """A job with where it stands. Raises RefusalError, 404 where there is none."""
        kept = self._of(name)
        told: dict[str, Any] = {"state": kept.state, "asked_s": kept.asked_s}
        told |= {} if kept.ended_s is None else {"ended_s": kept.ended_s}
        told |= {"why": kept.why} if kept.why else {}
        attributes = {"vsDataType": "NDTJobState", "vsDataFormatVersion": "1", "vsData": told}
        reports = None if kept.report is None else [kept.report.object_instance]
        return kept.job.model_copy(update={"state": [JobState(attributes=attributes)], "report_names": reports})

    def jobs(self) -> list[NdtJob]:
        """All jobs, oldest first."""
        return [self.job(name) for name in self._jobs]

    def report(self, name: str) -> NdtReport:
        """What a job found. Raises RefusalError, 404 where there is no job or it has found nothing yet."""
        found = self._of(name).report
        if found is None:
            raise RefusalError(404, "DATA_NOT_FOUND", f"job {name!r} has no report", hint="see the state of the job")
        return found

    def end(self, name: str) -> None:
        """Cancels a job that waits or runs; forgets one that has ended. Raises RefusalError, 404 for an unknown one."""
        kept = self._of(name)
        task = self._tasks.pop(name, None)
        if task is None:
            del self._jobs[name]
            return
        self._jobs[name] = replace(kept, state="CANCELLED", ended_s=self._now(), why="it was cancelled")
        task.cancel()

    async def close(self) -> None:
        """Cancels everything, and waits until that is done."""
        tasks = list(self._tasks.values())
        for name in list(self._tasks):
            self.end(name)
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, name: str, proposal: dict[str, Any], horizon_s: float) -> None:
        async with self._turn:
            kept = self._jobs[name] = replace(self._jobs[name], state="RUNNING")
            engine = self._engines[kept.job.capability]
            asked_s = None if kept.job.requirements is None else kept.job.requirements.max_runtime
            runtime_s = float(min(asked_s or self._settings.runtime_s, self._settings.runtime_s))
            try:
                async with asyncio.timeout(runtime_s):
                    found = await engine.run(proposal, horizon_s)
                ended = replace(kept, state="FINISHED", report=_report(name, proposal, found))
            except TimeoutError:
                ended = replace(kept, state="FAILED", why=f"it ran longer than {runtime_s:g} s")
            except TwinloopError as error:
                ended = replace(kept, state="FAILED", why=str(error))
            except Exception:
                _LOG.exception("job %s failed", name)
                ended = replace(kept, state="FAILED", why="the twin could not answer; the log of the server says why")
        self._jobs[name] = replace(ended, ended_s=self._now())
        self._tasks.pop(name, None)

    def _proposal(self, job: NdtJob) -> tuple[dict[str, Any], float]:
        """The proposal that a scenario makes, and for how long it is to be tried: `horizon_s` among its data."""
        proposal: dict[str, Any] = {}
        descriptors = [] if job.scenario is None else job.scenario.simulation_data_descriptor or []
        for descriptor in descriptors:
            for data in descriptor.simulation_data or []:
                for pairs in data.configuration_data or []:
                    proposal |= pairs
        horizon_s = proposal.pop("horizon_s", self._settings.horizon_s)
        longest_s = self._settings.longest_horizon_s
        if not isinstance(horizon_s, int | float) or not 0 < horizon_s <= longest_s:
            raise _wrong("horizon_s", f"a number above 0, at most {longest_s:g}, is needed")
        policies = proposal.pop("RRMPolicyRatio", None)
        return proposal if policies is None else proposal | self._shares(policies), float(horizon_s)

    def _shares(self, policies: object) -> dict[str, Any]:
        picture = self._pictures()
        if picture is None:
            again = {"Retry-After": "2"}
            raise RefusalError(503, "NF_CONGESTION", "no slot has been lived yet", headers=again)
        try:
            read = _POLICIES.validate_python(policies)
            return {"slices": shares_of_ratios(read, picture, self._identities)}
        except ValidationError as error:
            fault = error.errors(include_url=False, include_input=False)[0]
            raise _wrong(".".join(["RRMPolicyRatio", *map(str, fault["loc"])]), str(fault["msg"])) from None
        except ValueError as error:
            raise _wrong("RRMPolicyRatio", str(error)) from None

    def _of(self, name: str) -> Kept:
        kept = self._jobs.get(name)
        if kept is None:
            raise RefusalError(404, "DATA_NOT_FOUND", f"there is no job {name!r}")
        return kept

    def _forget_oldest(self) -> None:
        ended = [name for name in self._jobs if name not in self._tasks]
        for name in ended[: max(len(ended) - self._settings.most_kept, 0)]:
            del self._jobs[name]


def _report(name: str, proposal: dict[str, Any], found: Mapping[str, Any]) -> NdtReport:
    """A report of what was tried and seen. An engine may give `networkState` and `networkConfiguration`; everything
    else that it gives was observed.
    """
    seen = {key: value for key, value in found.items() if key not in {"networkState", "networkConfiguration"}}
    point = NdtDataPoint(
        network_state=_outputs("state", found.get("networkState")),
        network_configuration=_outputs("configuration", found.get("networkConfiguration", proposal)),
        observations=_outputs("observation", seen),
    )
    instance = f"{FUNCTION},NDTReport={name}"
    return NdtReport(id=name, object_instance=instance, output=[point], job_name=f"{FUNCTION},NDTJob={name}")


def _outputs(kind: str, values: Any) -> list[NdtOutput] | None:
    """One description for each part of what is known; None for nothing."""
    parts = values if isinstance(values, dict) else {}
    outputs = [
        NdtOutput(output_id=f"{kind}-{key}", object_instance=FUNCTION, attributes=[{str(key): _finite(value)}])
        for key, value in parts.items()
    ]
    return outputs or None


def _finite(value: Any) -> Any:
    """The value with null in the place of numbers that JSON does not have."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return value


def _wrong(param: str, reason: str) -> RefusalError:
    return RefusalError(400, "MANDATORY_IE_INCORRECT", f"{param}: {reason}", params=((param, reason),))
