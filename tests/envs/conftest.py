"""One small scenario for all tests of the environments: two cells, one server, three slices, one of them multicast."""

from collections.abc import Iterator
from pathlib import Path

import jax.numpy as jnp
import pytest

from twinloop.envs import Task, load_task

SCENARIO = """
name: quad
title: A small square
area_m: [300, 200]
network:
  servers: [{name: edge, cycles_per_s: 4.0e+9, cache_bytes: 0.5e+9}]
  cells:
    - {name: west, model: umi, position_m: [80, 100], height_m: 10, power_dbm: 33, bandwidth_hz: 4.0e+6}
    - {name: east, model: umi, position_m: [220, 100], height_m: 10, power_dbm: 33, bandwidth_hz: 4.0e+6}
slices:
  - {name: premium, target_bps: 3.0e+6, floor_share: 0.1}
  - {name: standard, target_bps: 1.0e+6, floor_share: 0.05}
  - {name: multicast, service: short_video_multicast, target_bps: 1.7e+6, floor_share: 0.05}
users:
  - {count: 4, slice: premium, mobility: waypoint}
  - {count: 5, slice: standard, mobility: waypoint}
  - {count: 4, slice: multicast, mobility: waypoint, groups: 2}
viewing: {videos: 64, session_on_p: 0.05, session_off_p: 0.01}
twin: {emulator: last_value}
policy: {reservation: equal, allocation: round_robin}
"""
SLOTS = 12


@pytest.fixture(scope="session")
def scenario_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("envs") / "quad.yaml"
    path.write_text(SCENARIO)
    return path


@pytest.fixture(scope="session")
def task(scenario_file: Path) -> Iterator[Task]:
    loaded = load_task(str(scenario_file), episode_slots=SLOTS)
    assert int(loaded.episode_slots) == SLOTS
    yield loaded
    assert bool(jnp.all(loaded.network.slices.active)), "a test changed the shared task"
