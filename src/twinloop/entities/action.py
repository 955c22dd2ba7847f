"""What a network can be asked to do, for a window (slices) and for a slot (flows)."""

import equinox as eqx
from jaxtyping import Array, Bool, Float


class Action(eqx.Module):
    """One complete decision: reservations of slices and, inside them, allocations to flows.

    A flow is one radio bearer. With U users, G multicast groups and C cells there are F = U + G C flows: flow u is the
    unicast bearer of user u, flow U + g C + c the multicast bearer of group g in cell c. A reservation is expressible
    as RRMPolicyRatio of 3GPP TS 28.541 (dedicated ratio = slice bandwidth / cell bandwidth).
    """

    slice_active: Bool[Array, " slices"]
    slice_bandwidth_hz: Float[Array, "cells slices"]
    slice_cycles_per_s: Float[Array, "servers slices"]
    slice_cache_bytes: Float[Array, "servers slices"]
    flow_bandwidth_hz: Float[Array, " flows"]
    flow_cycles_per_s: Float[Array, " flows"]
