import json

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twinloop.decision import TACTICS, learned_allocation
from twinloop.errors import ScenarioError
from twinloop.learning import LearningCurve, q_network, read_card
from twinloop.loop import slot
from twinloop.runs import parse_policy
from twinloop.scenario import build_loop, load
from twinloop.training import TrainedAgents, agent_settings, save_agents
from twinloop.training.agents.scoring import Minutes, Score, score_of
from twinloop.training.agents.task import REWARD_SCALE, AgentsTask, draw_scenes, params_of, worth
from twinloop.training.agents.worlds import draw_worlds


@pytest.fixture(scope="module")
def worlds():
    return draw_worlds(load("da-qoe"), [5000, 5001])


@pytest.fixture(scope="module")
def lived(worlds):
    """A minute and a half of an episode in which users ask for the lowest version or for the top one."""
    task = AgentsTask(worlds, draw_scenes(jax.random.key(0), worlds, 4), TACTICS["pdrl"], hold=30, grids=1, shared=0.0)
    begun, _ = task.init(jax.random.key(1))
    ask = jnp.stack([jnp.arange(24) % 2 * 3 + 1, jnp.ones(24, jnp.int32)], axis=1).astype(jnp.int32)
    step = eqx.filter_jit(task.step)
    states, rewards, overs = [begun], [], []
    for number in range(6):
        state, seen, brought = step(jax.random.key(number), states[-1], ask)
        states.append(state)
        rewards.append(np.asarray(brought.reward))
        overs.append(bool(brought.over))
    return task, states, seen, np.array(rewards), overs


def test_worlds_are_the_twins_and_not_the_networks(worlds):
    assert worlds.populations == 2
    assert worlds.params.radio_trace is None
    assert float(worlds.params.radio.shadow_scale) == 0.0
    assert not np.array_equal(worlds.persons.agreed[0], worlds.persons.agreed[1])
    assert not np.array_equal(worlds.persons.true.kappa_b, worlds.persons.believed.kappa_b)


def test_agents_see_finite_numbers_of_order_one(lived):
    _, states, seen, rewards, overs = lived
    assert np.all(np.isfinite(seen.features)) and np.abs(np.asarray(seen.features)).max() <= 4.0
    assert np.all(np.isfinite(rewards)) and np.abs(rewards).max() < 10.0
    there = np.asarray(states[-1].outcome.active)
    assert 16 <= there.sum() <= 24
    assert overs[-1] and not any(overs[:-1])


def test_gains_add_up_to_where_people_stand_by_true_experience(lived, worlds):
    _, states, _, rewards, _ = lived
    before, after = states[1], states[4]
    params, agreed = params_of(worlds, before.world), worlds.persons.agreed[before.world]
    gain = np.asarray(worth(params, agreed, after)) - np.asarray(worth(params, agreed, before))
    there = np.asarray(before.outcome.active)
    assert rewards[1:4].sum(axis=0)[there] / REWARD_SCALE == pytest.approx(gain[there], abs=1e-3)
    assert np.all(rewards[:, ~there] == 0)


def test_at_the_end_of_a_minute_experience_is_the_true_one(lived):
    _, states, _, _, _ = lived
    minute = states[2]
    assert float(minute.done) == 1.0
    assert np.array_equal(minute.experience_sum, minute.outcome.experience)
    there = np.asarray(minute.outcome.active)
    assert np.all(np.asarray(minute.outcome.experience)[there] >= 1.0)


def test_scores_are_those_of_people_present_after_the_first_three_minutes():
    felt = np.full((1, 6, 3), 1.0, np.float32)
    felt[0, 3:, 0], felt[0, 3:, 1], felt[0, :3, 1] = [3.0, 4.0, 5.0], 2.0, 5.0
    minutes = Minutes(jnp.asarray(felt), jnp.array([[True, True, False]]), jnp.array([[3.0, 4.0, 5.0]]))
    score = score_of(minutes)
    assert score.ela_ratio == [0.75] and score.ela_share == [0.5]
    assert score.qoe_median == [2.5]


def test_what_was_trained_is_saved_with_its_numbers_and_curve(tmp_path):
    network = q_network(jax.random.key(0), 39, TACTICS["pdrl"].levels, layers=5, width=8, head_width=4)
    numbers = jnp.arange(3.0)
    curve = LearningCurve(
        100 * jnp.arange(1, 4), numbers[:, None] + jnp.ones((3, 4)), numbers, numbers / 3, jnp.int32(2)
    )
    ours, theirs = Score([0.9, 0.7], [0.5, 0.5], [4.0, 4.0]), Score([0.8, 0.5], [0.5, 0.4], [4.0, 3.0])
    trained = TrainedAgents(network, curve, {"agents": ours, "experience": theirs}, 1.0)
    path = save_agents(tmp_path / "out", "pdrl", trained, {"command": "a test"})
    told = json.loads((path.parent / "results.json").read_text())
    assert told["differences"]["experience"]["ela_ratio"]["mean"] == pytest.approx(0.15)
    assert told["train_s"] == 1.0
    assert told["curve"]["return"] == [1.0, 2.0, 3.0] and told["curve"]["best"] == 2
    assert read_card(path)["scores"]["agents"]["ela_share"]["mean"] == 0.5
    assert learned_allocation("pdrl", 2, 3, 24, path).hold == 10
    assert (path.parent / "learning_curve.png").stat().st_size > 10_000


@pytest.mark.parametrize("name", ["groups", "pdrl"])
def test_a_policy_names_them_and_a_slot_is_decided_by_them(name):
    described = load("da-qoe")
    policy = parse_policy(f"greedy+{name}", described.policy)
    assert policy.objective == "experience" and policy.experiential
    loop, state = build_loop(described.model_copy(update={"policy": policy}))
    after, _, _ = eqx.filter_eval_shape(slot, jax.random.key(0), loop, state)
    assert after.allocations[0].level.shape == state.allocations[0].level.shape


def test_schemes_differ_in_layers_alone():
    groups, pdrl = (vars(agent_settings(scheme, 1000)) for scheme in ("groups", "pdrl"))
    assert {name for name in groups if groups[name] != pdrl[name]} == {"layers"}


def test_worlds_without_feelings_are_refused():
    described = load("da-qoe")
    deaf = described.model_copy(update={"twin": described.twin.model_copy(update={"ratings": 0})})
    with pytest.raises(ScenarioError, match="experience"):
        draw_worlds(deaf, [5000])


def test_an_unknown_scheme_is_told_in_one_line(twinloop, tmp_path):
    status, _, err = twinloop("train", "agents", "--scheme", "group", "--out", str(tmp_path))
    assert status == 2 and err.count("\n") == 1 and "groups, pdrl" in err
