"""What a policy proposes: reservations of slices, allocations to flows, and the action they make together."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from twinloop.entities import Action
from twinloop.slicing import SliceTable


class Reservation(eqx.Module):
    """What each slice gets of each cell and edge server for a window."""

    bandwidth_hz: Float[Array, "cells slices"]
    cycles_per_s: Float[Array, "servers slices"]
    cache_bytes: Float[Array, "servers slices"]


class Allocation(eqx.Module):
    """What each flow gets of its slice's reservation for a slot."""

    bandwidth_hz: Float[Array, " flows"]
    cycles_per_s: Float[Array, " flows"]


class Proposal(eqx.Module):
    """An action and the number of the policy that proposes it."""

    action: Action
    policy: Int[Array, ""]


def assemble_action(reservation: Reservation, allocation: Allocation, slices: SliceTable) -> Action:
    """The action that reserves and allocates as given; an inactive slice gets nothing, whatever is reserved for it."""
    active = slices.active[None, :]
    return Action(
        slice_active=slices.active,
        slice_bandwidth_hz=jnp.where(active, reservation.bandwidth_hz, 0.0),
        slice_cycles_per_s=jnp.where(active, reservation.cycles_per_s, 0.0),
        slice_cache_bytes=jnp.where(active, reservation.cache_bytes, 0.0),
        flow_bandwidth_hz=allocation.bandwidth_hz,
        flow_cycles_per_s=allocation.cycles_per_s,
    )


def reserved_by(action: Action) -> Reservation:
    """The reservation that an action carries."""
    return Reservation(action.slice_bandwidth_hz, action.slice_cycles_per_s, action.slice_cache_bytes)
