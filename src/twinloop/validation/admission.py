"""Admission of a new slice: only if the twins say that no standing agreement breaks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree

from twinloop.abstraction import Abstractor, Features
from twinloop.decision import AbstractAllocation, AbstractReservation, Reservation, assemble_action, reserved_by
from twinloop.emulation import Forecast, rollout, sample_states
from twinloop.entities import Action
from twinloop.simulator import Outcome
from twinloop.slicing import SliceTable
from twinloop.twins import Twins
from twinloop.validation.judge import Judge

RESOURCES = ("bandwidth", "cycles", "cache")
ADMISSIONS = (
    "admitted: the twins expect every agreement to hold",
    "refused: with it the agreement of a standing slice would break",
    "refused: what it asks for itself cannot be kept",
    "refused: the floors promise more than everything",
)

_MOST_HALVINGS = 6


class Outlook(eqx.Module):
    """What twins foretell under one table of slices.

    `attained` is each slice's figure of its agreement (share of users satisfied, or mean experience) in every sampled
    future, NaN where it has nobody; `load` is demand over capacity of the fullest pool of every resource of
    `RESOURCES`.
    """

    attained: Float[Array, "samples slices"]
    load: Float[Array, " resources"]


class Breaches(eqx.Module):
    """Which slices' agreements break, by how much the worst does, its row (-1: none), and the resource that binds."""

    broken: Bool[Array, " slices"]
    row: Int[Array, ""]
    missing: Float[Array, ""]
    resource: Int[Array, ""]


@dataclass(frozen=True)
class Admission:
    """The answer to an order: admitted or not, why (`code` indexes `ADMISSIONS`), and the offer that would fit.

    `slice` names whose agreement breaks and `resource` what it lacks, both empty where admitted; `missing` is how far
    the figure falls below the agreement. `offer` is the largest part of the order (1 is all of it) that fits, 0 where
    none of it does.
    """

    admitted: bool
    code: int
    slice: str
    resource: str
    missing: float
    offer: float

    @property
    def reason(self) -> str:
        """One sentence for who ordered the slice."""
        about = f" ({self.slice}: {self.missing:.3g} below what was agreed, short of {self.resource})"
        fits = f"; {self.offer:.0%} of the order would fit" if self.offer > 0 else "; no part of it would fit"
        return ADMISSIONS[self.code] + ("" if self.admitted else (about if self.slice else "") + fits)


def breaches(
    without: Outlook,
    having: Outlook,
    agreed: Float[Array, " slices"],
    standing: Bool[Array, " slices"],
    new: Int[Array, ""],
    confidence: float = 0.9,
    tolerance: float = 0.01,
) -> Breaches:
    """Agreements that break with the new slice in row `new`.

    A figure holds when it reaches what was `agreed` in at least the part `confidence` of the samples. A standing slice
    whose figure does not hold even without the new one breaks only if it falls further, by more than `tolerance`; the
    new slice must hold itself. The resource that binds is the one with the highest load among those that the new slice
    loads further.
    """
    before, after = (_surely(outlook.attained, confidence) for outlook in (without, having))
    kept = jnp.minimum(agreed, jnp.where(jnp.isnan(before), agreed, before - tolerance))
    needed = jnp.where(jnp.arange(agreed.shape[0]) == new, agreed, kept)
    asked = standing | (jnp.arange(agreed.shape[0]) == new)
    missing = jnp.where(asked & ~jnp.isnan(after), needed - after, -jnp.inf)
    broken = missing > 1e-6
    worst = jnp.argmax(jnp.where(standing & broken, missing + 1e3, missing))
    anything = jnp.any(broken)
    grown = having.load > without.load + 1e-6
    return Breaches(
        broken=broken,
        row=jnp.where(anything, worst, -1).astype(jnp.int32),
        missing=jnp.where(anything, missing[worst], 0.0),
        resource=jnp.argmax(jnp.where(grown, having.load, having.load - 1e3)).astype(jnp.int32),
    )


def admit(
    judge: Callable[[float], Breaches], names: Sequence[str], new: int, *, halvings: int = _MOST_HALVINGS
) -> Admission:
    """Whether the slice in row `new` is admitted, by `judge(scale)`: what breaks when `scale` of the order is granted.

    Refused orders get the largest part that passes, by bisection: right where more never mends what less breaks.
    """
    found = judge(1.0)
    row = int(found.row)
    if row < 0:
        return Admission(True, 0, "", "", 0.0, 1.0)
    low, high = 0.0, 1.0
    for _ in range(halvings):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if int(judge(middle).row) < 0 else (low, middle)
    code = 2 if row == new else 1
    return Admission(False, code, names[row], RESOURCES[int(found.resource)], float(found.missing), low)


class Emulation(eqx.Module):
    """The twins and the policy that would serve the slices: how futures with and without a slice are foretold."""

    judge: Judge
    abstractor: Abstractor
    reservation: AbstractReservation
    allocation: AbstractAllocation
    memory: PyTree[Array]


def outlook(key: PRNGKeyArray, emulation: Emulation, twins: Twins, forecast: Forecast, slices: SliceTable) -> Outlook:
    """Futures under `slices`: reserved anew, filled slot by slot, lived in the judge's twin from the sampled states.

    A slice's figure is the mean satisfaction of its users. Users of a slice that is not active are in the world and
    served nothing, so a slice of the scenario is tried by making its row active. The same `key` gives every table the
    same states and random numbers.
    """
    judged = _believing(emulation, slices)
    features = judged.abstractor.abstract(twins, forecast, slices)
    reserved = judged.reservation.reserve(features, slices)
    k_sample, k_live = jax.random.split(key)
    states = sample_states(k_sample, judged.judge.model, twins, forecast, judged.judge.samples)

    def filled(reservation: Reservation, seen: Features) -> Action:
        allocation, _ = judged.allocation.allocate(seen, reservation, judged.memory)
        return assemble_action(reservation, allocation, slices)

    def respond(action: Action, outcome: Outcome) -> Action:
        return filled(reserved_by(action), judged.abstractor.foresee(twins, outcome, slices))

    row = judged.abstractor.params.user_slice
    width = slices.active.shape[0]

    def live(k: PRNGKeyArray, state: PyTree[Array]) -> Float[Array, " slices"]:
        first = filled(reserved, features)
        served = rollout(k, judged.judge.model, state, first, judged.judge.horizon, respond)
        present = served.active.astype(jnp.float32)
        total = jax.ops.segment_sum(present * served.satisfaction, row, width)
        users = jax.ops.segment_sum(present, row, width)
        return jnp.where((users > 0) & slices.active, total / jnp.maximum(users, 1.0), jnp.nan)

    attained = jax.vmap(live)(jax.random.split(k_live, judged.judge.samples), states)
    return Outlook(attained, _loads(features, slices))


def judge_order(
    key: PRNGKeyArray,
    emulation: Emulation,
    twins: Twins,
    forecast: Forecast,
    standing: SliceTable,
    order: SliceTable,
    agreed: Float[Array, " slices"],
    new: int,
) -> Callable[[float], Breaches]:
    """A `judge` for `admit`: `order` is the table with the new slice in row `new`; `scale` grants part of its rate.

    Compiled once for all scales; the futures without it are foretold once.
    """
    program = eqx.filter_jit(outlook)
    before = program(key, emulation, twins, forecast, standing)

    def judge(scale: float) -> Breaches:
        share = np.ones(order.active.shape[0], np.float32)
        share[new] = scale
        granted = eqx.tree_at(lambda t: t.target_bps, order, order.target_bps * jnp.asarray(share))
        after = program(key, emulation, twins, forecast, granted)
        return breaches(before, after, agreed, standing.active, jnp.int32(new))

    return judge


def _surely(attained: Float[Array, "samples slices"], confidence: float) -> Float[Array, " slices"]:
    """What is reached in the part `confidence` of the samples; NaN for a slice without anybody in some sample."""
    samples = attained.shape[0]
    rank = max(int(np.floor((1.0 - confidence) * samples + 1e-6)), 0)
    return jnp.sort(attained, axis=0)[min(rank, samples - 1)]


def _believing(emulation: Emulation, slices: SliceTable) -> Emulation:
    """The same emulation, its worlds told of other promises."""
    return eqx.tree_at(lambda e: (e.abstractor.params.slices, e.judge.model.params.slices), emulation, (slices, slices))


def _loads(features: Features, slices: SliceTable) -> Float[Array, " resources"]:
    def fullest(demand: Float[Array, "pools slices"], capacity: Float[Array, " pools"]) -> Float[Array, ""]:
        asked = jnp.sum(jnp.where(slices.active[None, :], demand, 0.0), axis=1)
        return jnp.max(jnp.where(capacity > 0, asked / jnp.maximum(capacity, 1e-30), jnp.where(asked > 0, 1e6, 0.0)))

    return jnp.stack(
        [
            fullest(features.slice_demand_hz, features.cell_bandwidth_hz),
            fullest(features.slice_demand_cycles_per_s, features.server_cycles_per_s),
            fullest(features.slice_demand_cache_bytes, features.server_cache_bytes),
        ]
    )
