"""The PettingZoo door: one agent for every cell, all acting at once."""

from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import error, spaces
from gymnasium.utils import seeding
from numpy.typing import NDArray
from pettingzoo import ParallelEnv

from twinloop.envs.episode import advance, as_task, begin, episode_number
from twinloop.envs.task import Task, TaskState

Floats = NDArray[np.float32]


class CampusParallelEnv(ParallelEnv[str, Floats, Floats]):
    """A campus whose cells learn apart; agents are named as the cells.

    An agent's action in [-1, 1] holds one number a slice for its bandwidth, then one a slice for the cycles of its
    server: a server takes the mean of what its cells ask. It sees its own cell and is rewarded for it (mean
    satisfaction less stalls of the cell's users, 1 without users). `state()` is what all cells see.
    """

    def __init__(
        self, scenario: str | Task = "campus", *, data: str | Path | None = None, episode_slots: int | None = None
    ) -> None:
        self.task = as_task(scenario, data, episode_slots)
        task = self.task
        self.metadata = {"render_modes": [], "name": "twinloop_campus_v0"}
        self.render_mode = None
        self.possible_agents = list(task.cell_names)
        self.agents: list[str] = []
        self.observation_spaces = {
            agent: spaces.Box(-1.0, 1.0, (task.features,), np.float32) for agent in self.possible_agents
        }
        self.action_spaces = {
            agent: spaces.Box(-1.0, 1.0, (2 * task.slices,), np.float32) for agent in self.possible_agents
        }
        self.state_space = spaces.Box(-1.0, 1.0, (len(self.possible_agents) * task.features,), np.float32)
        server = np.asarray(task.network.topology.cell_server)
        serves = np.arange(task.pools - len(self.possible_agents))[:, None] == server[None, :]
        self._mean_of_cells = (serves / np.maximum(serves.sum(axis=1, keepdims=True), 1)).astype(np.float32)
        self._generator = seeding.np_random()[0]
        self._number = np.uint32(0)
        self._state: TaskState | None = None
        self._seen = np.zeros((len(self.possible_agents), task.features), np.float32)

    def observation_space(self, agent: str) -> spaces.Space[Floats]:
        """The space of what the cell `agent` sees."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> spaces.Space[Floats]:
        """The space of what the cell `agent` decides."""
        return self.action_spaces[agent]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Floats], dict[str, dict[str, Any]]]:
        """First observations of an episode: the one that `seed` fixes, else the next. `options` are not read."""
        if seed is not None:
            self._generator = seeding.np_random(seed)[0]
        self._number = episode_number(self._generator)
        self.agents = list(self.possible_agents)
        self._state, observation = begin(self._number, self.task)
        return self._looked(observation), {agent: {} for agent in self.agents}

    def step(
        self, actions: dict[str, Floats]
    ) -> tuple[dict[str, Floats], dict[str, float], dict[str, bool], dict[str, bool], dict[str, dict[str, Any]]]:
        """One slot under everybody's action; at the end of the episode all agents leave together.

        Raises ResetNeeded before the first reset and after the last step.
        """
        if self._state is None or not self.agents:
            raise error.ResetNeeded("call reset before step")
        asked = np.stack([np.asarray(actions[agent], np.float32) for agent in self.agents])
        own, servers = np.split(asked, 2, axis=1)
        rows = np.concatenate([own, self._mean_of_cells @ servers])
        self._state, observation, _, cut, info = advance(self._number, self.task, self._state, rows)
        agents, over = self.agents, bool(cut)
        self.agents = [] if over else agents
        names = ("satisfaction", "stall_share")
        by_cell = zip(info.served.cell_satisfaction.tolist(), info.served.cell_stall_share.tolist(), strict=True)
        return (
            self._looked(observation),
            dict(zip(agents, info.cell_reward.tolist(), strict=True)),
            dict.fromkeys(agents, False),
            dict.fromkeys(agents, over),
            {agent: dict(zip(names, values, strict=True)) for agent, values in zip(agents, by_cell, strict=True)},
        )

    def state(self) -> Floats:
        """What all cells see, in one row, for a critic that may know."""
        return self._seen.reshape(-1).copy()

    def _looked(self, observation: Any) -> dict[str, Floats]:
        self._seen = np.array(observation)
        return {agent: self._seen[row].copy() for row, agent in enumerate(self.possible_agents)}
