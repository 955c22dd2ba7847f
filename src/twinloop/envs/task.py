"""Slicing as a task for learners, in pure functions: `init`, `observe` and `step` work inside jit, vmap and scan."""

from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from twinloop.entities import Action
from twinloop.envs.observation import CELL_FEATURES, SLICE_FEATURES, Served, observe_cells, served
from twinloop.envs.sharing import slicing_action
from twinloop.errors import ScenarioError
from twinloop.scenario import build_loop, load
from twinloop.simulator import Environment, Outcome, Overhead, Params, State
from twinloop.simulator import init as init_network
from twinloop.simulator import step as step_network

EPISODE_SLOTS = 180


class Task(eqx.Module):
    """Parameters of the task: a network, and how many slots an episode has. `cell_names` in the network's order."""

    network: Params
    episode_slots: Int[Array, ""]
    cell_names: tuple[str, ...] = eqx.field(static=True)

    @property
    def pools(self) -> int:
        """Rows of an action: the cells, which have bandwidth, then the servers, which have cycles."""
        return len(self.cell_names) + self.network.topology.server_kappa.shape[0]

    @property
    def slices(self) -> int:
        """Columns of an action."""
        return self.network.slices.active.shape[0]

    @property
    def features(self) -> int:
        """Columns of an observation."""
        return self.slices * len(SLICE_FEATURES) + len(CELL_FEATURES)


class TaskState(eqx.Module):
    """Everything of an episode that evolves, with the slot that is over; `slot` counts the steps taken."""

    environment: Environment
    network: State
    outcome: Outcome
    slot: Int[Array, ""]


class Info(eqx.Module):
    """What a step leaves besides its reward: how well people were served, and `cell_reward`, the reward by cell."""

    served: Served
    cell_reward: Float[Array, " cells"]


def load_task(scenario: str, data: Path | None = None, episode_slots: int = EPISODE_SLOTS) -> Task:
    """The task on a scenario, by its name or path; every episode is as long. Who likes what is drawn from its seed.

    The scenario's network and people are used; its twins, policy and events are not. Raises ScenarioError, also for an
    episode without slots, and DataError when the scenario needs data that is not there.
    """
    if episode_slots < 1:
        raise ScenarioError(f"an episode of {episode_slots} slots; it needs at least 1")
    described = load(scenario)
    loop, _ = build_loop(described, data)
    return Task(loop.network.params, jnp.int32(episode_slots), tuple(cell.name for cell in described.network.cells))


def init(key: PRNGKeyArray, task: Task) -> TaskState:
    """The state before the first step: people placed by `key`, and one slot lived at even shares, to be observed."""
    k_network, k_slot = jax.random.split(key)
    environment, state = init_network(k_network, task.network)
    state, outcome = step_network(k_slot, task.network, environment, state, _even(task.network), _none(task.network))
    return TaskState(environment, state, outcome, jnp.int32(0))


def observe(task: Task, state: TaskState) -> Float[Array, "cells features"]:
    """What the learner sees of the slot that is over; see `observe_cells` for the features."""
    return observe_cells(task.network, state.network, state.outcome)


def step(
    key: PRNGKeyArray, task: Task, state: TaskState, action: Float[Array, "pools slices"]
) -> tuple[TaskState, Float[Array, "cells features"], Float[Array, ""], Bool[Array, ""], Info]:
    """One slot of 1 s under `action` in [-1, 1]: state, observation, reward, whether the episode is cut, info.

    reward = sum_u w_u (min(delivered_u / needed_u, 1) - stall_u / slot) / sum_u w_u over the users present, w the
    weight of their slice: mean satisfaction less the share of time in which nothing plays, from -1 to 1. Nothing ends
    an episode but its length, so there is no termination. The action becomes shares by `slicing_action`.

    Left out: what twins would use of bandwidth and cycles, reports that are late or lost, the scenario's events.
    """
    wanted = slicing_action(task.network, state.network, state.outcome, action)
    network, outcome = step_network(key, task.network, state.environment, state.network, wanted, _none(task.network))
    after = TaskState(state.environment, network, outcome, state.slot + 1)
    got = served(task.network, outcome)
    info = Info(got, got.cell_satisfaction - got.cell_stall_share)
    return after, observe(task, after), got.satisfaction - got.stall_share, after.slot >= task.episode_slots, info


def _none(params: Params) -> Overhead:
    return Overhead(jnp.zeros(params.user_slice.shape[0]), jnp.zeros(params.topology.server_kappa.shape[0]))


def _even(params: Params) -> Action:
    topology, active = params.topology, params.slices.active
    cells, flows = topology.cell_power_dbm.shape[0], params.user_slice.shape[0]
    flows += params.group_slice.shape[0] * cells
    share = active / jnp.maximum(jnp.sum(active), 1)
    return Action(
        slice_active=active,
        slice_bandwidth_hz=topology.cell_bandwidth_hz[:, None] * share[None, :],
        slice_cycles_per_s=topology.server_cycles_per_s[:, None] * share[None, :],
        slice_cache_bytes=topology.server_cache_bytes[:, None] * share[None, :],
        flow_bandwidth_hz=jnp.full(flows, jnp.max(topology.cell_bandwidth_hz)),
        flow_cycles_per_s=jnp.full(flows, jnp.max(topology.server_cycles_per_s)),
    )
