"""What a reservation method is, and what all of them share: floors and filling."""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from twinloop.abstraction import Features
from twinloop.decision.demand import Demand as UserDemand
from twinloop.decision.distribution import DemandDistribution
from twinloop.decision.game.equilibrium import Equilibrium
from twinloop.decision.proposal import Reservation
from twinloop.slicing import SliceTable


class Appraisal(eqx.Module):
    """What a method can say of its own reservation, in weighted satisfied users; NaN where it can say nothing.

    No reservation is worth more than `bound`; it is worth `value`. `foretold` is every user's own demand, where a
    method looks at users, and `used` bandwidth [Hz] and cycles [cycle/s] that they are expected to take by cell and
    slice; `game` the equilibrium of (cell, slice) groups, where one is played, and `by_game` whether it is what was
    reserved.
    """

    bound: Float[Array, ""]
    value: Float[Array, ""]
    foretold: UserDemand | None = None
    used: DemandDistribution | None = None
    game: Equilibrium | None = None
    by_game: Bool[Array, ""] | None = None


class AbstractReservation(eqx.Module):
    """Divides every cell's bandwidth and every server's cycles and cache among the slices, once a window.

    Hyperparameters are static fields. Whatever the features: the result is finite, not negative, within every capacity,
    nothing for inactive slices, and at least every active slice's floor (slicing.capacity_and_isolation).
    """

    @abc.abstractmethod
    def reserve(self, features: Features, slices: SliceTable) -> Reservation:
        """What each slice gets of each cell and server in the next window."""

    def appraised(self, features: Features, slices: SliceTable) -> tuple[Reservation, Appraisal]:
        """The reservation, and how good its method knows it to be."""
        unknown = jnp.full((), jnp.nan, jnp.float32)
        return self.reserve(features, slices), Appraisal(unknown, unknown)


class Demand(eqx.Module):
    """One resource's capacities, the slices' demands and their floors, demands of inactive slices left out."""

    capacity: Float[Array, " pools"]
    demand: Float[Array, "pools slices"]
    floor: Float[Array, "pools slices"]


def resource_demands(features: Features, slices: SliceTable) -> tuple[Demand, Demand, Demand]:
    """Bandwidth [Hz], cycles [cycle/s] and cache [byte]: floor = min(floor share x capacity, demand).

    Floors that promise more than the capacity (a table not made by slicing.create_slice) are scaled to fit.
    """

    def of(capacity: Float[Array, " pools"], demand: Float[Array, "pools slices"]) -> Demand:
        size = jnp.maximum(capacity, 0.0)
        asked = jnp.where(slices.active[None, :], jnp.maximum(demand, 0.0), 0.0)
        floor = jnp.minimum(slices.floor_share[None, :] * size[:, None], asked)
        fit = jnp.minimum(size / jnp.maximum(jnp.sum(floor, axis=1), 1e-30), 1.0)
        return Demand(size, asked, floor * fit[:, None])

    return (
        of(features.cell_bandwidth_hz, features.slice_demand_hz),
        of(features.server_cycles_per_s, features.slice_demand_cycles_per_s),
        of(features.server_cache_bytes, features.slice_demand_cache_bytes),
    )


def fill(
    floor: Float[Array, "pools slices"], shape: Float[Array, "pools slices"], total: Float[Array, " pools"]
) -> Float[Array, "pools slices"]:
    """max(floor, t shape) with t >= 0 such that each row sums to `total`; sum(floor) <= total, 0 where `shape` is 0.

    Newton's method on the convex sum from above: a step fixes the slices whose floor is more than their part and
    divides what is left among the others, so as many steps as slices end it. A row whose floors fill it keeps its
    floors.
    """
    everything = jnp.sum(shape, axis=1)
    start = total / jnp.maximum(everything, 1e-30)

    def lower(_: Int[Array, ""], t: Float[Array, " pools"]) -> Float[Array, " pools"]:
        free = t[:, None] * shape > floor
        left = total - jnp.sum(jnp.where(free, 0.0, floor), axis=1)
        among = jnp.sum(jnp.where(free, shape, 0.0), axis=1)
        return jnp.where(among > 0, jnp.maximum(left, 0.0) / jnp.maximum(among, 1e-30), t)

    t = jax.lax.fori_loop(0, floor.shape[1], lower, start)
    filled = jnp.maximum(floor, jnp.where(everything[:, None] > 0, t[:, None] * shape, 0.0))
    return filled * jnp.minimum(total / jnp.maximum(jnp.sum(filled, axis=1), 1e-30), 1.0)[:, None]


def hand_out(
    reserved: Float[Array, "pools slices"], demand: Demand, slices: SliceTable
) -> Float[Array, "pools slices"]:
    """`reserved` and what it leaves over, divided in proportion to demand; equally among active slices without any."""
    left = jnp.maximum(demand.capacity - jnp.sum(reserved, axis=1), 0.0)
    asked = jnp.sum(demand.demand, axis=1, keepdims=True)
    active = jnp.broadcast_to(slices.active[None, :], reserved.shape).astype(reserved.dtype)
    equal = active / jnp.maximum(jnp.sum(active, axis=1, keepdims=True), 1.0)
    return reserved + left[:, None] * jnp.where(asked > 0, demand.demand / jnp.maximum(asked, 1e-30), equal)
