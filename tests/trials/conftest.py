"""Long fault tests. CI runs their short form; `make trials` (TWINLOOP_TRIALS=full) the whole."""

import os
from dataclasses import dataclass

import pytest

pytestmark = pytest.mark.trial


@dataclass(frozen=True)
class Extent:
    """How much of a trial is run."""

    kills: int
    overload_s: float


@pytest.fixture(scope="session")
def extent() -> Extent:
    return Extent(50, 300.0) if os.environ.get("TWINLOOP_TRIALS") == "full" else Extent(3, 20.0)


@pytest.fixture(scope="session")
def site_file(tiny, tmp_path_factory):
    """The small campus as a file that a server of its own process reads."""
    from twinloop import scenario

    changes = {
        "policy": tiny.policy.model_copy(update={"reservation": "greedy", "allocation": "round_robin"}),
        "collection": tiny.collection.model_copy(update={"method": "periodic"}),
        "twin": tiny.twin.model_copy(update={"emulator": "last_value"}),
        "users": [part.model_copy(update={"count": 40, "groups": 0}) for part in tiny.users],
    }
    path = tmp_path_factory.mktemp("trials") / "site.yaml"
    path.write_text(scenario.dump(tiny.model_copy(update=changes)), encoding="utf-8")
    return path
