"""The Gymnasium door: one agent that slices all cells and servers."""

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from twinloop.envs.episode import advance, as_task, begin, episode_number
from twinloop.envs.task import Info, Task, TaskState

Floats = NDArray[np.float32]


class CampusEnv(gymnasium.Env[Floats, Floats]):
    """`gymnasium.make("twinloop.envs:twinloop/Campus-v0", scenario="campus", data=None, episode_slots=180)`.

    Action: a flat row in [-1, 1], for every cell and then every server one number a slice; see `pool_shares`.
    Observation: a flat row in [-1, 1], cell by cell; see `observe_cells`. `reset(seed=...)` fixes the episode and those
    that follow it. `scenario` is a name, a path or a `Task`, which brings its own length of an episode.
    """

    def __init__(
        self, scenario: str | Task = "campus", *, data: str | Path | None = None, episode_slots: int | None = None
    ) -> None:
        self.task = as_task(scenario, data, episode_slots)
        task = self.task
        self.metadata = {"render_modes": []}
        self.observation_space = spaces.Box(-1.0, 1.0, (len(task.cell_names) * task.features,), np.float32)
        self.action_space = spaces.Box(-1.0, 1.0, (task.pools * task.slices,), np.float32)
        self._number = np.uint32(0)
        self._state: TaskState | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Floats, dict[str, Any]]:
        """The first observation of an episode: the one that `seed` fixes, else the next. `options` are not read."""
        super().reset(seed=seed, options=options)
        self._number = episode_number(self.np_random)
        self._state, observation = begin(self._number, self.task)
        return np.array(observation).reshape(-1), {}

    def step(self, action: Floats) -> tuple[Floats, float, bool, bool, dict[str, Any]]:
        """One slot: observation, reward, False (nothing terminates), whether the episode is over, and `info_of`.

        Raises ResetNeeded before the first reset.
        """
        if self._state is None:
            raise gymnasium.error.ResetNeeded("call reset before step")
        rows = np.asarray(action, np.float32).reshape(self.task.pools, self.task.slices)
        self._state, observation, reward, truncated, info = advance(self._number, self.task, self._state, rows)
        return np.array(observation).reshape(-1), float(reward), False, bool(truncated), info_of(info)


def info_of(info: Info) -> dict[str, Any]:
    """`Info` as Gymnasium's dictionary of numbers and arrays, of one step or of a batch."""
    return {
        "satisfaction": np.array(info.served.satisfaction)[()],
        "stall_share": np.array(info.served.stall_share)[()],
        "slice_satisfaction": np.array(info.served.slice_satisfaction),
        "cell_reward": np.array(info.cell_reward),
    }
