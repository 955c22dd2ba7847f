"""Twin management: what a twin can do, jobs that run, end, fail and are cancelled, reports, and the two loops."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from standards_world import LOOPS, TWINS, ask, call, make_picture, valid

from twinloop.errors import TwinloopError
from twinloop.service.analytics import AnalyticsSettings, Identities, RefusalError, written
from twinloop.service.standards import (
    NdtJobs,
    NdtSettings,
    closed_control_loops,
    management_router,
    rrm_policy_ratios,
)

WHATIF = "NETWORK_CONFIGURATIONS_VERIFICATION"
ROOT = "/ProvMnS/v1/SubNetwork=1"
JOBS = f"{ROOT}/NDTFunction=1/NDTJob"
US = Identities(AnalyticsSettings())


class Engine:
    """Notes what it is asked; answers when the door is open."""

    def __init__(self, answer: Callable[[], dict[str, Any]] = lambda: {"satisfaction": {"mean": 0.9}}) -> None:
        self.asked: list[tuple[dict[str, Any], float]] = []
        self.answer = answer
        self.door = asyncio.Event()
        self.began = asyncio.Event()
        self.door.set()

    async def run(self, proposal: dict[str, Any], horizon_s: float) -> dict[str, Any]:
        self.asked.append((proposal, horizon_s))
        self.began.set()
        await self.door.wait()
        return self.answer()


class Office:
    """A server with jobs."""

    def __init__(self, engine: Engine, **bounds: float) -> None:
        self.engine = engine
        self.mode = "advise"
        self.refuse = False
        self.jobs = NdtJobs({WHATIF: engine}, make_picture, US, NdtSettings(**bounds), lambda: 42.0)
        self.app = FastAPI()
        self.app.include_router(management_router(self.jobs, lambda: self.mode, self.who))

    async def who(self) -> str:
        if self.refuse:
            raise RefusalError(403, "ACCESS_DENIED", "no right to what-ifs")
        return "operator"

    async def create(self, *data: dict[str, Any], **parts: object) -> str:
        """Asks for a job and gives its address."""
        scenario = {"simulationDataDescriptor": [{"simulationData": [{"configurationData": list(data)}]}]}
        body = {"nDTCapability": WHATIF, **({"nDTJobScenario": scenario} if data else {}), **parts}
        response = await ask(self.app, "POST", JOBS, json=body)
        assert response.status_code == 201, response.text
        valid(TWINS, "NDTJob-Single", response.json())
        return response.headers["location"]

    async def read(self, path: str) -> dict[str, Any]:
        """What is at an address."""
        response = await ask(self.app, "GET", path)
        assert response.status_code == 200, response.text
        return response.json()

    async def state(self, path: str) -> str:
        """Where a job stands."""
        job = await self.read(path)
        valid(TWINS, "NDTJob-Single", job)
        return job["VsDataContainer"][0]["attributes"]["vsData"]["state"]

    async def settled(self) -> None:
        """Waits until every job has ended."""
        while self.jobs._tasks:
            await asyncio.gather(*self.jobs._tasks.values(), return_exceptions=True)


def lived(story: Callable[[Office], Coroutine[Any, Any, None]], **bounds: float) -> None:
    """Runs a story in one event loop."""

    async def told() -> None:
        office = Office(Engine(), **bounds)
        try:
            await asyncio.wait_for(story(office), 10)
        finally:
            await office.jobs.close()

    asyncio.run(told())


def test_a_twin_says_what_it_can_do():
    async def story(office: Office) -> None:
        function = await office.read(f"{ROOT}/NDTFunction=1")
        valid(TWINS, "NDTFunction-Single", function)
        assert function["supportedNDTCapabilities"] == [WHATIF]
        assert function["nDTFunctionScope"]["nDTRANScope"]["managedEntitiesScope"] == [
            "SubNetwork=1,NRCellDU=north%2C%20old",
            "SubNetwork=1,NRCellDU=south",
        ]

    lived(story)


def test_a_job_runs_and_reports():
    async def story(office: Office) -> None:
        office.engine.answer = lambda: {
            "networkState": {"slot": 5},
            "satisfaction": {"mean": 0.9, "low90": float("nan")},
            "load": [0.5, float("inf")],
        }
        place = await office.create({"slices": {"south": {"video": 0.5}}}, {"horizon_s": 30})
        await office.settled()
        assert office.engine.asked == [({"slices": {"south": {"video": 0.5}}}, 30.0)]
        assert await office.state(place) == "FINISHED"
        job = await office.read(place)
        report = await office.read(place.replace("NDTJob=", "NDTReport="))
        valid(TWINS, "NDTReport-Single", report)
        assert job["nDTReportRefList"] == [report["objectInstance"]]
        assert report["nDTJobRef"] == job["objectInstance"]
        (point,) = report["nDTJobOutputData"]
        assert point["networkState"][0]["objectAttributeList"] == [{"slot": 5}]
        assert point["networkConfiguration"][0]["objectAttributeList"] == [{"slices": {"south": {"video": 0.5}}}]
        seen = [output["objectAttributeList"][0] for output in point["observations"]]
        assert seen == [{"satisfaction": {"mean": 0.9, "low90": None}}, {"load": [0.5, None]}]

    lived(story)


def test_radio_policies_are_a_proposal():
    async def story(office: Office) -> None:
        reserved = np.asarray([[10e6, 5e6, 0], [1e6, 2.5e6, 0]], np.float32)
        policies = [written(policy) for policy in rrm_policy_ratios(reserved, make_picture(), US)]
        await office.create({"RRMPolicyRatio": policies})
        await office.settled()
        shares = {"north, old": {"video": 0.5, "sensors": 0.25}, "south": {"video": 0.1, "sensors": 0.25}}
        assert office.engine.asked == [({"slices": shares}, 60.0)]

    lived(story)


def test_jobs_run_one_after_the_other_and_can_be_cancelled():
    async def story(office: Office) -> None:
        office.engine.door.clear()
        first, second, third = [await office.create() for _ in range(3)]
        await office.engine.began.wait()
        assert [await office.state(place) for place in (first, second, third)] == ["RUNNING", "WAITING", "WAITING"]
        for place in (first, second):
            assert (await ask(office.app, "DELETE", place)).status_code == 204
            assert await office.state(place) == "CANCELLED"
        office.engine.door.set()
        await office.settled()
        assert await office.state(third) == "FINISHED"
        assert len(office.engine.asked) == 2
        assert (await ask(office.app, "GET", first.replace("NDTJob=", "NDTReport="))).status_code == 404
        assert (await ask(office.app, "DELETE", first)).status_code == 204
        assert (await ask(office.app, "GET", first)).status_code == 404
        listed = (await ask(office.app, "GET", JOBS)).json()
        valid(TWINS, "NDTJob-Multiple", listed)
        assert len(listed) == 2

    lived(story)


def test_a_job_has_its_time():
    async def story(office: Office) -> None:
        office.engine.door.clear()
        place = await office.create(nDTJobExecutionRequirements={"maxRuntime": 3600})
        await office.settled()
        job = await office.read(place)
        told = job["VsDataContainer"][0]["attributes"]["vsData"]
        assert (told["state"], told["why"]) == ("FAILED", "it ran longer than 0.01 s")
        assert job["nDTJobExecutionRequirements"] == {"maxRuntime": 3600}

    lived(story, runtime_s=0.01)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (TwinloopError("slices: no such cell"), "slices: no such cell"),
        (RuntimeError("secret"), "the log of the server"),
    ],
)
def test_a_job_that_fails_says_why(fault, words):
    async def story(office: Office) -> None:
        def fail() -> dict[str, Any]:
            raise fault

        office.engine.answer = fail
        place = await office.create()
        await office.settled()
        told = (await office.read(place))["VsDataContainer"][0]["attributes"]["vsData"]
        assert told["state"] == "FAILED"
        assert words in told["why"]
        assert "secret" not in told["why"]

    lived(story)


def test_there_is_an_end_to_jobs():
    async def story(office: Office) -> None:
        office.engine.door.clear()
        for _ in range(2):
            await office.create()
        refused = await ask(office.app, "POST", JOBS, json={"nDTCapability": WHATIF})
        assert (refused.status_code, refused.json()["cause"]) == (429, "INSUFFICIENT_RESOURCES")
        assert refused.headers["retry-after"]
        office.engine.door.set()
        await office.settled()
        for _ in range(3):
            await office.create()
            await office.settled()
        assert len(office.jobs.jobs()) == 4

    lived(story, most_waiting=2, most_kept=3)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "nDTCapability"),
        ({"nDTCapability": "RISKY_ACTIONS_PREDICTION"}, "nDTCapability"),
        (
            {"nDTCapability": WHATIF, "nDTJobExecutionRequirements": {"maxRuntime": 0}},
            "nDTJobExecutionRequirements.maxRuntime",
        ),
    ],
)
def test_what_is_wrong_with_a_job_is_named(body, param):
    office = Office(Engine())
    response = call(office.app, "POST", JOBS, json=body)
    assert response.status_code == 400
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["invalidParams"][0]["param"] == param


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"horizon_s": 0}, "horizon_s"),
        ({"horizon_s": "long"}, "horizon_s"),
        ({"horizon_s": 1e9}, "at most 600"),
        ({"RRMPolicyRatio": [{"id": "x"}]}, "RRMPolicyRatio.0.objectInstance"),
        (
            {
                "RRMPolicyRatio": [
                    {
                        "id": "x",
                        "objectInstance": "SubNetwork=1,NRCellDU=west,RRMPolicyRatio=x",
                        "attributes": {
                            "rRMPolicyMemberList": [{"plmnId": {"mcc": "001", "mnc": "01"}, "snssai": {"sst": 1}}]
                        },
                    }
                ]
            },
            "there is no cell",
        ),
    ],
)
def test_what_is_wrong_with_a_scenario_is_named(data, words):
    office = Office(Engine())
    scenario = {"simulationDataDescriptor": [{"simulationData": [{"configurationData": [data]}]}]}
    response = call(office.app, "POST", JOBS, json={"nDTCapability": WHATIF, "nDTJobScenario": scenario})
    assert response.status_code == 400
    assert words in response.json()["detail"]


def test_engines_of_unknown_capabilities_are_refused():
    for engines in ({}, {"FLYING": Engine()}):
        with pytest.raises(ValueError, match=WHATIF):
            NdtJobs(engines, make_picture, US, NdtSettings(), lambda: 0.0)


def test_everything_is_closed_to_who_may_not():
    office = Office(Engine())
    office.refuse = True
    paths = [f"{ROOT}/NDTFunction=1", JOBS, f"{JOBS}=x", f"{ROOT}/NDTFunction=1/NDTReport=x"]
    for path in [*paths, f"{ROOT}/ClosedControlLoop=internal"]:
        assert call(office.app, "GET", path).status_code == 403
    assert call(office.app, "POST", JOBS, json={"nDTCapability": WHATIF}).status_code == 403
    assert call(office.app, "DELETE", f"{JOBS}=x").status_code == 403


@pytest.mark.parametrize(
    ("mode", "behaviour", "state"),
    [
        ("act", "DECISION_ACTIVATION", "UNLOCKED"),
        ("advise", "NOTIFY_RCOMMENDATION", "UNLOCKED"),
        ("halted", "DO_NOTHING", "LOCKED"),
    ],
)
def test_loops_say_what_they_do_with_decisions(mode, behaviour, state):
    office = Office(Engine())
    office.mode = mode
    internal = call(office.app, "GET", f"{ROOT}/ClosedControlLoop=internal").json()
    assert (internal["desiredBehavior"], internal["administrativeState"]) == (behaviour, state)
    assert internal["cCLType"] == "SLICEASSURANCE"
    roles = [part["cCLComponentRole"] for part in internal["cCLComponentList"]]
    assert roles == ["MONITOR", "ANALYSIS", "DECISION", "EXECUTION"]
    assert call(office.app, "GET", f"{ROOT}/ClosedControlLoop=external").json()["administrativeState"] == "UNLOCKED"
    assert call(office.app, "GET", f"{ROOT}/ClosedControlLoop=other").status_code == 404
    for loop in closed_control_loops(mode):
        valid(LOOPS, "ClosedControlLoop-Single", written(loop))
