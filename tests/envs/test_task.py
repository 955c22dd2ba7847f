"""The functional task: actions that cannot break a promise, observations within bounds, rewards that answer."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from twinloop.envs import init, load_task, observe, pool_shares, slicing_action, step
from twinloop.errors import ScenarioError
from twinloop.slicing import SliceTable, capacity_and_isolation

WEST, EAST, EDGE = 0, 1, 2
PREMIUM, STANDARD, MULTICAST = range(3)
SLOTS = 12


@eqx.filter_jit
def lived(key, task, action):
    """An episode under one unchanging action."""
    k_init, k_steps = jax.random.split(key)

    def slot(state, k_slot):
        state, observation, reward, truncated, info = step(k_slot, task, state, action)
        return state, (observation, reward, truncated, info, state.outcome)

    return jax.lax.scan(slot, init(k_init, task), jax.random.split(k_steps, SLOTS))


@pytest.fixture(scope="module")
def mean_of_episodes(task):
    """Means over a batch of episodes and their slots, by action."""
    keys = jax.random.split(jax.random.key(5), 8)
    batch = jax.jit(jax.vmap(lived, in_axes=(0, None, None)))

    def means(action):
        _, (_, reward, _, info, _) = batch(keys, task, jnp.asarray(action, jnp.float32))
        return float(reward.mean()), np.asarray(info.served.slice_satisfaction.mean(axis=(0, 1)))

    return means


@settings(max_examples=30, deadline=None)
@given(
    arrays(np.float32, (3, 4), elements=st.floats(-3, 3, width=32)),
    st.lists(st.booleans(), min_size=4, max_size=4).filter(any),
)
def test_no_action_breaks_capacity_or_isolation(action, active):
    on = jnp.asarray(active)
    table = SliceTable(on, jnp.ones(4), jnp.array([0.3, 0.2, 0.1, 0.25]) * on, jnp.ones(4))
    share = pool_shares(jnp.asarray(action), table)
    assert np.allclose(share.sum(axis=1), 1.0, atol=1e-5)
    broken = capacity_and_isolation(table, share, jnp.ones(3), jnp.ones((3, 4)))
    assert not any(bool(entry) for entry in jax.tree.leaves(broken))


def test_a_larger_number_is_a_larger_share(task):
    share = pool_shares(jnp.array([[-0.5, 0.0, 0.5]]), task.network.slices)[0]
    floor = task.network.slices.floor_share
    free = (share - floor) / (1 - floor.sum())
    assert np.allclose(free[1:] / free[:-1], np.exp(2.0), rtol=1e-4)


def test_flows_share_exactly_what_their_slice_holds(task):
    state = init(jax.random.key(2), task)
    action = slicing_action(task.network, state.network, state.outcome, jnp.zeros((3, 3)))
    outcome, users = state.outcome, task.network.user_slice.shape[0]
    for cell in (WEST, EAST):
        for row in (PREMIUM, STANDARD):
            mine = outcome.active & (outcome.serving_cell == cell) & (task.network.user_slice == row)
            given = float(jnp.where(mine, action.flow_bandwidth_hz[:users], 0.0).sum())
            wanted = float(action.slice_bandwidth_hz[cell, row]) if bool(mine.any()) else 0.0
            assert given == pytest.approx(wanted, rel=1e-4)
    members = task.network.user_group >= 0
    assert not bool(jnp.any(action.flow_bandwidth_hz[:users] * members))
    assert float(action.flow_bandwidth_hz[users:].sum()) > 0


def test_the_same_key_gives_the_same_episode_and_another_key_another(task):
    first, again, other = (lived(jax.random.key(seed), task, jnp.zeros((3, 3)))[1][0] for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.allclose(first, other, atol=1e-3)


def test_observations_are_bounded_finite_and_differ_by_cell(task):
    observation = lived(jax.random.key(3), task, jnp.array([[0.0, 0.0, -1.0]] * 3))[1][0]
    assert observation.shape == (SLOTS, 2, task.features)
    assert observation.dtype == jnp.float32
    assert bool(jnp.all(jnp.isfinite(observation) & (jnp.abs(observation) <= 1.0)))
    assert not np.allclose(observation[:, WEST], observation[:, EAST])
    assert np.all(np.ptp(observation, axis=(0, 1)) > 0), "a feature never changes"


def test_observation_is_what_its_names_say(task):
    state = init(jax.random.key(4), task)
    outcome, network = state.outcome, task.network
    row = np.asarray(observe(task, state))[WEST]
    here = np.asarray(outcome.active & (outcome.serving_cell == WEST) & (network.user_slice == STANDARD))
    assert here.any()
    users, demand, _, satisfaction, buffer = row[5:10]
    count = here.sum() * 6 / network.user_slice.shape[0]
    needed, delivered = np.asarray(outcome.needed_bits)[here], np.asarray(outcome.delivered_bits)[here]
    hertz = (needed / np.asarray(outcome.spectral_efficiency)[here]).sum() / 4e6
    assert users == pytest.approx(2 * count / (1 + count) - 1, abs=1e-4)
    assert demand == pytest.approx(2 * hertz / (1 + hertz) - 1, abs=1e-3)
    assert satisfaction == pytest.approx(2 * np.minimum(delivered / needed, 1).mean() - 1, abs=1e-4)
    assert buffer == pytest.approx(2 * np.asarray(outcome.buffer_s)[here].mean() / 6.0 - 1, abs=1e-4)
    assert row[-3] == pytest.approx(2 * float(outcome.load[WEST]) - 1, abs=1e-5)


def test_the_reward_is_satisfaction_less_stalls(task):
    _, (_, reward, truncated, info, outcome) = lived(jax.random.key(6), task, jnp.zeros((3, 3)))
    here = np.asarray(outcome.active)
    needed, delivered = np.asarray(outcome.needed_bits), np.asarray(outcome.delivered_bits)
    user = np.minimum(delivered / np.maximum(needed, 1), 1) - np.asarray(outcome.rebuffer_s)
    assert np.allclose(reward, (user * here).sum(axis=1) / here.sum(axis=1), atol=1e-4)
    cell = np.asarray(outcome.serving_cell)
    for slot in range(SLOTS):
        mine = here[slot] & (cell[slot] == EAST)
        wanted = user[slot][mine].mean() if mine.any() else 1.0
        assert float(info.cell_reward[slot, EAST]) == pytest.approx(wanted, abs=1e-4)
    assert np.asarray(truncated).tolist() == [False] * (SLOTS - 1) + [True]


def test_slices_weigh_as_their_worth(task):
    heavy = eqx.tree_at(lambda t: t.network.slices.weight, task, jnp.array([1.0, 0.0, 0.0]))
    _, (_, _, _, info, _) = lived(jax.random.key(7), heavy, jnp.zeros((3, 3)))
    assert np.allclose(info.served.satisfaction, info.served.slice_satisfaction[:, PREMIUM], atol=1e-5)


@pytest.mark.parametrize("row", [STANDARD, MULTICAST])
def test_starving_a_slice_costs_its_people_and_reward(row, mean_of_episodes):
    fair = np.zeros((3, 3), np.float32)
    starved = fair.copy()
    starved[:, row] = -1.0
    starved[:, PREMIUM] = 1.0
    reward, satisfaction = mean_of_episodes(fair)
    lower, hungry = mean_of_episodes(starved)
    assert hungry[row] < satisfaction[row] - 0.1
    assert lower < reward - 0.03


def test_cycles_matter_too(mean_of_episodes):
    starved = np.zeros((3, 3), np.float32)
    starved[EDGE] = [1.0, -1.0, -1.0]
    _, fair = mean_of_episodes(np.zeros((3, 3)))
    _, hungry = mean_of_episodes(starved)
    assert hungry[STANDARD] < fair[STANDARD] - 0.05


def test_a_batch_equals_a_loop(task):
    keys = jax.random.split(jax.random.key(8), 3)
    actions = jax.random.uniform(jax.random.key(9), (3, 3, 3), minval=-1.0, maxval=1.0)
    _, batched = jax.jit(jax.vmap(lived, in_axes=(0, None, 0)))(keys, task, actions)
    for index in range(3):
        _, alone = lived(keys[index], task, actions[index])
        assert np.allclose(batched[0][index], alone[0], atol=1e-4)
        assert np.allclose(batched[1][index], alone[1], atol=1e-4)


def test_a_step_is_traced_once_whatever_happens(task):
    traces = []

    @jax.jit
    def slot(key, task, state, action):
        traces.append(1)
        return step(key, task, state, action)[0]

    state = jax.jit(init)(jax.random.key(10), task)
    present = set()
    for number in range(SLOTS):
        state = slot(jax.random.key(number), task, state, jnp.full((3, 3), number / SLOTS, jnp.float32))
        present.add(int(state.outcome.active.sum()))
    slot(jax.random.key(0), replace(task, episode_slots=jnp.int32(3)), state, jnp.zeros((3, 3)))
    assert traces == [1]
    assert len(present) > 1, "nobody came or went"


def test_an_episode_needs_slots(scenario_file):
    with pytest.raises(ScenarioError, match="episode of 0 slots"):
        load_task(str(scenario_file), episode_slots=0)
