"""What an allocation method is, and the problem that all of them are given."""

import abc

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

from twinloop.abstraction import Features
from twinloop.decision.pools import pool_sum
from twinloop.decision.proposal import Allocation, Reservation

MEGA = 1e6


class AbstractAllocation(eqx.Module):
    """Divides every (cell, slice) bandwidth and (server, slice) computing reservation among its flows, once a slot.

    Hyperparameters are static fields. Whatever the features: the result is finite, not negative, nothing for inactive
    flows, and within every reservation; flows that change places get what they got before.
    """

    def init(self) -> PyTree[Array]:
        """State before the first slot; none unless a method says so."""
        return ()

    @abc.abstractmethod
    def allocate(
        self, features: Features, reservation: Reservation, state: PyTree[Array]
    ) -> tuple[Allocation, PyTree[Array]]:
        """What each flow gets in the next slot, and the state for the slot after."""


class FlowPools(eqx.Module):
    """The flows as claims on pools. Mbit/s, MHz, Mcycle/s.

    A flow at rate r [Mbit/s] uses `mhz_per_rate` r of bandwidth pool cell x slices + slice and `cycles_per_rate` r
    [Mcycle/s] of computing pool server x slices + slice. `served` flows want data and can be sent some.
    """

    served: Bool[Array, " flows"]
    want: Float[Array, " flows"]
    need: Float[Array, " flows"]
    mhz_per_rate: Float[Array, " flows"]
    cycles_per_rate: Float[Array, " flows"]
    bandwidth_pool: Int[Array, " flows"]
    cycle_pool: Int[Array, " flows"]
    bandwidth: Float[Array, " bandwidth_pools"]
    cycles: Float[Array, " cycle_pools"]


def flow_pools(features: Features, reservation: Reservation) -> FlowPools:
    """The claims of the active flows on `reservation`.

    A flow is not served when it wants nothing, has no channel (spectral efficiency 0), or needs a resource of which its
    pool holds nothing. A flow without a need counts what it wants as its need.
    """
    cells, slices = reservation.bandwidth_hz.shape
    cell = jnp.clip(features.flow_cell, 0, cells - 1)
    row = jnp.clip(features.flow_slice, 0, slices - 1)
    bandwidth_pool = cell * slices + row
    cycle_pool = features.cell_server[cell] * slices + row
    bandwidth = jnp.maximum(reservation.bandwidth_hz.reshape(-1), 0.0) / MEGA
    cycles = jnp.maximum(reservation.cycles_per_s.reshape(-1), 0.0) / MEGA
    per_bit = jnp.maximum(features.cycles_per_bit, 0.0)
    served = (
        features.flow_active
        & (features.want_bps > 0)
        & (features.spectral_efficiency > 1e-6)
        & (bandwidth[bandwidth_pool] > 0)
        & ((per_bit <= 0) | (cycles[cycle_pool] > 0))
    )
    want = jnp.where(served, features.want_bps / MEGA, 0.0)
    return FlowPools(
        served=served,
        want=want,
        need=jnp.where(features.need_bps > 0, features.need_bps / MEGA, jnp.maximum(want, 1e-6)),
        mhz_per_rate=jnp.where(served, 1.0 / jnp.maximum(features.spectral_efficiency, 1e-6), 0.0),
        cycles_per_rate=jnp.where(served, per_bit, 0.0),
        bandwidth_pool=bandwidth_pool,
        cycle_pool=cycle_pool,
        bandwidth=bandwidth,
        cycles=cycles,
    )


def finish(pools: FlowPools, rate: Float[Array, " flows"], hand_out: bool) -> Allocation:
    """The allocation that carries `rate` [Mbit/s]; with `hand_out`, what is left over goes to flows as well.

    First towards what flows want beyond `rate`, all by the same part of their headroom, as far as both pools reach;
    then in proportion to what each flow has, as a margin: channels and work turn out other than believed, and a
    reservation that nobody uses is worth nothing. Rounding is scaled away, so that no pool is exceeded.
    """
    if hand_out:
        headroom = jnp.maximum(pools.want - rate, 0.0)
        part = jnp.minimum(
            _reach(rate, headroom, pools.mhz_per_rate, pools.bandwidth_pool, pools.bandwidth),
            _reach(rate, headroom, pools.cycles_per_rate, pools.cycle_pool, pools.cycles),
        )
        rate = rate + part * headroom
    bandwidth = _fit(rate * pools.mhz_per_rate, pools.bandwidth_pool, pools.bandwidth, hand_out)
    cycles = _fit(rate * pools.cycles_per_rate, pools.cycle_pool, pools.cycles, hand_out)
    return Allocation(bandwidth * MEGA, cycles * MEGA)


def _reach(
    rate: Float[Array, " flows"],
    headroom: Float[Array, " flows"],
    per_rate: Float[Array, " flows"],
    pool: Int[Array, " flows"],
    capacity: Float[Array, " pools"],
) -> Float[Array, " flows"]:
    left = capacity - pool_sum(rate * per_rate, pool, capacity.shape[0])
    claim = pool_sum(headroom * per_rate, pool, capacity.shape[0])
    part = jnp.clip(left / jnp.maximum(claim, 1e-12), 0.0, 1.0)[pool]
    return jnp.where(per_rate > 0, part, 1.0)


def _fit(
    use: Float[Array, " flows"], pool: Int[Array, " flows"], capacity: Float[Array, " pools"], hand_out: bool
) -> Float[Array, " flows"]:
    total = pool_sum(use, pool, capacity.shape[0])
    factor = jnp.where(total > 0, capacity / jnp.maximum(total, 1e-30), 0.0)
    return use * (factor if hand_out else jnp.minimum(factor, 1.0))[pool]
