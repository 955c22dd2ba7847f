"""A stage of its own for every test that changes it, and one for all that only look."""

import pytest
from service.conftest import Clock
from twin_stage import Stage

from twinloop.service.platform import Platform, Settings
from twinloop.storage import open_storage

QUIET = Settings(snapshot_every_s=1e9)


@pytest.fixture(scope="module")
def new_stage(small_site, tmp_path_factory):
    """Servers that nothing was shown to yet; all end with the module."""
    made = []

    def make() -> Stage:
        clock = Clock()
        storage = open_storage(str(tmp_path_factory.mktemp("stage") / "twins.db"))
        made.append(Stage(Platform(small_site, storage, clock, QUIET), clock))
        return made[-1]

    yield make
    for stage in made:
        stage.close()


@pytest.fixture
def stage(new_stage):
    """A server that nothing was shown to yet."""
    return new_stage()


@pytest.fixture(scope="module")
def shown(new_stage):
    """A server after one slot, number 10; to be looked at only: ann and dee are in the north, bob and cy not."""
    made = new_stage()
    made.live(10, serving_cell=[0, 1, 1, 0])
    return made
