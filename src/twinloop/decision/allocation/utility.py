"""Utility-maximising allocation over bandwidth and computing, with caps and floors."""

from typing import Literal, NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from twinloop.abstraction import Features
from twinloop.decision.allocation.interface import AbstractAllocation, FlowPools, finish, flow_pools
from twinloop.decision.pools import Costs, Resource, clear, pool_max, pool_sum
from twinloop.decision.proposal import Allocation, Reservation
from twinloop.qoe import AbstractUtility, AlphaFair, LogQuality, QuadraticSatisfaction


class Solution(NamedTuple):
    """Rates [Mbit/s] and the price each flow pays for bandwidth [utility/MHz] and cycles [utility/(Mcycle/s)]."""

    rate: Float[Array, " flows"]
    bandwidth_price: Float[Array, " flows"]
    cycle_price: Float[Array, " flows"]


class Utility(AbstractAllocation):
    """Maximises sum_f weight_f members_f U(r_f) inside every slice's reservation.

    subject to sum_{f in (cell, slice)} r_f / se_f <= W, sum_{f in (server, slice)} cycles_per_bit_f r_f <= F and
    floor_f <= r_f <= want_f. U: `satisfaction` (qoe.QuadraticSatisfaction, `curvature`), `log_quality`
    (qoe.LogQuality, `ratio`), both saturating at the need, or `alpha_fair` (`alpha` > 0). The floor is `floor` [0..1]
    of the lesser of need and want; floors that do not fit are scaled down, all of a pool's by the same factor. Solved
    by prices (decision.pools.clear); what is left goes on to flows that want more (`hand_out`).
    """

    kind: Literal["satisfaction", "log_quality", "alpha_fair"] = eqx.field(static=True, default="satisfaction")
    alpha: float = eqx.field(static=True, default=1.0)
    curvature: float = eqx.field(static=True, default=0.1)
    ratio: float = eqx.field(static=True, default=6.0)
    floor: float = eqx.field(static=True, default=0.0)
    hand_out: bool = eqx.field(static=True, default=True)

    def allocate(
        self, features: Features, reservation: Reservation, state: PyTree[Array]
    ) -> tuple[Allocation, PyTree[Array]]:
        """Best rates for the next slot."""
        pools = flow_pools(features, reservation)
        cap = pools.want if self.kind == "alpha_fair" else jnp.minimum(pools.want, pools.need)
        weight = features.weight * features.members
        low = self.floor * jnp.minimum(pools.want, pools.need)
        solution = maximise(self.utility(pools.need), pools, weight, low, cap)
        return finish(pools, solution.rate, self.hand_out), state

    def utility(self, need: Float[Array, " flows"]) -> AbstractUtility:
        """The utility function of rates [Mbit/s] for flows with `need` [Mbit/s]."""
        if self.kind == "alpha_fair":
            return AlphaFair(self.alpha)
        if self.kind == "log_quality":
            return LogQuality(need, self.ratio)
        return QuadraticSatisfaction(need, self.curvature)


def maximise(
    utility: AbstractUtility,
    pools: FlowPools,
    weight: Float[Array, " flows"],
    low: Float[Array, " flows"],
    high: Float[Array, " flows"],
    tolerance: float = 1e-5,
) -> Solution:
    """Rates maximising sum weight U(r) within the pools and low <= r <= high (rates in Mbit/s).

    Flows that are not served or have no weight get nothing. Floors above the caps count as the caps; floors that
    exceed a pool are scaled to fit it.
    """
    wanted = pools.served & (weight > 0) & (high > 0)
    weight = jnp.where(wanted, weight, 1.0)
    high = jnp.where(wanted, high, 0.0)
    low = _fitting_floors(pools, jnp.minimum(low, high))

    def respond(costs: Costs) -> Float[Array, " flows"]:
        return jnp.clip(utility.rate((costs[0] + costs[1]) / weight), low, high)

    def resource(
        per_rate: Float[Array, " flows"], pool: Int[Array, " flows"], capacity: Float[Array, " pools"]
    ) -> Resource:
        claim = jnp.where(wanted, per_rate, 0.0)
        count = capacity.shape[0]
        claimants = pool_sum((claim > 0).astype(claim.dtype), pool, count)
        room = jnp.maximum(capacity - pool_sum(claim * low, pool, count), 0.0) / jnp.maximum(claimants, 1.0)
        fair = jnp.minimum(low + room[pool] / jnp.maximum(claim, 1e-12), high)
        worth = weight / jnp.maximum(claim, 1e-12)
        ceiling = pool_max(jnp.where(claim > 0, worth * utility.slope(fair), 0.0), pool, count)
        cheapest = pool_max(jnp.where(claim > 0, 1.0 / (worth * utility.slope(high)), 0.0), pool, count)
        scale = jnp.where(cheapest > 0, 1.0 / jnp.maximum(cheapest, 1e-30), 1.0)
        return Resource(claim, jnp.zeros_like(claim), pool, capacity, ceiling * 1.001, scale)

    cleared = clear(
        respond,
        (
            resource(pools.mhz_per_rate, pools.bandwidth_pool, pools.bandwidth),
            resource(pools.cycles_per_rate, pools.cycle_pool, pools.cycles),
        ),
        tolerance,
    )
    return Solution(cleared.level, *cleared.prices)


def _fitting_floors(pools: FlowPools, low: Float[Array, " flows"]) -> Float[Array, " flows"]:
    def part(per_rate: Float[Array, " flows"], pool: Int[Array, " flows"], capacity: Float[Array, " pools"]) -> Array:
        claim = pool_sum(low * per_rate, pool, capacity.shape[0])
        return jnp.where(per_rate > 0, jnp.minimum(capacity / jnp.maximum(claim, 1e-30), 1.0)[pool], 1.0)

    return low * jnp.minimum(
        part(pools.mhz_per_rate, pools.bandwidth_pool, pools.bandwidth),
        part(pools.cycles_per_rate, pools.cycle_pool, pools.cycles),
    )
