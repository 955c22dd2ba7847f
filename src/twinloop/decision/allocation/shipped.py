"""The trained agents that come with the package, by the name of their policy."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from twinloop.decision.allocation.direct import UserTactic
from twinloop.decision.allocation.grouped import GroupTactic
from twinloop.decision.allocation.learned import AbstractTactic, LearnedAllocation
from twinloop.errors import ModelError
from twinloop.learning import QNetwork, load_q_network, read_card

TACTICS: Mapping[str, AbstractTactic] = MappingProxyType({"groups": GroupTactic(), "pdrl": UserTactic()})
"""Agents of groups (with algorithms for users below them), and agents of users in the place of both levels."""

LEARNED = tuple(TACTICS)


def learned_allocation(
    name: str, cells: int, slices: int, flows: int, checkpoint: Path | None = None
) -> LearnedAllocation:
    """The policy `name` for a network of these sizes, from its shipped checkpoint unless another is given.

    Raises ModelError where the checkpoint is missing, damaged, or of another tactic.
    """
    path = shipped_checkpoint(name) if checkpoint is None else checkpoint
    network = load_q_network(path)
    return with_network(name, network, held_slots(path), cells, slices, flows, path)


def with_network(
    name: str, network: QNetwork, hold: int, cells: int, slices: int, flows: int, source: Path | str = "network"
) -> LearnedAllocation:
    """The policy `name` by this network. Raises ModelError where it has other branches than the tactic."""
    tactic = TACTICS[name]
    if network.levels != tactic.levels:
        raise ModelError(source, f"branches of {network.levels} levels", f"those of {name}, {tactic.levels}")
    return LearnedAllocation(tactic, network, tactic.agents(cells, slices, flows), hold)


def shipped_checkpoint(name: str) -> Path:
    """Where the weights of `name` lie; the card beside them says how they were trained."""
    return Path(__file__).parent / "checkpoints" / f"{name}.safetensors"


def held_slots(path: Path) -> int:
    """For how many slots the agents of a checkpoint keep to their levels. Raises ModelError where it does not say."""
    hold = read_card(path).get("hold_slots")
    if not isinstance(hold, int) or not 1 <= hold <= 3600:
        raise ModelError(path.with_suffix(".json"), f"hold_slots {hold!r}", "a whole number of slots from 1")
    return hold
