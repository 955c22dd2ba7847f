"""Our own description of the API under generated requests: no fault of the server, nothing that is not described.

Left out: streams, which have no end, and commands, which are waited for; both are listened to elsewhere.
"""

import copy
from collections import Counter

import pytest
import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import from_schema
from service.acting.conftest import Loop

from twinloop.slicing import SliceSpec, table_from_specs
from twinloop.validation import Admission

KNOWN = {
    "kind": ["user", "cell", "server", "slice", "phone"],
    "name": ["ann", "north", "edge", "premium", "nobody"],
    "part": ["cells", "servers", "slices", "sites", "clouds"],
    "site": ["all", "west"],
    "attribute": ["buffer_s", "load", "utilisation", "satisfaction", "colour"],
}
ENDLESS = {"/twins/changes", "/agents/{site}/command"}
OFF = ("positive_data_acceptance", "negative_data_rejection", "unsupported_method", "missing_required_header")
NO_LOOP = 503
"""What a what-if is answered here, where nobody lives a slot."""
STANDARDS = ("/nnwdaf", "/ProvMnS")
"""Their requests are long: fewer are drawn here, and their own files have tests of their own."""


@pytest.fixture(scope="module")
def served(new_stage):
    """A stage after one slot, whose loop is only asked: orders are judged at once."""
    made = new_stage()
    made.live(10, serving_cell=[0, 1, 1, 0])
    acting, scenario = made.platform.acting, made.platform.scenario
    specs = [SliceSpec(**entry.model_dump()) for entry in scenario.slices]
    acting.slices._ground = acting.decisions._ground = Loop(
        table=acting.slices.restored(table_from_specs(specs, len(specs)))
    )
    acting.slices._judge = lambda *asked: Admission(False, 1, "standard", "bandwidth", 0.2, 0.5)
    acting.capacity_bps = lambda: 100e6
    acting.webhooks.start()
    yield made
    acting.stop()


@pytest.fixture(scope="module")
def described(served) -> dict:
    return served.known("/openapi.json")


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


def paths_of(described: dict, part: str) -> list[str]:
    """Paths of the twins, of the standards, and all others."""
    parts = {"twins": ("/twins", "/network"), "standards": STANDARDS}
    served = [path for path in described["paths"] if path not in ENDLESS]
    if part in parts:
        return [path for path in served if path.startswith(parts[part])]
    return [path for path in served if not path.startswith(sum(parts.values(), ()))]


@pytest.mark.filterwarnings("ignore:Do not use the `random` module")
@pytest.mark.parametrize(("part", "examples"), [("twins", 6), ("others", 2), ("standards", 3)])
def test_generated_requests_find_no_fault(served, described, part, examples):
    config = {
        "seed": 1,
        "headers": {"Authorization": f"Bearer {served.secrets['admin']}"},
        "suppress-health-check": ["all"],
        "generation": {"max-examples": examples, "deterministic": True, "no-shrink": True, "database": "none"},
        "phases": {"stateful": {"enabled": False}, "coverage": {"enabled": part != "standards"}},
        "checks": {check: {"enabled": False} for check in OFF},
    }
    schema = schemathesis.openapi.from_dict(
        drawn(described, paths_of(described, part)), config=SchemathesisConfig.from_dict(config)
    )
    schema.app = served.app
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
                if check.failure_info is not None and answer.response.status_code != NO_LOOP
            ]
    assert not faults, "\n".join(faults[:40])
    assert seen[200] > (10 if part != "standards" else 0) and seen[404] + seen[422] + seen[400] > 5, seen


def test_every_route_says_who_may_ask_and_what_a_refusal_is(described):
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
