"""Agents of level one trained in the twin's simulator, scored on people that they have not met, and saved."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from twinloop.decision import TACTICS, AbstractAllocation, ExperienceAllocation, RoundRobin, with_network
from twinloop.errors import OutputError
from twinloop.learning import BdqnSettings, LearningCurve, QNetwork, save_q_network, train_bdqn
from twinloop.scenario import Scenario
from twinloop.training.agents.scoring import Score, score_policies
from twinloop.training.agents.task import AgentsTask, draw_scenes
from twinloop.training.agents.worlds import Worlds, draw_worlds

FIRST_SEED, HELD_OUT_SEED = 5_000, 9_000
"""Populations of seeds from 5000 on are trained with, from 9000 on scored with; runs and studies take other seeds."""

AGENT_STEPS = 48_000
HOLD_SLOTS = 10
AGENTS = "agents"
ALIKE = "alike"
"""The user level of groups without what was learned: all pay alike for what they use."""

_LAYERS = {"groups": 4, "pdrl": 5}
_CHECKS = 8


@dataclass(frozen=True)
class Extent:
    """How much is drawn: populations to train and to score with, first slots of episodes, episodes to score."""

    populations: int = 48
    held_out: int = 24
    scenes: int = 256
    episodes: int = 48
    grids: int = 3


@dataclass(frozen=True)
class TrainedAgents:
    """A network, how training went, scores by policy on held-out people, and its differences from the others.

    `train_s` is the wall time of training, compiling included, without drawing worlds and scoring; of a training that
    was gone on with, of its last part.
    """

    network: QNetwork
    curve: LearningCurve
    scores: Mapping[str, Score]
    train_s: float

    @property
    def differences(self) -> dict[str, dict[str, dict[str, float]]]:
        """The agents less each other policy, paired over episodes."""
        ours = self.scores[AGENTS]
        return {name: ours.less(other) for name, other in self.scores.items() if name != AGENTS}

    def told(self) -> dict[str, Any]:
        """All numbers, as for a file."""
        mean, low, high = (np.asarray(row).tolist() for row in self.curve.interval())
        return {
            "curve": {
                "steps": np.asarray(self.curve.steps).tolist(),
                "return": mean,
                "low": low,
                "high": high,
                "loss": np.asarray(self.curve.loss).tolist(),
                "exploration": np.asarray(self.curve.exploration).tolist(),
                "best": int(self.curve.best),
            },
            "train_s": self.train_s,
            "scores": {name: score.told() for name, score in self.scores.items()},
            "differences": self.differences,
        }


def agent_settings(scheme: str, steps: int) -> BdqnSettings:
    """The same for every scheme but for the number of layers (paper 000, IV: four for groups, five for PDRL-L1)."""
    environments = 32
    return BdqnSettings(
        steps=max(steps, environments * _CHECKS),
        layers=_LAYERS[scheme],
        width=96,
        head_width=32,
        environments=environments,
        learning_rate=5e-4,
        gamma=0.95,
        checks=_CHECKS,
        evaluation_episodes=48,
        evaluation_steps=360 // HOLD_SLOTS,
    )


def train_agents(
    scheme: str,
    scenario: Scenario,
    *,
    steps: int = AGENT_STEPS,
    seed: int = 0,
    extent: Extent | None = None,
    settings: BdqnSettings | None = None,
    checkpoint: Path | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> TrainedAgents:
    """Agents of `scheme`, trained on people of seeds from 5000 on and scored on others, of seeds from 9000 on.

    With a `checkpoint`, training goes on from what is there. Raises ModelError where that is of another training or
    losses stop being finite, ScenarioError where the scenario's twins do not follow experience.
    """
    drawn = Extent() if extent is None else extent
    chosen = agent_settings(scheme, steps) if settings is None else settings
    worlds = draw_worlds(scenario, range(FIRST_SEED, FIRST_SEED + drawn.populations), progress)
    k_scenes, k_train, k_score = jax.random.split(jax.random.key(seed), 3)
    task = AgentsTask(worlds, draw_scenes(k_scenes, worlds, drawn.scenes), TACTICS[scheme], HOLD_SLOTS)
    begun = time.perf_counter()
    network, curve = train_bdqn(k_train, task, chosen, checkpoint=checkpoint, progress=progress)
    train_s = time.perf_counter() - begun
    progress("scoring on people that training has not met")
    others = draw_worlds(scenario, range(HELD_OUT_SEED, HELD_OUT_SEED + drawn.held_out))
    policies = {AGENTS: agents_policy(scheme, network, worlds)} | opponents()
    if scheme == "groups":
        unlearned = jax.tree.map(jnp.zeros_like, network)
        policies[ALIKE] = agents_policy(scheme, unlearned, worlds)
    scores = score_policies(k_score, others, policies, drawn.episodes, drawn.grids)
    return TrainedAgents(network, curve, scores, train_s)


def opponents() -> dict[str, AbstractAllocation]:
    """What agents are held to: prices over whole slices, without groups, and round robin."""
    return {"experience": ExperienceAllocation(), "round_robin": RoundRobin()}


def agents_policy(scheme: str, network: QNetwork, worlds: Worlds) -> AbstractAllocation:
    """The slot policy by this network, in these worlds."""
    cells, slices = worlds.params.topology.cell_server.shape[0], worlds.slices.active.shape[0]
    flows = worlds.params.user_slice.shape[0] + worlds.params.group_slice.shape[0] * cells
    return with_network(scheme, network, HOLD_SLOTS, cells, slices, flows)


def save_agents(folder: Path, scheme: str, trained: TrainedAgents, about: Mapping[str, Any]) -> Path:
    """Writes weights and card, `results.json` and the learning curve; returns where the weights are.

    Raises OutputError where that is not possible.
    """
    told = trained.told()
    path = folder / f"{scheme}.safetensors"
    save_q_network(path, trained.network, {**about, "scheme": scheme, "hold_slots": HOLD_SLOTS, **_rounded(told)})
    try:
        (folder / "results.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
        _learning_figure(trained.curve, scheme).savefig(folder / "learning_curve.png")
    except OSError as fault:
        raise OutputError(f"{folder}: cannot be written ({fault.strerror or fault}); give another --out") from None
    return path


def _learning_figure(curve: LearningCurve, scheme: str) -> Any:
    from twinloop.reporting import Curve, Panel, plot_curves

    steps = np.asarray(curve.steps, float) / 1e3
    mean, low, high = (np.asarray(row, float) for row in curve.interval())
    best = float(steps[int(curve.best)])
    returns = Panel(
        "thousand steps of environments",
        "return of an episode",
        (Curve("mean", steps, mean), Curve("95 % low", steps, low), Curve("95 % high", steps, high)),
        title="Greedy episodes",
        free_y=True,
        dotted=True,
        marks=((best, "kept"),),
    )
    loss = Panel(
        "thousand steps of environments",
        "mean loss",
        (Curve("mean", steps, np.asarray(curve.loss, float)),),
        title="Loss",
        free_y=True,
    )
    return plot_curves((returns, loss), f"Agents ({scheme}) in training")


def _rounded(tree: Any) -> Any:
    """Numbers to five digits: a card is read by people."""
    if isinstance(tree, Mapping):
        return {name: _rounded(value) for name, value in tree.items()}
    if isinstance(tree, list):
        return [_rounded(value) for value in tree]
    return float(f"{tree:.5g}") if isinstance(tree, float) else tree


def agents_card(scenario: Scenario, steps: int, seed: int, settings: BdqnSettings, command: str) -> dict[str, Any]:
    """What the card says of how the agents came to be."""
    extent = Extent()
    return {
        "data": f"scenario {scenario.name} in the twin's own simulator; populations of seeds {FIRST_SEED} to "
        f"{FIRST_SEED + extent.populations - 1}, scored on seeds {HELD_OUT_SEED} to "
        f"{HELD_OUT_SEED + extent.held_out - 1}",
        "steps": steps,
        "seed": seed,
        "settings": asdict(replace(settings)),
        "command": command,
    }
