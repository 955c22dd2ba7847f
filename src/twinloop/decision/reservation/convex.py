"""Reservation by convex optimisation: the least concave majorant of sigmoid satisfaction, then polishing."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from twinloop.abstraction import Features
from twinloop.decision.pools import Costs, Resource, clear, pool_max
from twinloop.decision.proposal import Reservation
from twinloop.decision.reservation.groups import Groups, group_demands, reserved_at
from twinloop.decision.reservation.interface import AbstractReservation, Appraisal, resource_demands
from twinloop.decision.reservation.polish import polish
from twinloop.qoe import ConcaveMajorant, SigmoidSatisfaction, concave_majorant
from twinloop.slicing import SliceTable


class ReservationReport(eqx.Module):
    """How good a convex reservation is, in weighted satisfied users.

    No reservation under the same features is worth more than `surrogate_bound`, a dual value; `surrogate_value` is what
    the surrogate's solution is worth to the surrogate, `unpolished_value` what it is worth under the sigmoid,
    `true_value` the same after polishing, and gap = surrogate_bound - true_value. `z` is reserved / demanded.
    """

    surrogate_bound: Float[Array, ""]
    surrogate_value: Float[Array, ""]
    unpolished_value: Float[Array, ""]
    true_value: Float[Array, ""]
    gap: Float[Array, ""]
    z: Float[Array, "cells slices"]


class Convex(AbstractReservation):
    """Maximises sum_g w_g n_g s(z_g) - price . reserved over groups g = (cell, slice), one z_g for all resources.

    reserved_gm = d_gm max(z_g, phi_gm) for bandwidth, cycles and cache m, with d the demand, phi_gm the floor's part
    of it, 0 <= z_g <= 1; sum over a cell's slices of bandwidth <= W, over a server's groups of cycles <= F, of cache
    <= M. s is the sigmoid of `steepness` and `threshold` (qoe.SigmoidSatisfaction), n the users, w the slices'
    weights. Replacing s by its least concave majorant makes the problem convex and its value an upper bound (Udell
    and Boyd, Maximizing a sum of sigmoids, 2013); paper 004's case study names such a reformulation without giving
    it. The surrogate is solved by prices (decision.pools.clear), then exchanges between groups improve the true value
    (polish).

    Without prices (per MHz, per Gcycle/s, per GB; utility a user) what is left over is handed out in proportion to
    demand. A server's demand is divided among its cells as their bandwidth demand of the slice is. Left out: that a
    cache serves several cells at once, and reservations above demand before the hand-out.
    """

    steepness: float = eqx.field(static=True, default=10.0)
    threshold: float = eqx.field(static=True, default=0.7)
    price_per_mhz: float = eqx.field(static=True, default=0.0)
    price_per_gcycle: float = eqx.field(static=True, default=0.0)
    price_per_gb: float = eqx.field(static=True, default=0.0)
    sweeps: int = eqx.field(static=True, default=4)

    def reserve(self, features: Features, slices: SliceTable) -> Reservation:
        """The polished reservation."""
        return self.solve(features, slices)[0]

    def appraised(self, features: Features, slices: SliceTable) -> tuple[Reservation, Appraisal]:
        """The polished reservation, its true value and the surrogate's bound."""
        reservation, report = self.solve(features, slices)
        return reservation, Appraisal(report.surrogate_bound, report.true_value)

    def solve(self, features: Features, slices: SliceTable) -> tuple[Reservation, ReservationReport]:
        """The polished reservation, and how good it is."""
        demands = resource_demands(features, slices)
        prices = (self.price_per_mhz, self.price_per_gcycle, self.price_per_gb)
        groups = group_demands(features, slices, demands, prices)
        shape = SigmoidSatisfaction(self.steepness, self.threshold)
        majorant = concave_majorant(shape, groups.low, groups.high)
        z, bound = solve_surrogate(groups, majorant)
        polished = polish(groups, shape, z, slices.active.shape[0], self.sweeps)
        true_value = groups.worth(shape.value(polished), polished)
        report = ReservationReport(
            surrogate_bound=bound,
            surrogate_value=groups.worth(majorant.value(z), z),
            unpolished_value=groups.worth(shape.value(z), z),
            true_value=true_value,
            gap=bound - true_value,
            z=polished.reshape(features.slice_demand_hz.shape),
        )
        priced = self.price_per_mhz + self.price_per_gcycle + self.price_per_gb > 0
        return reserved_at(groups, polished, demands, slices, spare=not priced), report


def solve_surrogate(
    groups: Groups, majorant: ConcaveMajorant, tolerance: float = 1e-6
) -> tuple[Float[Array, " groups"], Float[Array, ""]]:
    """Levels z maximising sum W majorant(z) - price . use within every capacity, and the dual's upper bound on that."""
    steps = jnp.argsort(groups.least, axis=0)
    edges = jnp.take_along_axis(groups.least, steps, axis=0)
    ends = jnp.concatenate([edges, groups.high[None, :]])
    weight = jnp.maximum(groups.weight, 1e-12)

    def respond(costs: Costs) -> Float[Array, " groups"]:
        cost = jnp.stack(costs) + groups.price[:, None] * groups.per_z
        beyond = jnp.cumsum(jnp.take_along_axis(cost, steps, axis=0), axis=0) / weight[None, :]
        best = jnp.minimum(groups.high, ends[0])
        for step in range(3):
            best = jnp.maximum(best, jnp.minimum(majorant.best_z(beyond[step]), ends[step + 1]))
        return jnp.clip(best, groups.low, groups.high)

    resources = tuple(_resource(groups, majorant, m) for m in range(3))
    cleared = clear(respond, resources, tolerance)
    costs = tuple(price * groups.per_z[m] for m, price in enumerate(cleared.prices))
    free = respond(costs)
    bound = groups.worth(majorant.value(free), free)
    for price, resource in zip(cleared.prices, resources, strict=True):
        paid = pool_max(price, resource.pool, resource.capacity.shape[0])
        bound = bound + jnp.sum(paid * (resource.capacity - resource.use(free)))
    return cleared.level, bound


def _resource(groups: Groups, majorant: ConcaveMajorant, m: int) -> Resource:
    def highest(value: Float[Array, " groups"], pool: Int[Array, " groups"]) -> Float[Array, " pools"]:
        return pool_max(jnp.where(claims, value, 0.0), pool, groups.capacity[m].shape[0])

    claims = (groups.per_z[m] > 0) & (groups.weight > 0)
    worth = groups.weight / jnp.maximum(groups.per_z[m], 1e-12)
    ceiling = highest(worth * majorant.line_slope, groups.pool[m]) * 1.01
    cheapest = highest(1.0 / jnp.maximum(worth * majorant.shape.slope(groups.high), 1e-20), groups.pool[m])
    scale = jnp.where(cheapest > 0, 1.0 / jnp.maximum(cheapest, 1e-20), 1.0)
    scale = jnp.clip(scale, 1e-6 * ceiling, jnp.maximum(ceiling, 1e-12))
    return Resource(groups.per_z[m], groups.least[m], groups.pool[m], groups.capacity[m], ceiling, scale)
