"""Long fault tests. CI runs their short form; `make trials` (TWINLOOP_TRIALS=full) the whole."""

import os
from dataclasses import dataclass

import pytest

pytestmark = pytest.mark.trial


@dataclass(frozen=True)
class Extent:
    """How much of a trial is run; `whole` where nothing is left out for the sake of time."""

    whole: bool
    kills: int
    outages: int
    overload_s: float
    lies: int


@pytest.fixture(scope="session")
def extent() -> Extent:
    if os.environ.get("TWINLOOP_TRIALS") == "full":
        return Extent(whole=True, kills=50, outages=5, overload_s=300.0, lies=40)
    return Extent(whole=False, kills=3, outages=1, overload_s=20.0, lies=1)


@pytest.fixture
def note(request):
    """Notes figures of a trial; they are shown at the end of the session."""

    def note(**figures: object) -> None:
        told = ", ".join(f"{name} {value}" for name, value in figures.items())
        request.node.user_properties.append(("trial", told))

    return note


def pytest_terminal_summary(terminalreporter):
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        for name, told in report.user_properties:
            if name == "trial" and report.when == "call":
                terminalreporter.line(f"{report.nodeid.rpartition('::')[2]}: {told}")


@pytest.fixture(scope="session")
def site(tiny):
    """The small campus with room for more people, decided on by the policies that compile fastest."""
    changes = {
        "policy": tiny.policy.model_copy(update={"reservation": "greedy", "allocation": "round_robin"}),
        "collection": tiny.collection.model_copy(update={"method": "periodic"}),
        "twin": tiny.twin.model_copy(update={"emulator": "last_value"}),
        "users": [part.model_copy(update={"count": 40, "groups": 0}) for part in tiny.users],
    }
    return tiny.model_copy(update=changes)


@pytest.fixture(scope="session")
def site_file(site, tmp_path_factory):
    """It as a file that a server of its own process reads."""
    from twinloop import scenario

    path = tmp_path_factory.mktemp("trials") / "site.yaml"
    path.write_text(scenario.dump(site), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def served(site_file, tmp_path_factory):
    """A server that trials without ends or outages share."""
    from trials.live_server import running

    with running(site_file, tmp_path_factory.mktemp("served")) as server:
        server.wait_for(lambda: server.answers("/readyz") and server.get("/system")["deciding"])
        yield server


@pytest.fixture(scope="session")
def served_site(served, site):
    """The site of that server, watched in all of those trials."""
    from trials.watched_site import watched

    with watched(served, site) as watch:
        yield watch
