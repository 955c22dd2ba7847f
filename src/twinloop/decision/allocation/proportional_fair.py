"""Proportional fair scheduling as a share of a slot."""

from dataclasses import replace

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from twinloop.abstraction import Features
from twinloop.decision.allocation.interface import MEGA, AbstractAllocation, finish, flow_pools
from twinloop.decision.allocation.round_robin import computing_in_turn
from twinloop.decision.allocation.utility import maximise
from twinloop.decision.proposal import Allocation, Reservation
from twinloop.qoe import OffsetLog


class ProportionalFair(AbstractAllocation):
    """Maximises sum_f members_f ln(average_f after this slot), average_f' = (1 - 1/T) average_f + r_f / T.

    The textbook rule serves, at each instant, the flow with the largest se_f / average_f, and that is the limit of
    long memory, T = `horizon_slots` -> infinity; within a slot of 1 s a real scheduler takes hundreds of such turns
    and moves its averages along, which T = 1 (ln r_f) describes: of T = 1, 2, 8 and 50 it keeps most agreements on
    development seeds of da-qoe. Rates are capped by what flows want; left-overs go on to flows that want more
    (`hand_out`). A radio scheduler knows nothing of transcoding, so cycles go in turn, as in `RoundRobin`. Weights of
    slices and needs are not looked at.
    """

    horizon_slots: float = eqx.field(static=True, default=1.0)
    hand_out: bool = eqx.field(static=True, default=True)

    def allocate(
        self, features: Features, reservation: Reservation, state: PyTree[Array]
    ) -> tuple[Allocation, PyTree[Array]]:
        """Proportionally fair rates for the next slot."""
        pools = flow_pools(features, reservation)
        radio = replace(pools, cycles_per_rate=jnp.zeros_like(pools.cycles_per_rate))
        average = jnp.maximum(features.average_rate_bps, 0.0) / MEGA
        utility = OffsetLog((self.horizon_slots - 1.0) * average)
        solution = maximise(utility, radio, features.members, jnp.zeros_like(pools.want), pools.want)
        given = finish(radio, solution.rate, self.hand_out)
        return Allocation(given.bandwidth_hz, computing_in_turn(pools, pools.want)), state
