"""Admission of an order, a new slice or more for one that stands: only if the twins say that no agreement breaks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree

from twinloop.abstraction import Abstractor, Features
from twinloop.decision import AbstractAllocation, AbstractReservation, Reservation, assemble_action, reserved_by
from twinloop.emulation import Forecast, Foresight, Served, rollout, sample_states
from twinloop.entities import Action
from twinloop.qoe import BEST, WORST, Conditions
from twinloop.simulator import Outcome, State
from twinloop.slicing import SliceTable
from twinloop.twins import PERIOD_SLOTS, Twins
from twinloop.validation.judge import Judge

RESOURCES = ("bandwidth", "cycles", "cache")
ADMISSIONS = (
    "admitted: the twins expect every agreement to hold",
    "refused: with it the agreement of a standing slice would break",
    "refused: what it asks for itself cannot be kept",
    "refused: the floors promise more than everything",
)

_PARTS = 8
_HALVINGS = 2
_SETTLING_SLOTS = 10
_TOLERANCE = 0.01
_FULL = 0.9


class Outlook(eqx.Module):
    """What twins foretell under one table of slices.

    `attained` is each slice's figure of its agreement (mean satisfaction, or mean experience) in every sampled future,
    NaN where it has nobody; `load` is demand over capacity of the fullest pool of every resource of `RESOURCES`.
    """

    attained: Float[Array, "samples slices"]
    load: Float[Array, " resources"]


class Breaches(eqx.Module):
    """Which slices' agreements break, by how much the worst does, its row (-1: none), and the resource that binds (-1:
    no resource is full).
    """

    broken: Bool[Array, " slices"]
    row: Int[Array, ""]
    missing: Float[Array, ""]
    resource: Int[Array, ""]


@dataclass(frozen=True)
class Admission:
    """The answer to an order: admitted or not, why (`code` indexes `ADMISSIONS`), and the offer that would fit.

    `slice` names whose agreement breaks and `resource` what it lacks, both empty where admitted, `resource` also where
    nothing is full; `missing` is how far the figure falls below the agreement. `offer` is the largest part of the order
    (1 is all of it) that fits, 0 where none of it does.
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
        short = f"short of {self.resource}" if self.resource else "though no resource is full"
        about = f" ({self.slice}: {self.missing:.2g} below what was agreed, {short})" if self.missing > 0 else ""
        fits = f"; {self.offer:.0%} of the order would fit" if self.offer > 0 else "; no part of it would fit"
        return ADMISSIONS[self.code] + ("" if self.admitted else about + fits)


def breaches(
    without: Outlook,
    having: Outlook,
    agreed: Float[Array, " slices"],
    standing: Bool[Array, " slices"],
    new: Int[Array, ""],
    confidence: float = 0.9,
    tolerance: float = _TOLERANCE,
) -> Breaches:
    """Agreements that break with what is ordered for row `new`.

    A figure holds when it reaches what was `agreed` in at least the part `confidence` of the samples. A standing slice
    whose figure does not hold even without the order breaks only if it falls further, by more than `tolerance`; the
    slice that orders must hold itself. The resource that binds is the fullest among those that the order loads further.
    """
    before, after = (_surely(outlook.attained, confidence) for outlook in (without, having))
    kept = jnp.minimum(agreed, jnp.where(jnp.isnan(before), agreed, before - tolerance))
    needed = jnp.where(jnp.arange(agreed.shape[0]) == new, agreed, kept)
    asked = standing | (jnp.arange(agreed.shape[0]) == new)
    missing = jnp.where(asked & ~jnp.isnan(after), needed - after, -jnp.inf)
    broken = missing > 1e-6
    worst = jnp.argmax(jnp.where(standing & broken, missing + 1e3, missing))
    anything = jnp.any(broken)
    grown = jnp.where(having.load > without.load + 1e-6, having.load, -1.0)
    return Breaches(
        broken=broken,
        row=jnp.where(anything, worst, -1).astype(jnp.int32),
        missing=jnp.where(anything, missing[worst], 0.0),
        resource=jnp.where(jnp.max(grown) >= _FULL, jnp.argmax(grown), -1).astype(jnp.int32),
    )


def admit(judge: Callable[[float], Breaches], names: Sequence[str], new: int, most: float = 1.0) -> Admission:
    """Whether what is ordered for row `new` is admitted, by `judge(scale)`: what breaks when `scale` of it is granted.

    No more than `most` can be granted at all. Refused orders get the largest part that passes: of all eighths from the
    top, since less need not be better (too low a rate cannot keep the new slice's own agreement), then two halvings
    towards the part above it.
    """
    found = judge(1.0) if most >= 1.0 else None
    if found is not None and int(found.row) < 0:
        return Admission(True, 0, "", "", 0.0, 1.0)
    fits = 0.0
    for part in (min(1.0, most) * (1.0 - step / _PARTS) for step in range(_PARTS)):
        if part < 1.0 and int(judge(part).row) < 0:
            fits = part
            break
    low, high = fits, min(fits + 1.0 / _PARTS, most, 1.0)
    for _ in range(_HALVINGS if 0.0 < low < high else 0):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if int(judge(middle).row) < 0 else (low, middle)
    if found is None:
        return Admission(False, 3, names[new], "", 0.0, low)
    row, resource = int(found.row), int(found.resource)
    short = RESOURCES[resource] if resource >= 0 else ""
    return Admission(False, 2 if row == new else 1, names[row], short, float(found.missing), low)


class Emulation(eqx.Module):
    """The twins and the policy that would serve the slices: how futures with and without an order are foretold.

    `foresight` is what the reservation asks of the next window, from `standing`, the action in effect; None where it
    asks for nothing.
    """

    judge: Judge
    abstractor: Abstractor
    reservation: AbstractReservation
    allocation: AbstractAllocation
    memory: PyTree[Array]
    foresight: Foresight | None
    standing: Action


@eqx.filter_jit
def outlook(key: PRNGKeyArray, emulation: Emulation, twins: Twins, forecast: Forecast, slices: SliceTable) -> Outlook:
    """Futures under `slices`: reserved anew, filled slot by slot, lived in the judge's twin from the sampled states.

    A slice's figure is the mean experience of its users where the twins follow it, in a minute lived as in the what-if
    with the swipes and the speed of their last one; else their mean satisfaction. Ten slots are lived before anything
    counts, so that a start is not held against who starts. Users of a slice that is not active are in the world and
    served nothing, so a slice of the scenario is tried by making its row active. The same `key` gives every table the
    same states and random numbers. Compiled, once for tables of one shape.
    """
    judged = _believing(emulation, slices)
    k_sample, k_live = jax.random.split(key)
    prospects = None
    if judged.foresight is not None:
        prospects = judged.foresight.foresee(jax.random.fold_in(key, 1), twins, forecast, judged.standing)
    features = judged.abstractor.abstract(twins, forecast, slices, prospects)
    reserved = judged.reservation.reserve(features, slices)
    states = sample_states(k_sample, judged.judge.model, twins, forecast, judged.judge.samples)

    def filled(reservation: Reservation, seen: Features) -> Action:
        allocation, _ = judged.allocation.allocate(seen, reservation, judged.memory)
        return assemble_action(reservation, allocation, slices)

    def respond(action: Action, outcome: Outcome) -> Action:
        return filled(reserved_by(action), judged.abstractor.foresee(twins, outcome, slices))

    row = judged.abstractor.params.user_slice
    width = slices.active.shape[0]

    def live(k: PRNGKeyArray, state: State) -> Float[Array, " slices"]:
        first = filled(reserved, features)
        served = rollout(k, judged.judge.model, state, first, judged.judge.horizon, respond, settling=_SETTLING_SLOTS)
        figure = promised_figure(twins, served, judged.judge.model.params.slot_s)
        users = jax.ops.segment_sum(served.active.astype(jnp.float32), row, width)
        total = jax.ops.segment_sum(jnp.where(served.active, figure, 0.0), row, width)
        return jnp.where((users > 0) & slices.active, total / jnp.maximum(users, 1.0), jnp.nan)

    attained = jax.vmap(live)(jax.random.split(k_live, judged.judge.samples), states)
    return Outlook(attained, _loads(features, slices))


def promised_figure(twins: Twins, served: Served, slot_s: float) -> Float[Array, " users"]:
    """What a user's agreement is about: a whole minute's experience by the twins' model of that user, where they follow
    it, else satisfaction.
    """
    if twins.experience is None:
        return served.satisfaction
    last = twins.experience.last
    stall_s = served.stalled_share * PERIOD_SLOTS * slot_s
    minute = Conditions(stall_s, served.quality, last.behaviour, last.environment)
    return twins.experience.fitted.blend.experience(minute)


def agreed_figures(
    twins: Twins, user_slice: Int[Array, " users"], slices: int, satisfaction: float
) -> Float[Array, " slices"]:
    """What every slice's figure must reach: the mean experience that its present users were promised, or the
    `satisfaction` where nobody's experience is followed.
    """
    if twins.experience is None:
        return jnp.full(slices, satisfaction)
    present = twins.users.current.active.astype(jnp.float32)
    users = jax.ops.segment_sum(present, user_slice, slices)
    return jax.ops.segment_sum(present * twins.experience.agreed, user_slice, slices) / jnp.maximum(users, 1.0)


def most_grantable(standing: SliceTable, order: SliceTable, new: int) -> float:
    """The largest part of the order for row `new` whose floors, with all others', promise no more than everything."""
    floors = np.asarray(order.floor_share, np.float64)
    more = floors[new] - float(standing.floor_share[new])
    spare = 1.0 + 1e-6 - (floors.sum() - more)
    return 1.0 if more <= spare else max(spare / more, 0.0)


def granted(standing: SliceTable, order: SliceTable, new: int, scale: float) -> SliceTable:
    """The table with the part `scale` of what the order adds to the rate and the floor of row `new`."""
    part = jnp.ones_like(order.target_bps).at[new].set(scale)

    def between(before: Float[Array, " slices"], asked: Float[Array, " slices"]) -> Float[Array, " slices"]:
        return before + part * (asked - before)

    return eqx.tree_at(
        lambda t: (t.target_bps, t.floor_share),
        order,
        (between(standing.target_bps, order.target_bps), between(standing.floor_share, order.floor_share)),
    )


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
    """A `judge` for `admit`: `order` is the table with what is ordered for row `new`; `scale` grants part of it.

    The futures without it are foretold once. Tolerance is a hundredth of the figure's range.
    """
    before = outlook(key, emulation, twins, forecast, standing)
    tolerance = _TOLERANCE * (1.0 if twins.experience is None else BEST - WORST)

    def judge(scale: float) -> Breaches:
        after = outlook(key, emulation, twins, forecast, granted(standing, order, new, scale))
        return breaches(before, after, agreed, standing.active, jnp.int32(new), tolerance=tolerance)

    return judge


def _surely(attained: Float[Array, "samples slices"], confidence: float) -> Float[Array, " slices"]:
    """What is reached in the part `confidence` of the samples; NaN for a slice without anybody in some sample."""
    samples = attained.shape[0]
    rank = max(int(np.floor((1.0 - confidence) * samples + 1e-6)), 0)
    return jnp.sort(attained, axis=0)[min(rank, samples - 1)]


def _believing(emulation: Emulation, slices: SliceTable) -> Emulation:
    """The same emulation, its worlds told of other promises."""

    def worlds(each: Emulation) -> tuple[SliceTable, ...]:
        params = [each.abstractor.params, each.judge.model.params]
        params += [] if each.foresight is None else [each.foresight.model.params]
        return tuple(one.slices for one in params)

    return eqx.tree_at(worlds, emulation, (slices,) * len(worlds(emulation)))


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
