"""The batched Gymnasium door: many episodes in one compiled step."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import error, spaces
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from twinloop.envs.episode import advance_batch, as_task, begin_batch, episode_number, renew_batch
from twinloop.envs.single import info_of
from twinloop.envs.task import Task, TaskState

Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]


class CampusVectorEnv(VectorEnv[Floats, Floats, Any]):
    """`num_envs` campuses, each the same as a `CampusEnv` with its seed, stepped together.

    An episode that is over begins anew in the same step: its last observation is in `info["final_obs"]`, its last info
    in `info["final_info"]` (Gymnasium's SAME_STEP). `reset(seed=n)` gives environment i the seed n + i.
    """

    def __init__(
        self,
        scenario: str | Task = "campus",
        *,
        num_envs: int = 1,
        data: str | Path | None = None,
        episode_slots: int | None = None,
    ) -> None:
        if num_envs < 1:
            raise error.Error(f"num_envs is {num_envs}; there must be at least 1")
        self.task = as_task(scenario, data, episode_slots)
        task = self.task
        self.num_envs = num_envs
        self.metadata = {"render_modes": [], "autoreset_mode": AutoresetMode.SAME_STEP}
        self.single_observation_space = spaces.Box(-1.0, 1.0, (len(task.cell_names) * task.features,), np.float32)
        self.single_action_space = spaces.Box(-1.0, 1.0, (task.pools * task.slices,), np.float32)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._generators = [seeding.np_random()[0] for _ in range(num_envs)]
        self._numbers = np.zeros(num_envs, np.uint32)
        self._states: TaskState | None = None

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Floats, dict[str, Any]]:
        """First observations. `seed` is the first environment's, or a list with one for each.

        `options` may hold `reset_mask`: only environments that it marks begin anew. Raises ResetNeeded for a mask
        before the first reset, Error when a list of seeds or a mask does not have one entry for each environment.
        """
        mask = np.asarray((options or {}).get("reset_mask", np.ones(self.num_envs, np.bool_)), np.bool_)
        seeds = [seed + i for i in range(self.num_envs)] if isinstance(seed, int) else seed
        seeds = [None] * self.num_envs if seeds is None else list(seeds)
        if len(seeds) != self.num_envs or mask.shape != (self.num_envs,):
            raise error.Error(f"give one seed and one mark for each of {self.num_envs} environments")
        for index in np.flatnonzero(mask):
            if seeds[index] is not None:
                self._generators[index] = seeding.np_random(seeds[index])[0]
        self._draw(mask)
        if not mask.all():
            return self._renew(mask), {}
        self._states, observation = begin_batch(self._numbers, self.task)
        return self._rows(observation), {}

    def step(self, actions: Floats) -> tuple[Floats, NDArray[np.float64], Flags, Flags, dict[str, Any]]:
        """One slot of every environment; see `CampusEnv.step`. Raises ResetNeeded before the first reset."""
        shaped = np.asarray(actions, np.float32).reshape(self.num_envs, self.task.pools, self.task.slices)
        self._states, observation, reward, cut, info = advance_batch(self._numbers, self.task, self._begun(), shaped)
        rows, truncated, infos = self._rows(observation), np.array(cut), info_of(info)
        everywhere = np.ones(self.num_envs, np.bool_)
        infos |= {f"_{name}": everywhere for name in infos}
        if truncated.any():
            last = np.full(self.num_envs, None, object)
            for index in np.flatnonzero(truncated):
                last[index] = rows[index]
            infos |= {"final_obs": last, "_final_obs": truncated, "final_info": dict(infos), "_final_info": truncated}
            self._draw(truncated)
            rows = self._renew(truncated)
        return rows, np.array(reward, np.float64), np.zeros(self.num_envs, np.bool_), truncated, infos

    def _begun(self) -> TaskState:
        if self._states is None:
            raise error.ResetNeeded("call reset before step, and reset everything first")
        return self._states

    def _draw(self, mask: Flags) -> None:
        self._numbers = self._numbers.copy()
        for index in np.flatnonzero(mask):
            self._numbers[index] = episode_number(self._generators[index])

    def _renew(self, mask: Flags) -> Floats:
        self._states, observation = renew_batch(mask, self._numbers, self.task, self._begun())
        return self._rows(observation)

    def _rows(self, observation: Any) -> Floats:
        return np.array(observation).reshape(self.num_envs, -1)
