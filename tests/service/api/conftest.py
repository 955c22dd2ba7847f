"""A stage of its own for every test of the API."""

import pytest
from twin_stage import Stage


@pytest.fixture
def stage(make_platform, tmp_path, clock):
    """A server that nothing was shown to yet."""
    made = Stage(make_platform(tmp_path / "twins.db", snapshot_every_s=1e9), clock)
    yield made
    made.close()
