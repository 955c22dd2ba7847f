"""Gymnasium and PettingZoo accept the environments, and every door leads to the same episodes."""

import importlib
import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from pettingzoo.test import parallel_api_test, parallel_seed_test

import twinloop.envs
from twinloop.envs import CampusEnv, CampusParallelEnv, CampusVectorEnv
from twinloop.errors import ScenarioError

CAMPUS = "twinloop.envs:twinloop/Campus-v0"
SLOTS = 12


def actions_of(env, count, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(-1, 1, (count, *env.action_space.shape)).astype(np.float32)


def trajectory(env, seed, actions):
    """Observations and rewards, over the ends of episodes."""
    observation, _ = env.reset(seed=seed)
    seen, rewards = [observation], []
    for action in actions:
        observation, reward, _, truncated, _ = env.step(action)
        if truncated:
            observation, _ = env.reset()
        seen.append(observation)
        rewards.append(reward)
    return np.array(seen), np.array(rewards)


def test_gymnasium_makes_and_checks_it(scenario_file):
    env = gymnasium.make(CAMPUS, scenario=str(scenario_file), episode_slots=5)
    assert env.spec is not None
    assert env.spec.id == "twinloop/Campus-v0"
    check_env(env.unwrapped)
    env.reset(seed=1)
    ends = [env.step(env.action_space.sample())[2:4] for _ in range(5)]
    assert ends == [(False, False)] * 4 + [(False, True)]


def test_registering_again_is_silent():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = importlib.reload(twinloop.envs)
    assert again.CampusEnv is CampusEnv
    assert gymnasium.spec(CAMPUS.split(":")[1]).entry_point == "twinloop.envs:CampusEnv"


def test_a_seed_is_an_episode_and_the_episodes_after_it(task):
    env, other = CampusEnv(task), CampusEnv(task)
    actions = actions_of(env, SLOTS + 3)
    first, again, different = (trajectory(e, seed, actions) for e, seed in ((env, 3), (other, 3), (env, 4)))
    assert np.array_equal(first[0], again[0])
    assert np.array_equal(first[1], again[1])
    assert not np.allclose(first[0], different[0], atol=1e-3)
    assert not np.allclose(first[0][0], first[0][SLOTS], atol=1e-3), "the second episode is the first again"


def test_resetting_without_a_seed_goes_on_to_another_episode(task):
    env = CampusEnv(task)
    first, second = (env.reset(seed=seed)[0] for seed in (5, None))
    assert not np.allclose(first, second, atol=1e-3)


@pytest.mark.parametrize("make", [CampusEnv, lambda task: CampusVectorEnv(task, num_envs=2)])
def test_a_step_before_a_reset_is_refused(make, task):
    env = make(task)
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(np.zeros(env.action_space.shape, np.float32))


def test_a_batch_equals_single_environments_beyond_the_end_of_episodes(task):
    batch, single = CampusVectorEnv(task, num_envs=3), CampusEnv(task)
    actions = actions_of(batch, SLOTS + 4, seed=1)
    seen, rewards = [batch.reset(seed=20)[0]], []
    for slot, action in enumerate(actions):
        observation, reward, terminated, truncated, info = batch.step(action)
        assert batch.observation_space.contains(observation)
        assert not terminated.any()
        assert truncated.tolist() == [slot == SLOTS - 1] * 3
        assert ("final_obs" in info) == (slot == SLOTS - 1)
        assert np.array_equal(info["cell_reward"].shape, (3, 2))
        if "final_obs" in info:
            assert not np.allclose(info["final_obs"][0], observation[0], atol=1e-3)
            assert np.array_equal(info["final_info"]["satisfaction"], info["satisfaction"])
        seen.append(observation)
        rewards.append(reward)
    for index in range(3):
        alone = trajectory(single, 20 + index, actions[:, index])
        assert np.allclose(np.array(seen)[:, index], alone[0], atol=1e-4)
        assert np.allclose(np.array(rewards)[:, index], alone[1], atol=1e-4)


def test_a_mask_resets_only_what_it_marks(task):
    batch = CampusVectorEnv(task, num_envs=2)
    batch.reset(seed=[1, 2])
    before = batch.step(np.zeros(batch.action_space.shape, np.float32))[0]
    after, _ = batch.reset(options={"reset_mask": np.array([True, False])})
    assert not np.allclose(after[0], before[0], atol=1e-3)
    assert np.allclose(after[1], before[1], atol=1e-6)
    ends = [batch.step(np.zeros(batch.action_space.shape, np.float32))[3].tolist() for _ in range(SLOTS)]
    assert ends[SLOTS - 2] == [False, True]
    assert ends[SLOTS - 1] == [True, False]


def test_gymnasium_makes_the_batch(scenario_file):
    batch = gymnasium.make_vec(
        CAMPUS, num_envs=2, vectorization_mode="vector_entry_point", scenario=str(scenario_file), episode_slots=5
    )
    assert isinstance(batch.unwrapped, CampusVectorEnv)
    observation, _ = batch.reset(seed=1)
    assert batch.observation_space.contains(observation)


@pytest.mark.parametrize("seed", [[1], [1, 2, 3]])
def test_a_list_of_seeds_names_every_environment(seed, task):
    with pytest.raises(gymnasium.error.Error, match="each of 2 environments"):
        CampusVectorEnv(task, num_envs=2).reset(seed=seed)


def test_an_empty_batch_is_refused(task):
    with pytest.raises(gymnasium.error.Error, match="at least 1"):
        CampusVectorEnv(task, num_envs=0)


def test_pettingzoo_accepts_it(task):
    parallel_api_test(CampusParallelEnv(task), num_cycles=2 * SLOTS)
    parallel_seed_test(lambda: CampusParallelEnv(task), num_cycles=SLOTS)


def test_agents_are_the_cells_and_leave_together(task):
    env = CampusParallelEnv(task)
    env.reset(seed=1)
    assert env.agents == ["west", "east"]
    for slot in range(SLOTS):
        nothing = {agent: np.zeros(6, np.float32) for agent in env.agents}
        seen, rewards, terminations, truncations, _ = env.step(nothing)
        assert set(seen) == set(rewards) == set(terminations) == set(truncations) == {"west", "east"}
        assert all(env.observation_space(agent).contains(row) for agent, row in seen.items())
        assert set(truncations.values()) == {slot == SLOTS - 1}
        assert np.array_equal(env.state(), np.concatenate([seen["west"], seen["east"]]))
        assert env.state_space.contains(env.state())
    assert env.agents == []
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step({})


def test_agents_together_are_the_single_agent(task):
    together, single = CampusParallelEnv(task), CampusEnv(task)
    seen, _ = together.reset(seed=8)
    observation, _ = single.reset(seed=8)
    assert np.array_equal(np.concatenate(list(seen.values())), observation)
    cells = np.array([[0.5, 0.0, -0.5], [0.0, 0.2, 0.4]], np.float32)
    asked = np.array([[1.0, 0.0, 0.0], [0.0, 0.5, -1.0]], np.float32)
    actions = {agent: np.concatenate([cells[row], asked[row]]) for row, agent in enumerate(together.agents)}
    for _ in range(4):
        seen, rewards, *_ = together.step(actions)
        observation, _, _, _, info = single.step(np.concatenate([*cells, asked.mean(axis=0)]))
        assert np.allclose(np.concatenate(list(seen.values())), observation, atol=1e-6)
        assert np.allclose(list(rewards.values()), info["cell_reward"], atol=1e-6)


def test_a_cell_answers_for_itself(task):
    env = CampusParallelEnv(task)
    total = {}
    for starve in (0.0, -1.0):
        env.reset(seed=9)
        rewards = []
        for _ in range(SLOTS):
            west = np.array([-starve, starve, starve, 0, 0, 0], np.float32)
            rewards.append(list(env.step({"west": west, "east": np.zeros(6, np.float32)})[1].values()))
        total[starve] = np.mean(rewards, axis=0)
    west, east = total[-1.0] - total[0.0]
    assert west < -0.03
    assert west < east


def test_an_unknown_scenario_is_a_clear_error():
    with pytest.raises(ScenarioError, match="campus"):
        CampusEnv("campuss")
