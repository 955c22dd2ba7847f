"""How a branching Q-network is trained."""

from dataclasses import dataclass


@dataclass(frozen=True)
class BdqnSettings:
    """Sizes, rates and schedules. Raises ValueError for such as training could never work with.

    Network: `layers` from features to values with the heads' own among them, `width`, `head_width` (0: heads of one
    layer). Experience: `steps` of environments in all, after `start` steps of random actions; `environments` run side
    by side, and a round is one step of each, after which there are `updates` on `batch` transitions over `n_step`
    steps, replayed from the last `capacity`. Of branches, a share falling along a line from 1 to `exploration` in the
    first `exploration_span` of the rounds is drawn at random. Targets: discount `gamma`; the target network follows at
    `target_rate` an update. Replay: priorities to the power of `priority`, corrected to the power rising from
    `importance` to 1. Steps: Adam at `learning_rate`, falling to `final_rate` of it along a cosine, gradients clipped
    to norm `clip`, Huber's loss linear beyond `huber`. At each of `checks` the greedy policy lives
    `evaluation_episodes`, the same ones each time, of `evaluation_steps` at most.
    """

    steps: int = 200_000
    layers: int = 4
    width: int = 128
    head_width: int = 64
    environments: int = 16
    updates: int = 4
    batch: int = 32
    n_step: int = 1
    capacity: int = 32_768
    start: int = 1_024
    exploration: float = 0.05
    exploration_span: float = 0.3
    gamma: float = 0.99
    target_rate: float = 0.005
    priority: float = 0.6
    importance: float = 0.4
    learning_rate: float = 1e-3
    final_rate: float = 0.1
    clip: float = 10.0
    huber: float = 1.0
    checks: int = 20
    evaluation_episodes: int = 32
    evaluation_steps: int = 200

    def __post_init__(self) -> None:
        counts = ("updates", "batch", "n_step", "start", "checks", "evaluation_episodes", "evaluation_steps")
        shares = ("exploration", "exploration_span", "gamma", "target_rate", "importance", "final_rate")
        positive = ("learning_rate", "clip", "huber", "gamma", "target_rate")
        wrong = [name for name in (*counts, "environments") if getattr(self, name) < 1]
        wrong += [name for name in shares if not 0 <= getattr(self, name) <= 1]
        wrong += [name for name in positive if not getattr(self, name) > 0]
        if self.priority < 0:
            wrong.append("priority")
        if not wrong and self.capacity % (32 * self.environments):
            raise ValueError(f"capacity {self.capacity}; it is a multiple of 32 x environments ({self.environments})")
        if not wrong and self.rounds_per_check < 1:
            wrong.append("steps")
        if wrong:
            given = ", ".join(f"{name} {getattr(self, name)}" for name in dict.fromkeys(wrong))
            raise ValueError(f"{given}: counts are at least 1, shares lie in 0 .. 1, rates are positive")

    @property
    def rounds_per_check(self) -> int:
        """Rounds between two checks; what `steps` hold beyond whole checks is not run."""
        return self.steps // (self.environments * self.checks)

    @property
    def rounds(self) -> int:
        """Rounds in all."""
        return self.rounds_per_check * self.checks
