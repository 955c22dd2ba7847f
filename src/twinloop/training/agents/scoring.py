"""How slot policies keep agreements in worlds of the twin, scored by true experience."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray, PyTree

from twinloop.decision import AbstractAllocation
from twinloop.runs import paired_interval
from twinloop.training.agents.task import Lived, begin, live, reserve
from twinloop.training.agents.worlds import Worlds
from twinloop.twins import GRID_PERIODS, PERIOD_SLOTS

SCORES = ("ela_ratio", "ela_share", "qoe_median")


class Minutes(eqx.Module):
    """True experience of every minute, who was there, and what was promised."""

    experience: Float[Array, "*episodes minutes users"]
    present: Bool[Array, "*episodes users"]
    agreed: Float[Array, "*episodes users"]


@dataclass(frozen=True)
class Score:
    """By episode: mean of min(E / ELA, 1) and share with E >= ELA, E over three minutes, and median of minutes."""

    ela_ratio: Sequence[float]
    ela_share: Sequence[float]
    qoe_median: Sequence[float]

    def told(self) -> dict[str, dict[str, float]]:
        """Mean of every figure with its 95 % interval (Student)."""
        return {name: _interval(getattr(self, name), None) for name in SCORES}

    def less(self, other: "Score") -> dict[str, dict[str, float]]:
        """The same of the differences, episode by episode."""
        return {name: _interval(getattr(self, name), getattr(other, name)) for name in SCORES}


@eqx.filter_jit
def lived_minutes(key: PRNGKeyArray, worlds: Worlds, policy: AbstractAllocation, episodes: int, grids: int) -> Minutes:
    """`episodes` of `grids` times three minutes under a policy; the same key draws the same episodes for any policy."""

    def one(k: PRNGKeyArray) -> Minutes:
        k_begin, k_live = jax.random.split(k)
        state = begin(k_begin, worlds)

        def slot(carry: tuple[Lived, PyTree], k_slot: PRNGKeyArray) -> tuple[tuple[Lived, PyTree], Array]:
            now, memory = carry
            reservation = reserve(now)
            allocation, memory = policy.allocate(now.features, reservation, memory)
            after, _ = live(k_slot, worlds, now, allocation, reservation)
            return (after, memory), after.outcome.experience

        slots = grids * GRID_PERIODS * PERIOD_SLOTS - 1
        _, experience = jax.lax.scan(slot, (state, policy.init()), jax.random.split(k_live, slots))
        agreed = worlds.persons.agreed[state.world]
        return Minutes(experience[PERIOD_SLOTS - 2 :: PERIOD_SLOTS], state.network.active, agreed)

    return jax.vmap(one)(jax.random.split(key, episodes))


def score_of(minutes: Minutes) -> Score:
    """The figures of every episode, without its first three minutes."""
    ratios: list[float] = []
    shares: list[float] = []
    medians: list[float] = []
    for felt, there, agreed in zip(*(np.asarray(leaf) for leaf in jax.tree.leaves(minutes)), strict=True):
        kept = felt[GRID_PERIODS:, there]
        ratio = kept.reshape(-1, GRID_PERIODS, kept.shape[1]).mean(axis=1) / agreed[there]
        ratios.append(float(np.minimum(ratio, 1.0).mean()))
        shares.append(float((ratio >= 1.0).mean()))
        medians.append(float(np.median(kept)))
    return Score(ratios, shares, medians)


def score_policies(
    key: PRNGKeyArray, worlds: Worlds, policies: Mapping[str, AbstractAllocation], episodes: int, grids: int
) -> dict[str, Score]:
    """Every policy on the same episodes."""
    return {name: score_of(lived_minutes(key, worlds, one, episodes, grids)) for name, one in policies.items()}


def _interval(ours: Sequence[float], theirs: Sequence[float] | None) -> dict[str, float]:
    mean, low, high = paired_interval(ours, [0.0] * len(ours) if theirs is None else theirs)
    return {"mean": mean, "low": low, "high": high}
