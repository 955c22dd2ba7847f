"""A platform that is small: the cheapest scenario, a database in a folder of its own, and a clock that stands still."""

from dataclasses import replace
from pathlib import Path

import pytest

from twinloop import scenario
from twinloop.service.live_platform import Platform, Settings
from twinloop.storage import open_storage


class Clock:
    """Epoch seconds that move when they are told to."""

    def __init__(self, now_s: float = 1.7e9) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture(scope="session")
def small_site(tiny):
    """Twelve users on the campus, watched by the policies that compile fastest."""
    changes = {
        "policy": tiny.policy.model_copy(update={"reservation": "greedy", "allocation": "round_robin"}),
        "collection": tiny.collection.model_copy(update={"method": "periodic"}),
        "twin": tiny.twin.model_copy(update={"emulator": "last_value"}),
    }
    return tiny.model_copy(update=changes)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make_platform(small_site, clock):
    """Platforms over a database file; every one is ended, and its database closed, with the test."""
    opened = []

    def make(database: Path, described=small_site, **changes) -> Platform:
        storage = open_storage(str(database))
        platform = Platform(described, storage, clock, replace(Settings(), **changes))
        opened.append(platform)
        return platform

    yield make
    for platform in opened:
        platform.stop()
        platform.storage.close()


@pytest.fixture(scope="session")
def three_sites():
    return scenario.load("three-sites")
