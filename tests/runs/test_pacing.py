from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twinloop.decision import DynamicsScale, adaptive_window
from twinloop.entities import USER_ATTRIBUTES, column
from twinloop.errors import ScenarioError
from twinloop.runs.pacing import Pacing
from twinloop.scenario import build_loop, dump, load, parse

SPEED_ALONE = DynamicsScale(jnp.full(5, 10.0), jnp.eye(5)[2])
RULE = (adaptive_window(jnp.array([0.1, 0.2, 0.3, 0.4]), rate=0.0), SPEED_ALONE)


@pytest.fixture(scope="module")
def world():
    scenario = load("da-qoe")
    described = scenario.model_copy(update={"users": [u.model_copy(update={"count": 2}) for u in scenario.users]})
    return described, build_loop(described)[1].twin


def seen(twins, speed_mps):
    """Twins of people who all move at this speed, seen in the first slot."""
    at = column(USER_ATTRIBUTES, "speed_mps")
    current = twins.users.current
    value = jnp.zeros_like(current.value).at[:, at].set(speed_mps)
    known = replace(current, active=jnp.ones_like(current.active), value=value, slot=jnp.zeros_like(current.slot))
    return replace(twins, users=replace(twins.users, current=known))


def paced(scenario, twins, speeds, **changes):
    """Minutes before which slices are decided, with people's speed in every minute."""
    policy = scenario.policy.model_copy(update=changes)
    pacing = Pacing([scenario.model_copy(update={"policy": policy})], (), [RULE])
    assert pacing.step_slots % 60 == 0
    decided = []
    for minute, speed in enumerate(speeds):
        due, told = pacing.due(60 * minute)
        if due[0]:
            decided.append(minute)
        assert not told or 0.0 <= told["score"][0] <= 1.0
        stacked = jax.tree.map(lambda leaf: leaf[None], seen(twins, speed))
        pacing.observe(stacked, jnp.ones((1, 60, 2, 3)))
    return decided


def test_calm_people_leave_slices_alone_for_a_quarter_of_an_hour(world):
    assert paced(*world, [2.0] * 36, windows="adaptive") == [1, 15, 30]


def test_restless_people_have_slices_decided_every_block(world):
    decided = paced(*world, [2.0 + 6.0 * ((minute // 3) % 2) for minute in range(24)], windows="adaptive")
    assert np.all(np.diff(decided[1:]) == 3) and len(decided) >= 6


def test_fixed_windows_are_those_of_the_scenario(world):
    assert paced(*world, [2.0] * 12, windows="fixed") == [1, 3, 6, 9]


def test_adaptive_windows_need_twins_that_follow_experience():
    text = dump(load("da-qoe")).replace("ratings: 64", "ratings: 0").replace("windows: fixed", "windows: adaptive")
    with pytest.raises(ScenarioError, match="ratings"):
        parse(text, "mine.yaml")
