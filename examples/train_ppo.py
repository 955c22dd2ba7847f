"""Stable-Baselines3 PPO learns to slice the campus.

    pip install 'twinloop[examples]'
    python examples/train_ppo.py --steps 20000 --out ppo.zip

A batch of campuses is one compiled step; a thin adapter hands it to Stable-Baselines3. Prints the learning curve and
the reward on fresh episodes of even shares, of the untrained and of the trained policy; the curve is saved as a PNG
beside --out, the policy as --out. Stable-Baselines3 brings PyTorch: install its CPU build first where there is no GPU.
"""

import argparse
import sys
import time
from pathlib import Path

import matplotlib.figure
import numpy as np

from twinloop.envs import CampusVectorEnv
from twinloop.errors import MissingExtraError, TwinloopError

try:
    from stable_baselines3 import PPO
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.vec_env import VecEnv, VecMonitor
except ModuleNotFoundError as missing:
    sys.exit(f"error: {MissingExtraError(f'{Path(__file__).name} ({missing.name})', 'examples')}")

TEST_SEED = 10_000


class StableCampus(VecEnv):
    """A Gymnasium vector environment as Stable-Baselines3 wants it: over episodes begin anew in the same step."""

    def __init__(self, campus: CampusVectorEnv) -> None:
        self.campus = campus
        self.render_mode = None
        super().__init__(campus.num_envs, campus.single_observation_space, campus.single_action_space)

    def reset(self):
        first = next((seed for seed in self._seeds if seed is not None), None)
        self._reset_seeds()
        return self.campus.reset(seed=first)[0]

    def step_async(self, actions):
        self.actions = actions

    def step_wait(self):
        observation, reward, terminated, truncated, info = self.campus.step(self.actions)
        infos = [{"satisfaction": float(value)} for value in info["satisfaction"]]
        for index in np.flatnonzero(truncated):
            infos[index] |= {"TimeLimit.truncated": True, "terminal_observation": info["final_obs"][index]}
        return observation, reward.astype(np.float32), terminated | truncated, infos

    def close(self):
        self.campus.close()

    def get_attr(self, attr_name, indices=None):
        return [getattr(self.campus, attr_name, getattr(self, attr_name, None))] * len(self._rows(indices))

    def set_attr(self, attr_name, value, indices=None):
        setattr(self.campus, attr_name, value)

    def env_method(self, method_name, *method_args, indices=None, **method_kwargs):
        return [getattr(self.campus, method_name)(*method_args, **method_kwargs)] * len(self._rows(indices))

    def env_is_wrapped(self, wrapper_class, indices=None):
        return [False] * len(self._rows(indices))

    def _rows(self, indices):
        return list(self._get_indices(indices))


class Curve(BaseCallback):
    """The mean reward a slot of the latest episodes, once every rollout."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[int] = []
        self.reward: list[float] = []
        self.began = time.perf_counter()

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        episodes = self.model.ep_info_buffer
        if not episodes:
            return
        self.steps.append(self.num_timesteps)
        self.reward.append(float(np.mean([episode["r"] / episode["l"] for episode in episodes])))
        rate = self.num_timesteps / (time.perf_counter() - self.began)
        print(
            f"{self.num_timesteps:>9,} steps   reward {self.reward[-1]:+.3f} a slot   {rate:,.0f} steps/s", flush=True
        )


def mean_reward(campus: CampusVectorEnv, slots: int, decide) -> np.ndarray:
    """Reward a slot of each environment's first episode after the test seed."""
    observation, _ = campus.reset(seed=TEST_SEED)
    total = np.zeros(campus.num_envs)
    for _ in range(slots):
        observation, reward, *_ = campus.step(decide(observation))
        total += reward
    return total / slots


def draw(curve: Curve, levels: dict[str, float], target: Path) -> None:
    figure = matplotlib.figure.Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(curve.steps, curve.reward, label="training episodes")
    for style, (name, level) in zip((":", "--", "-."), levels.items(), strict=False):
        axes.axhline(level, linestyle=style, color="0.4", label=f"{name}: {level:.3f}")
    axes.set(xlabel="environment steps", ylabel="reward a slot", title="PPO slices a campus")
    axes.legend()
    figure.savefig(target, dpi=120)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train PPO to slice a campus.")
    parser.add_argument("--scenario", default="campus", help="name or path of a scenario (campus)")
    parser.add_argument("--steps", type=int, default=200_000, help="environment steps to train for (200000)")
    parser.add_argument("--envs", type=int, default=16, help="campuses in the batch (16)")
    parser.add_argument("--episode", type=int, default=180, help="slots of an episode (180)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("ppo_campus.zip"), help="the policy; its curve lies beside it")
    return parser.parse_args()


def main() -> None:
    chosen = parsed()
    campus = CampusVectorEnv(chosen.scenario, num_envs=chosen.envs, episode_slots=chosen.episode)
    model = PPO(
        "MlpPolicy",
        VecMonitor(StableCampus(campus)),
        n_steps=128,
        batch_size=256,
        n_epochs=10,
        gamma=0.95,
        learning_rate=1e-3,
        policy_kwargs={"log_std_init": -0.7},
        seed=chosen.seed,
        device="cpu",
    )

    def learned(observation: np.ndarray) -> np.ndarray:
        return model.predict(observation, deterministic=True)[0]

    even = mean_reward(campus, chosen.episode, lambda _: np.zeros(campus.action_space.shape, np.float32))
    before = mean_reward(campus, chosen.episode, learned)
    curve = Curve()
    model.learn(chosen.steps, callback=curve)
    after = mean_reward(campus, chosen.episode, learned)
    for name, reward in (("even shares", even), ("before training", before), ("after training", after)):
        print(f"{name:<16} reward {reward.mean():+.3f} a slot over {len(reward)} fresh episodes")
    gain = after - even
    error = gain.std(ddof=1) / np.sqrt(len(gain)) if len(gain) > 1 else float("nan")
    print(f"gain over even shares, the same episodes: {gain.mean():+.3f} ± {1.96 * error:.3f}")
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    model.save(chosen.out)
    picture = chosen.out.with_suffix(".png")
    draw(curve, {"even shares": even.mean(), "before": before.mean(), "after": after.mean()}, picture)
    print(f"policy: {chosen.out}   curve: {picture}")


if __name__ == "__main__":
    try:
        main()
    except TwinloopError as error:
        sys.exit(f"error: {error}")
