"""Training of the branching dueling Q-network against Stable-Baselines3 DQN: the same task, network and updates.

    python benchmarks/bdqn.py [--json FILE] [--quick]

A queue is served by several resources together, each at a level and a price; the optimum is known by value iteration.
The peer has one head, so it decides on joint levels: 16 for two resources of four levels, 625 for four of five. Rows:
`joint` gives ours one branch of those 16 as well, so both networks have the same layers (two of 64, and one output
more in ours for the value); `branches` gives ours a branch a resource, as it is meant.

Both: CPU, one update on 32 transitions for every 4 steps, Adam at 1e-3, discount .95, replay of 32,768, exploration
falling from 1 to .05 in the first 30 % of the steps, target networks that follow at .01 an update. Ours draws by
priority, with the double estimator, and pays for both. Either side runs with as many environments as it is fastest
with: ours 64, the peer the best of 1, 16 and 64; the peer's network runs on one thread, which is faster than two at
this size. Steps/s are medians over blocks of a training and leave out compiling. Returns are exact expectations of the
greedy policy after the same number of steps, as a share of the way from a random policy to the optimum, mean and range
over seeds. Of the checks of a training, as many on both sides, ours takes the policy whose greedy episodes returned
most, the peer the one that truly is best. `trainings` is all of the time for several seeds: ours with compiling, which
seeds share.
"""

import importlib.util
import itertools
import math
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from table import Row, arguments, present

from twinloop.learning import AbstractEnvironment, BdqnSettings, Consequence, Observation, train_bdqn

LONGEST, KINDS, EPISODE, STAYS, GAMMA = 8, 3, 64, 0.7, 0.95
TRAIN_EVERY, WARM_UP, CAPACITY, ENVIRONMENTS = 4, 1_024, 32_768, 64


@dataclass(frozen=True)
class Task:
    """Levels and price of every resource."""

    name: str
    levels: tuple[int, ...]
    prices: tuple[float, ...]

    def work(self, used: Any) -> tuple[Any, Any]:
        """What the radio and what the server could do in a step: a third resource spares cycles, a fourth bandwidth."""
        radio = used[0] + (used[3] // 2 if len(self.levels) > 3 else 0)
        server = used[1] + (used[2] if len(self.levels) > 2 else 0)
        return radio, server


TASKS = (
    Task("2 resources, 4 levels", (4, 4), (0.1, 0.1)),
    Task("4 resources, 5 levels", (5,) * 4, (0.1, 0.1, 0.06, 0.04)),
)


class Compiled(AbstractEnvironment):
    """The task for our learner; one branch of joint levels, or one a resource."""

    task: Task = eqx.field(static=True)
    joint: bool = eqx.field(static=True)

    @property
    def levels(self) -> tuple[int, ...]:
        return (math.prod(self.task.levels),) if self.joint else self.task.levels

    def init(self, key: Any) -> Any:
        state = (jnp.float32(0.0), jax.random.randint(key, (), 0, KINDS), jnp.int32(0))
        return state, self._seen(state)

    def step(self, key: Any, state: Any, action: Any) -> Any:
        queue, kind, step = state
        used = list(jnp.unravel_index(action[0, 0], self.task.levels)) if self.joint else list(action[0])
        radio, server = self.task.work(used)
        queue = jnp.clip(queue + kind + 1 - jnp.minimum(radio, server), 0, LONGEST)
        cost = sum(price * level for price, level in zip(self.task.prices, used, strict=True))
        moves, other = jax.random.uniform(key, (2,))
        kind = jnp.where(moves < STAYS, kind, (other * KINDS).astype(jnp.int32))
        state = (queue, kind, step + 1)
        reward = -(queue / LONGEST + cost)
        return state, self._seen(state), Consequence(reward[None], jnp.zeros(1, bool), step + 1 >= EPISODE)

    def _seen(self, state: Any) -> Observation:
        row = jnp.concatenate([state[0][None] / LONGEST, jax.nn.one_hot(state[1], KINDS)])
        return Observation(row[None], jnp.ones(1, bool))


class Stepped(gymnasium.Env[np.ndarray, int]):
    """The same task for the peer, in plain Python: faster here than arrays."""

    def __init__(self, task: Task) -> None:
        self.task, self.joint = task, list(itertools.product(*map(range, task.levels)))
        self.observation_space = gymnasium.spaces.Box(0.0, 1.0, (1 + KINDS,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(len(self.joint))
        self.costs = [sum(p * level for p, level in zip(task.prices, used, strict=True)) for used in self.joint]
        self.served = [min(task.work(used)) for used in self.joint]
        self.queue = self.kind = self.steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.queue, self.kind, self.steps = 0, int(self.np_random.integers(KINDS)), 0
        return features(self.queue, self.kind), {}

    def step(self, action: int) -> Any:
        self.queue = min(max(self.queue + self.kind + 1 - self.served[action], 0), LONGEST)
        if self.np_random.random() >= STAYS:
            self.kind = int(self.np_random.integers(KINDS))
        self.steps += 1
        reward = -(self.queue / LONGEST + self.costs[action])
        return features(self.queue, self.kind), reward, False, self.steps >= EPISODE, {}


def features(queue: int, kind: int) -> np.ndarray:
    row = np.zeros(1 + KINDS, np.float32)
    row[0], row[1 + kind] = queue / LONGEST, 1.0
    return row


@dataclass(frozen=True)
class Model:
    """The task as tables over states (queue, kind) and joint actions."""

    reward: np.ndarray
    chance: np.ndarray

    @staticmethod
    def of(task: Task) -> "Model":
        stepped = Stepped(task)
        states = np.array(STATES)
        queue = np.clip(states[:, :1] + states[:, 1:] + 1 - np.array(stepped.served)[None], 0, LONGEST)
        kinds = STAYS * np.eye(KINDS) + (1 - STAYS) / KINDS
        chance = np.zeros((len(states), queue.shape[1], len(states)))
        for state, action in np.ndindex(queue.shape):
            chance[state, action, queue[state, action] * KINDS + np.arange(KINDS)] = kinds[states[state, 1]]
        return Model(-(queue / LONGEST + np.array(stepped.costs)[None]), chance)

    def best(self) -> np.ndarray:
        """The best action of every state, for the discount that is learned with."""
        value = np.zeros(len(STATES))
        for _ in range(600):
            value = (self.reward + GAMMA * self.chance @ value).max(axis=1)
        return (self.reward + GAMMA * self.chance @ value).argmax(axis=1)

    def expected(self, policy: np.ndarray) -> float:
        """Expected return of an episode under probabilities of actions [states, actions]."""
        reward, chance = (policy * self.reward).sum(axis=1), np.einsum("sa,sat->st", policy, self.chance)
        value = np.zeros(len(STATES))
        for _ in range(EPISODE):
            value = reward + chance @ value
        return float(value[:KINDS].mean())

    def share(self, actions: np.ndarray) -> float:
        """How far the policy comes from a random one (0) to the optimum (1)."""
        eye = np.eye(self.reward.shape[1])
        random = self.expected(np.full(self.reward.shape, 1 / self.reward.shape[1]))
        best = self.expected(eye[self.best()])
        return (self.expected(eye[actions]) - random) / (best - random)


CHECKS = 8
SETTINGS = BdqnSettings(
    layers=3,
    width=64,
    head_width=0,
    environments=ENVIRONMENTS,
    updates=ENVIRONMENTS // TRAIN_EVERY,
    batch=32,
    capacity=CAPACITY,
    start=WARM_UP,
    gamma=GAMMA,
    learning_rate=1e-3,
    final_rate=1.0,
    target_rate=0.01,
    exploration=0.05,
    exploration_span=0.3,
    evaluation_steps=EPISODE,
)
STATES = list(itertools.product(range(LONGEST + 1), range(KINDS)))
SEEN = np.stack([features(queue, kind) for queue, kind in STATES])


@dataclass(frozen=True)
class Trained:
    """Steps/s of the blocks of a training, seconds in all, and the joint action of every state."""

    rates: list[float]
    wall_s: float
    actions: np.ndarray


def ours(task: Task, steps: int, joint: bool, seed: int) -> Trained:
    """A training of ours."""
    settings = replace(SETTINGS, steps=steps, checks=CHECKS)
    marks = [time.perf_counter()]
    network, _ = train_bdqn(
        jax.random.key(seed), Compiled(task, joint), settings, progress=lambda _: marks.append(time.perf_counter())
    )
    levels = np.asarray(network.greedy(jnp.asarray(SEEN)))
    actions = levels[:, 0] if joint else np.ravel_multi_index(tuple(levels.T), task.levels)
    rates = settings.rounds_per_check * settings.environments / np.diff(marks[1:])
    return Trained(rates.tolist(), marks[-1] - marks[0], actions)


def peer(task: Task, steps: int, environments: int, seed: int = 0) -> Trained:
    """A training of the peer, with the same number of updates a step."""
    import torch
    from stable_baselines3 import DQN
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.vec_env import DummyVecEnv

    torch.set_num_threads(1)
    updates, model = max(environments // TRAIN_EVERY, 1), Model.of(task)
    span = steps // CHECKS

    class Marks(BaseCallback):
        """Time and policy after every block."""

        def __init__(self) -> None:
            super().__init__()
            self.times: list[float] = []
            self.policies: list[np.ndarray] = []

        def _on_step(self) -> bool:
            if self.num_timesteps - WARM_UP >= len(self.times) * span:
                self.times.append(time.perf_counter())
                self.policies.append(self.model.predict(SEEN, deterministic=True)[0])
            return True

    learner = DQN(
        "MlpPolicy",
        DummyVecEnv([lambda: Stepped(task)] * environments),
        learning_rate=SETTINGS.learning_rate,
        buffer_size=CAPACITY,
        learning_starts=WARM_UP,
        batch_size=SETTINGS.batch,
        tau=1.0 - (1.0 - SETTINGS.target_rate) ** updates,
        gamma=GAMMA,
        train_freq=max(TRAIN_EVERY // environments, 1),
        gradient_steps=updates,
        target_update_interval=max(TRAIN_EVERY, environments),
        exploration_fraction=SETTINGS.exploration_span,
        exploration_final_eps=SETTINGS.exploration,
        policy_kwargs={"net_arch": [SETTINGS.width] * (SETTINGS.layers - 1)},
        device="cpu",
        seed=seed,
    )
    marks, start = Marks(), time.perf_counter()
    learner.learn(steps + WARM_UP, callback=marks)
    best = max(marks.policies[1:], key=model.share)
    return Trained((span / np.diff(marks.times)).tolist(), time.perf_counter() - start, best)


def fastest(task: Task, steps: int) -> int:
    """The number of environments with which the peer takes most steps/s."""
    return max((1, 16, 64), key=lambda count: float(np.median(peer(task, steps, count).rates)))


def main() -> None:
    options = arguments("The branching dueling Q-network: training.").parse_args()
    present("Branching Q-network", list(rows_of(options.quick)), options.json)


def rows_of(quick: bool) -> Iterator[Row]:
    """All rows."""
    there = importlib.util.find_spec("stable_baselines3") is not None
    if not there:
        tell("Stable-Baselines3 is not installed: its side stays empty; pip install 'twinloop[bench]' brings it")
    for task in TASKS:
        yield from task_rows(task, there, 6_400 if quick else 25_600, 1 if quick else 4)


def task_rows(task: Task, with_peer: bool, steps: int, seeds: int) -> Iterator[Row]:
    """Rows of one task."""
    tell(f"{task.name}: ours")
    model, sides = Model.of(task), {"branches": False, "joint": True}
    runs = {name: [ours(task, steps, joint, seed) for seed in range(seeds)] for name, joint in sides.items()}
    theirs: list[Trained] = []
    how = ""
    if with_peer:
        tell(f"{task.name}: the peer's fastest way")
        environments = fastest(task, 4_096)
        how = f" (peer: {environments} environments)"
        tell(f"{task.name}: the peer with {environments} environments")
        theirs = [peer(task, steps, environments, seed) for seed in range(seeds)]
    rate = median_rate(theirs)
    for name, trained in runs.items():
        own = median_rate(trained[1:] or trained)
        yield Row(f"{task.name}, {name}: steps/s{how}", own, rate or "", own / rate if rate else "")
        total = sum(run.wall_s for run in trained)
        other = sum(run.wall_s for run in theirs)
        work = f"{task.name}, {name}: s for {seeds} trainings of {steps:,} steps"
        yield Row(work, total, other or "", other / total if other else "")
        yield Row(f"{task.name}, {name}: share of the optimum", shares(model, trained), shares(model, theirs))


def median_rate(runs: list[Trained]) -> float:
    rates = [rate for run in runs for rate in run.rates]
    return float(np.median(rates)) if rates else 0.0


def shares(model: Model, runs: list[Trained]) -> str:
    if not runs:
        return ""
    found = [model.share(run.actions) for run in runs]
    return f"{np.mean(found):.3f} ({min(found):.3f} to {max(found):.3f})"


def tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
