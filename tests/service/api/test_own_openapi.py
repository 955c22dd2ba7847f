"""Our own description of the API under generated requests: no fault of the server, nothing that is not described.

Left out: streams, which have no end and are listened to elsewhere, and what waits for a loop that is not here.
"""

import copy
from collections import Counter

import pytest
import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import from_schema

KNOWN = {
    "kind": ["user", "cell", "server", "slice", "phone"],
    "name": ["ann", "north", "edge", "premium", "nobody"],
    "part": ["cells", "servers", "slices", "sites", "clouds"],
    "site": ["all", "west"],
    "attribute": ["buffer_s", "load", "utilisation", "satisfaction", "colour"],
}
ENDLESS = {"/twins/changes", "/agents/{site}/command"}
NEEDS_A_LOOP = ("/twins/whatif", "/slices", "/ProvMnS", "/decisions/{name}/")
OFF = ("positive_data_acceptance", "negative_data_rejection", "unsupported_method", "missing_required_header")


@pytest.fixture(scope="module")
def described(shown) -> dict:
    return shown.known("/openapi.json")


def drawn(described: dict, paths: list[str]) -> dict:
    """The description of some paths, names drawn from those that there are."""
    raw = copy.deepcopy(described)
    raw["paths"] = {path: raw["paths"][path] for path in paths}
    for methods in raw["paths"].values():
        for operation in methods.values():
            for parameter in operation.get("parameters", []):
                if parameter["name"] in KNOWN and parameter["schema"].get("type") == "string":
                    parameter["schema"] |= {"enum": KNOWN[parameter["name"]]}
    return raw


def paths_of(described: dict, twins: bool) -> list[str]:
    served = [path for path in described["paths"] if path not in ENDLESS and not path.startswith(NEEDS_A_LOOP)]
    return [path for path in served if path.startswith(("/twins", "/network")) is twins]


@pytest.mark.parametrize("twins", [True, False])
def test_generated_requests_find_no_fault(shown, described, twins):
    config = {
        "seed": 1,
        "headers": {"Authorization": f"Bearer {shown.secrets['admin']}"},
        "suppress-health-check": ["all"],
        "generation": {"max-examples": 6 if twins else 2, "deterministic": True, "no-shrink": True, "database": "none"},
        "phases": {"stateful": {"enabled": False}, "coverage": {"enabled": twins}},
        "checks": {check: {"enabled": False} for check in OFF},
    }
    schema = schemathesis.openapi.from_dict(
        drawn(described, paths_of(described, twins)), config=SchemathesisConfig.from_dict(config)
    )
    schema.app = shown.app
    faults: list[str] = []
    seen: Counter[int] = Counter()
    for event in from_schema(schema).execute():
        if "Error" in type(event).__name__:
            faults.append(str(event))
        if type(event).__name__ != "ScenarioFinished":
            continue
        for case, checks in event.recorder.checks.items():
            answer = event.recorder.interactions[case]
            seen[answer.response.status_code] += 1
            faults += [
                f"{answer.request.method} {answer.request.uri}: {check.failure_info.failure}"
                for check in checks
                if check.failure_info is not None
            ]
    assert not faults, "\n".join(faults[:40])
    assert seen[200] > 10 and seen[404] + seen[422] > 5, seen


def test_every_route_says_who_may_ask_and_what_a_refusal_is(shown, described):
    public = {("get", "/healthz"), ("get", "/readyz")}
    operations = {
        (method, path): told for path, methods in described["paths"].items() for method, told in methods.items()
    }
    for place, told in operations.items():
        assert ("security" in told) == (place not in public), place
        refusals = {status: part for status, part in told["responses"].items() if status >= "400"}
        assert place in public or {"401", "403", "429"} <= set(refusals), place
        for part in refusals.values():
            assert "application/problem+json" in part["content"], place
    assert {"404", "406", "304"} <= set(operations["get", "/twins/{kind}/{name}"]["responses"])
