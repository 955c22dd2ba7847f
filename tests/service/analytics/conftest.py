"""A network of its own for every test of analytics."""

import pytest
from nwdaf_world import World


@pytest.fixture
def world() -> World:
    """Six users in two slices over three cells, their past and their future."""
    return World()
