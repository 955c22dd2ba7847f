"""Learners' doors: the task as pure functions, and Gymnasium and PettingZoo environments over them.

`gymnasium.make("twinloop.envs:twinloop/Campus-v0")` imports this module, and so finds what it registers.
"""

from gymnasium.envs.registration import register, registry

from twinloop.envs.observation import CELL_FEATURES, SLICE_FEATURES, Served
from twinloop.envs.parallel import CampusParallelEnv
from twinloop.envs.sharing import pool_shares, slicing_action
from twinloop.envs.single import CampusEnv
from twinloop.envs.task import Info, Task, TaskState, init, load_task, observe, step
from twinloop.envs.vector import CampusVectorEnv

__all__ = [
    "CELL_FEATURES",
    "SLICE_FEATURES",
    "CampusEnv",
    "CampusParallelEnv",
    "CampusVectorEnv",
    "Info",
    "Served",
    "Task",
    "TaskState",
    "init",
    "load_task",
    "observe",
    "pool_shares",
    "slicing_action",
    "step",
]

_NAME = "twinloop/Campus-v0"

if _NAME not in registry:
    register(_NAME, entry_point="twinloop.envs:CampusEnv", vector_entry_point="twinloop.envs:CampusVectorEnv")
